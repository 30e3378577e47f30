package ipmi

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/protocol"
	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/go-cmp/cmp"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// TestTraces plays testdata/traces/*.txt: what a client sends and what it gets, one
// case per file. UPDATE=1 rewrites the answers; review the difference. A line is one
// of
//
//	# text             a comment
//	> HEX              a datagram
//	v15 HEX, v20 HEX   netFn, command, data outside of a session, in the header of 1.5 or 2.0
//	login KEY=VALUE…   open, RAKP 1, RAKP 3; keys name, password, suite, role (hexadecimal)
//	cmd HEX            netFn, command, data in the session of the last login
//	sol HEX            a SOL payload in the session of the last login (none: only look)
//	guest TEXT         output of the guest
//	typed              what the guest is given next
//	again              the last datagram once more, byte for byte
//	wait DURATION      the clock moves
//	from ADDR:PORT     later datagrams come from there
//	power STATE        the chassis changes by itself
//	load SHARE         what the guest uses of its CPUs, 0 to 1
//	media [URL]        an image is put into the drive, or taken out
//	fail busy|state|unsupported, hold   what the chassis does with the next request
//	chassis            the state of the chassis
//
// and an answer follows on a line that begins with "< ": the completion code and
// data, or the datagram, in hexadecimal, or words.
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("traces: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(newLab(t), string(want))
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// player is a trace under way.
type player struct {
	lab     *lab
	console *console
	last    []byte // datagram
	lastSOL *sol
}

func play(l *lab, trace string) string {
	p := &player{lab: l}
	p.console = newConsole(p.ask)
	var out strings.Builder
	for line := range strings.Lines(trace) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "< ") {
			continue // it is made anew
		}
		out.WriteString(line + "\n")
		if answer, ok := p.step(line); ok {
			out.WriteString("< " + answer + "\n")
		}
	}
	return out.String()
}

func (p *player) ask(b []byte) []byte {
	p.last = b
	return p.lab.ask(b)
}

// step carries out a line; ok says that an answer is shown.
func (p *player) step(line string) (answer string, ok bool) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "", "#":
		return "", false
	case ">":
		return show(p.ask(hexOf(rest))), true
	case "again":
		return show(p.ask(p.last)), true
	case "v15":
		return p.outside(rest, 14, frame15), true
	case "v20":
		return p.outside(rest, 16, func(b []byte) []byte { return protocol.BuildRMCPPlusPacket(0, 0, 0, 0, b) }), true
	case "login":
		return p.login(rest), true
	case "cmd":
		b := hexOf(rest)
		return describe(p.console.command(b[0], b[1], b[2:]...)), true
	case "sol", "guest", "typed":
		return p.sol(word, rest), true
	case "chassis":
		return fmt.Sprintf("%+v %v", p.lab.chassis.Status(), p.lab.chassis.Actions()), true
	}
	p.arrange(word, rest)
	return "", false
}

// arrange carries out the lines without an answer.
func (p *player) arrange(word, rest string) {
	switch word {
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.lab.tb.Fatal(err)
		}
		p.lab.wait(d)
	case "from":
		p.lab.from = addrPort(p.lab.tb, rest)
	case "power":
		p.lab.chassis.SetPower(state.Power(rest))
	case "load":
		share, err := strconv.ParseFloat(rest, 64)
		if err != nil {
			p.lab.tb.Fatal(err)
		}
		p.lab.chassis.SetLoad(bmc.Load{CPU: share})
	case "media":
		p.insert(rest)
	case "fetching":
		p.lab.chassis.SetFetching(rest == "on")
	case "fail":
		p.lab.chassis.FailNext(map[string]error{"busy": state.ErrBusy, "state": state.ErrWrongState, "unsupported": state.ErrUnsupported, "other": errors.New("disk full")}[rest])
	case "hold":
		p.lab.chassis.HoldNext()
	default:
		p.lab.tb.Fatalf("trace: unknown line %q", word+" "+rest)
	}
}

// insert puts an image into the drive; without a URL it takes out what is there.
func (p *player) insert(url string) {
	err := p.lab.chassis.EjectMedia(p.lab.tb.Context())
	if url != "" {
		err = p.lab.chassis.InsertMedia(p.lab.tb.Context(), bmc.Media{URL: url})
	}
	if err != nil {
		p.lab.tb.Fatal(err)
	}
}

func (p *player) outside(rest string, headerLen int, frame func([]byte) []byte) string {
	b := hexOf(rest)
	answer := p.ask(frame(message(1, b[0], b[1], b[2:]...)))
	if answer == nil {
		return show(nil)
	}
	return describe(parseResponse(answer[headerLen:]))
}

func (p *player) login(rest string) string {
	c := newConsole(p.ask)
	for _, field := range strings.Fields(rest) {
		key, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseUint(value, 16, 8)
		switch key {
		case "name":
			c.name = value
		case "password":
			c.password = value
		case "suite":
			n, _ = strconv.ParseUint(value, 10, 8)
			c.suite = types.CipherSuiteID(n)
		case "role":
			c.role = byte(n)
		}
	}
	p.console = c
	if err := c.login(); err != nil {
		return err.Error()
	}
	return "ok"
}

func describe(code types.CompletionCode, data []byte, err error) string {
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(fmt.Sprintf("%02x  % x", byte(code), data))
}

func show(b []byte) string {
	if b == nil {
		return "nothing"
	}
	return fmt.Sprintf("% x", b)
}

func hexOf(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err) // the trace file's own text
	}
	return b
}
