package ipmi

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/bougou/go-ipmi/pkg/types"
)

// console15 is a client of IPMI 1.5 for tests, with a codec of its own.
type console15 struct {
	ask            func([]byte) []byte
	auth           byte
	name, password string
	role           byte
	challenge      [16]byte
	id, seq, first uint32
	last           uint32 // number of the last packet from the BMC
	rqSeq          byte
}

func newConsole15(ask func([]byte) []byte) *console15 {
	return &console15{ask: ask, auth: 2, name: "admin", password: "secret", role: 4, first: 0xffffffff}
}

func newLab15(tb testing.TB) *lab {
	tb.Helper()
	return newLabOf(tb, func(cfg *Config) { cfg.V15 = true })
}

// code is IPMI v2.0 §22.17.1, written a second time: the hash over what stands here.
func (c *console15) code(session, seq uint32, payload []byte) []byte {
	password := append([]byte(c.password), make([]byte, 16)...)[:16]
	if c.auth == 4 {
		return password
	}
	hash := md5.New()
	for _, part := range []any{password, session, payload, seq, password} {
		_ = binary.Write(hash, binary.LittleEndian, part)
	}
	return hash.Sum(nil)
}

func (c *console15) packet(seq uint32, payload []byte) []byte {
	b := []byte{6, 0, 0xff, 7, c.auth}
	b = binary.LittleEndian.AppendUint32(b, seq)
	b = binary.LittleEndian.AppendUint32(b, c.id)
	b = append(b, c.code(c.id, seq, payload)...)
	return append(append(b, byte(len(payload))), payload...)
}

// open checks a packet from the BMC.
func (c *console15) open(b []byte) (types.CompletionCode, []byte, error) {
	if b == nil {
		return 0, nil, errNoAnswer
	}
	if len(b) < 30 || b[4] != c.auth || binary.LittleEndian.Uint32(b[9:]) != c.id || int(b[29]) != len(b)-30 {
		return 0, nil, fmt.Errorf("packet %x: not of session %08x", b, c.id)
	}
	seq := binary.LittleEndian.Uint32(b[5:])
	if !bytes.Equal(b[13:29], c.code(c.id, seq, b[30:])) {
		return 0, nil, fmt.Errorf("packet %x: wrong code", b)
	}
	c.last = seq
	return parseResponse(b[30:])
}

func (c *console15) askChallenge() error {
	name := append([]byte(c.name), make([]byte, 16)...)[:16]
	answer := c.ask(frame15(message(3, 6, 0x39, append([]byte{c.auth}, name...)...)))
	if answer == nil {
		return errNoAnswer
	}
	code, data, err := parseResponse(answer[header15Len:])
	if err != nil || code != 0 || len(data) != 20 {
		return fmt.Errorf("challenge: code %02x, data %x, %w", byte(code), data, err)
	}
	c.id, c.challenge = binary.LittleEndian.Uint32(data), [16]byte(data[4:])
	return nil
}

func (c *console15) activation() []byte {
	data := append([]byte{c.auth, c.role}, c.challenge[:]...)
	c.rqSeq++
	return c.packet(0, message(c.rqSeq, 6, 0x3a, binary.LittleEndian.AppendUint32(data, c.first)...))
}

func (c *console15) activate() error {
	code, data, err := c.open(c.ask(c.activation()))
	switch {
	case err != nil:
		return err
	case code != 0 || len(data) != 10:
		return fmt.Errorf("activate session: code %02x", byte(code))
	case data[0] != c.auth || binary.LittleEndian.Uint32(data[1:]) != c.id || data[9] != c.role || c.last != c.first:
		return fmt.Errorf("activate session: %x under number %x", data, c.last)
	}
	c.seq = binary.LittleEndian.Uint32(data[5:]) - 1
	return nil
}

func (c *console15) login() error {
	if err := c.askChallenge(); err != nil {
		return err
	}
	return c.activate()
}

func (c *console15) request(netFn, cmd byte, data ...byte) []byte {
	c.seq++
	c.rqSeq = (c.rqSeq + 1) & 0x3f
	return c.packet(c.seq, message(c.rqSeq, netFn, cmd, data...))
}

func (c *console15) command(netFn, cmd byte, data ...byte) (types.CompletionCode, []byte, error) {
	return c.open(c.ask(c.request(netFn, cmd, data...)))
}

func (l *lab) loggedIn15() *console15 {
	l.tb.Helper()
	c := newConsole15(l.ask)
	if err := c.login(); err != nil {
		l.tb.Fatal(err)
	}
	if code, _, err := c.command(6, 0x3b, 4); code != 0 || err != nil {
		l.tb.Fatalf("set session privilege: code %02x, %v", byte(code), err)
	}
	return c
}
