package ipmi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc/fault"
	"tenks/raftfsm/state"
)

// TestCode15 has hashes that Python's hashlib made.
func TestCode15(t *testing.T) {
	for _, tc := range []struct {
		auth         types.AuthType
		password     string
		session, seq uint32
		message      string
		want         string
	}{
		{types.AuthTypeMD5, "secret", 0x01020304, 0, "2018c8810439", "9d363339cbef864edc84f4df8529c4b7"},
		{types.AuthTypeMD5, "sixteen-bytes-16", 0xfffffffe, 0x12345678, "2000e08110016e", "cb71b201d9129a88934b62fec9f6689c"},
		{types.AuthTypeMD5, "", 1, 1, "", "cb4337a14cc6a5cfd905d9ba6c1d5727"},
		{types.AuthTypePassword, "secret", 1, 2, "20", "73656372657400000000000000000000"},
	} {
		var key [16]byte
		copy(key[:], tc.password)
		got := code15(tc.auth, key, tc.session, tc.seq, hexOf(tc.message))
		if hex.EncodeToString(got[:]) != tc.want {
			t.Errorf("type %d, password %q, session %x, number %x, %s: got %x, want %s", tc.auth, tc.password, tc.session, tc.seq, tc.message, got, tc.want)
		}
	}
}

func TestParse15(t *testing.T) {
	const (
		rmcp = "0600ff07"
		in   = "01000000 02000000"
		code = "000102030405060708090a0b0c0d0e0f"
	)
	for _, tc := range []struct {
		name, datagram string
		off, on        bool // whether it is accepted
	}{
		{"outside of sessions", rmcp + "00 00000000 00000000 01 aa", true, true},
		{"outside, empty", rmcp + "00 00000000 00000000 00", true, true},
		{"MD5", rmcp + "02" + in + code + "01 aa", false, true},
		{"a password", rmcp + "04" + in + code + "01 aa", false, true},
		{"a number of 0", rmcp + "02 00000000 02000000" + code + "01 aa", false, true},
		{"legacy padding", rmcp + "02" + in + code + "01 aa 00", false, true},
		{"more behind it", rmcp + "02" + in + code + "01 aa 00 00", false, false},
		{"a short payload", rmcp + "02" + in + code + "02 aa", false, false},
		{"no length", rmcp + "02" + in + code, false, false},
		{"a short code", rmcp + "02" + in + "00010203 00", false, false},
		{"none in a session", rmcp + "00" + in + "01 aa", false, false},
		{"MD5 outside of sessions", rmcp + "02 00000000 00000000" + code + "01 aa", false, false},
		{"MD2", rmcp + "01" + in + code + "01 aa", false, false},
		{"OEM", rmcp + "05" + in + code + "01 aa", false, false},
		{"no such type", rmcp + "82" + in + code + "01 aa", false, false},
	} {
		b := hexOf(strings.ReplaceAll(tc.datagram, " ", ""))
		for sessions, want := range map[bool]bool{false: tc.off, true: tc.on} {
			if p, ok := parse15(b, sessions); ok != want || ok && len(p.payload) > 1 {
				t.Errorf("%s, sessions %t: got %+v, %t; want %t", tc.name, sessions, p, ok, want)
			}
		}
	}
}

