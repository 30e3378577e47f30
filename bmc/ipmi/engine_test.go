package ipmi

import (
	"context"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenks/bmc/bmcbench"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) {
	bmcbench.Serve(benchServer())
	goleak.VerifyTestMain(m)
}

const testUUID = "3f8a1c52-9d47-4e6b-8a21-5c0d7e9f1b34"

func testConfig(chassis *bmctest.Chassis) Config {
	return Config{Chassis: chassis, UUID: testUUID, Log: slog.New(slog.DiscardHandler),
		Account: state.Account{Username: "admin", Password: state.NewSecret("secret")}}
}

// lab is an engine with a clock of its own and the same random numbers each time.
type lab struct {
	tb      testing.TB
	engine  *engine
	chassis *bmctest.Chassis
	now     time.Time
	from    netip.AddrPort
}

func newLab(tb testing.TB) *lab {
	tb.Helper()
	return newLabOf(tb, func(*Config) {})
}

// newLabOf makes a lab with another configuration, or with the chassis of another lab.
func newLabOf(tb testing.TB, edit func(*Config)) *lab {
	tb.Helper()
	cfg := testConfig(bmctest.NewChassis())
	cfg.LAN = func(netip.AddrPort) LAN {
		return LAN{netip.MustParsePrefix("192.0.2.200/25"), [6]byte{0x52, 0x54, 0, 0, 0, 9}, netip.MustParseAddr("192.0.2.129")}
	}
	edit(&cfg)
	chassis := cfg.Chassis.(*bmctest.Chassis)
	l := &lab{tb: tb, chassis: chassis, now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), from: netip.MustParseAddrPort("192.0.2.1:1024")}
	e, err := newEngine(cfg, mathrand.NewChaCha8([32]byte{1}), l.now)
	if err != nil {
		tb.Fatal(err)
	}
	e.port = 623
	l.engine = e
	chassis.SetClock(func() time.Time { return l.now })
	chassis.Subscribe(e.happened)
	return l
}

// ask does what Server does: a datagram in, an answer (or nil) out. A job that the
// chassis holds gets the time limit of a command.
func (l *lab) ask(datagram []byte) []byte {
	defer l.settle()
	answer, j := l.engine.receive(l.tb.Context(), l.now, l.from, datagram)
	if j == nil {
		return answer
	}
	ctx, cancel := context.WithTimeout(l.tb.Context(), 10*time.Millisecond)
	defer cancel()
	return j.run(ctx)
}

// settle does what the engine wants done at once, as the server's reader would.
func (l *lab) settle() {
	for at, _ := l.engine.wake(); !at.IsZero() && !at.After(l.now); at, _ = l.engine.wake() {
		l.tick()
	}
}

func (l *lab) tick() {
	for _, work := range l.engine.tick(l.now) {
		work(l.tb.Context())
	}
}

// wait moves the clock, and ticks as the server's reader would.
func (l *lab) wait(d time.Duration) {
	end := l.now.Add(d)
	for {
		at, _ := l.engine.wake()
		if at.IsZero() || at.After(end) {
			break
		}
		if at.After(l.now) {
			l.now = at
		}
		l.tick()
	}
	l.now = end
}

func addrPort(tb testing.TB, addr string) netip.AddrPort {
	tb.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// on returns what a console at another address asks by.
func (l *lab) on(addr string) func([]byte) []byte {
	from := addrPort(l.tb, addr)
	return func(b []byte) []byte {
		old := l.from
		defer func() { l.from = old }()
		l.from = from
		return l.ask(b)
	}
}

// loggedIn returns a console in a session with the given privilege.
func (l *lab) loggedIn(privilege byte) *console {
	l.tb.Helper()
	c := newConsole(l.ask)
	if err := c.login(); err != nil {
		l.tb.Fatalf("login: %v", err)
	}
	if code, _, err := c.command(0x06, 0x3b, privilege); code != 0 || err != nil {
		l.tb.Fatalf("set session privilege %d: code %02x, %v", privilege, byte(code), err)
	}
	return c
}
