package ipmi

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
)

// stage is how far a session's login is.
type stage int

const (
	stageOpened stage = iota // Open Session was answered
	stageNamed               // RAKP 1 was answered
	stageFailed              // RAKP 3 was wrong: only its repeat is answered
	stageActive
)

// repeatWithin is how long a request that changes the chassis is taken for a
// repeat if all of it but the session's sequence number is the same.
const repeatWithin = 2 * time.Second

// keptReplies is how many answers a session keeps for repeats. Clients wait for
// each answer before they go on.
const keptReplies = 4

// session is one RMCP+ session, from Open Session to its end, or one of IPMI 1.5, from Get
// Session Challenge on. It is guarded by the engine's mu.
type session struct {
	id, console uint32
	from        netip.AddrPort
	suite       *suite
	// v15 is there for sessions of IPMI 1.5, which have no suite.
	v15   *session15
	stage stage
	// user is the name it was logged in with, userID that user's.
	user   string
	userID byte
	// limit is the highest privilege the session may get, privilege its present one.
	limit, privilege types.PrivilegeLevel
	used             time.Time
	// until is when the session ends, if the BMC is being reset by it; zero: nobody knows.
	until time.Time
	// handle is what Get Session Info calls the session, from 1; 0 before it is active.
	handle byte

	// The answered messages of the login, for repeats: Get Session Challenge is open, and
	// Activate Session rakp3.
	open, rakp1, rakp3 exchange
	login              *login

	mac     hash.Hash // keyed with K1
	block   cipher.Block
	window  window
	out     uint32
	replies [keptReplies]reply
	next    int
}

// exchange is a message of the login and its answer.
type exchange struct{ question, answer []byte }

func (x exchange) repeats(question []byte) bool {
	return x.answer != nil && bytes.Equal(x.question, question)
}

// reply is an answered request of an active session.
type reply struct {
	seq uint32
	// message is kept for requests that change the chassis, else nil.
	message []byte
	at      time.Time
	// packet is nil while the command still runs.
	packet []byte
}

// window accepts each sequence number once, up to 16 ahead of the highest seen and
// 31 behind it (IPMI v2.0 §6.12.13).
type window struct {
	highest uint32
	// seen has bit i set when highest-i was accepted.
	seen uint32
}

const windowAhead = 16

// verdict is what a window says of a sequence number.
type verdict int

const (
	fresh verdict = iota
	repeated
	outside
)

// accept judges seq and, if it is fresh, remembers it.
func (w *window) accept(seq uint32) verdict {
	if seq == 0 { // outside of a session
		return outside
	}
	ahead := int32(seq - w.highest)
	switch {
	case ahead > windowAhead || ahead <= -32:
		return outside
	case ahead > 0:
		w.seen = w.seen<<ahead | 1
		w.highest = seq
		return fresh
	case w.seen&(1<<-ahead) != 0:
		return repeated
	}
	w.seen |= 1 << -ahead
	return fresh
}

// activate gives the session its keys.
func (s *session) activate(k1, k2 []byte) error {
	block, err := aes.NewCipher(k2[:16])
	if err != nil {
		return fmt.Errorf("session key: %w", err)
	}
	s.block, s.mac = block, hmac.New(s.suite.newHash, k1)
	// Sequence number 0 counts as seen, so that the first one is 1 (or soon after).
	s.window = window{seen: 1}
	s.stage, s.login = stageActive, nil
	s.privilege = min(types.PrivilegeLevelUser, s.limit)
	return nil
}

// verify checks a packet's integrity trailer (IPMI v2.0 §13.28.4).
func (s *session) verify(p packet) bool {
	n := len(p.rest) - s.suite.codeLen
	if n < 2 || p.rest[n-1] != nextHeader || int(p.rest[n-2]) != n-2 {
		return false
	}
	signed := p.whole[:len(p.whole)-s.suite.codeLen]
	return hmac.Equal(s.code(signed), p.rest[n:])
}

