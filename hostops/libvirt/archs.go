//go:build cgo && libvirt_dlopen

package libvirt

import (
	"libvirt.org/go/libvirtxml"

	"tenks/raftfsm/state"
)

// archs are the architectures that guests can have here: libvirt has an emulator for each, and
// there is firmware.
func archs(s *session) []string {
	text, err := s.conn.GetCapabilities()
	if err != nil {
		return []string{state.ArchX86}
	}
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(text); err != nil {
		return []string{state.ArchX86}
	}
	return archsOf(caps)
}
