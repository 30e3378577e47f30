package ipmi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// solClient is a console in an administrator's session with a server.
type solClient struct {
	t    *testing.T
	link *link
	*console
	got []byte // output
	// bits are those of every packet without a number that acknowledges nothing.
	bits []byte
}

func solLogin(t *testing.T, s *Server) *solClient {
	t.Helper()
	l := dial(t, s.Addr(), patience)
	c := &solClient{t: t, link: l, console: newConsole(l.ask)}
	c.ask = c.answer
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	c.expect(0, 6, 0x3b, 4)
	return c
}

// answer sends a packet and returns the first one that is not of SOL; those are taken
// as receive does.
func (c *solClient) answer(b []byte) []byte {
	if _, err := c.link.conn.Write(b); err != nil {
		return nil
	}
	buf := make([]byte, maxDatagram)
	_ = c.link.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := c.link.conn.Read(buf)
		if err != nil {
			return nil
		}
		if buf[5] != byte(types.PayloadTypeSOL)|0xc0 {
			return buf[:n]
		}
		c.take(buf[:n])
	}
}

// take collects output, which is acknowledged, and status.
func (c *solClient) take(packet []byte) solPacket {
	c.t.Helper()
	b, err := c.unseal(packet)
	p, ok := parseSOL(b)
	if err != nil || !ok || packet[5] != byte(types.PayloadTypeSOL)|0xc0 {
		c.t.Fatalf("packet % x: %v; want one of SOL", packet, err)
	}
	switch {
	case p.seq != 0:
		c.got = append(c.got, p.data...)
		c.send(solPacket{ack: p.seq, accepted: byte(len(p.data))})
	case p.ack == 0:
		c.bits = append(c.bits, p.bits)
	}
	return p
}

// expect sends a command and wants this completion code.
func (c *solClient) expect(want byte, netFn, cmd byte, data ...byte) []byte {
	c.t.Helper()
	code, b, err := c.command(netFn, cmd, data...)
	if byte(code) != want || err != nil {
		c.t.Fatalf("command %02x %02x % x: code %02x, %v; want %02x", netFn, cmd, data, byte(code), err, want)
	}
	return b
}

func (c *solClient) activate(want byte) {
	c.t.Helper()
	c.expect(want, 6, 0x48, 1, 1, 0xc6, 0, 0, 0)
}

func (c *solClient) deactivate(want byte) {
	c.t.Helper()
	c.expect(want, 6, 0x49, 1, 1, 0, 0, 0, 0)
}

func (c *solClient) send(p solPacket) {
	c.t.Helper()
	if _, err := c.link.conn.Write(c.sol(p.payload())); err != nil {
		c.t.Fatal(err)
	}
}

// receive takes SOL packets until one is as wanted, and returns that.
func (c *solClient) receive(until func(p solPacket) bool) solPacket {
	c.t.Helper()
	buf := make([]byte, maxDatagram)
	_ = c.link.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := c.link.conn.Read(buf)
		if err != nil {
			c.t.Fatalf("no such packet: %v; output so far %.200q, status %x", err, c.got, c.bits)
		}
		if p := c.take(buf[:n]); until(p) {
			return p
		}
	}
}

func (c *solClient) waitFor(text string) {
	c.t.Helper()
	if !bytes.Contains(c.got, []byte(text)) {
		c.receive(func(solPacket) bool { return bytes.Contains(c.got, []byte(text)) })
	}
}

// waitBits waits for a packet that tells of the guest or of SOL itself.
func (c *solClient) waitBits(bits byte) {
	c.t.Helper()
	if !bytes.Contains(c.bits, []byte{bits}) {
		c.receive(func(p solPacket) bool { return p.seq == 0 && p.ack == 0 && p.bits == bits })
	}
}

// ackOf sends a packet and returns its acknowledgement.
func (c *solClient) ackOf(p solPacket) solPacket {
	c.t.Helper()
	c.send(p)
	return c.receive(func(a solPacket) bool { return a.seq == 0 && a.ack == p.seq })
}