func (s *session) code(signed []byte) []byte {
	s.mac.Reset()
	s.mac.Write(signed)
	return s.mac.Sum(nil)[:s.suite.codeLen]
}

// decrypt returns the plain payload (IPMI v2.0 §13.29), in a slice of its own.
func (s *session) decrypt(b []byte) ([]byte, bool) {
	if len(b) < 2*aes.BlockSize || len(b)%aes.BlockSize != 0 {
		return nil, false
	}
	plain := make([]byte, len(b)-aes.BlockSize)
	cipher.NewCBCDecrypter(s.block, b[:aes.BlockSize]).CryptBlocks(plain, b[aes.BlockSize:])
	pad := int(plain[len(plain)-1])
	if pad >= aes.BlockSize || pad >= len(plain) {
		return nil, false
	}
	body := plain[:len(plain)-1-pad]
	for i, v := range plain[len(body) : len(plain)-1] {
		if int(v) != i+1 {
			return nil, false
		}
	}
	return body, true
}

// countOut goes on to the number of the next packet out.
func (s *session) countOut() {
	s.out++
	if s.out == 0 {
		s.out = 1
	}
}

// seal makes a packet of a payload: encrypted, numbered and authenticated.
func (s *session) seal(kind types.PayloadType, payload []byte, random io.Reader) ([]byte, error) {
	s.countOut()
	if s.v15 != nil {
		return s.seal15(s.out, payload), nil
	}
	pad := (aes.BlockSize - (len(payload)+1)%aes.BlockSize) % aes.BlockSize
	n := aes.BlockSize + len(payload) + pad + 1
	b := header20(byte(kind)|payloadFlags, s.console, s.out, n)
	b = b[:header20Len+n]
	iv, body := b[header20Len:header20Len+aes.BlockSize], b[header20Len+aes.BlockSize:]
	if _, err := io.ReadFull(random, iv); err != nil {
		return nil, fmt.Errorf("initialization vector: %w", err)
	}
	copy(body, payload)
	for i := range pad {
		body[len(payload)+i] = byte(i + 1)
	}
	body[len(body)-1] = byte(pad)
	cipher.NewCBCEncrypter(s.block, iv).CryptBlocks(body, body)
	// The trailer is padded so that what is signed is a multiple of 4 bytes.
	fill := (4 - (len(b)-rmcpLen+2)%4) % 4
	for range fill {
		b = append(b, 0xff)
	}
	b = append(b, byte(fill), nextHeader)
	return append(b, s.code(b[rmcpLen:])...), nil
}

// repeatOf returns the kept answer to a sequence number.
func (s *session) repeatOf(seq uint32) []byte {
	for i := range s.replies {
		if r := &s.replies[i]; r.seq == seq {
			return r.packet
		}
	}
	return nil
}

// repeatOfMessage finds a request that a client sends again under a new sequence
// number because the answer was lost.
func (s *session) repeatOfMessage(message []byte, now time.Time) (*reply, bool) {
	for i := range s.replies {
		r := &s.replies[i]
		if r.message != nil && now.Sub(r.at) < repeatWithin && bytes.Equal(r.message, message) {
			return r, true
		}
	}
	return nil, false
}

// expect makes room for the answer to a request.
func (s *session) expect(seq uint32, message []byte, now time.Time) {
	s.replies[s.next] = reply{seq: seq, message: message, at: now}
	s.next = (s.next + 1) % keptReplies
}

func (s *session) keep(seq uint32, packet []byte) {
	for i := range s.replies {
		if r := &s.replies[i]; r.seq == seq {
			r.packet = packet
		}
	}
}

// addressBytes is the console's IPv4 address, and zeros for IPv6, which Get Session
// Info has no room for.
func (s *session) addressBytes() [4]byte {
	if a := s.from.Addr().Unmap(); a.Is4() {
		return a.As4()
	}
	return [4]byte{}
}
