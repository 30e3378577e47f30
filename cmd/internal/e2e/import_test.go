package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var importedMemory, importedCPUs = regexp.MustCompile(`memory_mb: \d+`), regexp.MustCompile(`vcpus: \d+`)

// TestIntegrationImportedOverrideFilesApply: the files of the workshop that uses the Ansible
// tool, side by side as there, on guests with less memory and one CPU.
func TestIntegrationImportedOverrideFilesApply(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	h.run("sh", "-c", "ip link add braio type bridge && ip link set braio up")
	total := 0
	for i, name := range []string{"tenks", "tenks-compute", "tenks-storage"} {
		data, err := os.ReadFile(filepath.Join("../ansible/testdata", name, "override.yml"))
		if err != nil {
			t.Fatal(err)
		}
		text := importedCPUs.ReplaceAllString(importedMemory.ReplaceAllString(string(data), "memory_mb: 128"), "vcpus: 1")
		text = strings.ReplaceAll(text, "192.168.33.4", "127.0.0.1") // of the lab's own host
		file, agents := filepath.Join(h.Dir(), name+".cluster.yml"), filepath.Join(h.Dir(), "agents-"+name)
		h.tenks("import", h.write(name+".yml", text), "-o", file, "--agent-files", agents, "--localhost", "hv1", "--cluster", name)
		if i == 0 {
			h.init("name: hv1\nadvertise: 127.0.0.1\n" + strings.Replace(h.run("cat", filepath.Join(agents, "localhost.yml")), "6230-6240", "6230-6250", 1))
		}
		t.Logf("apply %s:\n%s", name, h.tenks("apply", "-f", file, "--wait=2m"))
		total += map[string]int{"tenks": 3, "tenks-compute": 2, "tenks-storage": 3}[name]
		if out := h.tenks("apply", "-f", file); !strings.Contains(out, "create 0, change 0, remove 0") {
			t.Errorf("%s a second time:\n%s", name, out)
		}
	}
	h.waitReady(total, time.Minute)
	n := h.node("controller0")
	if status, err := h.ipmi(n, "power", "status"); err != nil || !strings.Contains(status, "is off") {
		t.Errorf("%s: %v %s", n.Name, err, status)
	}
}
