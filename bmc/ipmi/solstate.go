package ipmi

import (
	"time"
)

const (
	// solOutMax bounds, in bytes, the guest's output that waits for the console; then
	// the guest has to.
	solOutMax = 16 << 10
	// solInMax bounds what was typed and the guest did not take yet. Above half of it
	// acknowledgements come late, which slows down a console that waits for them.
	solInMax = 64 << 10
	solSoft  = solInMax / 2
	// solLateAck is less than what clients wait for an acknowledgement (ipmitool 1 s,
	// FreeIPMI 500 ms).
	solLateAck = 250 * time.Millisecond
	// solProbe is the pace of resending once the configured retries are used up, and
	// solPatience how long after the first sending SOL is given up.
	solProbe    = time.Second
	solPatience = 10 * time.Second
	// solRate, in bytes per second, is the most that is sent for long, and solBurst what may
	// go at once after a while of less: FreeIPMI acknowledges what it has no room for (16
	// KiB) and gives up then. It is some 17 times what 115,200 baud bring.
	solRate  = 200 << 10
	solBurst = 8 << 10
	// solBreaks bounds the breaks that wait; more are as good as one.
	solBreaks = 8
	// solChunk is how much a guest is given at once, in bytes.
	solChunk = 4 << 10
)

// solTiming is what the SOL configuration says of the pace of packets.
type solTiming struct {
	// accumulate is how long characters wait for more, unless threshold are there.
	accumulate time.Duration
	threshold  int
	// A packet is sent again up to retries times, each interval.
	retries  int
	interval time.Duration
}

// solState is the protocol of one SOL payload (IPMI v2.0 §15.11): stop and wait in
// each direction. It has no clock and no lock; what it returns is to be sent in
// that order.
type solState struct {
	timing solTiming
	// available says that the guest is there to take characters.
	available bool

	// Towards the console: output that waits, since when, and the one packet that is
	// not acknowledged (nil: none), when it was sent first and last, and how often.
	out         []byte
	since       time.Time
	seq         byte
	flight      []byte
	first, sent time.Time
	sends       int
	// full is when all of solBurst may be sent again; nothing new is before hold.
	full, hold time.Time
	// lost: output is missing, which the next packet tells; gap: the one in flight does.
	lost, gap bool
	// suspended: the console has no room; paused: it wants no more output to be read.
	suspended, paused bool

	// From the console: newest is the session's sequence number of the newest packet,
	// answer what its last numbered one got, late when that is sent if it is held back.
	heard  bool
	newest uint32
	last   byte
	answer solPacket
	late   time.Time
	in     []byte
	// breaks are places in in, ascending.
	breaks []int
}

// receive takes a packet of the console. order is its sequence number in the
// session: one that was overtaken is dropped, because it was given up or is a repeat.
func (l *solState) receive(now time.Time, order uint32, p solPacket) []solPacket {
	if l.heard && int32(order-l.newest) <= 0 {
		return nil
	}
	l.heard, l.newest = true, order
	sends := l.acknowledged(now, p)
	if p.seq != 0 && p.seq == l.last {
		// Its answer was lost; the content is the same (§15.9).
		if l.late.IsZero() {
			sends = append(sends, l.reply())
		}
		return sends
	}
	l.operate(p)
	if p.seq != 0 {
		l.late = time.Time{}
		l.last, l.answer = p.seq, l.accept(p)
		if len(l.in) > solSoft && !l.answer.has(solNACK) {
			l.late = now.Add(solLateAck)
		} else {
			sends = append(sends, l.reply())
		}
	}
	return append(sends, l.flush(now)...)
}

// acknowledged handles what a packet says of ours (Table 15-3).
func (l *solState) acknowledged(now time.Time, p solPacket) []solPacket {
	if l.flight == nil || p.ack != l.seq {
		return nil
	}
	switch n := int(p.accepted); {
	case n == 0 && p.has(solNACK):
		l.suspended = true
	case n == 0 && l.suspended:
		l.suspended = false
		return []solPacket{l.send(now, true)}
	case n == 0: // nothing new: the retry will tell
	case n >= len(l.flight):
		l.flight, l.suspended = nil, false
	default:
		// The rest gets a number of its own, so that a console that compares numbers
		// only does not take it for a repeat.
		l.flight, l.suspended = l.flight[n:], false
		l.seq = nextSOL(l.seq)
		return []solPacket{l.send(now, true)}
	}
	return l.flush(now)
}

// operate carries out the operations of a packet.
func (l *solState) operate(p solPacket) {
	l.paused = p.has(solPause)
	if p.has(solFlushInbound) {
		l.in, l.breaks = nil, nil
	}
	if p.has(solFlushOutbound) {
		l.out, l.flight, l.suspended = nil, nil, false
	}
	if p.has(solBreak) && l.available && len(l.breaks) < solBreaks {
		l.breaks = append(l.breaks, len(l.in))
	}
}

