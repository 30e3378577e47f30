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