func TestASessionOfIPMI15(t *testing.T) {
	for _, auth := range []byte{2, 4} {
		l := newLab15(t)
		c := newConsole15(l.ask)
		c.auth = auth
		if err := c.login(); err != nil {
			t.Fatalf("type %d: %v", auth, err)
		}
		// A session begins as user's (IPMI v2.0 §22.17).
		if code, _, err := c.command(0, 2, 1); code != types.CodeInsufficientPrivilege || err != nil {
			t.Errorf("type %d: power on as user: code %02x, %v; want d4", auth, byte(code), err)
		}
		for _, tc := range []struct {
			what       string
			netFn, cmd byte
			data       []byte
			want       types.CompletionCode
		}{
			{"set session privilege", 6, 0x3b, []byte{4}, 0},
			{"power on", 0, 2, []byte{1}, 0},
			{"activate SOL", 6, 0x48, []byte{1, 1, 0xc0, 0, 0, 0}, 0x84},
			{"a challenge in a session", 6, 0x39, make([]byte, 17), 0xc1},
		} {
			if code, _, err := c.command(tc.netFn, tc.cmd, tc.data...); code != tc.want || err != nil {
				t.Errorf("type %d: %s: code %02x, %v; want %02x", auth, tc.what, byte(code), err, byte(tc.want))
			}
		}
		if code, data, err := c.command(6, 0x3d, 0); code != 0 || err != nil || len(data) < 6 || data[5] != lanChannel || data[4] != 4 || data[3] != accountID {
			t.Errorf("type %d: session info: code %02x, %x, %v; want a session of 1.5", auth, byte(code), data, err)
		}
		if got := l.chassis.Actions(); len(got) != 1 {
			t.Errorf("type %d: actions %v, want one", auth, got)
		}
		// It is no session of RMCP+, and RAKP cannot be spoken in it.
		x := newConsole(l.ask)
		x.bmcID = c.id
		if x.rakp1() == nil || x.rakp3() == nil {
			t.Errorf("type %d: RAKP in a session of IPMI 1.5 is taken", auth)
		}
		if l.ask(header20(0, c.id, c.seq+1, 0)) != nil {
			t.Errorf("type %d: a packet of RMCP+ is answered", auth)
		}
		if code, _, err := c.command(6, 0x3c, binary.LittleEndian.AppendUint32(nil, c.id)...); code != 0 || err != nil {
			t.Errorf("type %d: close: code %02x, %v", auth, byte(code), err)
		}
		if _, _, err := c.command(6, 1); !errors.Is(err, errNoAnswer) || len(l.engine.sessions.byID) != 0 || l.engine.sessions.active != 0 {
			t.Errorf("type %d: after close: %v, %d sessions, %d active; want none", auth, err, len(l.engine.sessions.byID), l.engine.sessions.active)
		}
	}
}

func TestALoginOfIPMI15IsRefused(t *testing.T) {
	user := func(c *console15) { c.name, c.password, c.role = "op", "pass", 3 }
	for _, tc := range []struct {
		name string
		edit func(*console15)
		want string // part of the error; empty: it is taken
	}{
		{"right", func(*console15) {}, ""},
		{"wrong password", func(c *console15) { c.password = "secre" }, "no answer"},
		{"password as a password", func(c *console15) { c.auth, c.password = 4, "secres" }, "no answer"},
		{"no password", func(c *console15) { c.password = "" }, "no answer"},
		{"unknown user", func(c *console15) { c.name = "root" }, "no answer"},
		{"null user", func(c *console15) { c.name = "" }, "code 82"},
		{"none", func(c *console15) { c.auth = 0 }, "code cc"},
		{"MD2", func(c *console15) { c.auth = 1 }, "code cc"},
		{"OEM privilege", func(c *console15) { c.role = 5 }, "code 86"},
		{"no privilege", func(c *console15) { c.role = 0 }, "code cc"},
		{"no sequence number", func(c *console15) { c.first = 0 }, "code 84"},
		{"an operator", user, ""},
		{"an operator as administrator", func(c *console15) { user(c); c.role = 4 }, "code 86"},
		{"the beginning of a long password", func(c *console15) { c.name, c.password = "long", "seventeen-bytes-1" }, "no answer"},
	} {
		l := newLab15(t)
		admin := l.loggedIn(4)
		setUpUser(t, admin, 3, "op", "pass", 3)
		setUpUser(t, admin, 4, "long", "x", 4)
		setLongPassword(t, admin, 4, "seventeen-bytes-17")
		c := newConsole15(l.ask)
		tc.edit(c)
		err := c.login()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
		if got := l.engine.sessions.active; (got == 2) != (tc.want == "") {
			t.Errorf("%s: %d active sessions", tc.name, got)
		}
	}
}

func setLongPassword(t *testing.T, admin *console, id byte, password string) {
	t.Helper()
	data := append([]byte{longPassword | id, passwordSet}, append([]byte(password), make([]byte, 20)...)[:20]...)
	if code, _, err := admin.command(6, 0x47, data...); code != 0 || err != nil {
		t.Fatalf("set password: code %02x, %v", byte(code), err)
	}
}

