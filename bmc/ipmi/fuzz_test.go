package ipmi

import (
	"encoding/binary"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bougou/go-ipmi/pkg/protocol"
	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/raftfsm/state"
)

// stillServes fails unless a login and a command work.
func stillServes(t *testing.T, l *lab) {
	t.Helper()
	l.now = l.now.Add(coldFor) // a reset may have been among it
	c := newConsole(l.on("203.0.113.1:623"))
	if err := c.login(); err != nil {
		t.Fatalf("login afterwards: %v", err)
	}
	if code, _, err := c.command(6, 1); code != 0 || err != nil {
		t.Fatalf("device ID afterwards: code %02x, %v", byte(code), err)
	}
	if got, most := len(l.engine.sessions.byID), maxActive+maxHalfOpen; got > most {
		t.Fatalf("%d sessions, want at most %d", got, most)
	}
}

// traceDatagrams returns every datagram that the traces hold.
func traceDatagrams(f *testing.F) [][]byte {
	f.Helper()
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("traces: %v, %d files", err, len(files))
	}
	var out [][]byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "> "); ok {
				out = append(out, hexOf(text))
			}
		}
	}
	return out
}

// FuzzPacket sends datagrams to a BMC that has a session, from that session's
// address and from another one. Two bytes before each give its length.
func FuzzPacket(f *testing.F) {
	framed := func(packets ...[]byte) (b []byte) {
		for _, p := range packets {
			b = append(binary.LittleEndian.AppendUint16(b, uint16(len(p))), p...)
		}
		return b
	}
	for _, d := range traceDatagrams(f) {
		f.Add(framed(d))
	}
	c := newConsole(nil)
	f.Add(framed(
		protocol.BuildRMCPPlusPacket(byte(types.PayloadTypeRmcpOpenSessionRequest), 0, 0, 0, c.openRequest()),
		protocol.BuildRMCPPlusPacket(byte(types.PayloadTypeRAKPMessage1), 0, 0, 0, c.rakp1Request())))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLab(t)
		l.loggedIn(4)
		const most = 64 // datagrams: longer inputs only take longer
		for i := 0; len(b) >= 2 && i < most; i++ {
			n := min(int(binary.LittleEndian.Uint16(b)), len(b)-2, maxDatagram)
			d := b[2 : 2+n]
			b = b[2+n:]
			l.ask(d)
			l.on("192.0.2.7:1")(d)
		}
		stillServes(t, l)
	})
}

// FuzzLogin sends the three messages of a login with any content, and the right
// session ID.
func FuzzLogin(f *testing.F) {
	l := newLab(f)
	for _, suite := range []types.CipherSuiteID{0, 3, 17} {
		c := newConsole(l.ask)
		c.suite = suite
		_ = c.login() // suite 0 is refused
		f.Add(c.openRequest(), c.rakp1Request(), c.rakp3Request())
	}
	f.Fuzz(func(t *testing.T, open, rakp1, rakp3 []byte) {
		l := newLab(t)
		// Other numbers than the seeds were made with, so that no code in them fits.
		l.engine.random = mathrand.NewChaCha8([32]byte{2})
		c := newConsole(l.ask)
		var id []byte
		if answer, err := c.setup(types.PayloadTypeRmcpOpenSessionRequest, open); err == nil && len(answer) >= 12 {
			id = answer[8:12]
		}
		for i, payload := range [][]byte{rakp1, rakp3} {
			kind := []types.PayloadType{types.PayloadTypeRAKPMessage1, types.PayloadTypeRAKPMessage3}[i]
			payload = clone(payload)
			if len(payload) >= 8 && id != nil {
				copy(payload[4:8], id)
			}
			for range 2 {
				_, _ = c.setup(kind, payload) // any answer will do
			}
		}
		if l.engine.sessions.active != 0 {
			t.Fatal("a login without the password succeeded")
		}
		stillServes(t, l)
	})
}

