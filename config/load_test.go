package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A bad file begins with the faults that are expected of it, one comment each:
//
//	# want: line 7: node_types.compute.memory_mb: want a whole number, …
//
// UPDATE=1 go test writes them anew; read the diff.
const wantMark = "# want: "

func wants(data []byte) (out []string) {
	for text := range strings.Lines(string(data)) {
		want, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), wantMark)
		if !ok {
			return out
		}
		out = append(out, want)
	}
	return out
}

func withoutWants(data []byte) []byte {
	for bytes.HasPrefix(data, []byte(wantMark)) {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	return data
}

// got returns the faults of an error as a bad file writes them down.
func got(t *testing.T, file string, err error) (out []string) {
	t.Helper()
	var faults Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("%s: error %v, want Faults", file, err)
	}
	for _, f := range faults {
		if f.File != file {
			t.Errorf("%s: fault says file %q", file, f.File)
		}
		out = append(out, fmt.Sprintf("line %d: %s", f.Line, strings.TrimPrefix(f.String(), fmt.Sprintf("%s:%d: ", f.File, f.Line))))
	}
	return out
}

func checkBadFiles(t *testing.T, glob string, least int, load func(string, []byte) error) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) < least {
		t.Fatalf("%s: %d files, error %v, want at least %d", glob, len(files), err, least)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			file := filepath.Base(path)
			data := readFile(t, path)
			if os.Getenv("UPDATE") == "1" {
				data = update(t, path, data, load)
			}
			want := wants(data)
			if len(want) == 0 {
				t.Fatalf("%s does not begin with %q", file, wantMark)
			}
			if diff := cmp.Diff(want, got(t, file, load(file, data))); diff != "" {
				t.Errorf("faults of %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// update rewrites the head of a bad file. Its own length moves the lines, so it is
// done twice.
func update(t *testing.T, path string, data []byte, load func(string, []byte) error) []byte {
	t.Helper()
	for range 2 {
		var head strings.Builder
		for _, g := range got(t, filepath.Base(path), load(filepath.Base(path), data)) {
			head.WriteString(wantMark + g + "\n")
		}
		data = append([]byte(head.String()), withoutWants(data)...)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return data
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLoadClusterNamesLineAndKeyOfEveryFault(t *testing.T) {
	checkBadFiles(t, "testdata/cluster.*.bad.yml", 40, func(file string, data []byte) error {
		c, err := LoadCluster(file, data)
		if diff := cmp.Diff(Cluster{}, c); diff != "" {
			t.Errorf("%s: a value beside the error (-want +got):\n%s", file, diff)
		}
		return err
	})
}

func TestLoadAgentNamesLineAndKeyOfEveryFault(t *testing.T) {
	checkBadFiles(t, "testdata/agent.*.bad.yml", 12, func(file string, data []byte) error {
		a, err := LoadAgent(file, data)
		if diff := cmp.Diff(Agent{}, a); diff != "" {
			t.Errorf("%s: a value beside the error (-want +got):\n%s", file, diff)
		}
		return err
	})
}

func TestFaultsDoNotShowSecrets(t *testing.T) {
	files, _ := filepath.Glob("testdata/cluster.*.bad.yml")
	checked := 0
	for _, path := range files {
		data := withoutWants(readFile(t, path))
		if !bytes.Contains(data, []byte("hunter2")) {
			continue
		}
		checked++
		if _, err := LoadCluster(path, data); strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %q shows the password", path, err)
		}
	}
	if checked < 3 {
		t.Errorf("%d files hold a password, want at least 3", checked)
	}
}

func TestErrorHasALinePerFault(t *testing.T) {
	_, err := LoadCluster("demo.yml", []byte("cluster: demo\nspec: []\nbmc: 3\n"))
	want := "demo.yml:2: spec: unknown key: did you mean specs?\n" +
		"demo.yml:3: bmc: want a mapping, found the number 3"
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

func TestLoadRefusesWhatIsTooLarge(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"file", "cluster: demo\n#" + strings.Repeat("x", 4<<20), "f:1: the file has 4194319 bytes: at most 4194304 are read"},
		{"values", "cluster: demo\nspecs: [" + strings.Repeat("0,", 210_000) + "]", "f:2: specs: more than 200000 values, counting aliased ones each time"},
		{"types", "cluster: demo\nnode_types: {" + numbered(1001, "t%d: {memory_mb: 16, vcpus: 1}, ") + "}", "f:2: node_types: 1001 keys: at most 1000"},
		{"specs", "cluster: demo\nspecs: [" + numbered(1001, "{type: a, count: %d}, ") + "]", "f:2: specs: 1001 items: at most 1000"},
	} {
		_, err := LoadCluster("f", []byte(tt.data))
		if err == nil || err.Error() != tt.want {
			t.Errorf("too large %s: error %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestLoadShowsABoundedNumberOfFaults(t *testing.T) {
	_, err := LoadCluster("f", []byte("cluster: demo\nspecs: 3\n"+numbered(5000, "k%d: 1\n")))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != maxFaults+1 {
		t.Fatalf("%d faults, want %d", len(faults), maxFaults+1)
	}
	want := Fault{File: "f", Line: maxFaults + 2, Message: "more than 1000 faults: the rest is not shown"}
	if last := faults[maxFaults]; last != want {
		t.Errorf("last fault %v, want %v", last, want)
	}
}

func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
