package ipmi

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/crypto"
	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/raftfsm/state"
)

func TestWindowAcceptsEachNumberOnceAndOnlyNearTheHighest(t *testing.T) {
	for _, tc := range []struct {
		name string
		seqs []uint32
		want []verdict
	}{
		{"numbers in order", []uint32{1, 2, 3}, []verdict{fresh, fresh, fresh}},
		{"a repeat", []uint32{1, 1, 2, 1}, []verdict{fresh, repeated, fresh, repeated}},
		{"numbers out of order", []uint32{3, 1, 2, 2}, []verdict{fresh, fresh, fresh, repeated}},
		{"16 ahead, and 17", []uint32{16, 33, 32}, []verdict{fresh, outside, fresh}},
		{"31 behind, and 32", []uint32{16, 32, 48, 17, 16, 15}, []verdict{fresh, fresh, fresh, fresh, outside, outside}},
		{"0 is not in a session", []uint32{0, 1}, []verdict{outside, fresh}},
	} {
		w := window{seen: 1}
		var got []verdict
		for _, seq := range tc.seqs {
			got = append(got, w.accept(seq))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v: got %v, want %v", tc.name, tc.seqs, got, tc.want)
		}
	}
}

func TestWindowGoesOnWhenNumbersWrap(t *testing.T) {
	w := window{highest: 1<<32 - 2, seen: 1}
	for _, tc := range []struct {
		seq  uint32
		want verdict
	}{{1<<32 - 1, fresh}, {1, fresh}, {1<<32 - 1, repeated}, {2, fresh}, {1, repeated}} {
		if got := w.accept(tc.seq); got != tc.want {
			t.Errorf("number %d: got %v, want %v", tc.seq, got, tc.want)
		}
	}
}

func TestARepeatedLoginMessageGetsTheSameAnswer(t *testing.T) {
	for _, suite := range []types.CipherSuiteID{3, 17} {
		l := newLab(t)
		c := newConsole(nil)
		c.suite = suite
		c.ask = func(b []byte) []byte {
			first := l.ask(b)
			if second := l.ask(b); !bytes.Equal(first, second) {
				t.Errorf("suite %d: %x: second answer %x, want the first %x", suite, b, second, first)
			}
			return first
		}
		if err := c.login(); err != nil {
			t.Fatalf("suite %d: login with each message sent twice: %v", suite, err)
		}
		if got := len(l.engine.sessions.byID); got != 1 {
			t.Errorf("suite %d: %d sessions after one login, want 1", suite, got)
		}
	}
}

func TestNamesAndPasswordsMayHaveTheirFullLength(t *testing.T) {
	for _, tc := range []struct{ name, password string }{
		{"a", "b"},
		{"sixteen-bytes-16", "sixteen-bytes-16"},
		{"sixteen-bytes-16", "seventeen-bytes-17"},
		{"ünïcödé", "twenty-bytes-äöü-20!"[:20]},
	} {
		l := newLab(t)
		l.engine.username, l.engine.key = tc.name, [20]byte(crypto.PadPassword20([]byte(tc.password)))
		for _, suite := range []types.CipherSuiteID{3, 17} {
			c := newConsole(l.ask)
			c.name, c.password, c.suite = tc.name, tc.password, suite
			if err := c.login(); err != nil {
				t.Errorf("suite %d, name %q, password %q: %v", suite, tc.name, tc.password, err)
			}
		}
	}
}

func TestALateRAKP1DoesNotBreakTheSession(t *testing.T) {
	l := newLab(t)
	c := newConsole(l.ask)
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	late := newConsole(l.ask)
	late.bmcID, late.random = c.bmcID, [16]byte{9}
	if err := late.rakp1(); err == nil {
		t.Error("another RAKP 1 in an active session is answered; want it dropped")
	}
	if code, _, err := c.command(0, 1); code != 0 || err != nil {
		t.Errorf("chassis status afterwards: code %02x, %v", byte(code), err)
	}
}

func TestARefusedLoginMessageIsRefusedAlikeWhenRepeated(t *testing.T) {
	l := newLab(t)
	c := newConsole(l.ask)
	c.password = "wrong"
	want := c.login()
	if err := c.rakp3(); err == nil || err.Error() != want.Error() {
		t.Errorf("repeated RAKP 3: got %v, want %v", err, want)
	}
	c.password = "secret"
	if err := c.rakp3(); err == nil {
		t.Error("a second guess in the same login was accepted")
	}
}

