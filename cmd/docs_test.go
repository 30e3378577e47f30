package cmd_test

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// text returns a file's text, or nothing for a binary one.
func text(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return ""
	}
	return string(b)
}

func TestNoFileNamesTheMachineItWasWrittenOn(t *testing.T) {
	// Not written as one word, which this test would find.
	machine := []string{"/" + "work/main", "/" + "work/shared", "/" + "root/go/"}
	for _, file := range files(t) {
		for n, line := range strings.Split(text(t, file), "\n") {
			for _, word := range machine {
				if strings.Contains(line, word) {
					t.Errorf("%s:%d names %s", file, n+1, word)
				}
			}
		}
	}
}

// link is a Markdown link's target.
var link = regexp.MustCompile(`\]\(([^)\s#]+)(?:#[^)]*)?\)`)

func TestLinksBetweenNotesResolve(t *testing.T) {
	checked := 0
	for _, file := range files(t) {
		if !strings.HasSuffix(file, ".md") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(text(t, file), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			target := path.Join(path.Dir(file), m[1])
			if _, err := os.Stat(filepath.Join("..", target)); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			}
		}
	}
	if checked == 0 {
		t.Error("no link found")
	}
}

func TestEveryMakeTargetThatIsNamedExists(t *testing.T) {
	named := regexp.MustCompile("`make ([a-z]+)")
	for _, file := range []string{"README.md", "CONTRIBUTING.md"} {
		for _, m := range named.FindAllStringSubmatch(text(t, file), -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(text(t, "Makefile")) {
				t.Errorf("%s names make %s, which the Makefile has not", file, m[1])
			}
		}
	}
}
