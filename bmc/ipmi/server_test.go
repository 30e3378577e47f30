package ipmi

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// link is a client's socket.
type link struct {
	conn *net.UDPConn
	// timeout is how long answers are waited for.
	timeout time.Duration
}

func dial(tb testing.TB, to netip.AddrPort, timeout time.Duration) *link {
	tb.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &link{conn, timeout}
}

func (l *link) ask(b []byte) []byte {
	_ = l.conn.SetReadDeadline(time.Now().Add(l.timeout))
	if _, err := l.conn.Write(b); err != nil {
		return nil
	}
	buf := make([]byte, maxDatagram)
	n, err := l.conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

const patience = 10 * time.Second

func TestAHungChassisDoesNotKeepOthersFromBeingServed(t *testing.T) {
	chassis := bmctest.NewChassis()
	s := listen(t, chassis)
	chassis.HoldNext()
	stuck := newConsole(dial(t, s.Addr(), patience).ask)
	if err := stuck.login(); err != nil {
		t.Fatal(err)
	}
	if code, _, err := stuck.command(6, 0x3b, 4); code != 0 || err != nil {
		t.Fatalf("set session privilege: code %02x, %v", byte(code), err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		began := time.Now()
		code, _, err := stuck.command(0, 2, 1)
		if took := time.Since(began); code != 0xc0 || err != nil || took < answerWithin/2 {
			t.Errorf("power on by a hung chassis: code %02x, %v after %v; want c0 after about %v", byte(code), err, took, answerWithin)
		}
	})
	other := newConsole(dial(t, s.Addr(), patience).ask)
	began := time.Now()
	err := other.login()
	code, _, err2 := other.command(0, 1)
	if took := time.Since(began); err != nil || err2 != nil || code != 0 || took > answerWithin/2 {
		t.Errorf("another client meanwhile: %v, code %02x, %v after %v", err, byte(code), err2, took)
	}
	wg.Wait()
}

func TestMoreCommandsThanABMCRunsAtATimeAreToldThatItIsBusy(t *testing.T) {
	chassis := bmctest.NewChassis()
	s := listen(t, chassis)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var quick int
	for range maxJobs + 2 {
		chassis.HoldNext()
		c := newConsole(dial(t, s.Addr(), patience).ask)
		if err := c.login(); err != nil {
			t.Fatal(err)
		}
		if code, _, err := c.command(6, 0x3b, 4); code != 0 || err != nil {
			t.Fatalf("set session privilege: code %02x, %v", byte(code), err)
		}
		wg.Go(func() {
			began := time.Now()
			code, _, err := c.command(0, 2, 1)
			if code != 0xc0 || err != nil {
				t.Errorf("power on: code %02x, %v; want c0", byte(code), err)
			}
			mu.Lock()
			defer mu.Unlock()
			if time.Since(began) < answerWithin/2 {
				quick++
			}
		})
	}
	wg.Wait()
	if quick < 1 {
		t.Errorf("%d of %d commands were refused at once, want those beyond %d", quick, maxJobs+2, maxJobs)
	}
}

func TestCloseEndsACommandThatHangs(t *testing.T) {
	chassis := bmctest.NewChassis()
	s, err := Listen(t.Context(), "127.0.0.1:0", testConfig(chassis))
	if err != nil {
		t.Fatal(err)
	}
	l := dial(t, s.Addr(), patience)
	c := newConsole(l.ask)
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	if code, _, err := c.command(6, 0x3b, 4); code != 0 || err != nil {
		t.Fatalf("set session privilege: code %02x, %v", byte(code), err)
	}
	chassis.HoldNext()
	l.timeout = 50 * time.Millisecond
	if answer := c.ask(c.request(0, 2, 1)); answer != nil {
		t.Fatalf("power on by a hung chassis: answered %x at once", answer)
	}
	began := time.Now()
	if err := s.Close(); err != nil { // goleak sees to the rest
		t.Errorf("close: %v", err)
	}
	if took := time.Since(began); took > answerWithin/2 {
		t.Errorf("close took %v: it waited for the command instead of ending it", took)
	}
}

// panicking is a chassis with a bug.
type panicking struct{ bmc.Chassis }

func (panicking) Status() bmc.Status                             { panic("bug") }
func (panicking) Subscribe(func(bmc.Event)) func()               { return func() {} }
func (panicking) Recall(string) []byte                           { return nil }
func (panicking) Power(context.Context, state.PowerAction) error { panic("bug") }

func TestABugInTheChassisEndsNeitherTheBMCNorTheProcess(t *testing.T) {
	cfg := testConfig(nil)
	cfg.Chassis = panicking{}
	s, err := Listen(t.Context(), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	l := dial(t, s.Addr(), patience)
	c := newConsole(l.ask)
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	if code, _, err := c.command(6, 0x3b, 4); code != 0 || err != nil {
		t.Fatalf("set session privilege: code %02x, %v", byte(code), err)
	}
	l.timeout = 100 * time.Millisecond
	for range maxJobs + 1 {
		c.ask(c.request(0, 1))
		c.ask(c.request(0, 2, 1))
	}
	l.timeout = patience
	if code, _, err := c.command(6, 1); code != 0 || err != nil {
		t.Errorf("device ID afterwards: code %02x, %v", byte(code), err)
	}
}

func TestTheReaderWakesUpToEndAnOverride(t *testing.T) {
	chassis := bmctest.NewChassis()
	s := listen(t, chassis)
	c := newConsole(dial(t, s.Addr(), patience).ask)
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	if code, _, err := c.command(6, 0x3b, 4); code != 0 || err != nil {
		t.Fatalf("set session privilege: code %02x, %v", byte(code), err)
	}
	if code, _, err := c.command(0, 8, 5, 0x80, 4, 0, 0, 0); code != 0 || err != nil {
		t.Fatalf("set boot flags: code %02x, %v", byte(code), err)
	}
	s.engine.mu.Lock()
	s.engine.boot.expires = time.Now().Add(10 * time.Millisecond) // instead of a minute
	s.engine.mu.Unlock()
	s.rearm()
	for deadline := time.Now().Add(patience); chassis.Status().Boot.Device != state.BootNone; {
		if time.Now().After(deadline) {
			t.Fatalf("override %v after its end: %+v", patience, chassis.Status().Boot)
		}
		<-time.After(time.Millisecond)
	}
	if code, _, err := c.command(0, 1); code != 0 || err != nil {
		t.Errorf("chassis status afterwards: code %02x, %v", byte(code), err)
	}
}

func TestListenSaysWhyItCannot(t *testing.T) {
	s := listen(t, bmctest.NewChassis())
	if _, err := Listen(t.Context(), s.Addr().String(), testConfig(nil)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second listener on %s: got %v, want address in use", s.Addr(), err)
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no user name", func(c *Config) { c.Account.Username = "" }, "1 to 16 bytes"},
		{"a long user name", func(c *Config) { c.Account.Username = strings.Repeat("x", 17) }, "1 to 16 bytes"},
		{"no password", func(c *Config) { c.Account.Password = state.Secret{} }, "password must have 1 to 20 bytes"},
		{"a long password", func(c *Config) { c.Account.Password = state.NewSecret(strings.Repeat("x", 21)) }, "1 to 20 bytes"},
		{"a bad uuid", func(c *Config) { c.UUID = "x" }, "uuid"},
	} {
		cfg := testConfig(bmctest.NewChassis())
		tc.change(&cfg)
		_, err := Listen(t.Context(), "127.0.0.1:0", cfg)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", tc.name, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password: %v", tc.name, err)
		}
	}
}

