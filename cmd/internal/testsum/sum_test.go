package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Each testdata/*.json is what a real `go test -json` printed; the .txt beside it
// is what testsum makes of it. UPDATE=1 rewrites those.
func TestSumOfRecordedRuns(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.json")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("testdata: %v, %v", inputs, err)
	}
	for _, input := range inputs {
		t.Run(filepath.Base(input), func(t *testing.T) {
			f, err := os.Open(input)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var out strings.Builder
			s := newSum(&out, time.Second, regexp.MustCompile("Shown"))
			if err := s.read(f); err != nil {
				t.Fatal(err)
			}
			if s.close() {
				out.WriteString("exit 0\n")
			} else {
				out.WriteString("exit 1\n")
			}
			golden := strings.TrimSuffix(input, "json") + "txt"
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

func TestReasonOfASkip(t *testing.T) {
	tests := []struct{ name, output, want string }{
		{"one line", "=== RUN   TestX\n    x_test.go:9: needs root\n--- SKIP: TestX (0.00s)\n", "needs root"},
		{"the last of several", "    x_test.go:9: first\n    x_test.go:10: second\n", "second"},
		{"several lines", "    x_test.go:9: needs:\n        libvirt\n        qemu\n", "needs: libvirt qemu"},
		{"none", "=== RUN   TestX\n--- SKIP: TestX (0.00s)\n", "no reason given"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := reason(tt.output); got != tt.want {
				t.Errorf("reason(%q) = %q, want %q", tt.output, got, tt.want)
			}
		})
	}
}

func TestOnlyWhatIsWorthReadingOfAPassedTestIsShown(t *testing.T) {
	tests := []struct{ name, output, want string }{
		{"TestX", "=== RUN   TestX\n=== PAUSE TestX\n--- PASS: TestX (0.01s)\n", "--- PASS: TestX (0.01s)\n"},
		{"TestX", "=== RUN   TestX\n    x_test.go:9: 3 nodes/s\n--- PASS: TestX (0.01s)\n",
			"    x_test.go:9: 3 nodes/s\n--- PASS: TestX (0.01s)\n"},
		{"TestX/a", "=== RUN   TestX/a\n    --- PASS: TestX/a (0.01s)\n", ""},
		{"TestX/a", "=== RUN   TestX/a\n    x_test.go:9: 7 ms\n    --- PASS: TestX/a (0.01s)\n",
			"    x_test.go:9: 7 ms\n    --- PASS: TestX/a (0.01s)\n"},
	}
	for _, tt := range tests {
		if got := shown(tt.name, tt.output); got != tt.want {
			t.Errorf("shown(%s, %q) = %q, want %q", tt.name, tt.output, got, tt.want)
		}
	}
}

func TestASkipThatIsNotAllowedFails(t *testing.T) {
	const run = `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: this kernel has no VLANs\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:12: no libvirtd on this machine\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"pass","Package":"p","Test":"TestD"}
{"Action":"pass","Package":"p"}
`
	tests := []struct {
		name, skips, want string
		ok                bool
	}{
		{"no file", "-", "\nSkipped:\n  p TestA: this kernel has no VLANs\n  p TestB: no libvirtd on this machine\n  p TestC: no reason given\n\n1 passed, 0 failed, 3 skipped\n", true},
		{"some", "# not here\n\n: this kernel has no VLANs$\np TestC: no reason given\n",
			"\nSkipped:\n  p TestA: this kernel has no VLANs\n\nSkipped, but must run here, and so failed:\n" +
				"  p TestB: no libvirtd on this machine\n  p TestC: no reason given\n\n1 passed, 2 failed, 1 skipped\n", false},
		{"nothing", "", "\nSkipped, but must run here, and so failed:\n  p TestA: this kernel has no VLANs\n" +
			"  p TestB: no libvirtd on this machine\n  p TestC: no reason given\n\n1 passed, 3 failed, 0 skipped\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := ""
			if tt.skips != "-" {
				file = filepath.Join(t.TempDir(), "skips")
				if err := os.WriteFile(file, []byte(tt.skips), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var out strings.Builder
			s := newSum(&out, time.Second, regexp.MustCompile("^$"))
			var err error
			if s.may, err = readSkips(file); err != nil {
				t.Fatal(err)
			}
			if err := s.read(strings.NewReader(run)); err != nil {
				t.Fatal(err)
			}
			if ok := s.close(); ok != tt.ok {
				t.Errorf("all is well: %v, want %v", ok, tt.ok)
			}
			_, got, _ := strings.Cut(out.String(), "\n")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAFileOfSkipsThatCannotBeReadIsNamedWithItsLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skips")
	if err := os.WriteFile(file, []byte("# one\n(\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readSkips(file); err == nil || !strings.Contains(err.Error(), file+":2: ") {
		t.Errorf("got %v, want an error with %s:2", err, file)
	}
}

// A line of .ci/skips that says nothing of the reason would allow a test to be skipped for
// ever.
func TestTheSkipsOfCIAreRead(t *testing.T) {
	may, err := readSkips("../../../.ci/skips")
	if err != nil || len(may) == 0 {
		t.Fatalf("%d lines, %v", len(may), err)
	}
	for _, r := range may {
		if !strings.Contains(r.String(), ": ") {
			t.Errorf("%q names no reason", r)
		}
		for _, lie := range []string{"tenks/cmd/internal/e2e TestIntegrationX: no lab: no libvirtd on this machine",
			"tenks/cmd/internal/e2e TestIntegrationX: no Ironic for tests: no ironic (cmd/internal/e2e/install.sh ironic installs it)",
			"tenks/hostops TestIntegrationX: no ovs-vswitchd on this machine", "tenks/bmc/ipmi TestIntegrationX: ipmitool is not installed"} {
			if r.MatchString(lie) {
				t.Errorf("%q allows %q", r, lie)
			}
		}
	}
}
