package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is one line of `go test -json`; see `go doc test2json` and `go help
// buildjson`.
type event struct {
	Action  string
	Package string
	Test    string
	// Elapsed is in seconds.
	Elapsed float64
	Output  string
	// ImportPath is what is built, in build-output and build-fail.
	ImportPath string
	// FailedBuild is, in a package's fail, the ImportPath that could not be built.
	FailedBuild string
}

// sum is what was read so far.
type sum struct {
	out  io.Writer
	slow time.Duration
	show *regexp.Regexp
	// may says which tests may be skipped: a regexp matches "package test: reason". nil:
	// all of them.
	may []*regexp.Regexp

	passed, failed int
	// skipped has tests that may be, unwanted those that may not, as "package test: reason".
	skipped, unwanted []string
	// open has the packages that run now: go test runs several at a time.
	open map[string]*pkg
	// builds has what the compiler said, by ImportPath.
	builds map[string]*strings.Builder
}

// pkg is a package under test.
type pkg struct {
	output strings.Builder // what no test printed
	tests  map[string]*test
	order  []string
}

// test is one test or subtest.
type test struct {
	output strings.Builder
	result string // "", pass, fail or skip
	// subtests says whether it has any; failedBelow whether one of them failed.
	subtests, failedBelow bool
}

func newSum(out io.Writer, slow time.Duration, show *regexp.Regexp) *sum {
	return &sum{out: out, slow: slow, show: show, open: map[string]*pkg{}, builds: map[string]*strings.Builder{}}
}

// line takes in one line. What is not JSON is what a tool said, and is passed on.
func (s *sum) line(line []byte) {
	var e event
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(s.out, "%s", line)
		return
	}
	switch {
	case e.Action == "build-output":
		if s.builds[e.ImportPath] == nil {
			s.builds[e.ImportPath] = &strings.Builder{}
		}
		s.builds[e.ImportPath].WriteString(e.Output)
	case e.Package == "":
	case e.Test != "":
		s.ofTest(s.pkg(e.Package), e)
	default:
		s.ofPackage(s.pkg(e.Package), e)
	}
}

func (s *sum) pkg(name string) *pkg {
	if s.open[name] == nil {
		s.open[name] = &pkg{tests: map[string]*test{}}
	}
	return s.open[name]
}

func (s *sum) ofTest(p *pkg, e event) {
	t := p.test(e.Test)
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.result = e.Action
		took := time.Duration(e.Elapsed * float64(time.Second)).Round(10 * time.Millisecond)
		switch {
		case e.Action == "pass" && s.show.MatchString(e.Test):
			fmt.Fprint(s.out, shown(e.Test, t.output.String()))
		case e.Action == "pass" && took >= s.slow:
			fmt.Fprintf(s.out, "      %s %s (%v)\n", e.Package, e.Test, took)
		case e.Action == "skip":
			s.skip(fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(t.output.String())))
		}
	}
}

// skip takes in a skipped test. One without a reason is one that nobody can allow.
func (s *sum) skip(line string) {
	allowed := func(r *regexp.Regexp) bool { return r.MatchString(line) && !strings.HasSuffix(line, noReason) }
	if s.may != nil && !slices.ContainsFunc(s.may, allowed) {
		s.unwanted = append(s.unwanted, line)
		return
	}
	s.skipped = append(s.skipped, line)
}

// shown returns what is worth reading of a passed test's output: all of it but the
// notes of its starts and stops, and of a subtest only if it printed something.
func shown(name, output string) string {
	var out strings.Builder
	said := !strings.Contains(name, "/")
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "=== ") {
			continue
		}
		said = said || !strings.HasPrefix(strings.TrimSpace(line), "--- ")
		out.WriteString(line)
	}
	if !said {
		return ""
	}
	return out.String()
}

// test returns the test of that name, and makes it and its parents known.
func (p *pkg) test(name string) *test {
	if t := p.tests[name]; t != nil {
		return t
	}
	t := &test{}
	p.tests[name] = t
	p.order = append(p.order, name)
	if parent := p.parent(name); parent != nil {
		parent.subtests = true
	}
	return t
}

