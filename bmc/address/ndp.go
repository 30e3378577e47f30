package address

import (
	"bytes"
	"net"
	"net/netip"
)

// Types of ICMPv6 (RFC 4861 §4.3, §4.4) and options in them (§4.6.1).
const (
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
	optionSource           = 1
	optionTarget           = 2
	flagOverride           = 0x20
)

// allNodes is where an unsolicited advertisement goes.
var allNodes = netip.MustParseAddr("ff02::1")

// solicitedNode is where a solicitation for an address goes (RFC 4291 §2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// solicitation asks who has an address. The kernel fills in the checksum.
func solicitation(a netip.Addr, mac net.HardwareAddr) []byte {
	return neighbour(neighbourSolicitation, 0, a, optionSource, mac)
}

// advertisement tells all who has an address from now on.
func advertisement(a netip.Addr, mac net.HardwareAddr) []byte {
	return neighbour(neighbourAdvertisement, flagOverride, a, optionTarget, mac)
}

func neighbour(kind, flags byte, a netip.Addr, option byte, mac net.HardwareAddr) []byte {
	b := append([]byte{kind, 0, 0, 0, flags, 0, 0, 0}, a.AsSlice()...)
	return append(append(b, option, 1), mac...)
}

// parseAdvertisement reads who has an address; false: it is no advertisement. The MAC is nil
// where it says none.
func parseAdvertisement(b []byte) (a netip.Addr, mac net.HardwareAddr, ok bool) {
	if len(b) < 24 || b[0] != neighbourAdvertisement || b[1] != 0 {
		return netip.Addr{}, nil, false
	}
	a = netip.AddrFrom16([16]byte(b[8:24]))
	for options := b[24:]; len(options) > 0; {
		if len(options) < 2 {
			return netip.Addr{}, nil, false
		}
		size := 8 * int(options[1])
		if size == 0 || size > len(options) { // RFC 4861 §4.6
			return netip.Addr{}, nil, false
		}
		if options[0] == optionTarget && size == 8 {
			mac = bytes.Clone(options[2:8])
		}
		options = options[size:]
	}
	return a, mac, true
}
