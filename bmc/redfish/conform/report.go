package conform

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// A Finding is one thing that is wrong, or that may be.
type Finding struct {
	// Resource is a URI; Property the path in it, with dots and indices, if it is about one.
	Resource, Property string
	// Rule is the name of what was broken, such as "enum" or "http-etag".
	Rule string
	Text string
}

// String returns the finding on one line.
func (f Finding) String() string {
	where := f.Resource
	if f.Property != "" {
		where += " " + f.Property
	}
	return fmt.Sprintf("%s: %s: %s", f.Rule, where, f.Text)
}

// Report is what a crawl found.
type Report struct {
	Failures, Warnings []Finding
	// Accepted are warnings with a reason; Stale the reasons that no warning needed.
	Accepted []Finding
	Stale    []Accepted
	// Checked counts what was looked at, by kind.
	Checked map[string]int
	Elapsed time.Duration
}

// ByRule counts findings by their rule.
func ByRule(found []Finding) map[string]int {
	n := map[string]int{}
	for _, f := range found {
		n[f.Rule]++
	}
	return n
}

// String returns the whole report for people.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d failures, %d warnings, %d accepted warnings in %s\nchecked:", len(r.Failures), len(r.Warnings), len(r.Accepted),
		r.Elapsed.Round(time.Millisecond))
	for _, k := range slices.Sorted(maps.Keys(r.Checked)) {
		fmt.Fprintf(&b, " %s %d", k, r.Checked[k])
	}
	b.WriteByte('\n')
	writeFindings(&b, "failure", r.Failures)
	writeFindings(&b, "warning", r.Warnings)
	for _, a := range r.Stale {
		fmt.Fprintf(&b, "stale reason: %s %s %s: %s\n", a.Rule, a.Resource, a.Property, a.Reason)
	}
	return b.String()
}

func writeFindings(b *strings.Builder, kind string, found []Finding) {
	rules := ByRule(found)
	for _, rule := range slices.Sorted(maps.Keys(rules)) {
		fmt.Fprintf(b, "%ss of rule %s: %d\n", kind, rule, rules[rule])
	}
	for _, f := range found {
		fmt.Fprintf(b, "%s: %s\n", kind, f)
	}
}

// accept moves the warnings that have a reason, and sorts.
func (r *Report) accept(reasons []Accepted) {
	used := make([]bool, len(reasons))
	r.Failures, r.Warnings = sorted(r.Failures), sorted(r.Warnings)
	r.Warnings = slices.DeleteFunc(r.Warnings, func(f Finding) bool {
		for i, a := range reasons {
			if a.fits(f) {
				used[i] = true
				r.Accepted = append(r.Accepted, f)
				return true
			}
		}
		return false
	})
	for i, a := range reasons {
		if !used[i] {
			r.Stale = append(r.Stale, a)
		}
	}
}

func (a Accepted) fits(f Finding) bool {
	return a.Rule == f.Rule && matches(a.Resource, f.Resource) && matches(a.Property, f.Property)
}

func matches(pattern, s string) bool {
	ok, _ := path.Match(pattern, s) // Crawl has checked the patterns
	return pattern == "" || ok
}

func sorted(found []Finding) []Finding {
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Property, b.Property),
			cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(found)
}

func (r *Report) fail(f Finding) { r.Failures = append(r.Failures, f) }
func (r *Report) warn(f Finding) { r.Warnings = append(r.Warnings, f) }
