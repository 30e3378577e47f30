package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAConsoleLogIsRotatedAndBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n.log")
	writer, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // as virtlogd has it
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	say := func(text string) {
		t.Helper()
		if _, err := writer.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := boundLog(path, 10, 2); err != nil {
			t.Fatal(err)
		}
	}
	want := func(files ...string) {
		t.Helper()
		all, _ := filepath.Glob(path + "*")
		if len(all) != len(files) {
			t.Errorf("files %v, want %d", all, len(files))
		}
		for i, text := range files {
			name := path
			if i > 0 {
				name += "." + string(rune('0'+i-1))
			}
			if b, err := os.ReadFile(name); err != nil || string(b) != text {
				t.Errorf("%s has %q, %v, want %q", filepath.Base(name), b, err, text)
			}
		}
	}
	say("short")
	want("short")
	say(strings.Repeat("a", 20))
	want("", "short"+strings.Repeat("a", 20))
	say("after the cut")
	want("", "after the cut", "short"+strings.Repeat("a", 20))
	say("third is too long")
	want("", "third is too long", "after the cut")
	if err := boundLog(filepath.Join(t.TempDir(), "none.log"), 10, 2); err != nil {
		t.Errorf("without a file: %v", err)
	}
}