func TestARepeatedPacketIsAnsweredAlikeAndExecutedOnce(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	l.chassis.SetPower(state.PowerOn)
	packet := c.request(0, 2, 2) // power cycle
	first := l.ask(packet)
	for range 3 {
		if again := l.ask(packet); !bytes.Equal(first, again) {
			t.Errorf("repeat: got %x, want %x", again, first)
		}
	}
	if got := l.chassis.Actions(); len(got) != 1 {
		t.Errorf("actions: got %v, want one", got)
	}
}

func TestAChangeThatIsSentAgainUnderANewNumberIsExecutedOnce(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	l.chassis.SetPower(state.PowerOn)
	first := l.ask(c.request(0, 2, 2))
	c.seq++
	again := c.seal(c.seq, 0xc0, c.lastMessage)
	if got := l.ask(again); !bytes.Equal(got, first) {
		t.Errorf("answer to the repeat: got %x, want %x", got, first)
	}
	if got := l.chassis.Actions(); len(got) != 1 {
		t.Errorf("actions: got %v, want one", got)
	}
	// The same request later on is meant.
	l.now = l.now.Add(repeatWithin)
	c.seq++
	l.ask(c.seal(c.seq, 0xc0, c.lastMessage))
	if got := l.chassis.Actions(); len(got) != 2 {
		t.Errorf("actions after %v: got %v, want two", repeatWithin, got)
	}
}

func TestARepeatOfARunningCommandIsNotAnsweredYet(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	packet := c.request(0, 2, 1)
	_, j := l.engine.receive(t.Context(), l.now, l.from, packet)
	if j == nil {
		t.Fatal("power on is not a job")
	}
	if answer, again := l.engine.receive(t.Context(), l.now, l.from, packet); answer != nil || again != nil {
		t.Errorf("repeat of a running command: got %x, %v; want nothing", answer, again)
	}
	first := j.run(t.Context())
	if again := l.ask(packet); !bytes.Equal(again, first) {
		t.Errorf("repeat of a finished command: got %x, want %x", again, first)
	}
}

func TestPacketsThatAreNotSealedOrDamagedAreDropped(t *testing.T) {
	l := newLab(t)
	for _, suite := range []types.CipherSuiteID{3, 17} {
		c := newConsole(l.ask)
		c.suite = suite
		if err := c.login(); err != nil {
			t.Fatal(err)
		}
		status := message(1, 0, 1)
		good := c.seal(1, 0xc0, status)
		damaged := map[string][]byte{
			"plain":              c.seal(2, 0, status),
			"authenticated only": c.seal(2, 0x40, status),
			"encrypted only":     c.seal(2, 0x80, status),
			"far ahead":          c.seal(18, 0xc0, status),
			"number 0":           c.seal(0, 0xc0, status),
			"cut off":            good[:len(good)-1],
			"with a tail":        append(slices.Clone(good), 0),
			"empty":              c.seal(2, 0x40, nil),
		}
		for i := range good[4:] {
			b := slices.Clone(good)
			b[4+i] ^= 1
			damaged[fmt.Sprintf("bit of byte %d", 4+i)] = b
		}
		for name, b := range damaged {
			if answer := l.ask(b); answer != nil {
				t.Errorf("suite %d: packet %s: answered %x, want it dropped", suite, name, answer)
			}
		}
		if code, _, err := c.response(l.ask(good)); code != 0 || err != nil {
			t.Errorf("suite %d: the good packet afterwards: code %02x, %v", suite, byte(code), err)
		}
	}
}

func TestSealedRubbishIsDroppedAndHarmless(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	for name, payload := range map[string][]byte{
		"nothing":          {},
		"one byte":         {0x20},
		"a bad checksum":   {0x20, 0, 0, 0x81, 4, 1, 0},
		"a response":       message(1, 1, 1),
		"a wrong checksum": append(message(1, 0, 1)[:6], 0),
	} {
		c.seq++
		if answer := l.ask(c.seal(c.seq, 0xc0, payload)); answer != nil {
			t.Errorf("%s: answered %x, want it dropped", name, answer)
		}
	}
	if code, _, err := c.command(0, 1); code != 0 || err != nil {
		t.Errorf("chassis status afterwards: code %02x, %v", byte(code), err)
	}
}

func TestAFloodOfHalfOpenSessionsDoesNotKeepALoginOut(t *testing.T) {
	l := newLab(t)
	flood := func(i int) {
		for n := range 40 {
			x := newConsole(l.on(fmt.Sprintf("198.51.100.%d:%d", n%50, 1000+i)))
			x.id = uint32(i*100 + n + 1)
			if err := x.open(); err != nil {
				t.Fatalf("open session %d: %v", n, err)
			}
		}
	}
	c := newConsole(l.ask)
	for i, step := range []func() error{c.open, c.rakp1, c.rakp3} {
		if err := step(); err != nil {
			t.Fatalf("step %d of the login: %v", i, err)
		}
		for j := range 50 {
			if i > 0 { // once the user is named, the flood's own sessions go first
				flood(i*50 + j)
			}
		}
	}
	if got := len(l.engine.sessions.byID); got > maxHalfOpen+maxActive {
		t.Errorf("%d sessions after a flood, want at most %d", got, maxHalfOpen+maxActive)
	}
	l.wait(halfOpenFor + sweepEvery)
	if got := len(l.engine.sessions.byID); got != 1 {
		t.Errorf("%d sessions when the flood is over, want the one that is active", got)
	}
}

