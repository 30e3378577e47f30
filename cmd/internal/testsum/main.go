// Command testsum reads the output of one or several `go test -json` runs and
// prints what a person wants of it: a line per package, everything that a failed
// test or build printed, the long tests, at the end each skipped test with its
// reason, and as the last line "N passed, N failed, N skipped". It exits 1 if
// anything failed, or if nothing ran.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	slow := flag.Duration("slow", 5*time.Second, "name tests that pass in at least this time")
	show := flag.String("show", "^$", "print also what passing tests print whose name matches this `regexp`")
	flag.Parse()
	pattern, err := regexp.Compile(*show)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum: -show:", err)
		os.Exit(2)
	}
	// Who interrupts the tests interrupts the whole pipe; the sum of what ran until
	// then is wanted all the same, and the end of the tests ends this program.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	s := newSum(os.Stdout, *slow, pattern)
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
