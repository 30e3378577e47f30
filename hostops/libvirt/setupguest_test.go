//go:build cgo && libvirt_dlopen

package libvirt

import (
	"os"
	"slices"
	"strings"
	"testing"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// TestIntegrationLibvirtFirmwareSetup has real guests with what clients of the BMC set.
func TestIntegrationLibvirtFirmwareSetup(t *testing.T) {
	b := newBench(t)
	s := node(1, 1)
	plug(t, 1, 0)
	s.Machine.VCPUs = 2
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	s.Setup = driver.Setup{Order: []string{"cdrom", "disk0"}, BIOS: map[string]string{driver.BIOSVirtualization: "Disabled", driver.BIOSLogicalProc: "Disabled",
		driver.BIOSSerial: "Disabled", driver.BIOSNetworkBoot: "Disabled", driver.BIOSBootTimeout: "3"}}
	b.ensure(s)
	b.want(s, state.PowerOn, s.Digest())
	if p := b.instance(s).Pending; len(p) != 2 {
		t.Errorf("pending: %q", p)
	}
	b.power(s, state.ActionCycle, "")
	b.want(s, state.PowerOn, s.Digest())
	if p := b.instance(s).Pending; len(p) > 0 {
		t.Errorf("pending after the start: %q", p)
	}
	text := b.srv.Virsh(t, "dumpxml", s.Name)
	v, err := viewOf(text)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.order.Devices, []string{"sda", "vda"}) || v.order.Wait != "3000" || v.hardware.VCPUs != 1 {
		t.Errorf("order %+v, %d processors", v.order, v.hardware.VCPUs)
	}
	args := b.commandLine(text)
	for _, want := range []string{"svm=off", "vmx=off", "splash-time=3000", "menu=on", `"romfile":""`} {
		if !strings.Contains(args, want) {
			t.Errorf("QEMU was not started with %s: %s", want, args)
		}
	}
	// An override holds for a start, and the order after it.
	b.power(s, state.ActionReset, state.BootDisk)
	if v, err = viewOf(b.srv.Virsh(t, "dumpxml", s.Name)); err != nil || !slices.Equal(v.order.Devices, []string{"vda", "sda"}) {
		t.Errorf("with an override: %+v, %v", v.order, err)
	}
	b.power(s, state.ActionOff, "")
	s.Setup, s.Machine.BootMode = driver.Setup{}, state.BootUEFI
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	b.want(s, state.PowerOn, s.Digest())
	if args := b.commandLine(b.srv.Virsh(t, "dumpxml", s.Name)); strings.Contains(args, "vmx=off") || !strings.Contains(args, "VARS") {
		t.Errorf("after all was taken back: %s", args)
	}
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// commandLine is that of the QEMU that runs a domain.
func (b *bench) commandLine(text string) string {
	b.t.Helper()
	_, uuid, _ := strings.Cut(text, "<uuid>")
	uuid, _, _ = strings.Cut(uuid, "</uuid>")
	all, err := os.ReadDir("/proc")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range all {
		args, err := os.ReadFile("/proc/" + p.Name() + "/cmdline")
		// Another run of these tests may have one with the same UUID.
		if err == nil && strings.Contains(string(args), "-uuid\x00"+uuid) && strings.Contains(string(args), b.srv.Dir+"/") {
			return strings.ReplaceAll(string(args), "\x00", " ")
		}
	}
	b.t.Fatalf("no QEMU runs %s", uuid)
	return ""
}
