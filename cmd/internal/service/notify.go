package service

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// States that a Notifier sends (sd_notify(3)).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Notifier tells who started this process how it is, by sd_notify(3)'s protocol: one
// datagram of lines for each message. Its zero value tells nobody.
type Notifier struct {
	address string
	watch   time.Duration
}

// NewNotifier reads what systemd says in the environment.
func NewNotifier(getenv func(string) string) Notifier {
	n := Notifier{address: getenv("NOTIFY_SOCKET")}
	if pid := getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n // it is another process that is watched
	}
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 && usec < int64(24*time.Hour/time.Microsecond) {
		n.watch = time.Duration(usec) * time.Microsecond
	}
	return n
}

// Enabled reports whether anybody is told.
func (n Notifier) Enabled() bool { return n.address != "" }

// Watchdog is how long this process may be silent before it is taken for dead; 0: for
// ever.
func (n Notifier) Watchdog() time.Duration {
	if !n.Enabled() {
		return 0
	}
	return n.watch
}

// Send sends states, and does not wait for who reads them.
func (n Notifier) Send(states ...string) error {
	if !n.Enabled() {
		return nil
	}
	// A name that begins with @ is in the kernel's own name space (unix(7)), which Go
	// writes in the same way.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.address, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(strings.Join(states, "\n"))); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// Status is a line for systemctl status.
func Status(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", " ") }