// accept takes a packet's characters, as many as there is room for, and returns
// the acknowledgement.
func (l *solState) accept(p solPacket) solPacket {
	room := 0
	if l.available {
		room = min(solInMax-len(l.in), solAcceptMax)
	}
	n := min(len(p.data), room)
	l.in = append(l.in, p.data[:n]...)
	a := solPacket{ack: p.seq, accepted: byte(n)}
	if n < len(p.data) {
		a.bits = solNACK
	}
	return a
}

// reply returns the last answer with the present status.
func (l *solState) reply() solPacket {
	l.late = time.Time{}
	a := l.answer
	a.bits |= l.status()
	return a
}

func (l *solState) status() byte {
	if l.available {
		return 0
	}
	return solUnavailable
}

// write takes output of the guest and says how much of it there was room for.
func (l *solState) write(now time.Time, b []byte) (int, []solPacket) {
	n := min(len(b), l.room())
	if n == 0 {
		return 0, nil
	}
	if len(l.out) == 0 {
		l.since = now
	}
	l.out = append(l.out, b[:n]...)
	return n, l.flush(now)
}

// room is how much output write would take.
func (l *solState) room() int {
	if l.paused {
		return 0
	}
	return solOutMax - len(l.out)
}

// flush sends the next packet, if it is time for it.
func (l *solState) flush(now time.Time) []solPacket {
	if at := l.due(); at.IsZero() || now.Before(at) {
		return nil
	}
	n := min(len(l.out), solDataMax)
	l.flight, l.out = clone(l.out[:n]), l.out[n:]
	l.since, l.seq = now, nextSOL(l.seq)
	l.spend(now, n)
	return []solPacket{l.send(now, true)}
}

// due returns when the next packet may go, or zero if there is none or one is in flight.
func (l *solState) due() time.Time {
	if l.flight != nil || len(l.out) == 0 {
		return time.Time{}
	}
	at := l.since
	if len(l.out) < l.timing.threshold {
		at = at.Add(l.timing.accumulate)
	}
	if l.hold.After(at) {
		return l.hold
	}
	return at
}

// spend counts n bytes against the rate. Half a burst is let pass once it is used up, so
// that not every packet waits.
func (l *solState) spend(now time.Time, n int) {
	const perByte, burst = time.Second / solRate, time.Second * solBurst / solRate
	if l.full.Before(now) {
		l.full = now
	}
	l.full = l.full.Add(time.Duration(n) * perByte)
	if l.full.Sub(now) > burst {
		l.hold = l.full.Add(-burst / 2)
	}
}

// send makes the packet in flight; anew says that it is a new one.
func (l *solState) send(now time.Time, anew bool) solPacket {
	if anew {
		l.first, l.sends = now, 0
		l.gap, l.lost = l.lost, false
	}
	l.sent = now
	l.sends++
	p := solPacket{seq: l.seq, bits: l.status(), data: l.flight}
	if l.gap {
		p.bits |= solOverrun
	}
	return p
}

func nextSOL(seq byte) byte { return seq%solSeqMax + 1 }

// pace is how long the packet in flight waits for its acknowledgement.
func (l *solState) pace() time.Duration {
	if l.sends > l.timing.retries {
		return solProbe
	}
	return l.timing.interval
}

// tick does what time asks for. alive is false once the console is given up.
func (l *solState) tick(now time.Time) (sends []solPacket, alive bool) {
	if !l.late.IsZero() && !now.Before(l.late) {
		sends = append(sends, l.reply())
	}
	if l.flight != nil && !l.suspended && !now.Before(l.sent.Add(l.pace())) {
		if l.sends > l.timing.retries && !now.Before(l.first.Add(solPatience)) {
			return sends, false
		}
		sends = append(sends, l.send(now, false))
	}
	return append(sends, l.flush(now)...), true
}

// wake returns when tick is due, or zero for never.
func (l *solState) wake() time.Time {
	at := earlier(l.late, l.due())
	if l.flight != nil && !l.suspended {
		at = earlier(at, l.sent.Add(l.pace()))
	}
	return at
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// take returns what the guest is to get next: characters, or a break.
func (l *solState) take() (data []byte, brk bool, sends []solPacket) {
	n := min(len(l.in), solChunk)
	if len(l.breaks) > 0 {
		n = min(n, l.breaks[0])
		if n == 0 {
			l.breaks = l.breaks[1:]
			return nil, true, nil
		}
	}
	data, l.in = clone(l.in[:n]), l.in[n:]
	for i := range l.breaks {
		l.breaks[i] -= n
	}
	if !l.late.IsZero() && len(l.in) <= solSoft {
		sends = append(sends, l.reply())
	}
	return data, false, sends
}

// waiting says that take has something.
func (l *solState) waiting() bool { return len(l.in) > 0 || len(l.breaks) > 0 }

// setAvailable says whether the guest can take characters. What it did not take
// before it went off is lost, as in a serial port; the console is told of each change.
func (l *solState) setAvailable(ok bool) []solPacket {
	if ok == l.available {
		return nil
	}
	l.available = ok
	if !ok {
		l.in, l.breaks = nil, nil
	}
	var sends []solPacket
	if !l.late.IsZero() {
		sends = append(sends, l.reply())
	}
	return append(sends, solPacket{bits: solNACK | l.status()})
}