// parent returns the test that a subtest belongs to, or nil. The name of a subtest
// may itself have slashes in it.
func (p *pkg) parent(name string) *test {
	for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
		if t := p.tests[name[:i]]; t != nil {
			return t
		}
	}
	return nil
}

func (s *sum) ofPackage(p *pkg, e event) {
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		delete(s.open, e.Package)
		s.end(p, e)
	}
}

// end counts a package that ended and prints its line, after what its failures
// printed.
func (s *sum) end(p *pkg, e event) {
	s.printFailures(p)
	passed, failed := p.count()
	s.passed += passed
	took := fmt.Sprintf("%.1fs", e.Elapsed)
	if e.Action == "fail" && failed == 0 {
		// It did not build, or failed outside of a test.
		failed = 1
		if b := s.builds[e.FailedBuild]; b != nil {
			fmt.Fprint(s.out, b.String())
		}
	}
	s.failed += failed
	switch {
	case failed > 0:
		fmt.Fprintf(s.out, "%sFAIL  %s (%d passed, %d failed, %s)\n", p.said(), e.Package, passed, failed, took)
	case passed > 0:
		fmt.Fprintf(s.out, "ok    %s (%d passed, %s)\n", e.Package, passed, took)
	}
}

// said returns what the package printed outside of its tests, without go test's
// own verdict.
func (p *pkg) said() string {
	var out strings.Builder
	for line := range strings.Lines(p.output.String()) {
		if !strings.HasPrefix(line, "FAIL\t") && line != "FAIL\n" && line != "PASS\n" {
			out.WriteString(line)
		}
	}
	return out.String()
}

// count returns how many tests passed and failed. A test with subtests counts as
// these, unless it failed all by itself. One without a result did not end.
func (p *pkg) count() (passed, failed int) {
	// From the last to the first: subtests before their parents.
	for _, name := range slices.Backward(p.order) {
		t := p.tests[name]
		bad := t.result == "fail" || t.result == ""
		if parent := p.parent(name); parent != nil && bad {
			parent.failedBelow = true
		}
		switch {
		case bad && !t.failedBelow:
			failed++
		case t.result == "pass" && !t.subtests:
			passed++
		}
	}
	return passed, failed
}

func (s *sum) printFailures(p *pkg) {
	for _, name := range p.order {
		switch t := p.tests[name]; t.result {
		case "fail":
			fmt.Fprint(s.out, t.output.String())
		case "":
			fmt.Fprintf(s.out, "--- FAIL: %s (did not end)\n%s", name, t.output.String())
		}
	}
}

// close ends packages that were cut off, prints the end of the report, and says
// whether all is well.
func (s *sum) close() bool {
	for _, name := range slices.Sorted(maps.Keys(s.open)) {
		s.open[name].output.WriteString("the tests were cut off\n")
		s.end(s.open[name], event{Action: "fail", Package: name})
	}
	if len(s.skipped) > 0 {
		fmt.Fprintf(s.out, "\nSkipped:\n  %s\n", strings.Join(s.skipped, "\n  "))
	}
	if len(s.unwanted) > 0 {
		fmt.Fprintf(s.out, "\nSkipped, but must run here, and so failed:\n  %s\n", strings.Join(s.unwanted, "\n  "))
		s.failed += len(s.unwanted)
	}
	fmt.Fprintf(s.out, "\n%d passed, %d failed, %d skipped\n", s.passed, s.failed, len(s.skipped))
	return s.failed == 0 && s.passed > 0
}

// noReason stands for the reason of a skip that gave none.
const noReason = "no reason given"

// place is where a test called Skip.
var place = regexp.MustCompile(`^\w+\.go:\d+: `)

// reason returns why a test was skipped, from what it printed: the last that it
// logged.
func reason(output string) string {
	var out []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if said := place.ReplaceAllString(line, ""); said != line {
			out, line = nil, said
		}
		out = append(out, line)
	}
	if out == nil {
		return noReason
	}
	return strings.Join(out, " ")
}
