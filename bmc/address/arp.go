package address

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// arpLength is that of a packet for Ethernet and IPv4, without the frame's header.
const arpLength = 28

// arp is an ARP packet (RFC 826) for Ethernet and IPv4.
type arp struct {
	reply              bool
	senderMAC          net.HardwareAddr
	senderIP, targetIP netip.Addr
}

// bytes is the packet. The target's MAC is not known in what we send: zeros.
func (p arp) bytes() []byte {
	b := make([]byte, 0, arpLength)
	b = binary.BigEndian.AppendUint16(b, 1)      // Ethernet
	b = binary.BigEndian.AppendUint16(b, 0x0800) // IPv4
	b = append(b, 6, 4)
	op := uint16(1)
	if p.reply {
		op = 2
	}
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, p.senderMAC...), p.senderIP.AsSlice()...)
	return append(append(b, make([]byte, 6)...), p.targetIP.AsSlice()...)
}

// parseARP reads a packet, which may have padding; false: it is none for Ethernet and IPv4.
func parseARP(b []byte) (arp, bool) {
	if len(b) < arpLength || !bytes.Equal(b[:6], []byte{0, 1, 8, 0, 6, 4}) {
		return arp{}, false
	}
	op := binary.BigEndian.Uint16(b[6:])
	if op != 1 && op != 2 {
		return arp{}, false
	}
	return arp{reply: op == 2, senderMAC: bytes.Clone(b[8:14]), senderIP: netip.AddrFrom4([4]byte(b[14:18])),
		targetIP: netip.AddrFrom4([4]byte(b[24:28]))}, true
}

// claimed is the address that a packet says its sender has, or is about to have (RFC 5227
// §2.1.1); false: it says neither.
func (p arp) claimed() (netip.Addr, bool) {
	if !p.senderIP.IsUnspecified() {
		return p.senderIP, true
	}
	return p.targetIP, !p.reply
}
