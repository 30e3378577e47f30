package ipmi

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc/fault"
)

// challengeCommand is the one command outside of sessions that only a login of IPMI 1.5
// needs. It is in no table: where that is off, it does not exist.
var challengeCommand = command{is: types.CommandGetSessionChallenge, min: 1 + maxNameLen, max: 1 + maxNameLen, handle: getSessionChallenge, anytime: true}

const (
	activateLen = 22 // the data of Activate Session

	nullNameOff      = refused(0x82) // Get Session Challenge
	noSequenceNumber = types.CompletionCode(0x84)
	limitExceeded    = types.CompletionCode(0x86)
)

// lookUpOutside finds the row of a request outside of sessions.
func (e *engine) lookUpOutside(p *packet, q request) *command {
	if e.v15 && p.v15 && q.key() == (commandKey{byte(challengeCommand.is.NetFn), challengeCommand.is.ID}) {
		return &challengeCommand
	}
	return lookUp(q)
}

// getSessionChallenge is IPMI v2.0 §22.16. It makes a half-open session, which counts as
// one of Open Session does: a flood of challenges pushes out what has not named a user yet,
// and no login of RMCP+ that got further. Whether the user exists shows only at the end.
func getSessionChallenge(_ context.Context, c *call) ([]byte, error) {
	auth, name := types.AuthType(c.data[0]), string(trim(c.data[1:]))
	switch {
	case !offered15(auth):
		return nil, badField
	case name == "":
		return nil, nullNameOff
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions.byID {
		if s.v15 != nil && s.stage == stageOpened && s.from == c.from && !s.ended(c.now) && s.open.repeats(c.data) {
			return s.open.answer, nil
		}
	}
	if c.guard.logins.Blocked(suspect{Source: c.from.Addr(), Name: name}, c.now) {
		return nil, refused(types.CodeNodeBusy)
	}
	id, ok := c.newSessionID()
	if !ok {
		return nil, refused(types.CodeNodeBusy)
	}
	s := &session{id: id, from: c.from, used: c.now, v15: &session15{auth: auth, name: name}}
	if _, err := io.ReadFull(c.random, s.v15.challenge[:]); err != nil {
		return nil, refused(types.CodeNodeBusy)
	}
	s.open = exchange{clone(c.data), append(binary.LittleEndian.AppendUint32(nil, id), s.v15.challenge[:]...)}
	c.sessions.add(s)
	return s.open.answer, nil
}

// activate15 answers Activate Session (IPMI v2.0 §22.17), the one request that is in a
// session by its header and has no number there. What the user did not authenticate is
// dropped: the console can tell no answer to it from a forged one. mu is not held.
func (e *engine) activate15(ctx context.Context, now time.Time, from netip.AddrPort, p packet) ([]byte, *job) {
	effect := e.hit(fault.Call{Command: types.CommandActivateSession.Name, Login: true, Password: true, Open: true})
	if effect.Drop {
		return nil, nil
	}
	if effect.WrongPassword {
		p.code = make([]byte, keyLen15)
	}
	users := e.recallUsers()
	e.mu.Lock()
	answer, end := e.login15(now, from, p, users)
	e.mu.Unlock()
	if end != nil {
		e.loginEnded(ctx, now, end)
	}
	return late(effect, answer, nil)
}

// activation takes Activate Session out of a packet.
func activation(p packet) (request, bool) {
	q, ok := parseRequest(p.payload)
	is := types.CommandActivateSession
	return q, ok && q.key() == (commandKey{byte(is.NetFn), is.ID}) && q.rsAddr == bmcAddress && q.lun == 0 && len(q.data) == activateLen
}

// login15 ends a login of IPMI 1.5, one way or the other: a challenge is good for one try.
// The caller holds mu.
func (e *engine) login15(now time.Time, from netip.AddrPort, p packet, users recalled) ([]byte, *loginEnd) {
	s, known := e.sessions.get(p.session)
	q, ok := activation(p)
	if !known || !ok || s.v15 == nil || s.from != from || s.ended(now) {
		return nil, nil
	}
	if s.rakp3.repeats(q.data) && s.verify15(p) {
		// FreeIPMI repeats it under another number of the message.
		return s.activated15(q), nil
	}
	if s.stage != stageOpened {
		return nil, nil
	}
	s.stage = stageFailed // until it is not
	who, user := suspect{Source: from.Addr(), Name: s.v15.name}, e.identify(users, s.v15.name)
	if e.guard.logins.Blocked(who, now) {
		return nil, &loginEnd{from: from, name: who.Name, status: types.RmcpStatusCodeNoResToCreateSess}
	}
	if !s.proves15(p, q, user) {
		return nil, &loginEnd{from, who.Name, types.RmcpStatusCodeInvalidIntegrityCheckValue, e.guard.fail(who, now)}
	}
	e.guard.logins.Succeed(who)
	role := types.PrivilegeLevel(q.data[1] & 0x0f)
	code, status := judge15(s, q, role, user.limit)
	var data []byte
	if code == types.CodeOK {
		if data, ok = e.open15(s, role); !ok {
			code, status = types.CodeNodeBusy, types.RmcpStatusCodeNoResToCreateSess
		}
	}
	s.rakp3 = exchange{clone(q.data), append([]byte{byte(code)}, data...)}
	if code == types.CodeOK {
		s.stage = stageActive
		e.sessions.promote(s)
		s.out, s.used, s.user, s.userID = firstOut(q), now, who.Name, user.id
	}
	return s.activated15(q), &loginEnd{from: from, name: who.Name, status: status}
}

// proves15 reports whether a packet shows that the console knows the user's password, and
// the challenge.
func (s *session) proves15(p packet, q request, user identity) bool {
	// A longer password cannot be said in this protocol, and its beginning is not it.
	long := len(bytes.TrimRight(user.key, "\x00")) > keyLen15
	s.v15.key = [keyLen15]byte(user.key)
	right := s.verify15(p) && subtle.ConstantTimeCompare(q.data[2:18], s.v15.challenge[:]) == 1
	return right && !long && user.id != 0
}

// activated15 is the answer to Activate Session, which has the first number of those that
// the console asked for.
func (s *session) activated15(q request) []byte {
	return s.seal15(firstOut(q), q.response(types.CompletionCode(s.rakp3.answer[0]), s.rakp3.answer[1:]))
}

// firstOut is the first number of packets to the console; 0 is none.
func firstOut(q request) uint32 { return max(binary.LittleEndian.Uint32(q.data[18:]), 1) }

// judge15 says why a login with the right password is refused.
func judge15(s *session, q request, role, limit types.PrivilegeLevel) (types.CompletionCode, types.RmcpStatusCode) {
	switch {
	case types.AuthType(q.data[0]&0x0f) != s.v15.auth:
		return types.CodeRequestDataFieldInvalid, types.RmcpStatusCodeInvalidPayloadType
	case role == types.PrivilegeLevelUnspecified || role > types.PrivilegeLevelOEM:
		return types.CodeRequestDataFieldInvalid, types.RmcpStatusCodeInvalidRole
	case role > limit:
		return limitExceeded, types.RmcpStatusCodeUnauthorizedRoleOfPriLevel
	case binary.LittleEndian.Uint32(q.data[18:]) == 0:
		return noSequenceNumber, types.RmcpStatusCodeInvalidSessionID
	}
	return types.CodeOK, types.RmcpStatusCodeNoErrors
}

// open15 readies a session and returns what Activate Session says of it. The session keeps
// the number of its challenge.
func (e *engine) open15(s *session, role types.PrivilegeLevel) ([]byte, bool) {
	var in [4]byte
	if _, err := io.ReadFull(e.random, in[:]); err != nil {
		return nil, false
	}
	in[0] |= 1 // 0 is no number in a session
	// All before the first number is seen already.
	s.window = window{highest: binary.LittleEndian.Uint32(in[:]) - 1, seen: ^uint32(0)}
	s.limit, s.privilege = role, min(types.PrivilegeLevelUser, role)
	b := binary.LittleEndian.AppendUint32([]byte{byte(s.v15.auth)}, s.id)
	return append(append(b, in[:]...), byte(role)), true
}
