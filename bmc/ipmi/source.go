package ipmi

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sourcePinner makes a socket that listens on every address answer from the one a
// packet was sent to, as ip(7) IP_PKTINFO and ipv6(7) IPV6_PKTINFO allow: clients
// drop an answer that comes from elsewhere. A socket with an address of its own
// needs none of that. It is used by one reader at a time.
type sourcePinner struct {
	oob []byte // room for one ancillary message; nil: not needed
}

func newSourcePinner(conn *net.UDPConn) (*sourcePinner, error) {
	if !conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().IsUnspecified() {
		return &sourcePinner{}, nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	var err4, err6 error
	err = raw.Control(func(fd uintptr) {
		err4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		err6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	// An IPv4 socket refuses the second option; one of them is enough.
	if err4 != nil && err6 != nil {
		return nil, fmt.Errorf("socket: packet information: %w", err4)
	}
	return &sourcePinner{oob: make([]byte, unix.CmsgSpace(unix.SizeofInet4Pktinfo)+unix.CmsgSpace(unix.SizeofInet6Pktinfo))}, nil
}

// read reads a datagram, and makes the ancillary message to send with its answer.
func (p *sourcePinner) read(conn *net.UDPConn, buf []byte) (int, []byte, netip.AddrPort, error) {
	if p.oob == nil {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		return n, nil, from, err
	}
	n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf, p.oob)
	if err != nil {
		return n, nil, from, err
	}
	return n, answerInfo(p.oob[:oobn]), from, nil
}

// answerInfo turns the packet information that was received into the one to send:
// the same local address, and no interface, so that routing stays free to choose.
func answerInfo(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := &unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[4:8])}
			return unix.PktInfo4(info)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := &unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])}
			if netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
				info.Ifindex = uint32(m.Data[16]) | uint32(m.Data[17])<<8 | uint32(m.Data[18])<<16 | uint32(m.Data[19])<<24
			}
			return unix.PktInfo6(info)
		}
	}
	return nil
}
