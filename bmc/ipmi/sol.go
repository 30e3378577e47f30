package ipmi

import (
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
)

// sol is an active SOL payload (IPMI v2.0 §15). A BMC has at most one: the node has
// one serial port. It is guarded by the engine's mu.
type sol struct {
	session *session
	state   solState
	// out are packets to be sent, sealed. Whoever calls the engine sends them next.
	out [][]byte
}

// activateSOL begins SOL in a session. The caller holds mu, and has seen that none
// is active.
func (e *engine) activateSOL(s *session, timing solTiming, available bool) {
	e.sol = &sol{session: s, state: solState{timing: timing, available: available}}
}

// endSOL ends SOL, if it is active, and tells the console so if it did not ask for
// it. The caller holds mu.
func (e *engine) endSOL(tell bool) {
	if e.sol == nil {
		return
	}
	if tell {
		e.emitSOL(e.sol, solPacket{bits: solNACK | solDeactivated})
	}
	e.sol = nil
}

// emitSOL seals packets. The caller holds mu.
func (e *engine) emitSOL(l *sol, packets ...solPacket) {
	for _, p := range packets {
		b, err := l.session.seal(types.PayloadTypeSOL, p.payload(), e.random)
		if err != nil {
			e.log.Error("bmc: serial over LAN: packet dropped", "node", e.uuid, "err", err)
			continue
		}
		l.out = append(l.out, b)
	}
}

// receiveSOL takes a SOL payload that came in a session. A console whose SOL is not
// active is told so. The caller holds mu.
func (e *engine) receiveSOL(now time.Time, s *session, order uint32, payload []byte) []byte {
	p, ok := parseSOL(payload)
	if !ok {
		return nil
	}
	if e.sol != nil && e.sol.session == s {
		e.emitSOL(e.sol, e.sol.state.receive(now, order, p)...)
		return nil
	}
	if p.seq == 0 {
		return nil // acknowledgements are not answered
	}
	stray := &sol{session: s}
	e.emitSOL(stray, solPacket{ack: p.seq, bits: solNACK | solDeactivated})
	if len(stray.out) == 0 {
		return nil
	}
	return stray.out[0]
}

// tickSOL does what time asks of SOL. The caller holds mu.
func (e *engine) tickSOL(now time.Time) {
	if e.sol == nil {
		return
	}
	sends, alive := e.sol.state.tick(now)
	e.emitSOL(e.sol, sends...)
	if !alive {
		e.log.Info("bmc: serial over LAN ended: its console does not answer", "node", e.uuid, "source", e.sol.session.from)
		e.endSOL(true)
	}
}

// wakeSOL returns when tickSOL is due, or zero. The caller holds mu.
func (e *engine) wakeSOL() time.Time {
	if e.sol == nil {
		return time.Time{}
	}
	return e.sol.state.wake()
}

// currentSOL returns the active SOL, or nil. It ends one whose session has ended.
func (e *engine) currentSOL(now time.Time) *sol {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sol != nil {
		if s, ok := e.sessions.get(e.sol.session.id); !ok || s != e.sol.session || s.ended(now) {
			e.endSOL(true)
		}
	}
	return e.sol
}

// drainSOL returns the packets to be sent, and whether there is something for the
// guest and room for its output.
func (e *engine) drainSOL(l *sol) (packets [][]byte, typed, room bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	packets, l.out = l.out, nil
	return packets, l.state.waiting(), l.state.room() > 0
}

// writeSOL takes output of the guest, and returns how much there was room for: none
// once SOL is over.
func (e *engine) writeSOL(now time.Time, l *sol, b []byte) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sol != l {
		return 0
	}
	n, sends := l.state.write(now, b)
	e.emitSOL(l, sends...)
	return n
}

// takeSOL returns what the guest is to get next: characters, a break, or nothing.
func (e *engine) takeSOL(l *sol) (data []byte, brk bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sol != l || !l.state.waiting() {
		return nil, false
	}
	data, brk, sends := l.state.take()
	e.emitSOL(l, sends...)
	return data, brk
}

// loseSOL notes that output of the guest is missing.
func (e *engine) loseSOL(l *sol) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.state.lost = true
}

// setSOLAvailable says whether the guest is there.
func (e *engine) setSOLAvailable(l *sol, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sol == l {
		e.emitSOL(l, l.state.setAvailable(ok)...)
	}
}

// abandonSOL ends a SOL that nobody serves any longer.
func (e *engine) abandonSOL(l *sol) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sol == l {
		e.endSOL(true)
	}
}
