package ovstest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// etherType is that of the frames (IEEE 802 local experimental).
const etherType = 0x88b5

// auxdataSize is that of struct tpacket_auxdata, which begins with tp_status.
const auxdataSize = 20

// broadcast is where the frames go to.
var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Tap sends and receives frames as the guest on an interface does: packet(7). It is not
// safe for concurrent use.
type Tap struct {
	Name  string
	fd    int
	index int
	mac   net.HardwareAddr
}

// OpenTap opens an interface in the network namespace of the calling thread.
func OpenTap(name string) (*Tap, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("tap %s: %w", name, err)
	}
	// All protocols: of one alone the kernel shows tagged frames as if they had no tag.
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(protocol))
	if err != nil {
		return nil, fmt.Errorf("tap %s: %w", name, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("tap %s: %w", name, err), unix.Close(fd))
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: i.Index}); err != nil {
		return nil, errors.Join(fmt.Errorf("tap %s: %w", name, err), unix.Close(fd))
	}
	return &Tap{Name: name, fd: fd, index: i.Index, mac: i.HardwareAddr}, nil
}

// Close closes the interface.
func (t *Tap) Close() error { return unix.Close(t.fd) }

// Send broadcasts a text.
func (t *Tap) Send(text string) error {
	frame := append(append(append([]byte{}, broadcast...), t.mac...), byte(etherType>>8), byte(etherType&0xff))
	frame = append(append(frame, text...), 0)
	frame = append(frame, make([]byte, max(0, 60-len(frame)))...)
	return unix.Sendto(t.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: t.index})
}

// Received reports whether the text came, of those that came since the last call, in a frame
// without a VLAN.
func (t *Tap) Received(text string) bool {
	buffer, control := make([]byte, 65536), make([]byte, unix.CmsgSpace(auxdataSize))
	found := false
	for {
		n, controls, _, from, err := unix.Recvmsg(t.fd, buffer, control, 0)
		if err != nil {
			return found
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		outgoing := ok && link.Pkttype == unix.PACKET_OUTGOING
		found = found || !outgoing && !tagged(control[:controls]) && n > 14 && bytes.HasPrefix(buffer[14:n], []byte(text+"\x00"))
	}
}

// tagged reports whether a frame had an IEEE 802.1Q tag, which the kernel takes out of it and
// tells of beside it.
func tagged(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= auxdataSize {
			return binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID != 0
		}
	}
	return false
}

// Reaches reports whether frames from one tap arrive at another within a time. They are
// sent again and again: a switch may have to open a port first.
func Reaches(from, to *Tap, within time.Duration) (bool, error) {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		text := fmt.Sprintf("from %s to %s %d", from.Name, to.Name, time.Now().UnixNano())
		if err := from.Send(text); err != nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) {
			return false, err
		}
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); <-time.After(time.Millisecond) {
			if to.Received(text) {
				return true, nil
			}
		}
	}
	return false, nil
}
