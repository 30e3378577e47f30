package ipmi

import (
	"bytes"
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/go-cmp/cmp"
)

var testTiming = solTiming{accumulate: 10 * time.Millisecond, threshold: 5, retries: 2, interval: 100 * time.Millisecond}

var testEpoch = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// A solStep is something that happens to a solState at a time, and what it sends.
type solStep struct {
	at time.Duration
	// One of: guest is output; off and on are the guest's; take, what it is given next;
	// tick; otherwise packet comes from the console, as number order of its session.
	guest    string
	off, on  bool
	lost     bool // output of the guest is missing from here on
	take     string
	tick     bool
	dead     bool // with tick: the console is given up
	packet   solPacket
	order    uint32
	want     []solPacket
	wake     time.Duration // 0: never
	buffered int           // of what was typed
}

func d(s string) []byte { return []byte(s) }

// Times in the tables are multiples of this.
const ms = time.Millisecond

func TestSOLState(t *testing.T) {
	for name, steps := range map[string][]solStep{
		"output waits for more, then goes": {
			{at: 1 * ms, guest: "ab", wake: 11 * ms},
			{at: 5 * ms, guest: "c", wake: 11 * ms},
			{at: 11 * ms, tick: true, want: []solPacket{{seq: 1, data: d("abc")}}, wake: 111 * ms},
			{at: 20 * ms, packet: solPacket{ack: 1, accepted: 3}, order: 1},
		},
		"the threshold ends the wait": {
			{guest: "abcd", wake: 10 * ms},
			{guest: "e", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
		},
		"output that came meanwhile follows the acknowledgement": {
			{guest: "abcde", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
			{at: 1 * ms, guest: "fghijk", wake: 100 * ms},
			{at: 2 * ms, packet: solPacket{ack: 1, accepted: 5}, order: 1, want: []solPacket{{seq: 2, data: d("fghijk")}}, wake: 102 * ms},
			{at: 3 * ms, packet: solPacket{ack: 1, accepted: 5}, order: 2, wake: 102 * ms},
			{at: 4 * ms, packet: solPacket{ack: 2, accepted: 6}, order: 3},
		},
		"a packet without acknowledgement is sent again unchanged, later at a slower pace, and the console is given up": {
			{guest: "abcde", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
			{at: 50 * ms, guest: "more", wake: 100 * ms},
			{at: 99 * ms, tick: true, wake: 100 * ms},
			{at: 100 * ms, tick: true, want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 200 * ms},
			{at: 200 * ms, tick: true, want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 1200 * ms},
			{at: 1200 * ms, tick: true, want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 2200 * ms},
			{at: 9900 * ms, tick: true, want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 10900 * ms},
			{at: 10900 * ms, tick: true, dead: true},
		},
		"a partial acknowledgement has the rest sent, under the next number": {
			{guest: "abcdef", want: []solPacket{{seq: 1, data: d("abcdef")}}, wake: 100 * ms},
			{at: 1 * ms, packet: solPacket{ack: 1, accepted: 2}, order: 1, want: []solPacket{{seq: 2, data: d("cdef")}}, wake: 101 * ms},
			{at: 2 * ms, packet: solPacket{ack: 2, accepted: 1, bits: solNACK}, order: 2, want: []solPacket{{seq: 3, data: d("def")}}, wake: 102 * ms},
			{at: 3 * ms, packet: solPacket{ack: 3, accepted: 3}, order: 3},
		},
		"a console without room suspends, and resumes": {
			{guest: "abcde", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
			{at: 1 * ms, packet: solPacket{ack: 1, bits: solNACK}, order: 1},
			{at: 60000 * ms, tick: true},
			{at: 60001 * ms, packet: solPacket{ack: 1}, order: 2, want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 60101 * ms},
			{at: 60002 * ms, packet: solPacket{ack: 1, accepted: 5}, order: 3},
		},
		"a console that has room for a part is no longer suspended": {
			{guest: "abcde", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
			{at: 1 * ms, packet: solPacket{ack: 1, bits: solNACK}, order: 1},
			{at: 2 * ms, packet: solPacket{ack: 1, accepted: 2}, order: 2, want: []solPacket{{seq: 2, data: d("cde")}}, wake: 102 * ms},
		},
		"an acknowledgement of nothing does not make it send without end": {
			{guest: "abcde", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
			{at: 1 * ms, packet: solPacket{ack: 1}, order: 1, wake: 100 * ms},
		},
		"lost output is told with the next packet, and with its repeats": {
			{guest: "abcde", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
			{lost: true, wake: 100 * ms},
			{guest: "vwxyz", wake: 100 * ms},
			{at: 1 * ms, packet: solPacket{ack: 1, accepted: 5}, order: 1, want: []solPacket{{seq: 2, bits: solOverrun, data: d("vwxyz")}}, wake: 101 * ms},
			{at: 101 * ms, tick: true, want: []solPacket{{seq: 2, bits: solOverrun, data: d("vwxyz")}}, wake: 201 * ms},
			{at: 102 * ms, packet: solPacket{ack: 2, accepted: 5}, order: 2},
			{at: 103 * ms, guest: "abcde", want: []solPacket{{seq: 3, data: d("abcde")}}, wake: 203 * ms},
		},
		"flush outbound drops what waits and what is on the way": {
			{guest: "abcde", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
			{guest: "fgh", wake: 100 * ms},
			{at: 1 * ms, packet: solPacket{bits: solFlushOutbound}, order: 1},
			{at: 2 * ms, guest: "ijklm", want: []solPacket{{seq: 2, data: d("ijklm")}}, wake: 102 * ms},
		},
		"what is typed is acknowledged and reaches the guest": {
			{packet: solPacket{seq: 1, data: d("ls\r")}, order: 1, want: []solPacket{{ack: 1, accepted: 3}}, buffered: 3},
			{take: "ls\r"},
		},
		"more than the accepted count can tell is not accepted": {
			{packet: solPacket{seq: 1, data: bytes.Repeat(d("x"), 255)}, order: 1, want: []solPacket{{ack: 1, accepted: 255}}, buffered: 255},
			{packet: solPacket{seq: 2, data: bytes.Repeat(d("x"), 256)}, order: 2, want: []solPacket{{ack: 2, accepted: 255, bits: solNACK}}, buffered: 510},
		},
		"a repeat is acknowledged again and not delivered again": {
			{packet: solPacket{seq: 1, data: d("x")}, order: 1, want: []solPacket{{ack: 1, accepted: 1}}, buffered: 1},
			{packet: solPacket{seq: 1, data: d("x")}, order: 2, want: []solPacket{{ack: 1, accepted: 1}}, buffered: 1},
			{packet: solPacket{seq: 2, data: d("y")}, order: 3, want: []solPacket{{ack: 2, accepted: 1}}, buffered: 2},
		},
		"a packet that was overtaken is dropped": {
			{packet: solPacket{seq: 2, data: d("y")}, order: 9, want: []solPacket{{ack: 2, accepted: 1}}, buffered: 1},
			{packet: solPacket{seq: 1, data: d("x")}, order: 8, buffered: 1},
			{packet: solPacket{seq: 3, data: d("z")}, order: 10, want: []solPacket{{ack: 3, accepted: 1}}, buffered: 2},
		},
		"a keep-alive without characters is acknowledged": {
			{packet: solPacket{seq: 7}, order: 1, want: []solPacket{{ack: 7}}},
			{packet: solPacket{}, order: 2},
		},
		"while the guest is off nothing is accepted, and the console is told of each change": {
			{packet: solPacket{seq: 1, data: d("lost")}, order: 1, want: []solPacket{{ack: 1, accepted: 4}}, buffered: 4},
			{off: true, want: []solPacket{{bits: solNACK | solUnavailable}}},
			{off: true},
			{packet: solPacket{seq: 2, data: d("x")}, order: 2, want: []solPacket{{ack: 2, bits: solNACK | solUnavailable}}},
			{packet: solPacket{seq: 3}, order: 3, want: []solPacket{{ack: 3, bits: solUnavailable}}},
			{on: true, want: []solPacket{{bits: solNACK}}},
			{packet: solPacket{seq: 4, data: d("y")}, order: 4, want: []solPacket{{ack: 4, accepted: 1}}, buffered: 1},
		},
		"output from before the guest went off still arrives": {
			{guest: "abcde", want: []solPacket{{seq: 1, data: d("abcde")}}, wake: 100 * ms},
			{guest: "bye", wake: 100 * ms},
			{off: true, want: []solPacket{{bits: solNACK | solUnavailable}}, wake: 100 * ms},
			{at: 20 * ms, packet: solPacket{ack: 1, accepted: 5}, order: 1, want: []solPacket{{seq: 2, bits: solUnavailable, data: d("bye")}}, wake: 120 * ms},
		},
		"a break comes at its place": {
			{packet: solPacket{seq: 1, data: d("ab")}, order: 1, want: []solPacket{{ack: 1, accepted: 2}}, buffered: 2},
			{packet: solPacket{seq: 2, bits: solBreak}, order: 2, want: []solPacket{{ack: 2}}, buffered: 2},
			{packet: solPacket{seq: 2, bits: solBreak}, order: 3, want: []solPacket{{ack: 2}}, buffered: 2},
			{packet: solPacket{seq: 3, data: d("cd")}, order: 4, want: []solPacket{{ack: 3, accepted: 2}}, buffered: 4},
			{take: "ab", buffered: 2},
			{take: "(break)", buffered: 2},
			{take: "cd"},
		},
		"a break while the guest is off is for nobody": {
			{off: true, want: []solPacket{{bits: solNACK | solUnavailable}}},
			{packet: solPacket{seq: 1, bits: solBreak}, order: 1, want: []solPacket{{ack: 1, bits: solUnavailable}}},
			{on: true, want: []solPacket{{bits: solNACK}}},
			{packet: solPacket{seq: 2, data: d("a")}, order: 2, want: []solPacket{{ack: 2, accepted: 1}}, buffered: 1},
			{take: "a"},
		},
		"flush inbound drops what the guest did not take, not what comes with it": {
			{packet: solPacket{seq: 1, bits: solBreak, data: d("ab")}, order: 1, want: []solPacket{{ack: 1, accepted: 2}}, buffered: 2},
			{packet: solPacket{seq: 2, bits: solFlushInbound, data: d("c")}, order: 2, want: []solPacket{{ack: 2, accepted: 1}}, buffered: 1},
			{take: "c"},
		},
		"ring and the modem's lines change nothing": {
			{packet: solPacket{seq: 1, bits: 0x24, data: d("a")}, order: 1, want: []solPacket{{ack: 1, accepted: 1}}, buffered: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := &solState{timing: testTiming, available: true}
			for i, s := range steps {
				playSOL(t, fmt.Sprintf("step %d", i), l, s)
			}
		})
	}
}

func TestSOLUsesUpSlowRetriesBeforeItGivesUp(t *testing.T) {
	l := &solState{timing: solTiming{accumulate: ms, threshold: 1, retries: 7, interval: 2 * time.Second}, available: true}
	_, _ = l.write(testEpoch, d("a"))
	for i := range 7 {
		if sends, alive := l.tick(l.wake()); !alive || len(sends) != 1 {
			t.Errorf("retry %d: sends %+v, alive %t; want it sent again", i+1, sends, alive)
		}
	}
	if sends, alive := l.tick(l.wake()); alive || len(sends) != 0 {
		t.Errorf("after 7 retries in 14 s: sends %+v, alive %t; want the console given up", sends, alive)
	}
}

func playSOL(t *testing.T, what string, l *solState, s solStep) {
	t.Helper()
	now := testEpoch.Add(s.at)
	var got []solPacket
	switch {
	case s.guest != "":
		var n int
		if n, got = l.write(now, d(s.guest)); n != len(s.guest) {
			t.Errorf("%s: %d of %d bytes of output taken", what, n, len(s.guest))
		}
	case s.lost:
		l.lost = true
	case s.off, s.on:
		got = l.setAvailable(s.on)
	case s.take != "":
		data, brk, sends := l.take()
		got = sends
		if brk {
			data = d("(break)")
		}
		if string(data) != s.take {
			t.Errorf("%s: the guest gets %q, want %q", what, data, s.take)
		}
	case s.tick:
		var alive bool
		if got, alive = l.tick(now); alive == s.dead {
			t.Errorf("%s: alive %t, want %t", what, alive, !s.dead)
		}
	default:
		got = l.receive(now, s.order, s.packet)
	}
	if diff := cmp.Diff(s.want, got, cmp.AllowUnexported(solPacket{})); diff != "" {
		t.Errorf("%s sends (-want +got):\n%s", what, diff)
	}
	if s.dead {
		return
	}
	var wake time.Duration
	if at := l.wake(); !at.IsZero() {
		wake = at.Sub(testEpoch)
	}
	if wake != s.wake {
		t.Errorf("%s: wakes at %v, want %v", what, wake, s.wake)
	}
	if len(l.in) != s.buffered {
		t.Errorf("%s: %d bytes wait for the guest, want %d", what, len(l.in), s.buffered)
	}
}

func TestSOLSlowsDownAConsoleWhoseGuestDoesNotDrain(t *testing.T) {
	l := &solState{timing: testTiming, available: true}
	now, data := testEpoch, bytes.Repeat(d("x"), solDataMax)
	seq, order := byte(0), uint32(0)
	send := func() []solPacket {
		seq, order = nextSOL(seq), order+1
		return l.receive(now, order, solPacket{seq: seq, data: data})
	}
	for len(l.in)+len(data) <= solSoft {
		if got := send(); len(got) != 1 || got[0].accepted != solDataMax {
			t.Fatalf("with %d bytes waiting: %+v, want all accepted at once", len(l.in), got)
		}
	}
	if got := send(); got != nil {
		t.Fatalf("with %d bytes waiting: %+v at once, want it late", len(l.in), got)
	}
	if got := l.receive(now, order+1, solPacket{seq: seq, data: data}); got != nil {
		t.Errorf("a repeat meanwhile: %+v, want nothing yet", got)
	}
	order++
	if at := l.wake(); !at.Equal(now.Add(solLateAck)) {
		t.Errorf("wakes at %v, want %v", at, now.Add(solLateAck))
	}
	now = now.Add(solLateAck)
	if got, _ := l.tick(now); len(got) != 1 || got[0].ack != seq || got[0].accepted != solDataMax {
		t.Errorf("after %v: %+v, want the acknowledgement", solLateAck, got)
	}
	// The guest makes room before the time has passed.
	if got := send(); got != nil {
		t.Errorf("the next one: %+v at once, want it late", got)
	}
	if _, _, got := l.take(); len(got) != 1 || got[0].ack != seq {
		t.Errorf("once the guest drains: %+v, want the acknowledgement", got)
	}
	// The guest drains no more.
	for len(l.in)+len(data) <= solInMax {
		send()
	}
	room := solInMax - len(l.in)
	want := solPacket{ack: nextSOL(seq), accepted: byte(room), bits: solNACK}
	if got := send(); len(got) != 1 || cmp.Diff(want, got[0], cmp.AllowUnexported(solPacket{})) != "" {
		t.Errorf("with room for %d bytes: %+v, want %+v", room, got, want)
	}
	if got := send(); len(got) != 1 || got[0].accepted != 0 || !got[0].has(solNACK) {
		t.Errorf("without room: %+v, want a NACK of all", got)
	}
	if len(l.in) != solInMax {
		t.Errorf("%d bytes wait, want %d", len(l.in), solInMax)
	}
}

func TestSOLHasTheGuestWaitForTheConsole(t *testing.T) {
	l := &solState{timing: testTiming, available: true}
	log := bytes.Repeat(d("x"), 2*solOutMax)
	n, sends := l.write(testEpoch, log)
	if n != solOutMax || len(sends) != 1 || len(sends[0].data) != solDataMax {
		t.Errorf("%d of %d bytes taken, sent %d packets; want %d and one of %d bytes", n, len(log), len(sends), solOutMax, solDataMax)
	}
	if n, _ := l.write(testEpoch, log); n != solDataMax {
		t.Errorf("then %d bytes taken, want %d", n, solDataMax)
	}
	l.receive(testEpoch, 1, solPacket{bits: solPause})
	l.receive(testEpoch, 2, solPacket{bits: solPause, ack: 1, accepted: solDataMax})
	if n, _ := l.write(testEpoch, log); n != 0 || l.room() != 0 {
		t.Errorf("paused: %d bytes taken, room for %d; want 0", n, l.room())
	}
	l.receive(testEpoch, 3, solPacket{})
	if l.room() != solDataMax {
		t.Errorf("no longer paused: room for %d bytes, want %d", l.room(), solDataMax)
	}
}

func TestSOLSendsNoFasterThanClientsStand(t *testing.T) {
	l := &solState{timing: testTiming, available: true}
	log, now := bytes.Repeat(d("x"), 200<<10), testEpoch
	sent, wakes, atOnce, order := 0, 0, 0, uint32(0)
	acknowledge := func(sends []solPacket) {
		for ; len(sends) > 0; order++ {
			if len(sends) != 1 {
				t.Fatalf("sends %d packets at once, want one", len(sends))
			}
			sent += len(sends[0].data)
			sends = l.receive(now, order+1, solPacket{ack: sends[0].seq, accepted: byte(len(sends[0].data))})
		}
	}
	for ; sent < 200<<10; wakes++ {
		n, sends := l.write(now, log)
		log = log[n:]
		acknowledge(sends)
		if wakes == 0 {
			atOnce = sent
		}
		now = l.wake()
		sends, _ = l.tick(now)
		acknowledge(sends)
	}
	took := now.Sub(testEpoch)
	if rate := float64(sent) / took.Seconds(); rate < 0.9*solRate || rate > 1.1*solRate || atOnce > solBurst+solDataMax || wakes > 100 {
		t.Errorf("%d bytes in %v (%d at once, %d wake-ups), want about %d a second and %d at once", sent, took, atOnce, wakes, solRate, solBurst)
	}
}

func TestSOLPayloadIsWhatALibraryMakesOfIt(t *testing.T) {
	for _, p := range []solPacket{{}, {seq: 15, ack: 3, accepted: 200, bits: solNACK | solBreak, data: d("abc")}} {
		their := types.SOLPayloadPacket{SequenceNumber: p.seq, AckedSequenceNumber: p.ack, AcceptedCharacterCount: p.accepted,
			NACK: p.has(solNACK), ControlByte: p.bits, CharacterData: p.data}
		if got := p.payload(); !bytes.Equal(got, their.Pack()) {
			t.Errorf("%+v: %x, want %x", p, got, their.Pack())
		}
		if got, ok := parseSOL(their.Pack()); !ok || !bytes.Equal(got.payload(), p.payload()) {
			t.Errorf("%x: %+v, want %+v", their.Pack(), got, p)
		}
	}
}

// solPeer is the console's end for tests: as §15.9 wants it.
type solPeer struct {
	order    uint32 // of its packets
	newest   uint32 // of ours
	seq      byte
	typed    []byte // not yet acknowledged
	flight   []byte
	sent     time.Time
	last     byte
	received []byte
}

func (c *solPeer) receive(order uint32, p solPacket) (answer solPacket, ok bool) {
	if int32(order-c.newest) <= 0 {
		return solPacket{}, false
	}
	c.newest = order
	if p.ack != 0 && p.ack == c.seq && c.flight != nil {
		c.typed, c.flight = c.typed[p.accepted:], nil
	}
	if p.seq == 0 {
		return solPacket{}, false
	}
	if p.seq != c.last {
		c.last = p.seq
		c.received = append(c.received, p.data...)
	}
	return solPacket{ack: p.seq, accepted: byte(len(p.data))}, true
}

func (c *solPeer) send(now time.Time) (solPacket, bool) {
	switch {
	case len(c.typed) == 0:
		return solPacket{}, false
	case c.flight == nil:
		c.seq = nextSOL(c.seq)
		c.flight = c.typed[:min(len(c.typed), 40)]
	case now.Sub(c.sent) < 150*ms:
		return solPacket{}, false
	}
	c.sent = now
	return solPacket{seq: c.seq, data: c.flight}, true
}

// lossy is a link that loses, doubles, delays and thereby reorders packets.
type lossy struct {
	random *mathrand.Rand
	way    []onItsWay
}

type onItsWay struct {
	at    time.Time
	toBMC bool
	order uint32
	p     solPacket
}

func (l *lossy) send(now time.Time, toBMC bool, order uint32, p solPacket) {
	for range []int{0, 1, 1, 1, 1, 1, 1, 1, 1, 2}[l.random.IntN(10)] {
		delay := time.Duration(l.random.IntN(20)) * ms
		if l.random.IntN(20) == 0 {
			delay += 200 * ms
		}
		l.way = append(l.way, onItsWay{now.Add(delay), toBMC, order, p})
	}
}

func (l *lossy) arrived(now time.Time) (out []onItsWay) {
	rest := l.way[:0]
	for _, w := range l.way {
		if w.at.After(now) {
			rest = append(rest, w)
		} else {
			out = append(out, w)
		}
	}
	l.way = rest
	return out
}

func TestSOLDeliversEverythingOnceOverALinkThatLosesDoublesAndReorders(t *testing.T) {
	for seed := range uint64(5) {
		var out, in []byte
		for i := 0; len(out) < 100_000; i++ {
			out, in = fmt.Appendf(out, "line %d\r\n", i), fmt.Appendf(in, "typed %d\r", i)
		}
		l := &solState{timing: defaultSOL().timing(), available: true}
		c, link := &solPeer{typed: clone(in)}, &lossy{random: mathrand.New(mathrand.NewPCG(seed, 1))}
		now, order, rest := testEpoch, uint32(0), out
		var guest []byte
		toConsole := func(packets []solPacket) {
			for _, p := range packets {
				order++
				p.data = clone(p.data)
				link.send(now, false, order, p)
			}
		}
		toBMC := func(p solPacket) {
			c.order++
			p.data = clone(p.data)
			link.send(now, true, c.order, p)
		}
		steps := 0
		for ; (len(guest) < len(in) || len(c.received) < len(out)) && steps < 5_000_000; steps++ {
			now = now.Add(ms)
			n, sends := l.write(now, rest[:min(len(rest), 300)])
			rest = rest[n:]
			toConsole(sends)
			sends, alive := l.tick(now)
			if !alive {
				t.Fatalf("seed %d: given up after %v", seed, now.Sub(testEpoch))
			}
			toConsole(sends)
			for l.waiting() {
				data, _, sends := l.take()
				guest = append(guest, data...)
				toConsole(sends)
			}
			if p, ok := c.send(now); ok {
				toBMC(p)
			}
			for _, w := range link.arrived(now) {
				if w.toBMC {
					toConsole(l.receive(now, w.order, w.p))
				} else if p, ok := c.receive(w.order, w.p); ok {
					toBMC(p)
				}
			}
		}
		if !bytes.Equal(c.received, out) || !bytes.Equal(guest, in) {
			t.Errorf("seed %d, after %v: the console got %d bytes (right: %t), want %d; the guest %d (right: %t), want %d", seed, now.Sub(testEpoch),
				len(c.received), bytes.HasPrefix(out, c.received), len(out), len(guest), bytes.HasPrefix(in, guest), len(in))
		}
	}
}

// FuzzSOL sends any payloads to a BMC with an active SOL; two bytes before each
// give its length and whether something else happens first.
func FuzzSOL(f *testing.F) {
	f.Add([]byte{4, 0, 1, 0, 0, 0, 6, 1, 2, 1, 3, 0, 'a', 'b'})
	f.Add([]byte{4, 2, 0, 1, 0, 0x40, 4, 3, 0, 1, 0, 0, 4, 4, 0, 0, 0, 3, 5, 5, 9, 0, 0, 0x1b, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &solState{timing: defaultSOL().timing(), available: true}
		now := testEpoch
		for order := uint32(1); len(b) >= 2; order++ {
			n, what := min(int(b[0]), len(b)-2), b[1]
			p, ok := parseSOL(b[2 : 2+n])
			b = b[2+n:]
			var sends []solPacket
			switch what % 8 {
			case 1:
				_, sends = l.write(now, bytes.Repeat(d("y"), int(what)*100))
			case 2:
				now = now.Add(time.Duration(what) * 10 * ms)
				sends, _ = l.tick(now)
			case 3:
				if l.waiting() {
					_, _, sends = l.take()
				}
			case 4:
				sends = l.setAvailable(what&8 != 0)
			}
			if ok {
				sends = append(sends, l.receive(now, order, p)...)
			}
			for _, s := range sends {
				if len(s.payload()) > solPayloadMax || s.seq > solSeqMax || s.seq == 0 && len(s.data) > 0 {
					t.Fatalf("sends %+v", s)
				}
			}
			if len(sends) > 8 || len(l.in) > solInMax || len(l.out) > solOutMax || len(l.breaks) > solBreaks {
				t.Fatalf("%d packets, %d bytes in, %d out, %d breaks", len(sends), len(l.in), len(l.out), len(l.breaks))
			}
			for i, at := range l.breaks {
				if at > len(l.in) || i > 0 && at < l.breaks[i-1] {
					t.Fatalf("breaks at %v of %d bytes", l.breaks, len(l.in))
				}
			}
		}
	})
}
