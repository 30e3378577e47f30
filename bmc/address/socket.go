package address

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// arpSocket is a packet(7) socket for one device's ARP.
type arpSocket struct {
	device device
	file   *os.File
	raw    syscall.RawConn
	buffer [512]byte
}

// broadcast is the frame's destination.
var broadcast = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func openARP(d device) (asker, error) {
	// It hears nothing before it is bound: protocol 0.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "arp")
	// Whoever asks for many addresses shall not lose answers to a burst of others' packets.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: d.index})
	}
	raw, rawErr := file.SyscallConn()
	if err = errors.Join(err, rawErr); err != nil {
		return nil, errors.Join(fmt.Errorf("packet socket: %w", err), file.Close())
	}
	return &arpSocket{device: d, file: file, raw: raw}, nil
}

func (s *arpSocket) close() { _ = s.file.Close() }

func (s *arpSocket) until(t time.Time) error { return s.file.SetReadDeadline(t) }

// ask sends a probe: without an address of its own, so that nobody's cache is changed
// (RFC 5227 §2.1).
func (s *arpSocket) ask(a netip.Addr) error {
	return s.send(arp{senderMAC: s.device.mac, senderIP: netip.IPv4Unspecified(), targetIP: a})
}

// tell sends an announcement (RFC 5227 §2.3).
func (s *arpSocket) tell(a netip.Addr) error {
	return s.send(arp{senderMAC: s.device.mac, senderIP: a, targetIP: a})
}

func (s *arpSocket) send(p arp) error {
	to := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: s.device.index, Halen: 6, Addr: broadcast}
	var err error
	if failed := s.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), p.bytes(), 0, to)
		return !errors.Is(err, unix.EAGAIN)
	}); failed != nil {
		return failed
	}
	return err
}

func (s *arpSocket) answer() (netip.Addr, net.HardwareAddr, error) {
	for {
		n, err := s.file.Read(s.buffer[:])
		if err != nil {
			return netip.Addr{}, nil, err
		}
		if p, ok := parseARP(s.buffer[:n]); ok {
			if a, claims := p.claimed(); claims {
				return a, p.senderMAC, nil
			}
		}
	}
}

// ndpSocket is a raw(7) socket for one device's neighbour discovery.
type ndpSocket struct {
	device      device
	conn        *net.IPConn
	buffer, oob [512]byte
}

func openNDP(ctx context.Context, d device) (asker, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if failed := c.Control(func(fd uintptr) { err = setNDP(int(fd), d) }); failed != nil {
			return failed
		}
		return err
	}}
	conn, err := config.ListenPacket(ctx, "ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, fmt.Errorf("ICMPv6 socket: %w", err)
	}
	return &ndpSocket{device: d, conn: conn.(*net.IPConn)}, nil
}

// setNDP makes a socket one for advertisements on a device, with the hop limit that says
// that nothing has passed a router (RFC 4861 §7.1).
func setNDP(fd int, d device) error {
	filter := unix.ICMPv6Filter{}
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0) // what is set is not let through
	}
	filter.Data[neighbourAdvertisement>>5] &^= 1 << (neighbourAdvertisement & 31)
	return errors.Join(
		unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, d.index),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
		unix.BindToDevice(fd, d.name),
	)
}

func (s *ndpSocket) close() { _ = s.conn.Close() }

func (s *ndpSocket) until(t time.Time) error { return s.conn.SetReadDeadline(t) }

func (s *ndpSocket) ask(a netip.Addr) error {
	return s.send(solicitedNode(a), solicitation(a, s.device.mac))
}

func (s *ndpSocket) tell(a netip.Addr) error {
	return s.send(allNodes, advertisement(a, s.device.mac))
}

func (s *ndpSocket) send(to netip.Addr, b []byte) error {
	_, err := s.conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice(), Zone: strconv.Itoa(s.device.index)})
	return err
}

func (s *ndpSocket) answer() (netip.Addr, net.HardwareAddr, error) {
	for {
		n, control, _, _, err := s.conn.ReadMsgIP(s.buffer[:], s.oob[:])
		if err != nil {
			return netip.Addr{}, nil, err
		}
		if a, mac, ok := parseAdvertisement(s.buffer[:n]); ok && hopLimit(s.oob[:control]) == 255 {
			return a, mac, nil
		}
	}
}

// hopLimit is that of a packet by its control messages (RFC 3542 §6.3); -1: it is not said.
func hopLimit(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return -1
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return -1
}