func TestSOLSurvivesAPowerCycle(t *testing.T) {
	chassis := running()
	s := listen(t, chassis)
	c := solLogin(t, s)
	c.activate(0)
	_, _ = io.WriteString(guestOf(t, chassis), "first boot")
	c.waitFor("first boot")

	chassis.SetPower(state.PowerOff)
	_ = chassis.Guest().Close() // as a guest that goes off
	c.waitBits(solNACK | solUnavailable)
	// While it is off: keep-alives are answered, what is typed is not taken.
	if a := c.ackOf(solPacket{seq: 1}); a.bits != solUnavailable {
		t.Errorf("keep-alive while off: %+v", a)
	}
	if a := c.ackOf(solPacket{seq: 2, data: d("lost")}); a.bits != solNACK|solUnavailable || a.accepted != 0 {
		t.Errorf("typed while off: %+v", a)
	}
	if b := c.expect(0, 6, 0x4a, 1); b[1] != 1 {
		t.Errorf("activation status while off: % x, want it active", b)
	}

	old := chassis.Guest()
	chassis.SetPower(state.PowerOn)
	c.waitBits(solNACK)
	eventually(t, "another guest", func() bool { return chassis.Guest() != old }, func() string { return "the old one" })
	_, _ = io.WriteString(chassis.Guest(), "second boot")
	c.waitFor("second boot")
	if a := c.ackOf(solPacket{seq: 3, data: d("root\r")}); a.bits != 0 || a.accepted != 5 {
		t.Errorf("typed once it is on: %+v", a)
	}
	reads(t, chassis.Guest(), "root\r")
}

func TestSOLMayBeActivatedWhileTheNodeIsOff(t *testing.T) {
	chassis := bmctest.NewChassis()
	s := listen(t, chassis)
	c := solLogin(t, s)
	c.activate(0)
	if a := c.ackOf(solPacket{seq: 1, data: d("x")}); a.bits != solNACK|solUnavailable {
		t.Errorf("typed while off: %+v", a)
	}
	c.expect(0, 0, 2, 1) // power on
	c.waitBits(solNACK)
	_, _ = io.WriteString(guestOf(t, chassis), "booting")
	c.waitFor("booting")
}

func TestSOLOfOneNodeIsForOneSessionAtATime(t *testing.T) {
	chassis, other := running(), running()
	s, s2 := listen(t, chassis), listen(t, other)
	first, second, elsewhere := solLogin(t, s), solLogin(t, s), solLogin(t, s2)
	first.activate(0)
	second.activate(0x80)
	elsewhere.activate(0)
	if b := second.expect(0, 6, 0x4b, 1, 1); binary.LittleEndian.Uint32(b) != first.bmcID {
		t.Errorf("instance info % x: want session %08x", b, first.bmcID)
	}
	_, _ = io.WriteString(guestOf(t, other), "the other node")
	elsewhere.waitFor("the other node")

	// Who may not: an operator. Who may: an administrator, who then has it.
	second.expect(0, 6, 0x3b, 3)
	second.deactivate(0xd4)
	second.expect(0, 6, 0x3b, 4)
	second.deactivate(0)
	first.waitBits(solNACK | solDeactivated)
	if a := first.ackOf(solPacket{seq: 1, data: d("x")}); a.bits != solNACK|solDeactivated {
		t.Errorf("typed without SOL: %+v", a)
	}
	second.activate(0)
	first.activate(0x80)
	eventually(t, "console attached anew", func() bool {
		_ = chassis.Guest().SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := io.WriteString(chassis.Guest(), "taken over")
		return err == nil
	}, func() string { return "the old one" })
	second.waitFor("taken over")
	second.deactivate(0)
	second.deactivate(0x80)
	if b := second.expect(0, 6, 0x4a, 1); b[1] != 0 {
		t.Errorf("activation status in the end: % x", b)
	}
}

func TestSOLEndsWithItsSession(t *testing.T) {
	chassis := running()
	s := listen(t, chassis)
	c := solLogin(t, s)
	c.activate(0)
	guest := guestOf(t, chassis)
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	_ = guest.SetReadDeadline(time.Now().Add(patience))
	if _, err := guest.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the console after its session: %v, want it detached", err)
	}
	next := solLogin(t, s)
	next.activate(0)
}

// breaker is a chassis whose console can send breaks.
type breaker struct {
	*bmctest.Chassis
	breaks atomic.Int32
}

type breakerConsole struct {
	io.ReadWriteCloser
	of *breaker
}

func (b *breaker) Console(ctx context.Context) (io.ReadWriteCloser, error) {
	c, err := b.Chassis.Console(ctx)
	return breakerConsole{c, b}, err
}

func (c breakerConsole) SendBreak(context.Context) error {
	c.of.breaks.Add(1)
	return nil
}

