package security

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tenks/cluster/transport"
)

// protocols are those that package transport has and a caller can name, read from its
// source: a new one is attacked like the others from the day it is there. Bootstrap is what
// callers for the API get who show no certificate; nobody can ask for it.
func protocols(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../../cluster/transport/transport.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST || !strings.HasPrefix(g.Doc.Text(), "The protocols") {
			continue
		}
		ast.Inspect(g, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				text, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Error(err)
				}
				out = append(out, text)
			}
			return true
		})
	}
	for _, p := range []string{transport.Raft, transport.API, transport.Join, transport.Feed, transport.RPC} {
		if !slices.Contains(out, p) {
			t.Fatalf("%q is not among the protocols found, %q: the test reads the source wrongly", p, out)
		}
	}
	return slices.DeleteFunc(out, func(p string) bool { return p == transport.Bootstrap })
}
