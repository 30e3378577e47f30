package ipmi

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	bmcguard "tenks/bmc/guard"
)

// largestAnswer is how many times its question an answer outside of sessions may have, as
// docs/bmc.md says: of UDP's payload, and with the headers of IPv4 and UDP, which are what a
// spoofed source gets (RFC 768, RFC 791).
const (
	largestAnswer = 2.34
	largestPacket = 1.6
	headers       = 20 + 8
)

// steps are the messages of a login, with every length.
func steps(c *console) (out [][]byte) {
	add := func(kind types.PayloadType, whole []byte) {
		for n := range len(whole) + 1 {
			out = append(out, frame20(kind, whole[:n]))
		}
		out = append(out, frame20(kind, append(append([]byte{}, whole...), make([]byte, 64)...)))
	}
	add(types.PayloadTypeRmcpOpenSessionRequest, c.openRequest())
	short := *c
	short.name = "x" // whom nobody knows; the answer is as long as any
	add(types.PayloadTypeRAKPMessage1, short.rakp1Request())
	add(types.PayloadTypeRAKPMessage1, c.rakp1Request())
	add(types.PayloadTypeRAKPMessage3, c.rakp3Request())
	return out
}

// anyCommands are each command with each length of data, and the ping.
func anyCommands() (out [][]byte) {
	out = append(out, hexOf("06 00 ff 06 00 00 11 be 80 2a 00 00"))
	data := []byte{0x8e, 4, 0x80, 0, 0, 0}
	for netFn := byte(0); netFn < 0x40; netFn += 2 {
		for cmd := range 256 {
			for n := range len(data) + 1 {
				q := message(1, netFn, byte(cmd), data[:n]...)
				out = append(out, frame15(q), frame20(0, q))
			}
		}
	}
	// Get Channel Cipher Suites has the longest answers: all lists of all channels.
	for channel := range byte(16) {
		for index := range byte(0x40) {
			for _, kind := range []byte{0, 0x80} {
				q := message(1, 6, 0x54, channel, 0, kind|index)
				out = append(out, frame15(q), frame20(0, q))
			}
		}
	}
	return out
}

func TestAnswersOutsideOfSessionsAreNeverMuchLarger(t *testing.T) {
	l := newLab(t)
	var worst, worstPacket float64
	var which, whichPacket []byte
	answered := 0
	ask := func(b []byte) []byte {
		a := l.ask(b)
		if a == nil {
			return nil
		}
		answered++
		if ratio := float64(len(a)) / float64(len(b)); ratio > worst {
			worst, which = ratio, b
		}
		if ratio := float64(len(a)+headers) / float64(len(b)+headers); ratio > worstPacket {
			worstPacket, whichPacket = ratio, b
		}
		return a
	}
	for _, b := range anyCommands() {
		ask(b)
	}
	for done := range 3 { // some are answered after a step of a login only
		l.wait(halfOpenFor + sweepEvery)
		c := newConsole(ask)
		for _, step := range []func() error{c.open, c.rakp1}[:done] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range steps(c) {
			ask(b)
			l.now = l.now.Add(time.Microsecond)
		}
	}
	t.Logf("%d answers; the largest is %.2f times its question: %x; with headers %.2f times: %x", answered, worst, which, worstPacket, whichPacket)
	if worst > largestAnswer || worstPacket > largestPacket {
		t.Errorf("the worst answer is %.3f times its question and %.3f with headers, want at most %.2f and %.2f", worst, worstPacket, largestAnswer, largestPacket)
	}
}

func TestOpensFromTenThousandAddressesTakeNothingFromThoseWhoAreIn(t *testing.T) {
	l := newLab(t)
	in := newConsole(l.on("192.0.2.7:2000"))
	if err := in.login(); err != nil {
		t.Fatal(err)
	}
	spoofed := 0
	open := func(times int) {
		for range times {
			spoofed++
			l.now = l.now.Add(time.Microsecond)
			x := newConsole(l.on(fmt.Sprintf("198.%d.%d.%d:1000", 18+spoofed>>16, spoofed>>8&255, spoofed&255)))
			x.id = uint32(spoofed)
			if err := x.open(); err != nil {
				t.Fatalf("open session %d: %v", spoofed, err)
			}
		}
	}
	open(10_000)
	if n := len(l.engine.sessions.byID); n > maxHalfOpen+1 {
		t.Errorf("%d sessions, want at most %d and the active one", n, maxHalfOpen)
	}
	// Who logs in meanwhile needs one answer before all places are taken anew, and none
	// once the user is named: that nobody can who does not see the answers.
	c := newConsole(l.on("192.0.2.1:3000"))
	for i, step := range []struct {
		do      func() error
		between int
	}{{c.open, maxHalfOpen - 1}, {c.rakp1, 10_000}, {c.rakp3, 10_000}} {
		if err := step.do(); err != nil {
			t.Fatalf("step %d of a login during the flood: %v", i, err)
		}
		open(step.between)
	}
	for name, who := range map[string]*console{"the session from before": in, "the one from meanwhile": c} {
		if code, _, err := who.command(0, 1); code != 0 || err != nil {
			t.Errorf("%s: %02x, %v", name, byte(code), err)
		}
	}
	l.wait(halfOpenFor + sweepEvery)
	if n := len(l.engine.sessions.byID); n != 2 {
		t.Errorf("%d sessions after the flood, want 2", n)
	}
}

// guessesAnHour is how many passwords of an account one source may try in an hour, as
// docs/bmc.md says.
const guessesAnHour = 1200

// guess tries a password, and says whether it was looked at.
func guess(t *testing.T, c *console, i int) (looked bool) {
	t.Helper()
	c.password, c.id = fmt.Sprint("guess", i), uint32(i+1)
	var refused statusError
	switch err := c.login(); {
	case err == nil:
		t.Fatal("let in")
	case !errors.As(err, &refused):
		t.Fatal(err)
	}
	return refused.code == types.RmcpStatusCodeInvalidIntegrityCheckValue
}

func TestGuessesAnHour(t *testing.T) {
	const every = 250 * time.Millisecond
	for name, junk := range map[string]int{"one name": 0, "with names that nobody has between, so that it is forgotten": 3} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			c := newConsole(l.ask)
			looked, from := 0, l.now
			for i := 0; l.now.Sub(from) < time.Hour; i++ {
				l.now = l.now.Add(every)
				if guess(t, c, i) {
					looked++
				}
				for j := range junk {
					other := newConsole(l.ask)
					other.name = fmt.Sprintf("n%d", i*junk+j)
					guess(t, other, i)
				}
			}
			t.Logf("%d guesses in an hour", looked)
			if looked > guessesAnHour || looked == 0 {
				t.Errorf("%d guesses in an hour, want at most %d", looked, guessesAnHour)
			}
		})
	}
}

func TestManyLoginsAtATimeAreNoMoreGuesses(t *testing.T) {
	l := newLab(t)
	var all []*console
	for i := range maxPerSource {
		c := newConsole(l.on(fmt.Sprintf("192.0.2.1:%d", 2000+i)))
		c.password, c.id = fmt.Sprint("guess", i), uint32(i+1)
		for _, step := range []func() error{c.open, c.rakp1} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, c)
	}
	looked := 0
	for _, c := range all {
		var refused statusError
		if err := c.rakp3(); errors.As(err, &refused) && refused.code == types.RmcpStatusCodeInvalidIntegrityCheckValue {
			looked++
		}
	}
	if looked != bmcguard.MaxFailures {
		t.Errorf("%d of %d passwords were looked at, want %d", looked, len(all), bmcguard.MaxFailures)
	}
}
