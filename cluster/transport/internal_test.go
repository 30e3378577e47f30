package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// closer is a connection of which only Close is used.
type closer struct {
	net.Conn
	closed *[]string
	name   string
}

func (c closer) Close() error { *c.closed = append(*c.closed, c.name); return nil }

func TestWhoMakesRoom(t *testing.T) {
	tests := []struct {
		name  string
		hosts string // each letter is a caller from that host; capitals leave at once
		limit int
		want  []string
	}{
		{"nobody below the limit", "aab", 3, nil},
		{"the longest of the host with the most", "baac", 3, []string{"a1"}},
		{"again and again", "baacc", 3, []string{"a1", "b0"}},
		{"the longest of all if none has more", "abcd", 3, []string{"a0"}},
		{"whoever floods, not who came before", "baaaaa", 3, []string{"a1", "a2", "a3"}},
		{"who has left needs no room", "aBBBa", 2, nil},
	}
	for _, tt := range tests {
		var closed []string
		c := newCrowd(tt.limit)
		for i, host := range strings.Split(tt.hosts, "") {
			g := c.enter(strings.ToLower(host), closer{closed: &closed, name: fmt.Sprint(host, i)})
			if strings.ToUpper(host) == host {
				c.leave(g)
			}
		}
		if !slices.Equal(closed, tt.want) {
			t.Errorf("%s: %v made room, want %v", tt.name, closed, tt.want)
		}
		if got := c.pending(); got > tt.limit {
			t.Errorf("%s: %d pending, want %d at most", tt.name, got, tt.limit)
		}
	}
}

func TestTheCrowdForgetsWhoLeft(t *testing.T) {
	var closed []string
	c := newCrowd(2)
	var guests []*guest
	for range 4 { // two are made to leave
		guests = append(guests, c.enter("a", closer{closed: &closed}))
	}
	for i, g := range guests {
		if got, want := c.evicted(g), i < 2; got != want {
			t.Errorf("guest %d: evicted %v", i, got)
		}
		c.leave(g)
	}
	if len(c.byHost) != 0 || c.size != 0 {
		t.Errorf("%d are left: %v", c.size, c.byHost)
	}
}

func TestNotesAreLimited(t *testing.T) {
	start := time.Now()
	type call struct {
		after time.Duration
		host  string
		why   Reason
		more  int
		ok    bool
	}
	calls := []call{
		{0, "a", ReasonTLS, 0, true},
		{time.Second, "a", ReasonTLS, 0, false},
		{time.Second, "a", ReasonCertificate, 0, true}, // another reason
		{time.Second, "b", ReasonTLS, 0, true},         // another host
		{59 * time.Second, "a", ReasonTLS, 0, false},
		{60 * time.Second, "a", ReasonTLS, 2, true}, // two were left out
		{61 * time.Second, "a", ReasonTLS, 0, false},
	}
	n := newNotes(slog.New(slog.DiscardHandler))
	for _, c := range calls {
		if more, ok := n.due(start.Add(c.after), noteKey{c.host, c.why}); more != c.more || ok != c.ok {
			t.Errorf("%v: %s from %s: %d, %v, want %d, %v", c.after, c.why, c.host, more, ok, c.more, c.ok)
		}
	}
}

func TestNotesOfManyHostsAreLimitedTogether(t *testing.T) {
	n := newNotes(slog.New(slog.DiscardHandler))
	start := time.Now()
	var logged int
	for i := range 1000 {
		if _, ok := n.due(start, noteKey{fmt.Sprint(i), ReasonTLS}); ok {
			logged++
		}
	}
	if logged != maxNotes || len(n.seen) != maxNotes {
		t.Errorf("%d logged, %d remembered, want %d", logged, len(n.seen), maxNotes)
	}
	more, ok := n.due(start.Add(notePeriod), noteKey{"new", ReasonTLS})
	if !ok || more != 1000-maxNotes || len(n.seen) != 1 {
		t.Errorf("a minute later: %d, %v, %d remembered", more, ok, len(n.seen))
	}
}

// flaky is a listener whose Accept fails some times, as it does without free files.
type flaky struct {
	net.Listener
	fail   int
	closed chan struct{}
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.fail--; f.fail >= 0 {
		return nil, unix.EMFILE
	}
	<-f.closed
	return nil, net.ErrClosed
}

func (f *flaky) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:1"))
}
func (f *flaky) Close() error { close(f.closed); return nil }

func TestAcceptingGoesOnAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{fail: 5, closed: make(chan struct{})}
		tr := &Transport{listener: f, notes: newNotes(slog.New(slog.DiscardHandler)), stop: func() {}}
		start := time.Now()
		tr.work.Go(func() { tr.accept(t.Context()) })
		time.AfterFunc(time.Hour, func() { f.Close() })
		tr.work.Wait()
		if f.fail >= 0 || time.Since(start) != time.Hour {
			t.Errorf("ended after %v, %d errors to come", time.Since(start), f.fail)
		}
	})
}

func TestADeadHostIsNoticedInTime(t *testing.T) {
	if got := keepAliveIdle + keepAliveInterval*keepAliveCount; got > 15*time.Second || userTimeout > 15*time.Second {
		t.Errorf("idle for %v, unacknowledged for %v", got, userTimeout)
	}
	l, err := TCP().Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := TCP().Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	want := map[int]int{unix.TCP_KEEPIDLE: 5, unix.TCP_KEEPINTVL: 3, unix.TCP_KEEPCNT: 3, unix.TCP_USER_TIMEOUT: 12000}
	for name, c := range map[string]net.Conn{"dialed": near, "accepted": far} {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for option, value := range want {
			var got int
			var of error
			err := raw.Control(func(fd uintptr) { got, of = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) })
			if err = errors.Join(err, of); got != value || err != nil {
				t.Errorf("%s: TCP option %d is %d, want %d (%v)", name, option, got, value, err)
			}
		}
	}
}
