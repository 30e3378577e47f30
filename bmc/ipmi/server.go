// Package ipmi serves one chassis as an IPMI 2.0 BMC over UDP (RMCP+, cipher
// suites 3 and 17; sessions of IPMI 1.5 where they are asked for). Listen opens the socket and starts one goroutine that reads
// it; a command that changes the chassis runs in a goroutine of its own, at most
// four per BMC. Close stops all of them and waits.
//
// The protocol itself is in engine, which has no clock, socket or goroutine: it
// turns a datagram and a time into an answer. A command is one row of a table (see
// command.go).
package ipmi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"tenks/bmc"
	"tenks/bmc/fault"
	"tenks/raftfsm/state"
)

const (
	// answerWithin bounds a command that changes the chassis. ipmitool resends after
	// a second: an answer, if only "node busy", is there before.
	answerWithin = 900 * time.Millisecond
	// maxJobs is how many such commands one BMC runs at a time; more are told that
	// the node is busy.
	maxJobs = 4
	// maxDatagram is in bytes; no message of ours or of known clients is larger.
	maxDatagram = 512
	// readPause keeps a socket that fails to read from spinning.
	readPause = 100 * time.Millisecond
)

// Config says what a BMC is.
type Config struct {
	Chassis bmc.Chassis
	// UUID is the node's; clients see it as the system GUID.
	UUID string
	// Account is the only user, an administrator. The name has 1 to 16 bytes, the
	// password 1 to 20.
	Account state.Account
	Log     *slog.Logger
	// BMCKey is K_g of the two-key login (IPMI v2.0 §13.31), at most 20 bytes; empty: logins
	// need the user's password only.
	BMCKey state.Secret
	// V15 has sessions of IPMI 1.5 answered as well, with MD5 and straight passwords of at most
	// 16 bytes: without confidentiality. It is off where there is a BMCKey, which they cannot say.
	V15 bool
	// LAN says where the BMC is on the network, for a client to read; nil: what the system
	// says of the address that is listened on.
	LAN func(client netip.AddrPort) LAN
	// Observe, if not nil, is called for every command that is answered and every login
	// that ends. It must not wait, and is called from several goroutines.
	Observe func(Call)
	// Fault, if not nil, says what becomes of each packet. It must not wait, and is called
	// while the BMC is locked.
	Fault func(fault.Call) fault.Effect
}

// Server is one BMC that listens. It is safe for concurrent use.
type Server struct {
	conn   *net.UDPConn
	source *sourcePinner
	engine *engine
	log    *slog.Logger

	cancel context.CancelFunc
	// unsubscribe ends the chassis' events.
	unsubscribe func()
	jobs        atomic.Int32 // that are running
	late        atomic.Int32 // packets that a fault holds back
	wg          sync.WaitGroup

	// mu makes asking the engine for its next wake-up and arming it one step.
	mu sync.Mutex

	// attached has a token for the pump that holds the console.
	attached chan struct{}
	// solMu makes taking packets of SOL and sending them one step, and guards pump: the
	// one of the active SOL, if any.
	solMu sync.Mutex
	pump  *solPump
}

