package fault

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"tenks/raftfsm/state"
)

// Spec is a fault as a person declares it. Empty fields have defaults.
type Spec struct {
	Kind     string `json:"kind"`
	Protocol string `json:"protocol,omitempty"`
	// Call is "power", "login", or a part of a command's name.
	Call string `json:"call,omitempty"`
	// Share is how much of the requests is hit, more than 0 and at most 1; default 1.
	Share *float64 `json:"share,omitempty"`
	// Seed decides which are hit; default: a random one.
	Seed *uint64 `json:"seed,omitempty"`
	// For and Delay are such as "10m".
	For   string `json:"for,omitempty"`
	Delay string `json:"delay,omitempty"`
	// Code is what FaultError answers.
	Code int `json:"code,omitempty"`
}

// Kinds are the words for what can go wrong, in the order of help texts.
var Kinds = []string{string(state.FaultDrop), string(state.FaultDelay), string(state.FaultBusy), string(state.FaultBadCredentials),
	string(state.FaultError), string(state.FaultStuckPower), string(state.FaultSlowPower), string(state.FaultBMCReset)}

// Bounds and defaults of durations.
const (
	usualFor      = 10 * time.Minute
	usualResetFor = time.Minute
	minFor        = time.Second
	maxFor        = state.MaxFaultMilli * time.Millisecond

	usualDelay = 5 * time.Second
	maxDelay   = 5 * time.Minute
	usualSlow  = 2 * time.Minute
	maxSlow    = time.Hour

	maxCall = 100 // bytes
)

// parser collects what is wrong with a Spec.
type parser struct {
	spec Spec
	out  Fault
	errs []error
}

// Parse checks a declaration and fills in its defaults; seed is the random one. The error
// names all that is wrong with it. Whose BMCs it is about is for the caller to set.
func Parse(spec Spec, seed uint64) (Fault, error) {
	p := &parser{spec: spec, out: Fault{Kind: state.FaultKind(spec.Kind), Protocol: spec.Protocol, Call: spec.Call, Seed: seed}}
	if !slices.Contains(Kinds, spec.Kind) {
		return Fault{}, fmt.Errorf("kind %.40q: not one of %s", spec.Kind, strings.Join(Kinds, ", "))
	}
	if spec.Protocol != "" && spec.Protocol != IPMI && spec.Protocol != Redfish {
		p.wrong("protocol %.40q: not ipmi or redfish", spec.Protocol)
	}
	if spec.Seed != nil {
		p.out.Seed = *spec.Seed
	}
	p.call()
	p.share()
	p.durations()
	p.code()
	if err := errors.Join(p.errs...); err != nil {
		return Fault{}, err
	}
	return p.out, nil
}

func (p *parser) wrong(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

// is reports whether the fault is of one of some kinds.
func (p *parser) is(kinds ...state.FaultKind) bool { return slices.Contains(kinds, p.out.Kind) }

// call: what concerns the BMC as a whole, or the chassis behind it, has no requests to
// choose from.
func (p *parser) call() {
	switch c := p.spec.Call; {
	case c == "":
	case p.is(state.FaultStuckPower, state.FaultSlowPower, state.FaultBMCReset, state.FaultBadCredentials):
		p.wrong("call: %s has none to choose", p.out.Kind)
	case len(c) > maxCall || strings.ContainsFunc(c, func(r rune) bool { return !unicode.IsPrint(r) }):
		p.wrong("call %.40q: must be at most %d printable bytes", c, maxCall)
	}
}

func (p *parser) share() {
	p.out.SharePPM = million
	if p.spec.Share == nil {
		return
	}
	share := *p.spec.Share
	switch {
	case p.is(state.FaultBMCReset):
		p.wrong("share: a BMC that resets hears nothing")
	case !(share > 0 && share <= 1): // so that it holds for NaN as well
		p.wrong("share %v: must be more than 0 and at most 1", share)
	default:
		p.out.SharePPM = uint32(max(1, math.Round(share*million)))
	}
}

func (p *parser) durations() {
	usual := usualFor
	if p.is(state.FaultBMCReset) {
		usual = usualResetFor
	}
	p.out.ForMilli = p.duration("for", p.spec.For, usual, minFor, maxFor)
	switch {
	case p.is(state.FaultDelay):
		p.out.DelayMilli = p.duration("delay", p.spec.Delay, usualDelay, time.Millisecond, maxDelay)
	case p.is(state.FaultSlowPower):
		p.out.DelayMilli = p.duration("delay", p.spec.Delay, usualSlow, time.Millisecond, maxSlow)
	case p.spec.Delay != "":
		p.wrong("delay: only %s and %s have one", state.FaultDelay, state.FaultSlowPower)
	}
}

// duration returns milliseconds.
func (p *parser) duration(key, text string, usual, least, most time.Duration) int64 {
	d := usual
	if text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			p.wrong("%s %.40q: not a duration such as 30s or 10m", key, text)
			return 0
		}
	}
	if d < least || d > most {
		p.wrong("%s %v: must be %v to %v", key, d, least, most)
	}
	return d.Milliseconds()
}

// code: a completion code says nothing in HTTP, and the other way round.
func (p *parser) code() {
	if p.spec.Code == 0 {
		return
	}
	p.out.Code = p.spec.Code
	first, last := 0x01, 0xff
	if p.spec.Protocol == Redfish {
		first, last = 500, 599
	}
	switch {
	case !p.is(state.FaultError):
		p.wrong("code: only %s has one", state.FaultError)
	case p.spec.Protocol == "":
		p.wrong("code: say of which protocol it is")
	case p.spec.Code < first || p.spec.Code > last:
		p.wrong("code %#x: must be %#x to %#x (%d to %d) for %s", p.spec.Code, first, last, first, last, cmp.Or(p.spec.Protocol, IPMI))
	}
}
