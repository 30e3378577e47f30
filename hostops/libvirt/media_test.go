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
