package ipmi

import (
	"fmt"
	"strings"

	"github.com/bougou/go-ipmi/pkg/types"
)

// sol makes the packet of a SOL payload.
func (c *console) sol(payload []byte) []byte {
	c.seq++
	return c.sealAs(types.PayloadTypeSOL, c.seq, 0xc0, payload)
}

// solSent returns the SOL payloads that an engine has for a console.
func (l *lab) solSent(c *console, active *sol) []string {
	l.tb.Helper()
	if active == nil {
		return nil
	}
	packets, _, _ := l.engine.drainSOL(active)
	var out []string
	for _, b := range packets {
		out = append(out, l.solPayload(c, b))
	}
	return out
}

func (l *lab) solPayload(c *console, packet []byte) string {
	l.tb.Helper()
	b, err := c.unseal(packet)
	if err != nil || packet[5] != byte(types.PayloadTypeSOL)|0xc0 || len(b) < solHeaderLen {
		l.tb.Fatalf("packet % x: %v; want one of SOL", packet, err)
	}
	return strings.TrimSpace(fmt.Sprintf("% x %q", b[:solHeaderLen], b[solHeaderLen:]))
}

// sol plays the lines of a trace that are about SOL.
func (p *player) sol(word, rest string) string {
	l := p.lab
	active := l.engine.currentSOL(l.now)
	if active == nil {
		active = p.lastSOL // it may have said that it is over
	}
	p.lastSOL = active
	var out []string
	switch word {
	case "sol":
		if rest == "" {
			break
		}
		if b := l.ask(p.console.sol(hexOf(rest))); b != nil {
			out = append(out, l.solPayload(p.console, b))
		}
	case "guest":
		l.engine.writeSOL(l.now, active, []byte(rest))
	case "typed":
		data, brk := l.engine.takeSOL(active)
		out = append(out, map[bool]string{true: "break", false: fmt.Sprintf("%q", data)}[brk])
	}
	if out = append(out, l.solSent(p.console, active)...); len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, " | ")
}
