package service_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/service"
)

// listen is what systemd does.
func listen(t *testing.T, address string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestStatesAreSentToTheSocketThatSystemdNames(t *testing.T) {
	for _, address := range []string{filepath.Join(t.TempDir(), "n"), fmt.Sprintf("@tenks-test-%d", os.Getpid())} {
		c := listen(t, address)
		n := service.NewNotifier(func(name string) string {
			return map[string]string{"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"}[name]
		})
		if err := n.Send(service.Ready, service.Status("two\nlines")); err != nil {
			t.Fatal(err)
		}
		if got, want := receive(t, c), "READY=1\nSTATUS=two lines"; got != want {
			t.Errorf("%s: received %q, want %q", address, got, want)
		}
		if got := n.Watchdog(); got != time.Minute {
			t.Errorf("watchdog after %s, want a minute", got)
		}
	}
}

func TestNobodyIsToldUnlessSystemdAsks(t *testing.T) {
	tests := map[string]struct {
		env     map[string]string
		enabled bool
		watch   time.Duration
	}{
		"nothing":                   {},
		"a watchdog, and no socket": {env: map[string]string{"WATCHDOG_USEC": "1000000"}},
		"a socket":                  {env: map[string]string{"NOTIFY_SOCKET": "/x"}, enabled: true},
		"of this process": {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": fmt.Sprint(os.Getpid())},
			enabled: true, watch: time.Second},
		"of another process": {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, enabled: true},
		"no number":          {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, enabled: true},
		"a negative one":     {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "-1"}, enabled: true},
		"a huge one":         {env: map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "9223372036854775807"}, enabled: true},
	}
	for name, tt := range tests {
		n := service.NewNotifier(func(name string) string { return tt.env[name] })
		if n.Enabled() != tt.enabled || n.Watchdog() != tt.watch {
			t.Errorf("%s: enabled %v, watchdog %s, want %v, %s", name, n.Enabled(), n.Watchdog(), tt.enabled, tt.watch)
		}
	}
	if err := (service.Notifier{}).Send(service.Ready); err != nil {
		t.Errorf("without a socket: %v", err)
	}
	gone := service.NewNotifier(func(string) string { return filepath.Join(t.TempDir(), "gone") })
	if err := gone.Send(service.Ready); err == nil || !strings.Contains(err.Error(), "notify: ") {
		t.Errorf("to a socket that is gone: %v", err)
	}
}
