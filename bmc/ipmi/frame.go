package ipmi

import (
	"encoding/binary"

	"github.com/bougou/go-ipmi/pkg/protocol"
	"github.com/bougou/go-ipmi/pkg/types"
)

// Offsets and lengths of IPMI v2.0 §13.1.3 (RMCP) and §13.6 (session headers).
const (
	rmcpLen      = 4
	rmcpVersion  = 0x06
	rmcpNoAck    = 0xff
	classASF     = 0x06
	classIPMI    = 0x07
	asfIANA      = 4542
	asfPing      = 0x80
	asfPingLen   = 12
	header15Len  = rmcpLen + 10
	header20Len  = rmcpLen + 12
	bmcAddress   = 0x20
	nextHeader   = 0x07
	messageLen   = 7 // a request without data
	payloadFlags = types.PayloadFlagEncrypted | types.PayloadFlagAuthenticated
)

// packet is an IPMI datagram taken apart. Its slices point into the datagram.
type packet struct {
	// v15 says that the header is the one of IPMI 1.5, which has auth and, in a session, code.
	v15     bool
	auth    types.AuthType
	code    []byte
	kind    types.PayloadType
	flags   byte
	session uint32
	seq     uint32
	payload []byte
	// rest is everything after the payload: the integrity trailer.
	rest []byte
	// whole is the datagram after the RMCP header: what the trailer protects.
	whole []byte
}

// parseRMCP returns the message class of a datagram; ok is false for what is not
// RMCP, and for acknowledgements, which are not answered.
func parseRMCP(b []byte) (class byte, ok bool) {
	if len(b) <= rmcpLen || b[0] != rmcpVersion || b[3]&0x80 != 0 {
		return 0, false
	}
	return b[3] & 0x1f, true
}

// pong answers an ASF presence ping (IPMI v2.0 §13.2.3), the only ASF message
// that is answered.
func pong(b []byte) []byte {
	if len(b) < asfPingLen || binary.BigEndian.Uint32(b[4:]) != asfIANA || b[8] != asfPing {
		return nil
	}
	return protocol.BuildASFPresencePong(b[9])
}

// parseIPMI takes apart a datagram of class IPMI. sessions15 says that there are sessions
// of IPMI 1.5.
func parseIPMI(b []byte, sessions15 bool) (packet, bool) {
	if types.AuthType(b[rmcpLen]) == types.AuthTypeRMCPPlus {
		return parse20(b)
	}
	return parse15(b, sessions15)
}

func parse20(b []byte) (packet, bool) {
	if len(b) < header20Len {
		return packet{}, false
	}
	p := packet{
		kind:    types.PayloadType(b[5] &^ payloadFlags),
		flags:   b[5] & payloadFlags,
		session: binary.LittleEndian.Uint32(b[6:]),
		seq:     binary.LittleEndian.Uint32(b[10:]),
		whole:   b[rmcpLen:],
	}
	n := int(binary.LittleEndian.Uint16(b[14:]))
	if p.kind == types.PayloadTypeOEM || len(b) < header20Len+n {
		return packet{}, false
	}
	p.payload, p.rest = b[header20Len:header20Len+n], b[header20Len+n:]
	return p, true
}

// frame15 and frame20 put a payload into a datagram outside of any session.
func frame15(payload []byte) []byte {
	b := make([]byte, header15Len, header15Len+len(payload))
	b[0], b[2], b[3] = rmcpVersion, rmcpNoAck, classIPMI
	b[13] = byte(len(payload))
	return append(b, payload...)
}

func frame20(kind types.PayloadType, payload []byte) []byte {
	return append(header20(byte(kind), 0, 0, len(payload)), payload...)
}

// header20 returns the RMCP and session headers, with room for what follows.
func header20(kind byte, session, seq uint32, n int) []byte {
	b := make([]byte, header20Len, header20Len+n+40)
	b[0], b[2], b[3] = rmcpVersion, rmcpNoAck, classIPMI
	b[4], b[5] = byte(types.AuthTypeRMCPPlus), kind
	binary.LittleEndian.PutUint32(b[6:], session)
	binary.LittleEndian.PutUint32(b[10:], seq)
	binary.LittleEndian.PutUint16(b[14:], uint16(n))
	return b
}

// request is an IPMI LAN message (IPMI v2.0 §13.8).
type request struct {
	netFn, lun, cmd byte
	rsAddr          byte
	rqAddr          byte
	// rqSeqLUN is the requester's sequence number and LUN as sent.
	rqSeqLUN byte
	data     []byte
}

// parseRequest refuses messages with a wrong checksum, and responses.
func parseRequest(b []byte) (request, bool) {
	if len(b) < messageLen || protocol.Checksum(b[:3]) != 0 || protocol.Checksum(b[3:]) != 0 {
		return request{}, false
	}
	r := request{rsAddr: b[0], netFn: b[1] >> 2, lun: b[1] & 3, rqAddr: b[3], rqSeqLUN: b[4], cmd: b[5], data: b[6 : len(b)-1]}
	return r, r.netFn&1 == 0
}

// response is the IPMI LAN message that answers r.
func (r request) response(code types.CompletionCode, data []byte) []byte {
	b := make([]byte, 7, 8+len(data))
	b[0], b[1] = r.rqAddr, (r.netFn|1)<<2|r.rqSeqLUN&3
	b[2] = protocol.Checksum(b[:2])
	b[3], b[4], b[5], b[6] = bmcAddress, r.rqSeqLUN&^3|r.lun, r.cmd, byte(code)
	b = append(b, data...)
	return append(b, protocol.Checksum(b[3:]))
}
