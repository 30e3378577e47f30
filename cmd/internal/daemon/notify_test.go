package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tenks/cmd/internal/service"
	"tenks/raftfsm/state"
)

// systemd is the socket that agents report to.
type systemd struct {
	*net.UnixConn
	t    *testing.T
	path string
}

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	path := filepath.Join(newDir(t), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &systemd{UnixConn: c, t: t, path: path}
}

func (s *systemd) notifier(watchdog time.Duration) service.Notifier {
	return service.NewNotifier(func(name string) string {
		return map[string]string{"NOTIFY_SOCKET": s.path, "WATCHDOG_USEC": fmt.Sprint(watchdog.Microseconds())}[name]
	})
}

// next is the next message; empty: none came in time.
func (s *systemd) next(limit time.Duration) string {
	s.t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(limit)); err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := s.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// until reads messages until one has a text, and returns those before it.
func (s *systemd) until(text string) []string {
	s.t.Helper()
	var before []string
	for {
		m := s.next(20 * time.Second)
		if m == "" {
			s.t.Fatalf("no message with %q came; before: %q", text, before)
		}
		if strings.Contains(m, text) {
			return before
		}
		before = append(before, m)
	}
}

func TestSystemdIsToldThatAnAgentLivesOnlyWhileItDoes(t *testing.T) {
	s := newSystemd(t)
	var ill atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	var failures atomic.Int64
	done := make(chan struct{})
	go func() { // ends with ctx
		tell(ctx, s.notifier(40*time.Millisecond), func() error {
			if ill.Load() {
				return errors.New("a loop is stuck")
			}
			return nil
		}, func(error) { failures.Add(1) })
		close(done)
	}()
	if before := s.until("READY=1"); len(before) > 0 {
		t.Errorf("before it was ready: %q", before)
	}
	s.until("WATCHDOG=1")
	ill.Store(true)
	s.until("STATUS=a loop is stuck")
	for range 5 {
		if m := s.next(10 * time.Second); m == "" || strings.Contains(m, "WATCHDOG") {
			t.Errorf("while it is stuck: %q", m)
		}
	}
	ill.Store(false)
	s.until("WATCHDOG=1")
	if got := failures.Load(); got != 1 {
		t.Errorf("said %d times that it is stuck, want once", got)
	}
	cancel()
	s.until("STOPPING=1")
	<-done
}

func TestAnAgentSaysThatItIsReadyAndThatItStops(t *testing.T) {
	s := newSystemd(t)
	opt := options(t, newMesh(t))
	opt.Notify = s.notifier(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, opt) }() // received below
	s.until("READY=1")
	s.until("WATCHDOG=1")
	cancel()
	s.until("STOPPING=1")
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestALoopThatIsSilentIsStuck(t *testing.T) {
	var p pulse
	now := time.Now()
	if got := p.silent(now.Add(time.Hour)); got != 0 {
		t.Errorf("before it began it is silent for %s", got)
	}
	failed := errors.New("failed")
	if err := p.around(func(context.Context, *state.Snapshot) error { return failed })(t.Context(), nil); !errors.Is(err, failed) {
		t.Errorf("its work returned %v", err)
	}
	if got := p.silent(time.Now().Add(stuckAfter + time.Second)); got < stuckAfter || got > 2*stuckAfter {
		t.Errorf("silent for %s", got)
	}
	if got := p.last.Load().String(); !strings.Contains(got, " m=") {
		t.Errorf("%s is of a clock that may be set", got)
	}
}