// Listen opens addr ("192.0.2.1:7000"; an empty or unspecified host means all
// addresses) and serves it until Close. The caller's context is only for opening.
func Listen(ctx context.Context, addr string, cfg Config) (*Server, error) {
	e, err := newEngine(cfg, rand.Reader, time.Now())
	if err != nil {
		return nil, fmt.Errorf("bmc %s: %w", addr, err)
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, fmt.Errorf("bmc %s: %w", addr, err)
	}
	conn := pc.(*net.UDPConn) // what "udp" gives
	pinner, err := newSourcePinner(conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bmc %s: %w", addr, err), conn.Close())
	}
	e.since = time.Since
	if e.lan == nil {
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
		e.lan = func(client netip.AddrPort) LAN { return lanOf(local, client) }
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{conn: conn, source: pinner, engine: e, log: cfg.Log, cancel: cancel, attached: make(chan struct{}, 1)}
	e.port = s.Addr().Port()
	s.unsubscribe = cfg.Chassis.Subscribe(func(ev bmc.Event) {
		e.happened(ev)
		s.rearm()
	})
	s.wg.Go(func() {
		s.read(run)
		// Events of the last moment are kept all the same.
		for _, work := range e.leftover() {
			s.limited(context.WithoutCancel(run), work)
		}
	})
	return s, nil
}

// Addr returns the address that is listened on.
func (s *Server) Addr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close stops listening and returns once every goroutine has ended.
func (s *Server) Close() error {
	err := s.Stop()
	s.Wait()
	return err
}

// Stop stops listening; its port is free when it returns. Commands under way are told to
// end.
func (s *Server) Stop() error {
	s.unsubscribe()
	s.cancel()
	return s.conn.Close()
}

// Wait returns once every goroutine has ended, after Stop.
func (s *Server) Wait() { s.wg.Wait() }

func (s *Server) read(ctx context.Context) {
	// One byte more, so that a longer datagram is told from one that fits.
	buf := make([]byte, maxDatagram+1)
	for ctx.Err() == nil {
		n, oob, from, err := s.source.read(s.conn, buf)
		switch {
		case err == nil && n <= maxDatagram:
			s.handle(ctx, client{from, oob}, buf[:n])
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.tick(ctx)
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.log.WarnContext(ctx, "bmc: read failed", "node", s.engine.uuid, "err", err)
			pause(ctx, readPause)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// client is where a datagram came from, and the address of ours it was sent to
// (an ancillary message, nil if the socket has one address only).
type client struct {
	addr netip.AddrPort
	oob  []byte
}

func (s *Server) handle(ctx context.Context, from client, datagram []byte) {
	defer s.survive(ctx)
	// Clients are told apart by address; one that is mapped into IPv6 is the same.
	peer := netip.AddrPortFrom(from.addr.Addr().Unmap(), from.addr.Port())
	answer, j := s.engine.receive(ctx, time.Now(), peer, datagram)
	s.send(from, answer)
	s.serveSOL(ctx, from)
	switch {
	case j == nil:
	case j.after > 0:
		s.later(ctx, from, j)
	default:
		s.start(ctx, from, j)
	}
	s.rearm()
}

func (s *Server) tick(ctx context.Context) {
	defer s.survive(ctx)
	for _, work := range s.engine.tick(time.Now()) {
		s.wg.Go(func() { s.limited(ctx, work) })
	}
	s.serveSOL(ctx, client{})
	s.rearm()
}

// start runs a job beside the reader, or refuses it when too many are running.
func (s *Server) start(ctx context.Context, from client, j *job) {
	if !s.work(ctx, func(ctx context.Context) { s.send(from, j.run(ctx)) }) {
		s.send(from, j.refuse())
	}
}

// work runs do in a goroutine of its own, if there is room.
func (s *Server) work(ctx context.Context, do func(context.Context)) bool {
	if s.jobs.Add(1) > maxJobs {
		s.jobs.Add(-1)
		return false
	}
	s.wg.Go(func() {
		defer s.jobs.Add(-1)
		s.limited(ctx, do)
	})
	return true
}

func (s *Server) limited(ctx context.Context, do func(context.Context)) {
	defer s.rearm()
	defer s.survive(ctx)
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	do(ctx)
}

// survive keeps one packet from ending a BMC, let alone the process.
//
// It is deferred itself: recover works nowhere else.
func (s *Server) survive(ctx context.Context) {
	if r := recover(); r != nil {
		s.log.ErrorContext(ctx, "bmc: packet dropped: bug", "node", s.engine.uuid, "panic", r, "stack", string(debug.Stack()))
	}
}

func (s *Server) send(to client, answer []byte) {
	if answer == nil {
		return
	}
	s.engine.traffic.sent.Add(1)
	var err error
	if to.oob == nil {
		_, err = s.conn.WriteToUDPAddrPort(answer, to.addr)
	} else {
		_, _, err = s.conn.WriteMsgUDPAddrPort(answer, to.oob, to.addr)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Debug("bmc: answer not sent", "node", s.engine.uuid, "err", err)
	}
}

// rearm makes the reader wake up when the engine wants a tick.
func (s *Server) rearm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, changed := s.engine.wake(); changed {
		_ = s.conn.SetReadDeadline(at) // fails only once closed
	}
}
