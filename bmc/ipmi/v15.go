package ipmi

import (
	"crypto/md5" //nolint:gosec // IPMI 1.5 has nothing better
	"crypto/subtle"
	"encoding/binary"

	"github.com/bougou/go-ipmi/pkg/types"
)

const (
	// keyLen15 is the length of a password in IPMI 1.5, padded with zeros, and of a code.
	keyLen15 = 16
	// types15 are the authentication types that are offered, as a mask (IPMI v2.0 Table
	// 22-16): MD5 and straight password.
	types15 = 1<<types.AuthTypeMD5 | 1<<types.AuthTypePassword
	// reach15 is how far from the highest number seen a number may be (IPMI v2.0 §6.12.13).
	reach15 = 8
	// maxPayload15 is what the header's length has room for.
	maxPayload15 = 255
)

// session15 is what a session of IPMI 1.5 has in place of a cipher suite.
type session15 struct {
	auth      types.AuthType
	challenge [16]byte
	// name is who asked for the challenge, key the password once it is active.
	name string
	key  [keyLen15]byte
}

// offered15 reports whether sessions may be made with an authentication type.
func offered15(t types.AuthType) bool {
	return t == types.AuthTypeMD5 || t == types.AuthTypePassword
}

// parse15 takes apart a datagram with a header of IPMI 1.5 (IPMI v2.0 §13.6). Without
// sessions only what is outside of one and not authenticated is accepted; with them also
// what is in one and authenticated, which may have a byte of legacy padding at its end.
func parse15(b []byte, sessions bool) (packet, bool) {
	if len(b) < header15Len {
		return packet{}, false
	}
	p := packet{v15: true, auth: types.AuthType(b[4]), seq: binary.LittleEndian.Uint32(b[5:]), session: binary.LittleEndian.Uint32(b[9:])}
	at := header15Len
	switch {
	case p.auth == types.AuthTypeNone && p.session == 0:
	case sessions && p.session != 0 && offered15(p.auth) && len(b) >= header15Len+keyLen15:
		p.code = b[header15Len-1 : header15Len-1+keyLen15]
		at += keyLen15
	default:
		return packet{}, false
	}
	n := int(b[at-1])
	if len(b) < at+n || p.code != nil && len(b) > at+n+1 {
		return packet{}, false
	}
	p.payload = b[at : at+n]
	return p, true
}

// code15 is the authentication code of a message (IPMI v2.0 §22.17.1).
func code15(auth types.AuthType, key [keyLen15]byte, session, seq uint32, payload []byte) [keyLen15]byte {
	if auth == types.AuthTypePassword {
		return key
	}
	b := make([]byte, 0, 2*keyLen15+8+len(payload))
	b = append(b, key[:]...)
	b = binary.LittleEndian.AppendUint32(b, session)
	b = append(b, payload...)
	b = binary.LittleEndian.AppendUint32(b, seq)
	return md5.Sum(append(b, key[:]...)) //nolint:gosec // see the import
}

// verify15 checks a packet's authentication code.
func (s *session) verify15(p packet) bool {
	if p.auth != s.v15.auth {
		return false
	}
	want := code15(p.auth, s.v15.key, p.session, p.seq, p.payload)
	return subtle.ConstantTimeCompare(want[:], p.code) == 1
}

// near15 reports whether a number is in the window of IPMI 1.5, which is smaller.
func (w *window) near15(seq uint32) bool {
	ahead := int32(seq - w.highest)
	return ahead <= reach15 && ahead > -reach15
}

// seal15 makes a packet of a payload: numbered and authenticated.
func (s *session) seal15(seq uint32, payload []byte) []byte {
	b := make([]byte, header15Len-1, header15Len+keyLen15+len(payload))
	b[0], b[2], b[3], b[4] = rmcpVersion, rmcpNoAck, classIPMI, byte(s.v15.auth)
	binary.LittleEndian.PutUint32(b[5:], seq)
	binary.LittleEndian.PutUint32(b[9:], s.id)
	code := code15(s.v15.auth, s.v15.key, s.id, seq, payload)
	b = append(b, code[:]...)
	return append(append(b, byte(len(payload))), payload...)
}