func TestIPMI15IsOffUnlessAskedFor(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"off":               func(*Config) {},
		"on, with two keys": func(cfg *Config) { cfg.V15, cfg.BMCKey = true, state.NewSecret("key") },
	} {
		l := newLabOf(t, edit)
		c := newConsole15(l.ask)
		if err := c.login(); err == nil || !strings.Contains(err.Error(), "code d4") {
			t.Errorf("%s: login: got %v, want code d4 for the challenge", name, err)
		}
		c.id = 1
		if answer := l.ask(c.activation()); answer != nil {
			t.Errorf("%s: activate session: got %x, want nothing", name, answer)
		}
		code, data, err := parseResponse(l.ask(frame15(message(1, 6, 0x38, 0x8e, 4)))[header15Len:])
		if err != nil || code != 0 || data[1] != extendedData || data[3] != forIPMI20 {
			t.Errorf("%s: capabilities: code %02x, %x, %v; want 2.0 only", name, byte(code), data, err)
		}
	}
}

func TestCapabilitiesSayIPMI15(t *testing.T) {
	l := newLab15(t)
	for channel, want := range map[byte]string{0x0e: "0114040000000000", 0x8e: "0194040300000000"} {
		code, data, err := parseResponse(l.ask(frame15(message(1, 6, 0x38, channel, 4)))[header15Len:])
		if got := hex.EncodeToString(data); err != nil || code != 0 || got != want {
			t.Errorf("channel %02x: code %02x, %s, %v; want %s", channel, byte(code), got, err, want)
		}
	}
}

func TestRepeatsInIPMI15AreAnsweredOnce(t *testing.T) {
	l := newLab15(t)
	c := newConsole15(l.ask)
	if err := c.askChallenge(); err != nil {
		t.Fatal(err)
	}
	first := c.challenge
	// The half-open session is not one that RAKP can go on with.
	x := newConsole(l.ask)
	x.bmcID = c.id
	if x.rakp1() == nil || x.rakp3() == nil {
		t.Error("RAKP goes on with a challenge")
	}
	if err := c.askChallenge(); err != nil || c.challenge != first || len(l.engine.sessions.byID) != 1 {
		t.Errorf("challenge again: %x, %d sessions, %v; want %x and one", c.challenge, len(l.engine.sessions.byID), err, first)
	}
	packet := c.activation()
	one, two := l.ask(packet), l.ask(packet)
	if one == nil || !bytes.Equal(one, two) || l.engine.sessions.active != 1 {
		t.Errorf("activate session again: %x, then %x, %d active", one, two, l.engine.sessions.active)
	}
	// Under another number of the message, as FreeIPMI does.
	if err := c.activate(); err != nil || l.engine.sessions.active != 1 {
		t.Errorf("activate session under another number: %v, %d active", err, l.engine.sessions.active)
	}
	if code, _, err := c.command(6, 0x3b, 4); code != 0 || err != nil {
		t.Fatalf("set session privilege: code %02x, %v", byte(code), err)
	}
	l.chassis.SetPower(state.PowerOn)
	cycle := c.request(0, 2, 2)
	one, two = l.ask(cycle), l.ask(cycle)
	if one == nil || !bytes.Equal(one, two) || len(l.chassis.Actions()) != 1 {
		t.Errorf("power cycle again: %x, then %x, actions %v", one, two, l.chassis.Actions())
	}
}

func TestTheWindowOfIPMI15HasEight(t *testing.T) {
	l := newLab15(t)
	c := l.loggedIn15()
	base := c.seq
	for _, tc := range []struct {
		offset int
		want   bool
	}{{9, false}, {8, true}, {8, true}, {1, true}, {0, false}, {-20, false}, {16, true}, {17, true}, {10, true}, {9, false}, {30, false}} {
		packet := c.packet(base+uint32(tc.offset), message(1, 6, 1))
		if got := l.ask(packet) != nil; got != tc.want {
			t.Errorf("number %d after the last: answered %t, want %t", tc.offset, got, tc.want)
		}
	}
}

