package libvirt

import (
	"slices"

	"libvirt.org/go/libvirtxml"

	"tenks/raftfsm/state"
)

// archsOf are the architectures that we make guests of, among those of libvirt's capabilities,
// sorted.
func archsOf(caps libvirtxml.Caps) []string {
	var out []string
	for _, g := range caps.Guests {
		if g.OSType != "hvm" || slices.Contains(out, g.Arch.Name) {
			continue
		}
		if _, err := findARMFirmware(); g.Arch.Name == state.ArchX86 || g.Arch.Name == state.ArchARM && err == nil {
			out = append(out, g.Arch.Name)
		}
	}
	slices.Sort(out)
	return out
}