func TestSOLSendsABreakOnceIfTheConsoleCan(t *testing.T) {
	chassis := &breaker{Chassis: running()}
	cfg := testConfig(nil)
	cfg.Chassis = chassis
	s, err := Listen(t.Context(), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	plain := listen(t, running())
	for name, server := range map[string]*Server{"a console that can": s, "one that cannot": plain} {
		c := solLogin(t, server)
		c.activate(0)
		for range 2 {
			if a := c.ackOf(solPacket{seq: 1, bits: solBreak}); a.bits != 0 {
				t.Errorf("break to %s: %+v, want it acknowledged", name, a)
			}
		}
	}
	eventually(t, "one break", func() bool { return chassis.breaks.Load() == 1 }, func() string { return fmt.Sprint(chassis.breaks.Load()) })
}

func TestSOLLosesNothingOfAFastGuest(t *testing.T) {
	chassis := running()
	s := listen(t, chassis)
	c := solLogin(t, s)
	c.activate(0)
	log := bootLog(100 << 10)
	var wg sync.WaitGroup
	guest := guestOf(t, chassis)
	wg.Go(func() { _, _ = io.WriteString(guest, log) })
	c.receive(func(solPacket) bool { return len(c.got) >= len(log) })
	wg.Wait()
	if string(c.got) != log {
		t.Error("the output is not what the guest wrote")
	}
}

func TestClosingTheServerEndsSOL(t *testing.T) {
	chassis := running()
	s, err := Listen(t.Context(), "127.0.0.1:0", testConfig(chassis))
	if err != nil {
		t.Fatal(err)
	}
	c := solLogin(t, s)
	c.activate(0)
	guest := guestOf(t, chassis)
	c.ackOf(solPacket{seq: 1, data: d("nobody reads this")})
	began := time.Now()
	if err := s.Close(); err != nil { // goleak sees to the rest
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("close took %v", took)
	}
	if _, err := guest.Read(make([]byte, 64)); err == nil {
		t.Error("the console is still attached")
	}
}

// replaying is a chassis whose console begins with all output there was so far.
type replaying struct {
	*bmctest.Chassis
	begins string
	place  int64
}

type replayingConsole struct {
	io.ReadWriteCloser
	io.Reader
	place int64
}

func (r *replaying) Console(ctx context.Context) (io.ReadWriteCloser, error) {
	c, err := r.Chassis.Console(ctx)
	return replayingConsole{c, io.MultiReader(strings.NewReader(r.begins), c), r.place}, err
}

func (c replayingConsole) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func (c replayingConsole) Position() int64 { return c.place }

func TestSOLShowsOutputOnceThatAConsoleBeginsWithAgain(t *testing.T) {
	chassis := &replaying{Chassis: running(), begins: "of the past, ", place: 1000}
	s := listenAny(t, chassis)
	c := solLogin(t, s)
	c.activate(0)
	_, _ = io.WriteString(guestOf(t, chassis.Chassis), "first boot, ")
	c.waitFor("first boot, ")
	old := chassis.Guest()
	// Somebody else read the beginning of the second boot, and then it is SOL's turn.
	chassis.begins, chassis.place = "past, first boot, second ", 1007
	_ = old.Close()
	eventually(t, "another guest", func() bool { return chassis.Guest() != old }, func() string { return "the old one" })
	_, _ = io.WriteString(chassis.Guest(), "boot")
	c.waitFor("second boot")
	if want := "of the past, first boot, second boot"; string(c.got) != want {
		t.Errorf("got %q, want %q", c.got, want)
	}
}

// flaky is a chassis whose console fails, or has a bug.
type flaky struct {
	*bmctest.Chassis
	calls atomic.Int32
	panic bool
}

func (f *flaky) Console(ctx context.Context) (io.ReadWriteCloser, error) {
	if f.calls.Add(1) <= 2 {
		if f.panic {
			panic("bug")
		}
		return nil, state.ErrBusy
	}
	return f.Chassis.Console(ctx)
}

func TestSOLTriesAConsoleThatFailsAgain(t *testing.T) {
	chassis := &flaky{Chassis: running()}
	s := listenAny(t, chassis)
	c := solLogin(t, s)
	c.activate(0)
	c.waitBits(solNACK | solUnavailable)
	c.waitBits(solNACK)
	_, _ = io.WriteString(guestOf(t, chassis.Chassis), "at last")
	c.waitFor("at last")
}

func TestABugInTheConsoleEndsOnlySOL(t *testing.T) {
	chassis := &flaky{Chassis: running(), panic: true}
	s := listenAny(t, chassis)
	c := solLogin(t, s)
	c.activate(0)
	eventually(t, "SOL inactive", func() bool { return c.expect(0, 6, 0x4a, 1)[1] == 0 }, func() string { return "still active" })
}

func listenAny(t *testing.T, chassis bmc.Chassis) *Server {
	t.Helper()
	cfg := testConfig(nil)
	cfg.Chassis = chassis
	s, err := Listen(t.Context(), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