func TestDamagedPacketsOfIPMI15AreDropped(t *testing.T) {
	l := newLab15(t)
	c := l.loggedIn15()
	good := c.request(6, 1)
	for i := range good[4:] {
		b := bytes.Clone(good)
		b[4+i] ^= 1
		if answer := l.ask(b); answer != nil {
			t.Errorf("bit of byte %d: answered %x, want it dropped", 4+i, answer)
		}
	}
	if l.on("192.0.2.9:1024")(good) != nil {
		t.Error("a packet from elsewhere is answered")
	}
	if code, _, err := c.open(l.ask(good)); code != 0 || err != nil {
		t.Errorf("the good packet afterwards: code %02x, %v", byte(code), err)
	}
	l.now = l.now.Add(idleAfter)
	if _, _, err := c.command(6, 1); !errors.Is(err, errNoAnswer) {
		t.Errorf("after %v: %v, want no answer", idleAfter, err)
	}
}

func TestAChallengeIsGoodForOneTryAndAWhile(t *testing.T) {
	l := newLab15(t)
	c := newConsole15(l.ask)
	c.password = "wrong"
	if err := c.login(); !errors.Is(err, errNoAnswer) {
		t.Errorf("wrong password: %v, want no answer", err)
	}
	c.password = "secret"
	if err := c.activate(); !errors.Is(err, errNoAnswer) {
		t.Errorf("a second guess: %v, want no answer", err)
	}
	if err := c.askChallenge(); err != nil {
		t.Fatal(err)
	}
	c.challenge[3] ^= 1
	if err := c.activate(); !errors.Is(err, errNoAnswer) {
		t.Errorf("another challenge: %v, want no answer", err)
	}
	if err := c.askChallenge(); err != nil {
		t.Fatal(err)
	}
	c.ask = l.on("192.0.2.1:1025")
	if err := c.activate(); !errors.Is(err, errNoAnswer) {
		t.Errorf("from another port: %v, want no answer", err)
	}
	c.ask = l.ask
	l.now = l.now.Add(halfOpenFor)
	if err := c.activate(); !errors.Is(err, errNoAnswer) {
		t.Errorf("late: %v, want no answer", err)
	}
}

func TestGuessesByIPMI15AreBlocked(t *testing.T) {
	l := newLab15(t)
	guess := newConsole15(l.ask)
	guess.password = "wrong"
	for range 10 {
		if err := guess.login(); !errors.Is(err, errNoAnswer) {
			t.Fatal(err)
		}
	}
	// A challenge from before the block is no way around it.
	c := newConsole15(l.ask)
	if err := c.login(); err == nil || !strings.Contains(err.Error(), "code c0") {
		t.Errorf("the right password after ten wrong ones: %v, want node busy", err)
	}
	if newConsole(l.ask).login() == nil {
		t.Error("RMCP+ is not blocked with it")
	}
	l.now = l.now.Add(30 * time.Second)
	if err := c.login(); err != nil {
		t.Errorf("after the block: %v", err)
	}
}

func TestAFloodOfChallengesIsBounded(t *testing.T) {
	l := newLab15(t)
	in, late := l.loggedIn15(), newConsole(l.on("192.0.2.7:2000"))
	if err := errors.Join(late.open(), late.rakp1()); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		x := newConsole15(l.on(fmt.Sprintf("198.51.%d.%d:1000", i>>8, i&255)))
		if err := x.askChallenge(); err != nil {
			t.Fatalf("challenge %d: %v", i, err)
		}
		l.now = l.now.Add(time.Microsecond)
	}
	if got, most := len(l.engine.sessions.byID), maxHalfOpen+1; got > most {
		t.Errorf("%d sessions, want at most %d", got, most)
	}
	if err := late.rakp3(); err != nil {
		t.Errorf("a login of RMCP+ that was under way: %v", err)
	}
	if code, _, err := in.command(6, 1); code != 0 || err != nil {
		t.Errorf("the session that was there: code %02x, %v", byte(code), err)
	}
	for i := range maxActive + 3 {
		c := newConsole15(l.on(fmt.Sprintf("192.0.2.8:%d", 3000+i)))
		if err := c.login(); err != nil {
			t.Fatalf("login %d: %v", i, err)
		}
	}
	if got := l.engine.sessions.active; got != maxActive {
		t.Errorf("%d active sessions, want %d", got, maxActive)
	}
}

