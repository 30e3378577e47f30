package pdu

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"tenks/bmc/guard"
)

// Reports: the last parts of usmStats' objects (RFC 3414 §5).
const (
	statSecurityLevel = 1
	statNotInTime     = 2
	statUnknownUser   = 3
	statUnknownEngine = 4
	statWrongDigest   = 5
	statDecryption    = 6
	// Two that are no part of usmStats have numbers of ours.
	statUnknownHandlers = 100
	statUnknownContext  = 101

	timeWindow       = 150 // seconds (RFC 3414 §3.2, 7)
	maxEngineSeconds = 1<<31 - 1
)

var (
	usmStats           = oid{1, 3, 6, 1, 6, 3, 15, 1, 1}
	unknownPDUHandlers = oid{1, 3, 6, 1, 6, 3, 11, 2, 1, 3, 0}
	unknownContexts    = oid{1, 3, 6, 1, 6, 3, 12, 1, 5, 0}
)

// session is a message of SNMPv3 and who sent it.
type session struct {
	secured
	by  authentication
	key []byte
}

// receiveSecured takes a message of SNMPv3 (RFC 3412 §7.2, RFC 3414 §3.2). Those without
// authentication learn how to authenticate, and nothing else.
func (e *engine) receiveSecured(now time.Time, from netip.AddrPort, datagram []byte, in *input) ([]byte, *job) {
	m, err := parseSecured(datagram, in)
	if err != nil || m.flags&flagPriv != 0 && m.flags&flagAuth == 0 {
		return nil, nil
	}
	s := session{secured: m}
	strange := func(stat uint32) ([]byte, *job) {
		if !e.mayReport(now) {
			return nil, nil
		}
		s.key = nil
		out := e.report(now, &s, stat, idOf(m))
		if len(out) > maxFactor*len(datagram) {
			return nil, nil
		}
		return out, nil
	}
	if m.engine != e.id {
		return strange(statUnknownEngine)
	}
	suspect := guard.Suspect{Source: from.Addr(), Name: m.user}
	if e.guard.Blocked(suspect, now) {
		return nil, nil
	}
	unit, ok := e.byUser[m.user]
	switch {
	case !ok:
		e.failed(suspect, now)
		return strange(statUnknownUser)
	case m.flags&flagAuth == 0:
		return strange(statSecurityLevel)
	}
	if !e.verify(&s, unit, datagram) {
		e.failed(suspect, now)
		return strange(statWrongDigest)
	}
	if off := m.time - e.seconds(now); m.boots != e.boots || off > timeWindow || off < -timeWindow {
		return e.report(now, &s, statNotInTime, idOf(m)), nil
	}
	e.guard.Succeed(suspect)
	return e.receiveAuthentic(now, from, unit, &s)
}

// verify reports whether a message is a unit's user's, and notes by which key.
func (e *engine) verify(s *session, unit *Unit, datagram []byte) bool {
	by, ok := authenticationOf(len(s.auth))
	if !ok {
		return false
	}
	key := e.key(unit, by)
	if !by.verify(key, datagram, s.authAt) {
		return false
	}
	s.by, s.key = by, key
	return true
}

// receiveAuthentic takes the operation out of a message whose sender is known.
func (e *engine) receiveAuthentic(now time.Time, from netip.AddrPort, unit *Unit, s *session) ([]byte, *job) {
	body := s.scoped
	if s.flags&flagPriv != 0 {
		if len(s.salt) != saltSize {
			return e.report(now, s, statDecryption, 0), nil
		}
		body = slices.Clone(body)
		crypt(s.key, s.boots, s.time, s.salt, body, true)
	}
	scoped, err := parseScoped(body)
	switch {
	case err != nil && s.flags&flagPriv != 0:
		return e.report(now, s, statDecryption, 0), nil // by another cipher or key
	case err != nil || !requests(scoped.op, version3):
		return nil, nil
	case scoped.engine != e.id:
		return e.report(now, s, statUnknownHandlers, scoped.op.id), nil
	case scoped.context != "":
		return e.report(now, s, statUnknownContext, scoped.op.id), nil
	}
	return nil, e.job(now, from, unit, scoped.op, func(answer operation, now time.Time) []byte {
		return fit(answer, scoped.op, min(maxMessage, s.maxSize), func(op operation) []byte { return e.seal(now, s, op, s.flags&(flagAuth|flagPriv)) })
	})
}

func (e *engine) failed(s guard.Suspect, now time.Time) {
	if e.guard.Fail(s, now) {
		e.cfg.Log.Warn("pdu: a source guesses SNMPv3 logins; it is blocked for a while", "source", s.Source)
	}
}

// key returns the localized key of a unit's user.
func (e *engine) key(u *Unit, a authentication) []byte {
	k := keyOf{u.User, u.Password.Reveal(), a.size}
	if e.keys[k] == nil {
		e.keys[k] = a.key(k.password, e.id)
	}
	return e.keys[k]
}

// idOf returns a request's ID where it can be read without a key; RFC 3412 §7.1, 3c.
func idOf(m secured) int {
	if m.flags&flagPriv != 0 {
		return 0
	}
	s, err := parseScoped(m.scoped)
	if err != nil {
		return 0
	}
	return s.op.id
}

// report says what is wrong with a message, if its sender wants to know. It is
// authenticated where the message was (RFC 3414 §3.2), and not encrypted.
func (e *engine) report(now time.Time, s *session, stat uint32, id int) []byte {
	if s.flags&flagReportable == 0 {
		return nil
	}
	e.stats[stat]++
	name := slices.Concat(usmStats, oid{stat, 0})
	switch stat {
	case statUnknownHandlers:
		name = unknownPDUHandlers
	case statUnknownContext:
		name = unknownContexts
	}
	op := operation{tag: tagReport, id: id, binds: []bind{{name, value{tag: tagCounter32, number: e.stats[stat] & 0xffffffff}}}}
	flags := byte(0)
	if s.key != nil {
		flags = flagAuth
	}
	return e.seal(now, s, op, flags)
}

// seal makes a message of an answer. Jobs call it at any time: it reads what never changes.
func (e *engine) seal(now time.Time, s *session, op operation, flags byte) []byte {
	m := secured{id: s.id, maxSize: maxMessage, flags: flags, engine: e.id, boots: e.boots, time: min(e.seconds(now), maxEngineSeconds),
		user: s.user, scoped: scopedPDU{engine: e.id, op: op}.bytes()}
	if flags&flagPriv != 0 {
		m.salt = binary.BigEndian.AppendUint64(nil, e.salt.Add(1))
		crypt(s.key, m.boots, m.time, m.salt, m.scoped, false)
	}
	if flags&flagAuth != 0 {
		m.auth = make([]byte, s.by.size)
	}
	datagram, at := m.bytes()
	if flags&flagAuth != 0 {
		s.by.sign(s.key, datagram, at)
	}
	return datagram
}
