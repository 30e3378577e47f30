package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnInventoryIsReadThroughLinks(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "real")
	if err := os.MkdirAll(filepath.Join(target, "vars"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"hosts": "[libvirt]\nhv1\n", "vars/all.yml": "bridge_type: linuxbridge\n"} {
		if err := os.WriteFile(filepath.Join(target, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"linked": "real", "real/group_vars": "vars", "real/nowhere": "gone"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := inventoryFiles(filepath.Join(dir, "linked"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "group_vars/all.yml hosts vars/all.yml" {
		t.Errorf("read %q", got)
	}
	if err := os.Symlink("..", filepath.Join(target, "vars", "back")); err != nil {
		t.Fatal(err)
	}
	if _, err := inventoryFiles(target); err == nil || !strings.Contains(err.Error(), "does a link lead back?") {
		t.Errorf("a circle: %v", err)
	}
}
