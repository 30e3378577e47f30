package ipmi

import (
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/bougou/go-ipmi/pkg/crypto"
	"github.com/bougou/go-ipmi/pkg/rmcpplus"
	"github.com/bougou/go-ipmi/pkg/types"
)

const (
	// rakp1Len is RAKP 1 without the name (IPMI v2.0 §13.20).
	rakp1Len = 28
	rakp3Len = 8
)

// login is what a session knows between RAKP 1 and RAKP 3.
type login struct {
	consoleRandom, ourRandom [16]byte
	// role is the byte that the codes are made over.
	role byte
	name string
	who  identity
}

// openSession answers an Open Session Request (IPMI v2.0 §13.17). The caller holds mu.
func (e *engine) openSession(now time.Time, from netip.AddrPort, payload []byte) ([]byte, *loginEnd) {
	var q rmcpplus.OpenSessionRequest
	if len(payload) != rmcpplus.OpenSessionRequestSize || q.Unpack(payload) != nil {
		return nil, nil
	}
	if answer := e.repeatOfOpen(from, payload); answer != nil {
		return answer, nil
	}
	chosen, status := judgeOpen(&q)
	id, ok := e.newSessionID()
	if status == types.RmcpStatusCodeNoErrors && !ok {
		status = types.RmcpStatusCodeNoResToCreateSess
	}
	a := rmcpplus.OpenSessionResponse{MessageTag: q.MessageTag, RmcpStatusCode: status, RemoteConsoleSessionID: q.RemoteConsoleSessionID}
	if status != types.RmcpStatusCodeNoErrors {
		return a.Pack(), &loginEnd{from: from, status: status}
	}
	s := &session{id: id, console: q.RemoteConsoleSessionID, from: from, suite: chosen, used: now, limit: q.RequestedMaximumPrivilegeLevel}
	if s.limit == types.PrivilegeLevelUnspecified { // the highest there is
		s.limit = userLimit
	}
	a.MaximumPrivilegeLevel, a.ManagedSystemSessionID = uint8(s.limit), id
	a.AuthenticationPayload, a.IntegrityPayload, a.ConfidentialityPayload =
		rmcpplus.NewAlgorithmPayloads(chosen.auth, chosen.integrity, chosen.crypt)
	s.open = exchange{clone(payload), a.Pack()}
	e.sessions.add(s)
	return s.open.answer, nil
}

// repeatOfOpen returns the answer that a request got already. A client that reuses
// its port for its next login repeats every byte too, so only a login that is not
// finished can be meant.
func (e *engine) repeatOfOpen(from netip.AddrPort, payload []byte) []byte {
	for _, s := range e.sessions.byID {
		if s.from == from && (s.stage == stageOpened || s.stage == stageNamed) && s.open.repeats(payload) {
			return s.open.answer
		}
	}
	return nil
}

// judgeOpen chooses the cipher suite for a request, or says why it is refused.
func judgeOpen(q *rmcpplus.OpenSessionRequest) (*suite, types.RmcpStatusCode) {
	chosen, ok := chooseSuite(q)
	switch limit := q.RequestedMaximumPrivilegeLevel; {
	case q.AuthenticationPayload.PayloadType != 0 || q.IntegrityPayload.PayloadType != 1 || q.ConfidentialityPayload.PayloadType != 2:
		return nil, types.RmcpStatusCodeInvalidPayloadType
	case limit > types.PrivilegeLevelOEM:
		return nil, types.RmcpStatusCodeInvalidRole
	case limit > userLimit:
		return nil, types.RmcpStatusCodeUnauthorizedRoleOfPriLevel
	case q.RemoteConsoleSessionID == 0:
		return nil, types.RmcpStatusCodeInvalidSessionID
	case !ok:
		return nil, types.RmcpStatusCodeNoCipherSuiteMatch
	}
	return chosen, types.RmcpStatusCodeNoErrors
}

// newSessionID returns an unused number that cannot be guessed.
func (e *engine) newSessionID() (uint32, bool) {
	for range 8 {
		var b [4]byte
		if _, err := io.ReadFull(e.random, b[:]); err != nil {
			return 0, false
		}
		id := binary.LittleEndian.Uint32(b[:])
		if _, taken := e.sessions.get(id); id != 0 && !taken {
			return id, true
		}
	}
	return 0, false
}

