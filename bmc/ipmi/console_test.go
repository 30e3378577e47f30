package ipmi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bougou/go-ipmi/pkg/crypto"
	"github.com/bougou/go-ipmi/pkg/protocol"
	"github.com/bougou/go-ipmi/pkg/rmcpplus"
	"github.com/bougou/go-ipmi/pkg/types"
)

// console is a client for tests. Its cryptography and codecs are go-ipmi's, not
// ours, so that a mistake is not made on both sides.
type console struct {
	// ask sends a datagram and returns the answer, nil for none.
	ask func([]byte) []byte

	name, password string
	// bmcKey is K_g; empty: the password is the one key.
	bmcKey string
	suite  types.CipherSuiteID
	// role is the byte of RAKP 1: privilege, and 0x10 for lookup by name only.
	role byte

	id, bmcID   uint32
	random      [16]byte
	ours        [16]byte // the BMC's random number
	guid        [16]byte
	k1, k2      []byte
	seq         uint32
	rqSeq       byte
	auth        types.AuthAlg
	integrity   types.IntegrityAlg
	lastMessage []byte
}

func newConsole(ask func([]byte) []byte) *console {
	return &console{ask: ask, name: "admin", password: "secret", suite: 17, role: 0x14, id: 0xa0a2a3a4, random: [16]byte{1, 2, 3}}
}

var errNoAnswer = errors.New("no answer")

// statusError is an RMCP+ status that refuses a login.
type statusError struct {
	at   string
	code types.RmcpStatusCode
}

func (e statusError) Error() string { return fmt.Sprintf("%s: status %02x", e.at, byte(e.code)) }

// setup sends a message of the login and returns the answer's payload.
func (c *console) setup(kind types.PayloadType, payload []byte) ([]byte, error) {
	answer := c.ask(protocol.BuildRMCPPlusPacket(byte(kind), 0, 0, 0, payload))
	if answer == nil {
		return nil, errNoAnswer
	}
	id, seq, got, _, body, ok := protocol.ParseRMCPPlusHeader(answer)
	if !ok || id != 0 || seq != 0 || got != byte(kind)+1 {
		return nil, fmt.Errorf("answer %x: not of kind %02x", answer, byte(kind)+1)
	}
	return body, nil
}

func (c *console) openRequest() []byte {
	auth, integrity, crypt, _ := types.GetCipherSuiteAlgorithms(c.suite)
	q := rmcpplus.OpenSessionRequest{MessageTag: 7, RequestedMaximumPrivilegeLevel: types.PrivilegeLevel(c.role & 0x0f), RemoteConsoleSessionID: c.id}
	q.AuthenticationPayload, q.IntegrityPayload, q.ConfidentialityPayload = rmcpplus.NewAlgorithmPayloads(auth, integrity, crypt)
	return q.Pack()
}

func (c *console) open() error {
	body, err := c.setup(types.PayloadTypeRmcpOpenSessionRequest, c.openRequest())
	if err != nil {
		return err
	}
	var a rmcpplus.OpenSessionResponse
	if err := a.Unpack(body); err != nil {
		return err
	}
	if a.RmcpStatusCode != 0 {
		return statusError{"open session", a.RmcpStatusCode}
	}
	c.bmcID, c.auth, c.integrity = a.ManagedSystemSessionID, types.AuthAlg(a.AuthAlg), types.IntegrityAlg(a.IntegrityAlg)
	return nil
}

func (c *console) rakp1Request() []byte {
	m := rmcpplus.RAKPMessage1{MessageTag: 8, ManagedSystemSessionID: c.bmcID, RemoteConsoleRandomNumber: c.random,
		RequestedMaximumPrivilegeLevel: types.PrivilegeLevel(c.role & 0x0f), NameOnlyLookup: c.role&0x10 != 0,
		UsernameLength: byte(len(c.name)), Username: []byte(c.name)}
	return m.Pack()
}

func (c *console) key() []byte { return crypto.PadPassword20([]byte(c.password)) }

// rakp1 does not check RAKP 2's code, so that a wrong password gets as far as RAKP 3.
func (c *console) rakp1() error {
	body, err := c.setup(types.PayloadTypeRAKPMessage1, c.rakp1Request())
	if err != nil {
		return err
	}
	a := rmcpplus.RAKPMessage2{AuthAlg: c.auth}
	if err := a.Unpack(body); err != nil {
		return err
	}
	if a.RmcpStatusCode != 0 {
		return statusError{"rakp 1", a.RmcpStatusCode}
	}
	c.ours, c.guid = a.ManagedSystemRandomNumber, a.ManagedSystemGUID
	return nil
}

func (c *console) rakp3Request() []byte {
	code, _ := crypto.RAKP3AuthCode(c.auth, c.ours[:], c.id, c.role, c.name, c.key())
	m := rmcpplus.RAKPMessage3{MessageTag: 9, ManagedSystemSessionID: c.bmcID, KeyExchangeAuthenticationCode: code}
	return m.Pack()
}

