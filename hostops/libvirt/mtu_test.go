//go:build cgo && libvirt_dlopen

package libvirt

import (
	"os/exec"
	"strings"
	"testing"

	"tenks/raftfsm/state"
)

// TestIntegrationLibvirtGuestIsToldTheMTUOfItsNICs looks at what QEMU was started with.
func TestIntegrationLibvirtGuestIsToldTheMTUOfItsNICs(t *testing.T) {
	b := newBench(t)
	s := node(1, 2)
	plug(t, 1, 0)
	plug(t, 1, 1)
	for _, end := range []string{"tk1-1-tap", "tk1-1-br"} {
		if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", end, "mtu", "1450").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	text := b.srv.Virsh(t, "dumpxml", s.Name)
	if args := b.commandLine(text); strings.Contains(args, mtuProperty) {
		t.Errorf("QEMU was told of an MTU that is the usual one: %s", args)
	}
	s.Ports[1].MTU = 1450
	b.ensure(s)
	if p := b.instance(s).Pending; len(p) != 1 || p[0] != "NIC 1 (52:54:00:00:01:01): MTU 1500 → 1450" {
		t.Errorf("pending: %q", p)
	}
	b.power(s, state.ActionCycle, "")
	if i := b.instance(s); len(i.Pending) > 0 || i.Digest != s.Digest() {
		t.Errorf("after the start: %+v", i)
	}
	text = b.srv.Virsh(t, "dumpxml", s.Name)
	args := b.commandLine(text)
	if !strings.Contains(args, `"host_mtu":1450`) || strings.Count(args, mtuProperty) != 1 {
		t.Errorf("QEMU was not told of the MTU of NIC 1 only: %s", args)
	}
	v, err := viewOf(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ip", "-o", "link", "show", v.taps[1]).CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), " mtu 1450 ") {
		t.Errorf("the guest's end of the link: %s, %v", out, err)
	}
}
