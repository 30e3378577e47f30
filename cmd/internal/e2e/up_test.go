package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIntegrationUpGivesTwoNodesWhoseBMCsWorkAndDownLeavesNothing(t *testing.T) {
	h := newHost(t)
	before := h.traces()

	out := h.tenks("up")
	t.Logf("tenks up:\n%s", out)
	line := regexp.MustCompile(`ipmitool (-I lanplus .*) power on`).FindStringSubmatch(out)
	if line == nil {
		t.Fatal("up does not print an ipmitool line")
	}
	args := strings.Fields(line[1])
	t.Logf("%s", h.run("ipmitool", append(args, "power", "on")...))
	// A BMC answers before QEMU runs, where that takes long.
	h.wait(20*time.Second, "the power to be on", func() bool {
		return h.run("ipmitool", append(args, "power", "status")...) == "Chassis Power is on\n"
	})
	running := 0
	for name, id := range h.domains() {
		if id != "-" {
			running++
			t.Logf("domain %s runs with ID %s", name, id)
		}
	}
	if running != 1 || len(h.domains()) != 2 {
		t.Errorf("domains %v, want two, one of them running", h.domains())
	}
	out = h.tenks("up") // again: nothing to do
	if !strings.Contains(out, "create 0, change 0, remove 0, unchanged 2") {
		t.Errorf("a second up:\n%s", out)
	}
	console := h.Path(dataDir + "/console/" + h.nodes()[0].Name + ".log")
	h.wait(60*time.Second, "the firmware to write to the serial console", func() bool { return size(console) > 0 })

	t.Logf("tenks down:\n%s", h.tenks("down"))
	if diff := cmp.Diff(before, h.traces()); diff != "" {
		t.Errorf("down left something (-before +after):\n%s", diff)
	}
	if out := h.tenks("down"); !strings.Contains(out, "nothing is up") {
		t.Errorf("a second down: %s", out)
	}
}
