package libvirt

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func spec() driver.Spec {
	return driver.Spec{
		UUID: "11111111-2222-3333-4444-555555555555", Name: "tk0", Epoch: 7,
		Machine: state.Machine{Driver: "libvirt", MemoryMB: 512, VCPUs: 2, BootMode: state.BootBIOS,
			Volumes: []state.Volume{{CapacityBytes: 1 << 30}, {CapacityBytes: 2 << 30, Image: "/images/a.qcow2"}}},
		Ports: []driver.Port{{MAC: "52:54:00:00:00:01", Physnet: "p0", Link: "p-tk0-0-tap"}, {MAC: "52:54:00:00:00:02", Physnet: "p1", Link: "p-tk0-1-tap"}},
	}
}

func blueprintOf(s driver.Spec) blueprint {
	return blueprint{Mesh: "mesh-1", Spec: s, DomainType: domainQEMU, Volumes: volumesOf("/pool", s),
		Firmware: firmware{Code: "/fw/CODE.fd", Vars: "/fw/VARS.fd"}, NVRAM: "/pool/tk0_VARS.fd", ConsoleLog: consoleLog("/console", s.Name)}
}

func build(t *testing.T, b blueprint, old *libvirtxml.Domain) *libvirtxml.Domain {
	t.Helper()
	d, err := b.build(old)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDomainXML(t *testing.T) {
	uefi := spec()
	uefi.Machine.BootMode = state.BootUEFI
	pxe := spec()
	pxe.Boot.Device = state.BootPXE
	setup := spec()
	setup.Boot.Device = state.BootSetup
	bare := spec()
	bare.Machine.Volumes, bare.Ports = nil, nil
	changed := spec()
	changed.Setup = driver.Setup{Order: []string{"nic1", "disk1", "nic0"}, Volumes: []driver.RAIDVolume{{ID: "3", Level: "0", Disks: []int{0}, CapacityBytes: 1 << 20, Serial: "0123456789", Made: 1}},
		BIOS: map[string]string{driver.BIOSVirtualization: "Disabled", driver.BIOSLogicalProc: "Disabled", driver.BIOSSerial: "Disabled", driver.BIOSBootTimeout: "7"}}
	jumbo := spec()
	jumbo.Ports[1].MTU = 9000
	nvme := spec()
	nvme.Machine.Volumes = []state.Volume{{CapacityBytes: 1 << 30, Bus: "nvme"}, {CapacityBytes: 2 << 30}, {CapacityBytes: 3 << 30, Bus: "nvme", Serial: "S-1"}}
	kvm := blueprintOf(spec())
	kvm.DomainType = domainKVM
	for name, b := range map[string]blueprint{"bios": blueprintOf(spec()), "uefi": blueprintOf(uefi), "pxe": blueprintOf(pxe),
		"setup": blueprintOf(setup), "changed": blueprintOf(changed), "bare": blueprintOf(bare), "kvm": kvm, "mtu": blueprintOf(jumbo), "nvme": blueprintOf(nvme)} {
		t.Run(name, func(t *testing.T) {
			got, err := build(t, b, nil).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".xml"), got+"\n")
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (UPDATE=1 writes it anew; -file +now):\n%s", file, d)
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	b := blueprintOf(spec())
	text, err := build(t, b, nil).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	v, err := viewOf(text)
	if err != nil {
		t.Fatal(err)
	}
	if !v.ours || v.mark.Mesh != "mesh-1" || v.mark.Epoch != 7 || v.mark.Digest != b.Spec.Digest() {
		t.Errorf("mark: %+v (ours %t)", v.mark, v.ours)
	}
	if v.mark.Hardware != v.hardware.fingerprint() {
		t.Error("a domain as it was defined counts as changed")
	}
	changed, err := viewOf(strings.Replace(text, ">524288<", ">524287<", 1))
	if err != nil {
		t.Fatal(err)
	}
	if changed.mark.Hardware == changed.hardware.fingerprint() {
		t.Error("changed memory goes unnoticed")
	}
}

func TestBootOrder(t *testing.T) {
	nics := []string{"52:54:00:00:00:01", "52:54:00:00:00:02"}
	disks, cd, usb := []string{"vda", "vdb"}, []string{"sda"}, []string{"sdb"}
	for _, c := range []struct {
		device state.BootDevice
		want   []string
		menu   bool
	}{
		{state.BootNone, slices.Concat(disks, nics, cd), false},
		{state.BootDisk, slices.Concat(disks, nics, cd), false},
		{state.BootSafe, slices.Concat(disks, nics, cd), false},
		{state.BootPXE, slices.Concat(nics, disks, cd), false},
		{state.BootCDROM, slices.Concat(cd, disks, nics), false},
		{state.BootSetup, slices.Concat(disks, nics, cd), true},
	} {
		t.Run("device "+string(c.device), func(t *testing.T) {
			d := build(t, blueprintOf(spec()), nil)
			setOrder(d, orderOf(d, state.Boot{Device: c.device}, starting{}))
			if got := getOrder(d); !got.equal(bootOrder{Devices: c.want, Menu: c.menu}) {
				t.Errorf("order %+v, want %v, menu %t", got, c.want, c.menu)
			}
			plugStick(d, "/a.img")
			if got := getOrder(d).Devices; !slices.Equal(got, append(slices.Clone(c.want), usb...)) {
				t.Errorf("a stick that is plugged in makes the order %v, want it last", got)
			}
			setOrder(d, orderOf(d, state.Boot{Device: c.device}, starting{}))
			if got := getOrder(d).Devices; !slices.Equal(got, append(slices.Clone(c.want), usb...)) {
				t.Errorf("order with a stick %v, want it last", got)
			}
		})
	}
	d := build(t, blueprintOf(spec()), nil)
	setOrder(d, orderOf(d, state.Boot{Device: state.BootUSB}, starting{}))
	if got := getOrder(d).Devices; !slices.Equal(got, slices.Concat(disks, nics, cd)) {
		t.Errorf("from a stick that is not there: order %v", got)
	}
	plugStick(d, "/a.img")
	setOrder(d, orderOf(d, state.Boot{Device: state.BootUSB}, starting{}))
	if got := getOrder(d).Devices; !slices.Equal(got, slices.Concat(usb, disks, nics, cd)) {
		t.Errorf("from the stick: order %v", got)
	}
	plugStick(d, "/b.img") // in its place, which is free now
	if got := getOrder(d).Devices; !slices.Equal(got, slices.Concat(disks, nics, cd, usb)) {
		t.Errorf("with another stick: order %v", got)
	}
	o := orderOf(d, state.Boot{}, starting{Order: []string{"usb", "cdrom"}, NoNetwork: true})
	if !slices.Equal(o.Devices, slices.Concat(usb, cd, disks)) {
		t.Errorf("the order that was set: %v", o.Devices)
	}
}

func TestRedefinitionKeepsWhatLibvirtAndOthersDecided(t *testing.T) {
	old := build(t, blueprintOf(spec()), nil)
	old.OS.Type.Machine = "pc-q35-7.2"
	bus, slot := uint(4), uint(0)
	at := &libvirtxml.DomainAddress{PCI: &libvirtxml.DomainAddressPCI{Bus: &bus, Slot: &slot}}
	old.Devices.Interfaces[0].Address = at
	old.Devices.Disks[0].Address = at
	medium := &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: "/media/a.iso"}}
	old.Devices.Disks[2].Source = medium
	other := `<app:x xmlns:app="urn:app"><app:y>1</app:y></app:x>`
	old.Metadata.XML += other

	s := spec()
	s.Epoch, s.Machine.MemoryMB, s.Machine.Volumes = 8, 1024, s.Machine.Volumes[:1]
	d := build(t, blueprintOf(s), old)
	if d.OS.Type.Machine != "pc-q35-7.2" || d.Devices.Interfaces[0].Address != at || d.Devices.Disks[0].Address != at {
		t.Error("the machine type or an address moved")
	}
	if cd := d.Devices.Disks[1]; cd.Device != "cdrom" || cd.Source != medium {
		t.Errorf("the medium is %+v", cd.Source)
	}
	if !strings.Contains(d.Metadata.XML, other) || strings.Count(d.Metadata.XML, "tenks:node ") != 1 {
		t.Errorf("metadata %s", d.Metadata.XML)
	}
	if m, ok, err := readMark(d.Metadata.XML); err != nil || !ok || m.Epoch != 8 {
		t.Errorf("mark %+v, %t, %v", m, ok, err)
	}
}

