// Package cmd_test holds the rules that the whole tree obeys: who imports whom, and
// which notes are where. It reads the files itself: the result of a test that runs
// go list would be cached although the files it is about have changed.
package cmd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the first part of our import paths.
const module = "tenks/"

// tops are the folders that hold Go packages.
var tops = []string{"bmc", "cluster", "cmd", "config", "hostops", "ironic", "raftfsm", "sched"}

// mayImport has, for the packages at and below a folder, what they may import of
// ours besides packages at and below that same folder: the longest folder counts.
// The packages named are allowed, not those below them.
var mayImport = map[string][]string{
	"config":            nil,
	"cluster":           nil,
	"raftfsm/state":     nil,
	"raftfsm":           {"raftfsm/state"},
	"raftfsm/reconcile": {"raftfsm/state"},
	"sched":             {"raftfsm/state", "raftfsm/reconcile"},
	"hostops":           {"raftfsm/state", "raftfsm/reconcile"},
	"bmc":               {"raftfsm/state", "raftfsm/reconcile"},
	"ironic":            {"raftfsm/state", "raftfsm/reconcile"},
}

// onlyIn has the folders in which a module of others may be imported; its types
// stop there. A test is what makes the other side of the wire, and may be anywhere.
var onlyIn = map[string][]string{
	"libvirt.org/":                    {"hostops/libvirt", "cmd/tenks-libvirt", "cmd/internal/e2e"},
	"github.com/vishvananda/":         {"hostops/link", "hostops/nettest", "bmc/address", "cmd/internal/lab", "cmd/internal/e2e"},
	"github.com/ovn-kubernetes/":      {"hostops/ovs"},
	"github.com/hashicorp/raft":       {"raftfsm", "cluster"},
	"github.com/hashicorp/memberlist": {"cluster/gossip"},
	"github.com/hashicorp/go-memdb":   {"raftfsm/state"},
	"github.com/gophercloud/":         {"ironic", "hostops/openstack", "cmd/internal/e2e"},
	"github.com/bougou/go-ipmi":       {"bmc/ipmi", "cmd/internal/e2e"},
	"github.com/stmcginnis/gofish":    {"bmc/redfish/clients"},
	"github.com/spf13/cobra":          {"cmd"},
}

// maxLines is how long a file may be that people write and that is no test.
const maxLines = 500

// source is a Go file.
type source struct {
	path string // from the top of the tree, with slashes
	test bool
	// generated is whether a program wrote it.
	generated bool
	pkg       string
	doc       string
	imports   []string
	inits     bool
	lines     int
}

func (s source) folder() string { return path.Dir(s.path) }

// sources returns the Go files of the tree.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	for _, file := range files(t) {
		if strings.HasSuffix(file, ".go") {
			out = append(out, parse(t, file))
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %d Go files found: the tests are blind", len(out))
	}
	return out
}

// files returns the files of the tree that git would track.
func files(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(file, "../"))
		switch {
		case d.IsDir() && slices.Contains([]string{".git", "bin", ".bin", ".bench", "cmd/internal/drivers/bin"}, rel):
			return filepath.SkipDir
		case d.Type().IsRegular():
			out = append(out, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func parse(t *testing.T, file string) source {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	s := source{path: file, test: strings.HasSuffix(file, "_test.go"), generated: ast.IsGenerated(f),
		pkg: f.Name.Name, doc: f.Doc.Text(), lines: strings.Count(string(text), "\n")}
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		s.imports = append(s.imports, name)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			s.inits = true
		}
	}
	return s
}

// within says whether folder is, or is below, one of roots.
func within(folder string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return folder == root || strings.HasPrefix(folder, root+"/")
	})
}

// allowed says whether a package in folder may import the package of ours in other.
// A test may, besides, import a package that holds only helpers for tests.
func allowed(folder, other string, test bool) bool {
	if within(folder, "cmd") {
		return true
	}
	if within(other, "cmd") {
		return false
	}
	if test && strings.HasSuffix(other, "test") && within(other, folder, path.Dir(folder)) {
		return true
	}
	for root := folder; root != "."; root = path.Dir(root) {
		if may, ok := mayImport[root]; ok {
			return within(other, root) || slices.Contains(may, other)
		}
	}
	return false
}

func TestImportsFollowTheTable(t *testing.T) {
	for _, s := range sources(t) {
		for _, i := range s.imports {
			if other, ours := strings.CutPrefix(i, module); ours && !allowed(s.folder(), other, s.test) {
				t.Errorf("%s imports %s, which %s may not (see CONTRIBUTING.md)", s.path, i, s.folder())
			}
		}
	}
}

func TestTheTableItself(t *testing.T) {
	tests := []struct {
		folder, other string
		want          bool
	}{
		{"hostops/libvirt", "hostops/driver", true},
		{"hostops/libvirt", "raftfsm/state", true},
		{"hostops", "raftfsm", false},
		{"hostops", "bmc", false},
		{"bmc/ipmi", "hostops/driver", false},
		{"raftfsm", "raftfsm/state", true},
		{"raftfsm/reconcile", "raftfsm", false},
		{"raftfsm/state", "raftfsm", false},
		{"cluster", "raftfsm/state", false},
		{"sched", "config", false},
		{"config", "raftfsm/state", false},
		{"cmd/tenks", "config", true},
		{"ironic", "cmd/internal/api", false},
	}
	for _, tt := range tests {
		if got := allowed(tt.folder, tt.other, false); got != tt.want {
			t.Errorf("allowed(%s, %s) = %v, want %v", tt.folder, tt.other, got, tt.want)
		}
	}
}

func TestTypesOfOthersStayInTheirPackage(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, i := range s.imports {
			for prefix, folders := range onlyIn {
				if strings.HasPrefix(i, prefix) && !within(s.folder(), folders...) {
					t.Errorf("%s imports %s, which belongs in %v", s.path, i, folders)
				}
			}
		}
	}
}

func TestGoFilesAreInTheFixedFolders(t *testing.T) {
	for _, s := range sources(t) {
		if top, _, _ := strings.Cut(s.path, "/"); !slices.Contains(tops, top) {
			t.Errorf("%s is in none of %v", s.path, tops)
		}
	}
}

func TestEachPackageHasOneDocComment(t *testing.T) {
	docs := map[string][]string{}
	for _, s := range sources(t) {
		if s.test || s.generated {
			continue
		}
		found := docs[s.folder()]
		if s.doc == "" {
			docs[s.folder()] = found
			continue
		}
		docs[s.folder()] = append(found, s.path)
		start := "Package " + s.pkg + " "
		if s.pkg == "main" {
			start = "Command " + path.Base(s.folder()) + " "
		}
		if !strings.HasPrefix(s.doc, start) {
			t.Errorf("%s: the package comment does not start with %q", s.path, start)
		}
	}
	for folder, in := range docs {
		if len(in) != 1 {
			t.Errorf("%s has %d package comments, want one: %v", folder, len(in), in)
		}
	}
}

func TestEachPartHasItsDesign(t *testing.T) {
	for _, top := range tops {
		if top == "cmd" {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", top, "DESIGN.md")); err != nil {
			t.Errorf("%s has no DESIGN.md: %v", top, err)
		}
	}
}

func TestNothingHappensOnImport(t *testing.T) {
	for _, s := range sources(t) {
		if s.inits && !s.generated {
			t.Errorf("%s has an init function", s.path)
		}
	}
}

func TestFilesAreOfReadableLength(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test && !s.generated && s.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d: look for the second noun", s.path, s.lines, maxLines)
		}
	}
}