func (c *console) rakp3() error {
	body, err := c.setup(types.PayloadTypeRAKPMessage3, c.rakp3Request())
	if err != nil {
		return err
	}
	a := rmcpplus.RAKPMessage4{AuthAlg: c.auth}
	if err := a.Unpack(body); err != nil {
		return err
	}
	if a.RmcpStatusCode != 0 {
		return statusError{"rakp 3", a.RmcpStatusCode}
	}
	key := c.key()
	if c.bmcKey != "" {
		key = crypto.PadPassword20([]byte(c.bmcKey))
	}
	sik, k1, k2, err := crypto.DeriveSessionKeys(c.auth, c.random[:], c.ours[:], c.role, c.name, key)
	if err != nil {
		return err
	}
	icv, err := crypto.RAKP4ICV(c.auth, c.random[:], c.bmcID, c.guid[:], sik)
	if err != nil {
		return err
	}
	if !bytes.Equal(icv, a.IntegrityCheckValue) {
		return fmt.Errorf("rakp 4: integrity check value %x, want %x", a.IntegrityCheckValue, icv)
	}
	c.k1, c.k2, c.seq = k1, k2, 0
	return nil
}

func (c *console) login() error {
	for _, step := range []func() error{c.open, c.rakp1, c.rakp3} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// message is an IPMI LAN message from a remote console to the BMC.
func message(rqSeq, netFn, cmd byte, data ...byte) []byte {
	b := []byte{0x20, netFn << 2}
	b = append(b, protocol.Checksum(b))
	b = append(b, 0x81, rqSeq<<2, cmd)
	b = append(b, data...)
	return append(b, protocol.Checksum(b[3:]))
}

// seal makes a session packet with the given sequence number and flags.
func (c *console) seal(seq uint32, flags byte, payload []byte) []byte {
	return c.sealAs(types.PayloadTypeIPMI, seq, flags, payload)
}

func (c *console) sealAs(kind types.PayloadType, seq uint32, flags byte, payload []byte) []byte {
	if flags&types.PayloadFlagEncrypted != 0 {
		payload, _ = crypto.EncryptAESPayload(payload, c.k2, bytes.Repeat([]byte{0x5a}, 16))
	}
	b := protocol.BuildRMCPPlusPacket(byte(kind), flags, c.bmcID, seq, payload)
	if flags&types.PayloadFlagAuthenticated == 0 {
		return b
	}
	pad := 0
	for ; (len(b)-4+2)%4 != 0; pad++ {
		b = append(b, 0xff)
	}
	b = append(b, byte(pad), 7)
	code, _ := crypto.SessionIntegrityAuthCode(c.integrity, b[4:], c.k1, "")
	return append(b, code...)
}

// unseal checks a session packet from the BMC and returns its payload.
func (c *console) unseal(b []byte) ([]byte, error) {
	id, _, _, flags, payload, ok := protocol.ParseRMCPPlusHeader(b)
	n, _ := crypto.IntegrityAuthCodeLen(c.integrity)
	if !ok || id != c.id || flags&0xc0 != 0xc0 || len(b) < 16+len(payload)+2+n {
		return nil, fmt.Errorf("packet %x: not of session %08x, or not sealed", b, c.id)
	}
	code, err := crypto.SessionIntegrityAuthCode(c.integrity, b[4:len(b)-n], c.k1, "")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(code, b[len(b)-n:]) {
		return nil, fmt.Errorf("packet %x: integrity code wrong", b)
	}
	return crypto.DecryptAESPayload(payload, c.k2)
}

// request makes the packet of the next command.
func (c *console) request(netFn, cmd byte, data ...byte) []byte {
	c.seq++
	c.rqSeq = (c.rqSeq + 1) & 0x3f
	c.lastMessage = message(c.rqSeq, netFn, cmd, data...)
	return c.seal(c.seq, 0xc0, c.lastMessage)
}

// response takes completion code and data out of the answer to a request.
func (c *console) response(packet []byte) (types.CompletionCode, []byte, error) {
	if packet == nil {
		return 0, nil, errNoAnswer
	}
	b, err := c.unseal(packet)
	if err != nil {
		return 0, nil, err
	}
	return parseResponse(b)
}

func parseResponse(b []byte) (types.CompletionCode, []byte, error) {
	if len(b) < 8 || protocol.Checksum(b[:3]) != 0 || protocol.Checksum(b[3:]) != 0 || b[0] != 0x81 || b[3] != 0x20 {
		return 0, nil, fmt.Errorf("message %x: malformed", b)
	}
	return types.CompletionCode(b[6]), b[7 : len(b)-1], nil
}

func (c *console) command(netFn, cmd byte, data ...byte) (types.CompletionCode, []byte, error) {
	return c.response(c.ask(c.request(netFn, cmd, data...)))
}

func (c *console) close() error {
	code, _, err := c.command(0x06, 0x3c, binary.LittleEndian.AppendUint32(nil, c.bmcID)...)
	if err == nil && code != 0 {
		err = fmt.Errorf("close session: code %02x", byte(code))
	}
	return err
}