func TestPendingSaysWhatTheNextStartBrings(t *testing.T) {
	live := hardwareOf(build(t, blueprintOf(spec()), nil))
	if got := pending(live, live); len(got) > 0 {
		t.Errorf("nothing changed: %v", got)
	}
	s := spec()
	s.Machine.MemoryMB, s.Machine.VCPUs, s.Machine.BootMode = 1024, 4, state.BootUEFI
	s.Machine.Volumes, s.Ports = s.Machine.Volumes[:1], append(s.Ports[:1], driver.Port{MAC: "52:54:00:00:00:09", Link: "p-tk0-1-tap"})
	want := []string{"memory 512 MiB → 1024 MiB", "vCPUs 2 → 4", "boot mode bios → uefi", "disk vdb is removed",
		"NIC 1 (52:54:00:00:00:09) is added", "NIC 52:54:00:00:00:02 is removed"}
	if d := cmp.Diff(want, pending(live, hardwareOf(build(t, blueprintOf(s), nil)))); d != "" {
		t.Error(d)
	}
}

func TestNICThatWasPluggedInAnewIsNotPending(t *testing.T) {
	next := []nic{{"a", "tap0", 0}, {"b", "tap1", 0}}
	if got := pendingNICs([]nic{{"b", "tap1", 0}, {"a", "tap0", 0}}, next); len(got) > 0 {
		t.Errorf("pending %q", got)
	}
}