// rakp1 answers RAKP Message 1 (IPMI v2.0 §13.20). An unknown user gets an answer
// that looks like any other and fails at RAKP 3. The caller holds mu.
func (e *engine) rakp1(now time.Time, from netip.AddrPort, b []byte, of recalled) ([]byte, *loginEnd) {
	if len(b) < rakp1Len || len(b) != rakp1Len+int(b[27]) {
		return nil, nil
	}
	tag, id := b[0], binary.LittleEndian.Uint32(b[4:])
	s, ok := e.sessions.get(id)
	if !ok || s.from != from || s.v15 != nil {
		return rakp2Refusal(tag, types.RmcpStatusCodeInvalidSessionID, 0), nil
	}
	if s.rakp1.repeats(b) {
		return s.rakp1.answer, nil
	}
	if s.stage != stageOpened && s.stage != stageNamed {
		return nil, nil
	}
	role, name := types.PrivilegeLevel(b[24]&0x0f), string(b[rakp1Len:])
	who := e.identify(of, name)
	status := judgeRAKP1(role, min(s.limit, who.limit), name)
	if status == types.RmcpStatusCodeNoErrors && e.guard.logins.Blocked(suspect{Source: from.Addr(), Name: name}, now) {
		status = types.RmcpStatusCodeNoResToCreateSess
	}
	if status != types.RmcpStatusCodeNoErrors {
		s.stage = stageFailed
		s.rakp1 = exchange{clone(b), rakp2Refusal(tag, status, s.console)}
		return s.rakp1.answer, &loginEnd{from: from, name: name, status: status}
	}
	answer, err := e.rakp2(s, tag, b, name, who)
	if err != nil {
		return rakp2Refusal(tag, types.RmcpStatusCodeNoResToCreateSess, s.console), nil
	}
	// Without a role the login is for the most that the user may.
	s.limit = min(s.limit, who.limit)
	if role != types.PrivilegeLevelUnspecified {
		s.limit = role
	}
	s.stage, s.used = stageNamed, now
	s.rakp1 = exchange{clone(b), answer}
	return answer, nil
}

// judgeRAKP1 says why a login for a role is refused.
func judgeRAKP1(role, limit types.PrivilegeLevel, name string) types.RmcpStatusCode {
	switch {
	case len(name) > maxNameLen:
		return types.RmcpStatusCodeInvalidNameLength
	case role > types.PrivilegeLevelOEM:
		return types.RmcpStatusCodeInvalidRole
	case role > limit:
		return types.RmcpStatusCodeUnauthorizedRoleOfPriLevel
	}
	return types.RmcpStatusCodeNoErrors
}

func rakp2Refusal(tag byte, status types.RmcpStatusCode, console uint32) []byte {
	a := rmcpplus.RAKPMessage2{MessageTag: tag, RmcpStatusCode: status, RemoteConsoleSessionID: console}
	return a.Pack()
}

func (e *engine) rakp2(s *session, tag byte, rakp1 []byte, name string, who identity) ([]byte, error) {
	l := &login{consoleRandom: [16]byte(rakp1[8:24]), role: rakp1[24], name: name, who: who}
	if _, err := io.ReadFull(e.random, l.ourRandom[:]); err != nil {
		return nil, fmt.Errorf("random number: %w", err)
	}
	code, err := crypto.RAKP2AuthCode(s.suite.auth, s.console, s.id, l.consoleRandom[:], l.ourRandom[:], e.guid[:], l.role, name, who.key)
	if err != nil {
		return nil, fmt.Errorf("rakp 2: %w", err)
	}
	s.login = l
	a := rmcpplus.RAKPMessage2{MessageTag: tag, RemoteConsoleSessionID: s.console, ManagedSystemRandomNumber: l.ourRandom,
		ManagedSystemGUID: e.guid, KeyExchangeAuthenticationCode: code}
	return a.Pack(), nil
}

