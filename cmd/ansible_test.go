package cmd_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// bugs is how many there are in docs/from-ansible.md.
const bugs = 24

var (
	bugRow   = regexp.MustCompile(`(?m)^\| B-([0-9]+) \| [^|]+ \| ([^|]+) \|$`)
	testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
)

func TestEveryBugOfTheAnsibleToolHasItsTestOrItsReason(t *testing.T) {
	tests := map[string]bool{}
	for _, file := range files(t) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range testFunc.FindAllStringSubmatch(text(t, file), -1) {
			tests[m[1]] = true
		}
	}
	seen := map[string]bool{}
	for _, row := range bugRow.FindAllStringSubmatch(text(t, "docs/from-ansible.md"), -1) {
		bug, here := "B-"+row[1], row[2]
		if seen[bug] {
			t.Errorf("%s is there twice", bug)
		}
		seen[bug] = true
		names := testName.FindAllStringSubmatch(here, -1)
		if len(names) == 0 && len(strings.Fields(here)) < 5 {
			t.Errorf("%s has neither a test nor a reason: %q", bug, here)
		}
		for _, name := range names {
			if !tests[name[1]] {
				t.Errorf("%s: there is no test %s", bug, name[1])
			}
		}
	}
	for n := range bugs {
		if bug := fmt.Sprintf("B-%d", n+1); !seen[bug] {
			t.Errorf("%s is not in docs/from-ansible.md", bug)
		}
	}
	// One that is named for a bug is in the list.
	listed := text(t, "docs/from-ansible.md")
	named := regexp.MustCompile(`^TestB[0-9]+[A-Z]`)
	for name := range tests {
		if named.MatchString(name) && !strings.Contains(listed, "`"+name+"`") {
			t.Errorf("%s is in no row of docs/from-ansible.md", name)
		}
	}
}
