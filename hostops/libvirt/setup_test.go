package libvirt

import (
	"slices"
	"testing"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func TestOrderOfASetup(t *testing.T) {
	const nic0, nic1 = "52:54:00:00:00:01", "52:54:00:00:00:02"
	order := []string{"nic1", "disk1", "cdrom", "nic1", "disk9", "floppy"}
	for _, c := range []struct {
		name   string
		device state.BootDevice
		setup  driver.Setup
		want   []string
		wait   string
	}{
		{"an order", state.BootNone, driver.Setup{Order: order}, []string{nic1, "vdb", "sda", "vda", nic0}, ""},
		{"under an override", state.BootDisk, driver.Setup{Order: order}, []string{"vdb", "vda", nic1, "sda", nic0}, ""},
		{"of another kind", state.BootPXE, driver.Setup{Order: order}, []string{nic1, nic0, "vdb", "sda", "vda"}, ""},
		{"no network", state.BootPXE, driver.Setup{BIOS: map[string]string{driver.BIOSNetworkBoot: "Disabled"}}, []string{"vda", "vdb", "sda"}, ""},
		{"a menu", state.BootNone, driver.Setup{BIOS: map[string]string{driver.BIOSBootTimeout: "7"}}, []string{"vda", "vdb", nic0, nic1, "sda"}, "7000"},
		{"a long one", state.BootNone, driver.Setup{BIOS: map[string]string{driver.BIOSBootTimeout: "300"}}, []string{"vda", "vdb", nic0, nic1, "sda"}, "59000"},
		{"none", state.BootNone, driver.Setup{BIOS: map[string]string{driver.BIOSBootTimeout: "0"}}, []string{"vda", "vdb", nic0, nic1, "sda"}, ""},
		{"one that was asked for", state.BootSetup, driver.Setup{BIOS: map[string]string{driver.BIOSBootTimeout: "7"}}, []string{"vda", "vdb", nic0, nic1, "sda"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := spec()
			s.Setup, s.Boot.Device = c.setup, c.device
			got := getOrder(build(t, blueprintOf(s), nil))
			if !slices.Equal(got.Devices, c.want) || got.Wait != c.wait || got.Menu != (c.device == state.BootSetup) {
				t.Errorf("got %+v, want %v, %q", got, c.want, c.wait)
			}
		})
	}
}

// TestSetupIsReadBack reads what attributes made of a domain, and nothing of one that they
// do not concern: the fingerprints of such domains are as they were.
func TestSetupIsReadBack(t *testing.T) {
	s := spec()
	plain := hardwareOf(build(t, blueprintOf(s), nil))
	if len(plain.Setup) > 0 {
		t.Errorf("as it was declared: %q", plain.Setup)
	}
	s.Setup.BIOS = map[string]string{driver.BIOSVirtualization: "Disabled", driver.BIOSSerial: "Disabled", driver.BIOSNetworkBoot: "Disabled", driver.BIOSLogicalProc: "Disabled"}
	now := hardwareOf(build(t, blueprintOf(s), nil))
	want := []string{"no svm", "no vmx", "firmware without a serial console", "NIC 0 without a ROM", "NIC 1 without a ROM"}
	if !slices.Equal(now.Setup, want) || now.VCPUs != 1 {
		t.Errorf("got %q and %d processors, want %q and 1", now.Setup, now.VCPUs, want)
	}
	if got := pending(plain, now); len(got) != 2 {
		t.Errorf("pending: %q", got)
	}
}

// TestProcessorsWithoutVirtualization holds that guests under TCG have no wide addresses
// then, which QEMU cannot describe to them.
func TestProcessorsWithoutVirtualization(t *testing.T) {
	for kind, want := range map[string][]string{domainKVM: {"svm", "vmx"}, domainQEMU: {"svm", "vmx", "la57"}} {
		b := blueprintOf(spec())
		b.DomainType, b.Spec.Setup.BIOS = kind, map[string]string{driver.BIOSVirtualization: "Disabled"}
		var off []string
		for _, f := range build(t, b, nil).CPU.Features {
			if f.Policy == "disable" {
				off = append(off, f.Name)
			}
		}
		if !slices.Equal(off, want) {
			t.Errorf("%s: without %q, want %q", kind, off, want)
		}
	}
}