// FuzzCommand sends any command in an administrator's session.
func FuzzCommand(f *testing.F) {
	for key := range commands {
		f.Add(key[0], key[1], []byte{})
		f.Add(key[0], key[1], []byte{1, 2, 3, 4, 5})
		f.Add(key[0], key[1], []byte{0})
	}
	f.Add(byte(0), byte(8), []byte{5, 0xe0, 0x24, 0, 0, 0})
	f.Add(byte(0), byte(8), []byte{7, 4, 0xaa})
	f.Add(byte(0), byte(9), []byte{7, 4, 0})
	f.Fuzz(func(t *testing.T, netFn, cmd byte, data []byte) {
		l := newLab(t)
		c := l.loggedIn(4)
		l.chassis.SetPower(state.PowerOn)
		netFn &= 0x3e // a request
		if len(data) > 200 {
			data = data[:200]
		}
		code, answer, err := c.command(netFn, cmd, data...)
		if err != nil {
			t.Fatalf("command %02x %02x % x: %v; want an answer", netFn, cmd, data, err)
		}
		if netFn == byte(types.NetFnGroupExtensionRequest) && (len(data) == 0 || data[0] != dcmiGroup) {
			return // commands of another body
		}
		if known, ok := commands[commandKey{netFn, cmd}]; ok != (code != types.CodeInvalidCommand) {
			t.Errorf("command %02x %02x % x: code %02x, data %x; known %v", netFn, cmd, data, byte(code), answer, known)
		}
		stillServes(t, l)
	})
}

// FuzzSealed sends any payload in an administrator's session.
func FuzzSealed(f *testing.F) {
	f.Add([]byte{}, byte(0xc0), uint32(3))
	f.Add(message(1, 0, 1), byte(0xc0), uint32(3))
	f.Add(message(1, 0, 1), byte(0x40), uint32(3))
	f.Add(message(1, 0x2c, 0), byte(0xc1), uint32(90))
	f.Fuzz(func(t *testing.T, payload []byte, kind byte, seq uint32) {
		l := newLab(t)
		c := l.loggedIn(4)
		b := c.seal(seq, 0xc0, payload[:min(len(payload), 300)])
		b[5] = kind
		l.ask(b)
		l.ask(c.seal(seq, kind&0xc0, payload[:min(len(payload), 300)]))
		stillServes(t, l)
	})
}

// FuzzMemory opens a BMC on any memory, as another version may have kept it, and uses it.
func FuzzMemory(f *testing.F) {
	f.Add([]byte(`{"users":{"3":{"name":"b3A=","password":"cGFzcw==","enabled":true,"access":20}}}`), []byte(`{"channel":{"bits":34,"limit":4},"system_info":{"2":"AQVub2Rl"}}`), []byte(`{"on":3600000000000}`))
	f.Add([]byte(`{"users":{"2":{},"200":{"access":255}}}`), []byte(`{"channel":{"bits":255,"limit":255},"system_info":{"2":""}}`), []byte(`{"since":"0000-01-01T00:00:00Z","on":-1}`))
	f.Fuzz(func(t *testing.T, users, settings, history []byte) {
		l := newLab(t)
		for key, value := range map[string][]byte{accountsKey: users, settingsKey: settings, historyKey: history} {
			if err := l.chassis.Keep(t.Context(), key, value); err != nil {
				t.Fatal(err)
			}
		}
		c := l.loggedIn(4) // nothing locks the declared account out
		for key, row := range commands {
			if code, _, err := c.command(key[0], key[1], make([]byte, row.min)...); err != nil || code == 0xff {
				t.Errorf("%s: code %02x, %v", row.is.Name, byte(code), err)
			}
			if _, alive := l.engine.sessions.get(c.bmcID); !alive || l.engine.quiet.Load() > l.now.UnixNano() {
				l.now = l.now.Add(coldFor)
				c = l.loggedIn(4)
			}
		}
		setUpUser(t, c, 3, "op", "pass", 3)
		stillServes(t, l)
	})
}
