package libvirt

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"tenks/raftfsm/state"
)

func TestDisksOnNVMeNeedALibvirtThatKnowsIt(t *testing.T) {
	version := func(v uint32) func() (uint32, error) { return func() (uint32, error) { return v, nil } }
	nvme := []volume{{}, {Bus: "nvme"}}
	err := checkNVMe(nvme, version(9_000_000))
	if !errors.Is(err, state.ErrUnsupported) || !strings.HasPrefix(err.Error(), "disk bus nvme: needs libvirt 11.5.0, this host has 9.0.0: take virtio, scsi or sata") {
		t.Errorf("%v", err)
	}
	if err := checkNVMe(nvme, version(11_005_000)); err != nil {
		t.Error(err)
	}
	if err := checkNVMe([]volume{{Bus: "scsi"}}, nil); err != nil {
		t.Error(err)
	}
	if err := checkNVMe(nvme, func() (uint32, error) { return 0, errors.New("hung") }); err == nil {
		t.Error("no error of an unknown version")
	}
}

// Each disk has a controller of its own, which keeps its place when others come and go.
func TestControllersOfNVMeComeAndGoWithTheirDisks(t *testing.T) {
	with := func(serials ...string) *libvirtxml.Domain {
		s := spec()
		s.Machine.Volumes = nil
		for _, serial := range serials {
			s.Machine.Volumes = append(s.Machine.Volumes, state.Volume{CapacityBytes: 1 << 30, Bus: "nvme", Serial: serial})
		}
		return build(t, blueprintOf(s), nil)
	}
	controllers := func(d *libvirtxml.Domain) (out []string) {
		for _, c := range d.Devices.Controllers {
			at := ""
			if c.Address != nil {
				at = fmt.Sprintf(" at %d", *c.Address.PCI.Slot)
			}
			out = append(out, fmt.Sprintf("%s%d %s%s", c.Type, *c.Index, c.NVME.Serial, at))
		}
		return out
	}
	old := with("a", "b")
	for i := range old.Devices.Controllers {
		slot := uint(7 + i)
		old.Devices.Controllers[i].Address = &libvirtxml.DomainAddress{PCI: &libvirtxml.DomainAddressPCI{Slot: &slot}}
	}
	for name, tt := range map[string]struct {
		serials, want []string
	}{
		"as they are": {[]string{"a", "b"}, []string{"nvme0 a at 7", "nvme1 b at 8"}},
		"one more":    {[]string{"a", "b", "c"}, []string{"nvme0 a at 7", "nvme1 b at 8", "nvme2 c"}},
		"one less":    {[]string{"x"}, []string{"nvme0 x at 7"}},
		"none":        {nil, nil},
	} {
		d := with(tt.serials...)
		d.Devices.Controllers = carryControllers(d.Devices.Controllers, old.Devices.Controllers)
		if diff := cmp.Diff(tt.want, controllers(d)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