func TestTheSessionThatWasIdleLongestGoesWhenThereAreTooMany(t *testing.T) {
	l := newLab(t)
	var consoles []*console
	for i := range maxActive + 1 {
		c := newConsole(l.on(fmt.Sprintf("192.0.2.1:%d", 2000+i)))
		if err := c.login(); err != nil {
			t.Fatalf("login %d: %v", i, err)
		}
		l.now = l.now.Add(time.Millisecond)
		consoles = append(consoles, c)
	}
	for i, c := range consoles {
		_, _, err := c.command(0, 1)
		if gone := err != nil; gone != (i == 0) {
			t.Errorf("session %d of %d: gone %t", i, len(consoles), gone)
		}
	}
	if got := l.engine.sessions.active; got != maxActive {
		t.Errorf("%d active sessions, want %d", got, maxActive)
	}
}

func TestPingsAreAnsweredAtABoundedRate(t *testing.T) {
	l := newLab(t)
	ping := hexOf("06 00 ff 06 00 00 11 be 80 2a 00 00")
	answered := 0
	for range 10 * pingsPerSecond {
		if l.ask(ping) != nil {
			answered++
		}
	}
	if answered != pingsPerSecond {
		t.Errorf("%d pings answered in one second, want %d", answered, pingsPerSecond)
	}
	l.now = l.now.Add(time.Second)
	if l.ask(ping) == nil {
		t.Error("no ping is answered in the next second")
	}
}

func TestOutsideOfSessionsNoAnswerIsMuchLargerThanItsQuestion(t *testing.T) {
	l := newLab(t)
	worst := 0.0
	c := newConsole(func(b []byte) []byte {
		a := l.ask(b)
		worst = max(worst, float64(len(a))/float64(len(b)))
		return a
	})
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	for _, q := range [][]byte{message(1, 6, 0x38, 0x8e, 4), message(1, 6, 0x54, 0xe, 0, 0x80), message(1, 6, 0x37)} {
		c.ask(frame15(q))
		c.ask(frame20(0, q))
	}
	c.ask(hexOf("06 00 ff 06 00 00 11 be 80 2a 00 00"))
	if worst > 2.5 {
		t.Errorf("the worst answer is %.2f times its question, want at most 2.5", worst)
	}
}

func TestAnOverrideThatCannotBeEndedIsTriedAgain(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	if code, _, err := c.command(0, 8, 5, 0x80, 4, 0, 0, 0); code != 0 || err != nil {
		t.Fatalf("set boot flags: code %02x, %v", byte(code), err)
	}
	l.chassis.FailNext(state.ErrBusy)
	l.wait(validFor)
	if got := l.chassis.Status().Boot.Device; got != state.BootPXE {
		t.Fatalf("override while the chassis is busy: got %q, want pxe", got)
	}
	l.wait(sweepEvery)
	if got := l.chassis.Status().Boot.Device; got != state.BootNone {
		t.Errorf("override %v later: got %q, want none", sweepEvery, got)
	}
}

func TestAnOverrideSetElsewhereIsShown(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	for boot, want := range map[state.Boot]string{
		{Device: state.BootPXE}:                                 "01 05 80 04 00 00 00",
		{Device: state.BootDisk, Persistent: true, EFI: true}:   "01 05 e0 08 00 00 00",
		{Device: state.BootSafe}:                                "01 05 80 0c 00 00 00",
		{Device: state.BootCDROM, Persistent: true}:             "01 05 c0 14 00 00 00",
		{Device: state.BootSetup, Persistent: false, EFI: true}: "01 05 a0 18 00 00 00",
		{Device: state.BootUSB, Persistent: true, EFI: true}:    "01 05 e0 3c 00 00 00",
	} {
		if err := l.chassis.SetBoot(context.Background(), boot); err != nil {
			t.Fatal(err)
		}
		_, data, err := c.command(0, 9, 5, 0, 0)
		if got := fmt.Sprintf("% x", data); got != want || err != nil {
			t.Errorf("boot flags of %+v: got %s (%v), want %s", boot, got, err, want)
		}
	}
}
