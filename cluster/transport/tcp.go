package transport

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A peer whose host has died is noticed 14 s after its last packet on an idle
// connection, and 12 s after the first byte that it did not acknowledge (tcp(7)). A
// reader that takes nothing for 12 s, with its window closed, counts as dead, too.
const (
	keepAliveIdle     = 5 * time.Second
	keepAliveInterval = 3 * time.Second
	keepAliveCount    = 3
	userTimeout       = 12 * time.Second
)

// tcp is the host's TCP.
type tcp struct{}

// TCP returns the host's TCP, with keep-alive such that a dead host is noticed within
// 15 s.
func TCP() Net { return tcp{} }

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount}
}

// Listen implements Net.
func (tcp) Listen(ctx context.Context, address string) (net.Listener, error) {
	// What is accepted inherits the listener's user timeout.
	lc := net.ListenConfig{KeepAliveConfig: keepAlive(), Control: setUserTimeout}
	lc.SetMultipathTCP(false) // Go's default for listeners; it has no user timeout
	return lc.Listen(ctx, "tcp", address)
}

// Dial implements Net.
func (tcp) Dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive(), Control: setUserTimeout}
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", address)
}

func setUserTimeout(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return set
}