func TestMarkOfOthersIsNone(t *testing.T) {
	for name, metadata := range map[string]string{
		"nothing":         "",
		"other namespace": `<tenks:node xmlns:tenks="urn:other" mesh="m"/>`,
		"other element":   `<tenks:network xmlns:tenks="` + markNS + `" mesh="m"/>`,
		"nested":          `<a:b xmlns:a="urn:a"><tenks:node xmlns:tenks="` + markNS + `" mesh="m"/></a:b>`,
	} {
		if m, ok, err := readMark(metadata); ok || err != nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if _, _, err := readMark("<broken"); err == nil {
		t.Error("broken metadata is accepted")
	}
	odd := mark{Mesh: `a"<&`, Epoch: 3}
	if m, ok, err := readMark(odd.xml()); err != nil || !ok || m != odd {
		t.Errorf("%+v, %t, %v", m, ok, err)
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions(nil, true)
	if err != nil || o.domainType != domainKVM || o.uri != "qemu:///system" {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parseOptions(map[string]string{"domain_type": "auto"}, false); err != nil || o.domainType != domainQEMU {
		t.Errorf("%+v, %v", o, err)
	}
	_, err = parseOptions(map[string]string{"domain_type": "xen", "pool_path": "relative", "pool": "x"}, false)
	for _, want := range []string{`"xen"`, `"relative"`, `option "pool": unknown`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestVolumePlan(t *testing.T) {
	a, b := volume{Name: "vol0", Path: "/pool/a", Capacity: 10}, volume{Name: "vol1", Path: "/pool/b", Capacity: 10}
	image := volume{Name: "vol0", Path: "/pool/a", Capacity: 10, Image: "/i"}
	raid := volume{Name: "raid1", Path: "/pool/r", Capacity: 5}
	for _, c := range []struct {
		name       string
		have, want []volume
		surplus    []string
		err        string
	}{
		{"same", []volume{a, b}, []volume{a, b}, nil, ""},
		{"new", nil, []volume{a}, nil, ""},
		{"fewer", []volume{a, b}, []volume{a}, []string{"/pool/b"}, ""},
		{"larger", []volume{a}, []volume{{Name: "vol0", Path: "/pool/a", Capacity: 20}}, nil, ""},
		{"smaller", []volume{a}, []volume{{Name: "vol0", Path: "/pool/a", Capacity: 5}}, nil, "cannot shrink from 10 to 5 bytes"},
		{"in a RAID volume", []volume{a, b}, []volume{raid, b}, []string{"/pool/a"}, ""},
		{"no longer", []volume{raid, b}, []volume{image, b}, []string{"/pool/r"}, ""},
		{"image", []volume{a}, []volume{image}, nil, "its image cannot change from blank to /i"},
	} {
		got, err := planVolumes(c.have, c.want)
		if !slices.Equal(got, c.surplus) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}
