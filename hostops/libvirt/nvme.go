package libvirt

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"libvirt.org/go/libvirtxml"

	"tenks/raftfsm/state"
)

// nvmeSince is the first libvirt that knows NVMe controllers, as libvirt counts versions.
const nvmeSince = 11_005_000

// nvmeDev is the name of the only namespace of a controller.
func nvmeDev(controller int) string { return "nvme" + strconv.Itoa(controller) + "n1" }

// nvmeControllers are those of a node's disks, one each: as with real ones, the serial number is
// the controller's, and QEMU wants one.
func nvmeControllers(disks []volume, uuid string) []libvirtxml.DomainController {
	var out []libvirtxml.DomainController
	for _, v := range disks {
		if v.bus() != busNVMe {
			continue
		}
		index := uint(len(out))
		out = append(out, libvirtxml.DomainController{Type: busNVMe, Index: &index,
			NVME: &libvirtxml.DomainControllerNVME{Serial: cmp.Or(v.Serial, fmt.Sprintf("tenks-%.8s-%d", uuid, index))}})
	}
	return out
}

// checkNVMe says that a node's disks need another libvirt; version is asked only if they might.
func checkNVMe(disks []volume, version func() (uint32, error)) error {
	if !slices.ContainsFunc(disks, func(v volume) bool { return v.bus() == busNVMe }) {
		return nil
	}
	have, err := version()
	if err != nil {
		return fmt.Errorf("libvirt: version: %w", err)
	}
	if have < nvmeSince {
		return fmt.Errorf("disk bus nvme: needs libvirt %s, this host has %s: take virtio, scsi or sata: %w", versionText(nvmeSince), versionText(have), state.ErrUnsupported)
	}
	return nil
}

// versionText writes libvirt's major * 1,000,000 + minor * 1,000 + release.
func versionText(v uint32) string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}

// sameController reports whether a controller takes the place of another: NVMe ones are told
// apart by their index, of the others there is one of a kind.
func sameController(a, b libvirtxml.DomainController) bool {
	if a.Type != b.Type || a.Type != busNVMe {
		return a.Type == b.Type
	}
	return a.Index != nil && b.Index != nil && *a.Index == *b.Index
}

// carryNVMe leaves out controllers that no disk is on any longer, and gives the others their
// disks' serial numbers.
func carryNVMe(want, old []libvirtxml.DomainController) []libvirtxml.DomainController {
	var out []libvirtxml.DomainController
	for _, o := range old {
		if o.Type == busNVMe {
			i := slices.IndexFunc(want, func(w libvirtxml.DomainController) bool { return sameController(w, o) })
			if i < 0 {
				continue
			}
			o.NVME = want[i].NVME
		}
		out = append(out, o)
	}
	return out
}
