package libvirt

import (
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

func TestTheDriveIsLoadedAndEmptied(t *testing.T) {
	d := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{}}
	if drive(d) != nil || drive(&libvirtxml.Domain{}) != nil || mediaIn(nil) != "" {
		t.Error("a domain without a drive has one")
	}
	blueprint{}.addDisks(d)
	k := drive(d)
	if k == nil {
		t.Fatal("what we make has no drive")
	}
	for _, path := range []string{"/a.iso", "/b.iso", ""} {
		load(k, path)
		text, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got := mediaIn(drive(d)); got != path {
			t.Errorf("in the drive is %q, want %q", got, path)
		}
		if has := strings.Contains(text, "<source"); has != (path != "") || has && !strings.Contains(text, `startupPolicy="optional"`) || !strings.Contains(text, "<readonly") {
			t.Errorf("with %q: %s", path, text)
		}
	}
	next := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{}}
	blueprint{}.addDisks(next)
	load(k, "/a.iso")
	carry(next, d)
	if got := mediaIn(drive(next)); got != "/a.iso" {
		t.Errorf("a domain that is made anew has %q, want what was in", got)
	}
	next.Devices.Disks[0].Target.Dev = "sdb"
	if drive(next) != nil {
		t.Error("another's drive is taken for ours")
	}
}

func TestAStickIsNoHardwareOfTheNode(t *testing.T) {
	d := build(t, blueprintOf(spec()), nil)
	plain, before := hardwareOf(d).fingerprint(), d.Metadata.XML
	if stick(d) != nil || stick(&libvirtxml.Domain{}) != nil || hasUSB(&libvirtxml.Domain{}) || hasUSB(d) {
		t.Error("a domain without a stick has one")
	}
	for _, path := range []string{"/a.img", "/b.img"} {
		plugStick(d, path)
		text, err := stick(d).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`device="disk"`, `dev="sdb"`, `bus="usb"`, `removable="on"`, "<readonly", `startupPolicy="optional"`, `file="` + path + `"`} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in %s", want, text)
			}
		}
		if mediaIn(drive(d)) != "" || len(d.Devices.Disks) != 4 {
			t.Errorf("disks %+v", d.Devices.Disks)
		}
	}
	if hardwareOf(d).fingerprint() != plain {
		t.Error("a stick changes the fingerprint: every node that has one would be made anew")
	}
	next := build(t, blueprintOf(spec()), d)
	if mediaIn(stick(next)) != "/b.img" || next.Metadata.XML != before {
		t.Errorf("a domain that is made anew has %q, and the mark %s", mediaIn(stick(next)), next.Metadata.XML)
	}
	text, err := next.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := viewOf(text); err != nil || v.usb != "/b.img" || v.media != "" {
		t.Errorf("view %+v, %v", v, err)
	}
	plugStick(next, "")
	if stick(next) != nil || len(next.Devices.Disks) != 3 {
		t.Errorf("disks after it was unplugged: %+v", next.Devices.Disks)
	}
	for model, want := range map[string]bool{"qemu-xhci": true, "": true, "none": false} {
		next.Devices.Controllers = []libvirtxml.DomainController{{Type: "pci"}, {Type: "usb", Model: model}}
		if hasUSB(next) != want {
			t.Errorf("model %q: has USB %t", model, !want)
		}
	}
	next.Devices.Disks[0].Target = &libvirtxml.DomainDiskTarget{Dev: "sdc", Bus: "usb"}
	if stick(next) != nil {
		t.Error("another's disk is taken for ours")
	}
}
