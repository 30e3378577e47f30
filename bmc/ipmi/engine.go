package ipmi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bougou/go-ipmi/pkg/crypto"
	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/uuid"

	"tenks/bmc"
	"tenks/bmc/fault"
)

// userLimit is the highest privilege there is: the one user is an administrator.
const userLimit = types.PrivilegeLevelAdministrator

var errWrongPassword = errors.New("wrong password")

// engine is a BMC without socket, clock and goroutine. Its methods are safe for
// concurrent use; receive and tick are called by one reader, jobs run beside it.
type engine struct {
	chassis  bmc.Chassis
	uuid     string
	guid     [16]byte // as Get System GUID returns it
	username string
	key      [20]byte // K_uid: the password, zero-padded
	decoy    [20]byte
	bmcKey   *[bmcKeyLen]byte // K_g, zero-padded; nil for a login with one key
	v15      bool             // sessions of IPMI 1.5 are answered
	random   io.Reader
	log      *slog.Logger
	opened   time.Time
	port     uint16 // of UDP; set before anything is received
	observer func(Call)
	faults   func(fault.Call) fault.Effect // nil: there are none
	// since says how long ago a time was that receive was given; nil: it is not measured.
	since func(time.Time) time.Duration

	// lan says where the BMC is on the network, to a client. It may ask the system.
	lan     func(client netip.AddrPort) LAN
	traffic traffic
	// quiet is until when nothing is answered after a reset, in ns since 1970, but for the
	// session that asked for it.
	quiet   atomic.Int64
	leaving atomic.Uint32

	// changing is held while a value of the memory is changed, which may wait.
	changing sync.Mutex

	// mu guards what follows. The chassis is never called while it is held.
	mu       sync.Mutex
	accounts kept[accounts]
	settings kept[settings]
	// What the BMC forgets when it is closed, or reset. acpi is nil until it is set.
	watchdog *watchdog
	acpi     *[2]byte
	panel    panel
	enables  byte
	// lanSet, infoSet and pefSet are who sets parameters of the LAN, system info and PEF.
	lanSet, infoSet, pefSet holder
	// postpone is until when events are not filtered.
	postpone postpone
	// untold are power changes that are not kept yet.
	untold   []powerChange
	sessions sessions
	guard    guard
	boot     bootOptions
	sel      selState
	// sensors are those that somebody has set, by number.
	sensors        map[byte]*tuning
	watts          powerStatistics
	sdrReservation uint16
	// sol is the active SOL payload, if any.
	sol         *sol
	solVolatile solVolatile
	// pending is what the next tick hands out, which comes at once.
	pending []func(context.Context)
	// woken is the wake-up that the reader was last told, while told says so: at a tick it
	// is over, and the reader must hear of the next one even if there is none.
	woken time.Time
	told  bool
}

func newEngine(cfg Config, random io.Reader, now time.Time) (*engine, error) {
	name, password := cfg.Account.Username, cfg.Account.Password.Reveal()
	id, err := uuid.Parse(cfg.UUID)
	if err != nil {
		return nil, fmt.Errorf("uuid %q: %w", cfg.UUID, err)
	}
	if len(name) < 1 || len(name) > maxNameLen {
		return nil, fmt.Errorf("user name %q: must have 1 to %d bytes", name, maxNameLen)
	}
	if len(password) < 1 || len(password) > maxPasswordLen {
		return nil, fmt.Errorf("user %q: the password must have 1 to %d bytes", name, maxPasswordLen)
	}
	key := cfg.BMCKey.Reveal()
	if len(key) > bmcKeyLen {
		return nil, fmt.Errorf("bmc key: must have at most %d bytes", bmcKeyLen)
	}
	e := &engine{chassis: cfg.Chassis, uuid: cfg.UUID, guid: smbiosOrder(id), username: name, log: cfg.Log, random: random, observer: cfg.Observe, faults: cfg.Fault,
		key: [20]byte(crypto.PadPassword20([]byte(password))), opened: now, lan: cfg.LAN, enables: defaultEnables}
	if _, err := io.ReadFull(random, e.decoy[:]); err != nil {
		return nil, fmt.Errorf("random number: %w", err)
	}
	// IPMI 1.5 knows no second key: with it, who has the first one would get in.
	e.v15 = cfg.V15 && key == ""
	if key != "" {
		e.bmcKey = new([bmcKeyLen]byte)
		copy(e.bmcKey[:], key)
	}
	return e, nil
}

// smbiosOrder is the order of bytes that SMBIOS (DSP0134 §7.2.1) and ipmitool use:
// the first three fields little-endian.
func smbiosOrder(u uuid.UUID) [16]byte {
	g := [16]byte(u)
	g[0], g[1], g[2], g[3] = u[3], u[2], u[1], u[0]
	g[4], g[5], g[6], g[7] = u[5], u[4], u[7], u[6]
	return g
}

