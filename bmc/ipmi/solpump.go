package ipmi

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

const (
	// solPoll is how often a node that is off is looked at, should no event tell that it
	// is on: what it prints before SOL is attached is lost.
	solPoll = 100 * time.Millisecond
	// solRetry is the pause after a console that could not be attached, or ended at once.
	solRetry = 500 * time.Millisecond
	// solRead is how much output is read at a time, in bytes.
	solRead = 4 << 10
)

// A Breaker is a console that can send a break. Without it, the one a client asks for
// is acknowledged and nothing happens.
type Breaker interface {
	// SendBreak holds the line in the break condition for a moment.
	SendBreak(ctx context.Context) error
}

// A Positioner is a console that says where in all output of the node, which is
// counted in bytes, the first byte is that it returns. Without it, a console that is
// attached again is taken to begin with what was not read yet.
type Positioner interface {
	// Position does not change.
	Position() int64
}

// solPump moves characters between the SOL of an engine and the guest's console. Its
// goroutines run only while that SOL is active.
type solPump struct {
	server *Server
	sol    *sol
	client client
	cancel context.CancelFunc
	// typed, room and changed wake up who waits for input, for room for output, and for
	// the node to come on.
	typed, room, changed chan struct{}
	// position is the place after the last byte that was read, if the console tells.
	position int64
}

// serveSOL does what the last call of the engine left to do for SOL: start or stop its
// pump, send packets. from is where the datagram came from that may have activated it.
func (s *Server) serveSOL(ctx context.Context, from client) {
	s.solMu.Lock()
	defer s.solMu.Unlock()
	active := s.engine.currentSOL(time.Now())
	if p := s.pump; p != nil && p.sol != active {
		p.flush() // the last packet says that it is over
		p.cancel()
		s.pump = nil
	}
	if active == nil {
		return
	}
	if s.pump == nil {
		run, cancel := context.WithCancel(ctx)
		p := &solPump{server: s, sol: active, client: from, cancel: cancel,
			typed: make(chan struct{}, 1), room: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
		s.pump = p
		s.wg.Go(func() { p.run(run) })
	}
	s.pump.flush()
}

// flush sends what is to be sent, and wakes up who has something to do. solMu is
// held, so that packets leave in their order.
func (p *solPump) flush() {
	packets, typed, room := p.server.engine.drainSOL(p.sol)
	for _, b := range packets {
		p.server.send(p.client, b)
	}
	if typed {
		wake(p.typed)
	}
	if room {
		wake(p.room)
	}
}

// done follows each call of the engine that a goroutine of the pump makes.
func (p *solPump) done() {
	p.server.solMu.Lock()
	p.flush()
	p.server.solMu.Unlock()
	p.server.rearm()
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run attaches to the node's console, and again whenever the node came back, until
// SOL ends.
func (p *solPump) run(ctx context.Context) {
	defer p.cancel()
	defer p.server.engine.abandonSOL(p.sol)
	defer p.server.survive(ctx)
	// One pump at a time holds the console: the last one may still be closing it.
	select {
	case p.server.attached <- struct{}{}:
		defer func() { <-p.server.attached }()
	case <-ctx.Done():
		return
	}
	defer p.server.engine.chassis.Subscribe(func(bmc.Event) { wake(p.changed) })()
	for ctx.Err() == nil {
		pause := solPoll
		if p.server.engine.chassis.Status().Power == state.PowerOn {
			pause = p.attach(ctx)
		} else {
			p.setAvailable(false)
		}
		select {
		case <-ctx.Done():
		case <-p.changed:
		case <-time.After(pause):
		}
	}
}

func (p *solPump) setAvailable(ok bool) {
	p.server.engine.setSOLAvailable(p.sol, ok)
	p.done()
}

// attach copies both ways until the console or SOL ends, and returns how long to wait
// before the next try.
func (p *solPump) attach(ctx context.Context) time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	conn, err := p.server.engine.chassis.Console(ctx)
	if err != nil {
		p.setAvailable(false)
		if errors.Is(err, state.ErrWrongState) {
			return solPoll
		}
		if ctx.Err() == nil {
			p.server.log.WarnContext(ctx, "bmc: serial over LAN: console not attached; will retry", "node", p.server.engine.uuid, "err", err, "in", solRetry)
		}
		return solRetry
	}
	p.setAvailable(true)
	var wg sync.WaitGroup
	for _, part := range []func(){
		func() { p.copyOut(ctx, conn) },
		func() { p.copyIn(ctx, conn) },
	} {
		wg.Go(func() {
			defer cancel()
			defer p.server.survive(ctx)
			part()
		})
	}
	<-ctx.Done()
	if err := conn.Close(); err != nil {
		p.server.log.Debug("bmc: serial over LAN: console not closed", "node", p.server.engine.uuid, "err", err)
	}
	wg.Wait()
	if time.Since(began) < solRetry {
		return solRetry
	}
	return 0
}

// copyOut brings the guest's output to SOL. It reads no more while there is no room,
// so that the guest has to wait.
func (p *solPump) copyOut(ctx context.Context, conn io.Reader) {
	old := p.repeated(conn)
	buf := make([]byte, solRead)
	for {
		n, err := conn.Read(buf)
		skip := min(old, n)
		old -= skip
		p.position += int64(n - skip)
		if !p.show(ctx, buf[skip:n]) {
			return
		}
		if err != nil {
			p.ended(ctx, "read", err)
			return
		}
	}
}

// repeated returns how many bytes a console begins with that were read already, as far as
// it says so, and notes the place of the first other one.
func (p *solPump) repeated(conn any) int {
	c, ok := conn.(Positioner)
	if !ok {
		return 0
	}
	first := c.Position()
	if p.position != 0 && first > p.position {
		p.server.engine.loseSOL(p.sol)
	}
	p.position = max(p.position, first)
	return int(p.position - first)
}

// show hands output to SOL, as there is room for it. It returns false if SOL ended.
func (p *solPump) show(ctx context.Context, b []byte) bool {
	for len(b) > 0 {
		n := p.server.engine.writeSOL(time.Now(), p.sol, b)
		p.done()
		if b = b[n:]; n > 0 {
			continue
		}
		select {
		case <-p.room:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// copyIn brings what is typed to the guest.
func (p *solPump) copyIn(ctx context.Context, conn io.Writer) {
	for {
		data, brk := p.server.engine.takeSOL(p.sol)
		p.done()
		switch {
		case brk:
			p.sendBreak(ctx, conn)
		case len(data) > 0:
			if _, err := conn.Write(data); err != nil {
				p.ended(ctx, "write", err)
				return
			}
		default:
			select {
			case <-p.typed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (p *solPump) sendBreak(ctx context.Context, conn any) {
	b, ok := conn.(Breaker)
	if !ok {
		return
	}
	if err := b.SendBreak(ctx); err != nil {
		p.server.log.WarnContext(ctx, "bmc: serial over LAN: break not sent", "node", p.server.engine.uuid, "err", err)
	}
}

// ended says why a console ended, unless it was us, or the node went off.
func (p *solPump) ended(ctx context.Context, what string, err error) {
	if ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, net.ErrClosed) {
		p.server.log.InfoContext(ctx, "bmc: serial over LAN: console ended", "node", p.server.engine.uuid, "during", what, "err", err)
	}
}
