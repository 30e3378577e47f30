// Package config turns the files that people write, agent.yml and the cluster
// file, into typed and checked values, and describes the cluster file as a JSON
// Schema. It reads bytes, never a file, the host or the environment; it starts
// nothing. All functions are safe for concurrent use.
package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxFaults bounds how many faults of one file are reported.
const maxFaults = 1000

// Fault is one thing that is wrong in a file.
type Fault struct {
	File string
	// Line counts from 1.
	Line int
	// Key is the path of the value, as in "specs[0].type". It is empty where the
	// text is not YAML at all.
	Key     string
	Message string
}

// String returns the fault in one line: "demo.yml:12: specs[0].type: …".
func (f Fault) String() string {
	if f.Key == "" {
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Key, f.Message)
}

// Faults is everything that is wrong in a file, in the order of its lines. It is
// the type of every error of LoadAgent and LoadCluster, and then never empty.
type Faults []Fault

// Error returns a line per fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// reader collects the faults of one file.
type reader struct {
	file   string
	faults Faults
	// last is the number of the file's last line. The YAML library sometimes names
	// the one after it.
	last int
}

func (r *reader) fault(n *node, format string, args ...any) {
	r.add(n.line, n.path(), format, args...)
	for ; n != nil; n = n.up {
		n.bad = true
	}
}

func (r *reader) add(line int, key, format string, args ...any) {
	if len(r.faults) > maxFaults {
		return
	}
	f := Fault{File: r.file, Line: min(line, max(r.last, 1)), Key: key, Message: fmt.Sprintf(format, args...)}
	if len(r.faults) == maxFaults {
		f.Key, f.Message = "", fmt.Sprintf("more than %d faults: the rest is not shown", maxFaults)
	}
	r.faults = append(r.faults, f)
}

// err returns the faults sorted by line, or nil if there are none.
func (r *reader) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return r.faults
}

// quote shows a value in a message, cut to a length that fits a line.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%.*q… (%d bytes)", most, s, len(s))
	}
	return fmt.Sprintf("%q", s)
}