// receive answers a datagram: with a packet, with a job that makes one, or not at
// all. The datagram is not kept.
func (e *engine) receive(ctx context.Context, now time.Time, from netip.AddrPort, datagram []byte) ([]byte, *job) {
	e.traffic.received.Add(1)
	class, ok := parseRMCP(datagram)
	quiet := now.UnixNano() < e.quiet.Load()
	if !ok || quiet && class != classIPMI {
		return nil, nil
	}
	e.traffic.valid.Add(1)
	switch class {
	case classASF:
		if e.hit(fault.Call{Command: "Presence Ping", Open: true}).Drop {
			return nil, nil
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if answer := pong(datagram); answer != nil && e.guard.mayPong(now) {
			return answer, nil
		}
	case classIPMI:
		if p, ok := parseIPMI(datagram, e.v15); ok && (!quiet || p.session != 0 && p.session == e.leaving.Load()) {
			return e.receiveIPMI(ctx, now, from, p)
		}
	}
	return nil, nil
}

func (e *engine) receiveIPMI(ctx context.Context, now time.Time, from netip.AddrPort, p packet) ([]byte, *job) {
	effect := e.hitOutside(&p)
	switch {
	case effect.Drop:
		return nil, nil
	case p.v15 && p.session != 0 && p.seq == 0:
		return e.activate15(ctx, now, from, p)
	case p.session != 0:
		return e.inSession(ctx, now, from, p)
	case p.flags != 0:
		return nil, nil
	case p.v15 || p.kind == types.PayloadTypeIPMI:
		return late(effect, e.outside(ctx, now, from, p), nil)
	}
	answer, end := e.handshake(now, from, p)
	if end != nil {
		e.loginEnded(ctx, now, end)
	}
	if answer == nil {
		return nil, nil
	}
	return late(effect, frame20(p.kind+1, answer), nil)
}

// handshake answers the messages of a login.
func (e *engine) handshake(now time.Time, from netip.AddrPort, p packet) ([]byte, *loginEnd) {
	var users recalled
	if p.kind == types.PayloadTypeRAKPMessage1 {
		users = e.recallUsers()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch p.kind {
	case types.PayloadTypeRmcpOpenSessionRequest:
		return e.openSession(now, from, p.payload)
	case types.PayloadTypeRAKPMessage1:
		return e.rakp1(now, from, p.payload, users)
	case types.PayloadTypeRAKPMessage3:
		return e.rakp3(now, from, p.payload)
	}
	return nil, nil
}

// outside answers the few commands that need no session.
func (e *engine) outside(ctx context.Context, now time.Time, from netip.AddrPort, p packet) []byte {
	q, ok := parseRequest(p.payload)
	if !ok {
		return nil
	}
	code, data := types.CodeInsufficientPrivilege, []byte(nil)
	c := &call{engine: e, now: now, from: from, row: e.lookUpOutside(&p, q), request: q}
	if c.row.anytime && q.lun == 0 && q.rsAddr == bmcAddress {
		code, data = c.row.run(ctx, c)
	}
	e.observe(c, code)
	answer := q.response(code, data)
	if p.v15 {
		return frame15(answer)
	}
	return frame20(types.PayloadTypeIPMI, answer)
}

// inSession answers a packet of an active session. Whatever is not encrypted and
// authenticated, or comes from elsewhere, is dropped.
func (e *engine) inSession(ctx context.Context, now time.Time, from netip.AddrPort, p packet) ([]byte, *job) {
	c, answer := e.admit(now, from, p)
	if c == nil {
		return answer, nil
	}
	if code := c.row.refusal(c); code != types.CodeOK {
		return late(c.effect, e.finish(c, code, nil), nil)
	}
	if c.row.changes {
		return late(c.effect, nil, &job{call: c})
	}
	code, data := c.row.run(ctx, c)
	return late(c.effect, e.finish(c, code, data), nil)
}

// admit checks a packet and returns the call it makes, or the kept answer if it is
// a repeat.
func (e *engine) admit(now time.Time, from netip.AddrPort, p packet) (*call, []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, plain, ok := e.authentic(now, from, p)
	if !ok {
		return nil, nil
	}
	// Before anything is noted of it: what is dropped never came.
	effect := e.hitInSession(p, plain)
	if effect.Drop {
		return nil, nil
	}
	if s.v15 != nil && !s.window.near15(p.seq) {
		return nil, nil
	}
	switch s.window.accept(p.seq) {
	case outside:
		return nil, nil
	case repeated:
		return nil, s.repeatOf(p.seq)
	}
	s.used = now
	if p.kind == types.PayloadTypeSOL {
		return nil, e.receiveSOL(now, s, p.seq, plain)
	}
	q, ok := parseRequest(plain)
	if !ok || p.kind != types.PayloadTypeIPMI {
		return nil, nil
	}
	cmd := lookUp(q)
	var message []byte
	if cmd.changes {
		if r, again := s.repeatOfMessage(plain, now); again {
			return nil, r.packet
		}
		message = plain
	}
	s.expect(p.seq, message, now)
	return &call{engine: e, now: now, from: from, row: cmd, request: q, session: s, seq: p.seq, privilege: s.privilege, effect: effect}, nil
}

// authentic returns the session of a packet and what the packet holds, if that session's
// console sent it. The caller holds mu.
func (e *engine) authentic(now time.Time, from netip.AddrPort, p packet) (*session, []byte, bool) {
	s, ok := e.sessions.get(p.session)
	if !ok || s.stage != stageActive || s.from != from || s.ended(now) || p.v15 != (s.v15 != nil) {
		return nil, nil, false
	}
	if s.v15 != nil {
		ok = s.verify15(p)
		return s, clone(p.payload), ok
	}
	if p.flags != payloadFlags || !s.verify(p) {
		return nil, nil, false
	}
	plain, ok := s.decrypt(p.payload)
	return s, plain, ok
}

// finish makes the packet that answers a call, and keeps it for repeats.
func (e *engine) finish(c *call, code types.CompletionCode, data []byte) []byte {
	e.observe(c, code)
	e.mu.Lock()
	defer e.mu.Unlock()
	message := c.request.response(code, data)
	if c.session.v15 != nil && len(message) > maxPayload15 {
		message = c.request.response(types.CodeCannotReturnRequestedDataBytes, nil)
	}
	packet, err := c.session.seal(types.PayloadTypeIPMI, message, e.random)
	if err != nil {
		e.log.Error("bmc: answer dropped", "node", e.uuid, "err", err)
		return nil
	}
	c.session.keep(c.seq, packet)
	return packet
}

// job is a call that may wait for the chassis. Exactly one of its methods is
// called, once.
type job struct {
	call *call
	// after is how long a fault holds it back. Without a call it is an answer that is there.
	after  time.Duration
	answer []byte
}

func (j *job) run(ctx context.Context) []byte {
	code, data := j.call.row.run(ctx, j.call)
	return j.call.engine.finish(j.call, code, data)
}

func (j *job) refuse() []byte {
	return j.call.engine.finish(j.call, types.CodeNodeBusy, nil)
}

// soon has work, which may wait for the chassis, done beside the reader. The caller
// holds mu.
func (e *engine) soon(work func(context.Context)) { e.pending = append(e.pending, work) }

// happened notes an event of the chassis. It does not wait for anything.
func (e *engine) happened(ev bmc.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	cause := e.notePower(ev)
	e.logEvents(ev.At, eventsOf(ev, cause)...)
}

// tick does what time asks for, at or after the time that wake returned. What it
// returns waits for the chassis.
func (e *engine) tick(now time.Time) []func(context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.sessions.swept) >= sweepEvery {
		e.sessions.sweep(now)
	}
	e.tickSOL(now)
	e.tickWatchdog(now)
	e.told = false
	if e.boot.due(now) {
		expired := e.boot.boot
		e.soon(func(ctx context.Context) { e.expireBoot(ctx, now, expired) })
	}
	return e.handOut()
}

// handOut returns what is to be done soon, once. The caller holds mu.
func (e *engine) handOut() []func(context.Context) {
	work := e.pending
	e.pending = nil
	return work
}

// leftover is what no tick will hand out any longer, and what was under way when the BMC
// was closed.
func (e *engine) leftover() []func(context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	work := e.handOut()
	if len(e.sel.pending) > 0 || e.sel.unsaved != nil {
		work = append(work, e.keepSEL)
	}
	if len(e.untold) > 0 {
		work = append(work, e.keepHistory)
	}
	return work
}

// wake returns when the next tick is due (zero: never), and whether that differs
// from what it returned last.
func (e *engine) wake() (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := earlier(e.boot.expires, e.wakeSOL())
	at = earlier(at, e.watchdog.wake())
	if len(e.pending) > 0 {
		at = e.opened // at once
	}
	if len(e.sessions.byID) > 0 {
		if sweep := e.sessions.swept.Add(sweepEvery); at.IsZero() || sweep.Before(at) {
			at = sweep
		}
	}
	if e.told && at.Equal(e.woken) {
		return at, false
	}
	e.woken, e.told = at, true
	return at, true
}