// rakp3 answers RAKP Message 3 (IPMI v2.0 §13.22). The caller holds mu.
func (e *engine) rakp3(now time.Time, from netip.AddrPort, b []byte) ([]byte, *loginEnd) {
	if len(b) < rakp3Len {
		return nil, nil
	}
	tag, status, id := b[0], types.RmcpStatusCode(b[1]), binary.LittleEndian.Uint32(b[4:])
	s, ok := e.sessions.get(id)
	switch {
	case !ok || s.from != from || s.v15 != nil:
		return rakp4(tag, types.RmcpStatusCodeInvalidSessionID, 0, nil), nil
	case s.rakp3.repeats(b):
		return s.rakp3.answer, nil
	case s.stage != stageNamed:
		return nil, nil
	}
	who, user := suspect{Source: from.Addr(), Name: s.login.name}, s.login.who.id
	if status != types.RmcpStatusCodeNoErrors {
		// The console gave up. The usual reason is a wrong password, which it notices
		// by RAKP 2; not answered (IPMI v2.0 §13.22).
		e.sessions.remove(s)
		return nil, &loginEnd{from, who.Name, types.RmcpStatusCodeInvalidIntegrityCheckValue, e.guard.fail(who, now)}
	}
	if len(b) != rakp3Len+s.suite.authLen {
		return nil, nil
	}
	if e.guard.logins.Blocked(who, now) {
		// It was not yet when the user was named: many logins at a time are no way around.
		s.stage = stageFailed
		s.rakp3 = exchange{clone(b), rakp4(tag, types.RmcpStatusCodeNoResToCreateSess, s.console, nil)}
		return s.rakp3.answer, &loginEnd{from: from, name: who.Name, status: types.RmcpStatusCodeNoResToCreateSess}
	}
	icv, err := e.finishLogin(s, b[rakp3Len:])
	if err != nil {
		s.stage = stageFailed
		s.rakp3 = exchange{clone(b), rakp4(tag, types.RmcpStatusCodeInvalidIntegrityCheckValue, s.console, nil)}
		return s.rakp3.answer, &loginEnd{from, who.Name, types.RmcpStatusCodeInvalidIntegrityCheckValue, e.guard.fail(who, now)}
	}
	e.guard.logins.Succeed(who)
	e.sessions.promote(s)
	s.used, s.user, s.userID = now, who.Name, user
	s.rakp3 = exchange{clone(b), rakp4(tag, types.RmcpStatusCodeNoErrors, s.console, icv)}
	return s.rakp3.answer, &loginEnd{from: from, name: who.Name}
}

// finishLogin checks the console's code, gives the session its keys and returns
// RAKP 4's integrity check value.
func (e *engine) finishLogin(s *session, code []byte) ([]byte, error) {
	l := s.login
	want, err := crypto.RAKP3AuthCode(s.suite.auth, l.ourRandom[:], s.console, l.role, l.name, l.who.key)
	if err != nil {
		return nil, fmt.Errorf("rakp 3: %w", err)
	}
	if !hmac.Equal(want, code) || l.who.id == 0 {
		return nil, errWrongPassword
	}
	// With two keys the session's come from K_g, so that the console must know both.
	key := l.who.key
	if e.bmcKey != nil {
		key = e.bmcKey[:]
	}
	sik, k1, k2, err := crypto.DeriveSessionKeys(s.suite.auth, l.consoleRandom[:], l.ourRandom[:], l.role, l.name, key)
	if err != nil {
		return nil, fmt.Errorf("session keys: %w", err)
	}
	icv, err := crypto.RAKP4ICV(s.suite.auth, l.consoleRandom[:], s.id, e.guid[:], sik)
	if err != nil {
		return nil, fmt.Errorf("rakp 4: %w", err)
	}
	return icv, s.activate(k1, k2)
}

func rakp4(tag byte, status types.RmcpStatusCode, console uint32, icv []byte) []byte {
	a := rmcpplus.RAKPMessage4{MessageTag: tag, RmcpStatusCode: status, MgmtConsoleSessionID: console, IntegrityCheckValue: icv}
	return a.Pack()
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
