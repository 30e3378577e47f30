package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFrame is more than the longest frame has, with its header: the kernel hands
	// over what it would have cut into many.
	maxFrame = 1 << 17
	// maxUnderway is how many frames are on a long cable at a time, each way; more are
	// lost.
	maxUnderway = 1024
)

// relay is a long cable: it carries frames between a host's port, which is not in the
// bridge then, and a tap device that is instead.
type relay struct {
	port, tap *os.File
	delay     time.Duration
	stop      chan struct{}
	running   sync.WaitGroup
}

// frame has a virtio_net_hdr before it, in which the kernel says what checksum is
// missing, and what is to be cut; the same on both sides.
type frame struct {
	due  time.Time
	data []byte
}

// Delay makes every frame to and from eth0 take so much longer, until another delay; 0:
// none. Other networks stay as they are. It outlives a boot.
func (h *Host) Delay(ctx context.Context, d time.Duration) error {
	h.mu.Lock()
	old := h.relay
	h.delay, h.relay = d, nil
	h.mu.Unlock()
	if old != nil {
		old.close()
		// Not among what has addresses, and answers, while the relay had it.
		err := run(ctx, "ip", "-n", h.lab.Switch(), "link", "set", h.switchPort(), "arp", "on", "master", "lab")
		if err != nil {
			return fmt.Errorf("host %q: delay: %w", h.name, err)
		}
	}
	if d == 0 || h.started() == nil {
		return nil
	}
	return h.lengthen(ctx, d)
}

// lengthen puts a relay into eth0's cable.
func (h *Host) lengthen(ctx context.Context, d time.Duration) error {
	r, err := h.addRelay(ctx, d)
	if err != nil {
		return fmt.Errorf("host %q: delay: %w", h.name, err)
	}
	h.mu.Lock()
	h.relay = r
	h.mu.Unlock()
	return nil
}

func (h *Host) addRelay(ctx context.Context, d time.Duration) (*relay, error) {
	port := h.switchPort()
	// Named as the ports of other networks are, so that faults match it.
	tap := port + "n0"
	// The kernel would answer, too, for the switch's address.
	if err := run(ctx, "ip", "-n", h.lab.Switch(), "link", "set", port, "nomaster", "arp", "off"); err != nil {
		return nil, err
	}
	r := &relay{delay: d, stop: make(chan struct{})}
	err := inNetns(h.lab.Switch(), func() (err error) {
		if r.tap, err = openTap(tap); err != nil {
			return err
		}
		r.port, err = openPort(port)
		return err
	})
	if err == nil {
		err = run(ctx, "ip", "-n", h.lab.Switch(), "link", "set", tap, "master", "lab", "up")
	}
	if err != nil {
		return nil, errors.Join(err, closeAll(r.tap, r.port))
	}
	r.carry(r.port, r.tap)
	r.carry(r.tap, r.port)
	return r, nil
}

// openTap makes a tap device, which goes when it is closed, in this thread's network
// namespace.
func openTap(name string) (*os.File, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("tap %s: %w", name, err)
	}
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, fmt.Errorf("tap %s: %w", name, errors.Join(err, unix.Close(fd)))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openPort takes what arrives at an interface, and sends there (packet(7)).
func openPort(name string) (*os.File, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	// Protocol 0: nothing arrives before bind says from where.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: device.Index}))
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", name, errors.Join(err, unix.Close(fd)))
	}
	return os.NewFile(uintptr(fd), name), nil
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }

func closeAll(files ...*os.File) error {
	var errs error
	for _, f := range files {
		if f != nil {
			errs = errors.Join(errs, f.Close())
		}
	}
	return errs
}

// carry starts one direction.
func (r *relay) carry(from, to *os.File) {
	underway := make(chan frame, maxUnderway)
	r.running.Add(2)
	go func() {
		defer r.running.Done()
		defer close(underway)
		r.take(from, underway)
	}()
	go func() {
		defer r.running.Done()
		r.deliver(to, underway)
	}()
}

func (r *relay) take(from *os.File, underway chan<- frame) {
	buffer := make([]byte, maxFrame)
	for {
		n, err := from.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			// The cable was pulled: the next read waits until it is back.
			if !wait(r.stop, poll) {
				return
			}
			continue
		}
		select {
		case underway <- frame{due: time.Now().Add(r.delay), data: append([]byte(nil), buffer[:n]...)}:
		default: // lost
		}
	}
}

func (r *relay) deliver(to *os.File, underway <-chan frame) {
	for f := range underway {
		if !wait(r.stop, time.Until(f.due)) {
			return
		}
		_, _ = to.Write(f.data) // lost if the other end is down
	}
}

// close ends it, with the frames underway lost, and returns when it has ended. A nil
// one does nothing.
func (r *relay) close() {
	if r == nil {
		return
	}
	close(r.stop)
	_ = closeAll(r.port, r.tap) // reads end with os.ErrClosed
	r.running.Wait()
}