func TestASocketOnAllAddressesAnswersFromTheOneThatWasAsked(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0"} {
		s, err := Listen(t.Context(), addr, testConfig(bmctest.NewChassis()))
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"127.0.0.1", "127.0.3.1"} {
			// A connected socket takes answers from that address only.
			c := newConsole(dial(t, netip.AddrPortFrom(netip.MustParseAddr(to), s.Addr().Port()), patience).ask)
			if err := c.login(); err != nil {
				t.Errorf("listening on %s: login at %s: %v", addr, to, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestItServesIPv6(t *testing.T) {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		t.Skip("this host has no IPv6")
	}
	for _, addr := range []string{"[::1]:0", "[::]:0"} {
		s, err := Listen(t.Context(), addr, testConfig(bmctest.NewChassis()))
		if err != nil {
			t.Skipf("IPv6 cannot be used here: %v", err)
		}
		c := newConsole(dial(t, netip.AddrPortFrom(netip.MustParseAddr("::1"), s.Addr().Port()), patience).ask)
		if err := c.login(); err != nil {
			t.Errorf("listening on %s: login: %v", addr, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTooLongADatagramIsDropped(t *testing.T) {
	s := listen(t, bmctest.NewChassis())
	ask := dial(t, s.Addr(), 200*time.Millisecond).ask
	ping := hexOf("06 00 ff 06 00 00 11 be 80 2a 00 00")
	if ask(append(ping, make([]byte, 2*maxDatagram)...)) != nil {
		t.Error("a datagram of over 1,000 bytes was answered")
	}
	if newConsole(dial(t, s.Addr(), patience).ask).login() != nil {
		t.Error("no login afterwards")
	}
}
