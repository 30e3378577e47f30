package cmd_test

import (
	"regexp"
	"strings"
	"testing"
)

// maxTestLines is how long a file of tests may be: cases are many, and read one at a time.
const maxTestLines = 700

func TestFilesOfTestsAreOfReadableLength(t *testing.T) {
	for _, s := range sources(t) {
		if s.test && !s.generated && s.lines > maxTestLines {
			t.Errorf("%s has %d lines, more than %d: move what belongs together into a file of its own", s.path, s.lines, maxTestLines)
		}
	}
}

// silent is a test that is skipped, and sleep one that waits, without saying why.
var (
	silent = regexp.MustCompile(`\.(SkipNow\(|Skip\(\s*(""\s*)?\))`)
	sleep  = regexp.MustCompile(`\btime\.Sleep\(`)
	why    = regexp.MustCompile(`//nolint:forbidigo // \S`)
)

func TestSkipsAndSleepsOfTestsHaveAReason(t *testing.T) {
	for _, s := range sources(t) {
		if s.generated || !strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		for n, line := range strings.Split(text(t, s.path), "\n") {
			if silent.MatchString(line) {
				t.Errorf("%s:%d skips without a reason: say what is missing, and which package has it", s.path, n+1)
			}
			if sleep.MatchString(line) && !why.MatchString(line) {
				t.Errorf("%s:%d sleeps: wait for the condition, or say after //nolint:forbidigo why time itself is meant", s.path, n+1)
			}
		}
	}
}

func TestSilentSkipsAreFound(t *testing.T) {
	for line, want := range map[string]bool{
		"t.Skip" + "Now()": true, "b.Skip" + "()": true, `t.Skip` + `("")`: true, "t.Skip(err)": false, `t.Skip("needs root")`: false, `t.Skipf("%v", err)`: false,
	} {
		if silent.MatchString(line) != want {
			t.Errorf("%q is silent: %v, want %v", line, !want, want)
		}
	}
}