func TestAnswersOfIPMI15OutsideOfSessionsAreSmall(t *testing.T) {
	l := newLab15(t)
	worst := 0.0
	c := newConsole15(func(b []byte) []byte {
		a := l.ask(b)
		worst = max(worst, float64(len(a))/float64(len(b)))
		return a
	})
	if err := c.login(); err != nil || worst > 1.2 {
		t.Errorf("the worst answer is %.2f times its question, %v; want at most 1.2", worst, err)
	}
}

func TestFaultsReachLoginsOfIPMI15(t *testing.T) {
	var seen []string
	var effect fault.Effect
	l := newLabOf(t, func(cfg *Config) {
		cfg.V15 = true
		cfg.Fault = func(c fault.Call) fault.Effect {
			seen = append(seen, fmt.Sprintf("%s %t %t", c.Command, c.Login, c.Password))
			if c.Password {
				return effect
			}
			return fault.Effect{}
		}
	})
	for _, e := range []fault.Effect{{Drop: true}, {WrongPassword: true}, {}} {
		effect = e
		if err := newConsole15(l.ask).login(); (err == nil) != (e == fault.Effect{}) {
			t.Errorf("login with %+v: %v", e, err)
		}
		l.now = l.now.Add(halfOpenFor)
	}
	if got, want := strings.Join(seen[:2], ", "), "Get Session Challenge true false, Activate Session true true"; got != want {
		t.Errorf("seen: %s, want %s", got, want)
	}
}

func TestALongAnswerDoesNotFitIntoIPMI15(t *testing.T) {
	l := newLab15(t)
	c := l.loggedIn15()
	s, _ := l.engine.sessions.get(c.id)
	q, _ := parseRequest(message(1, 6, 1))
	for n, want := range map[int]types.CompletionCode{maxPayload15 - 8: 0, maxPayload15 - 7: types.CodeCannotReturnRequestedDataBytes} {
		packet := l.engine.finish(&call{engine: l.engine, request: q, session: s, row: lookUp(q)}, 0, make([]byte, n))
		if code, data, err := c.open(packet); code != want || err != nil || want == 0 && len(data) != n {
			t.Errorf("%d bytes: code %02x, %d bytes, %v; want %02x", n, byte(code), len(data), err, byte(want))
		}
	}
}

// FuzzV15 sends datagrams of IPMI 1.5 to a BMC that has a session, as they are and with the
// right session and code.
func FuzzV15(f *testing.F) {
	c := newConsole15(nil)
	f.Add(c.activation(), byte(0))
	f.Add(c.packet(1, message(1, 6, 1)), byte(1))
	f.Add(frame15(message(3, 6, 0x39, make([]byte, 17)...)), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, ahead byte) {
		b = b[:min(len(b), maxDatagram)]
		for _, sessions := range []bool{false, true} {
			p, ok := parse15(append(hexOf("0600ff07"), b...), sessions)
			if ok && (p.code != nil) != (p.session != 0) || ok && !sessions && p.session != 0 || p.code != nil && len(p.code) != 16 {
				t.Fatalf("sessions %t: got %+v", sessions, p)
			}
		}
		l := newLab15(t)
		c := l.loggedIn15()
		l.ask(b)
		l.on("192.0.2.7:1")(b)
		payload := b[:min(len(b), 200)]
		l.ask(c.packet(c.seq+uint32(ahead), payload))
		l.ask(c.packet(0, payload))
		x := newConsole15(l.on("192.0.2.7:2"))
		if x.askChallenge() == nil {
			x.password = "wrong"
			x.ask(x.packet(0, payload))
		}
		if l.engine.sessions.active > 1 {
			t.Fatal("a login without the password succeeded")
		}
		stillServes(t, l)
	})
}
