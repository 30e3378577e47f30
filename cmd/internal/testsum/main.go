// Command testsum reads the output of one or several `go test -json` runs and
// prints what a person wants of it: a line per package, everything that a failed
// test or build printed, the long tests, at the end each skipped test with its
// reason, and as the last line "N passed, N failed, N skipped". It exits 1 if
// anything failed, or if nothing ran. With -skips, a test that was skipped fails, too,
// unless the file allows it: where everything is installed, a set-up that went wrong must
// not look like success.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	slow := flag.Duration("slow", 5*time.Second, "name tests that pass in at least this time")
	show := flag.String("show", "^$", "print also what passing tests print whose name matches this `regexp`")
	skips := flag.String("skips", "", "a `file` with a regexp per line: a skip (\"package test: reason\") that none matches is a failure")
	flag.Parse()
	pattern, err := regexp.Compile(*show)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum: -show:", err)
		os.Exit(2)
	}
	may, err := readSkips(*skips)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum: -skips:", err)
		os.Exit(2)
	}
	// Who interrupts the tests interrupts the whole pipe; the sum of what ran until
	// then is wanted all the same, and the end of the tests ends this program.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	s := newSum(os.Stdout, *slow, pattern)
	s.may = may
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum: read:", err)
		os.Exit(1)
	}
	if !s.close() {
		os.Exit(1)
	}
}

// read takes in every line until the end of r.
func (s *sum) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			s.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readSkips reads a file of regexps, one a line, with comments and empty lines. Without a
// file it is nil.
func readSkips(file string) ([]*regexp.Regexp, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	may := []*regexp.Regexp{} // not nil: an empty file allows nothing
	number := 0
	for line := range strings.Lines(string(b)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r, err := regexp.Compile(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		may = append(may, r)
	}
	return may, nil
}
