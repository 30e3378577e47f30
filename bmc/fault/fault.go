// Package fault decides what BMCs do wrong on purpose: whether a fault hits a request,
// and what becomes of it then. It is pure but for Middleware, which waits; it starts
// nothing.
package fault

import (
	"cmp"
	"hash/fnv"
	"math/bits"
	"strings"
	"time"

	"tenks/raftfsm/state"
)

// Fault is a fault as it was declared.
type Fault = state.Fault

// The protocols of BMCs.
const (
	IPMI    = "ipmi"
	Redfish = "redfish"
)

// Call is a request to a BMC.
type Call struct {
	// Protocol is IPMI or Redfish, Node the node's UUID.
	Protocol, Node string
	// Command says what is asked for, such as "Chassis Control", or "POST" and a path.
	Command string
	// Login says that it is part of a login, Password that it is the one that shows a
	// password; Power that it asks for another power state.
	Login, Password, Power bool
	// Open says that it comes outside of sessions, where a BMC is never busy.
	Open bool
	// AtChassis says that it was accepted and is about to reach the chassis: where
	// FaultStuckPower and FaultSlowPower are, and the others are not.
	AtChassis bool
}

// The words that Fault.Call has for requests of both protocols.
const (
	callPower = "power"
	callLogin = "login"
)

// Effect is what happens to a request. The zero value: nothing.
type Effect struct {
	// Drop: it is neither carried out nor answered.
	Drop bool
	// Delay is how late it is taken up.
	Delay time.Duration
	// Code is what is answered in place of carrying it out: an IPMI completion code, or
	// an HTTP status; 0: none.
	Code int
	// WrongPassword: it is answered as if its password were wrong.
	WrongPassword bool
	// Stuck: the power request is answered as if it were carried out; Slow is how late
	// it is.
	Stuck bool
	Slow  time.Duration
}

const (
	codeBusy        = 0xc0 // node busy (IPMI v2.0 Table 5-2)
	codeUnspecified = 0xff
	statusBusy      = 503
	statusError     = 500
)

const million = 1_000_000

// Decide says what becomes of a request, the n-th to its node's BMC that the faults were
// asked about: the same each time. Which node the faults concern, and until when, is for
// the caller to know.
func Decide(faults []Fault, call Call, n uint64) Effect {
	var e Effect
	for i := range faults {
		if f := &faults[i]; Matches(f, call) && hit(f, call.Node, n) {
			e = e.With(effect(f, call.Protocol))
		}
	}
	return e
}

// Matches reports whether a fault is about requests such as a call.
func Matches(f *Fault, call Call) bool {
	atChassis := f.Kind == state.FaultStuckPower || f.Kind == state.FaultSlowPower
	if f.Protocol != "" && f.Protocol != call.Protocol || call.AtChassis != atChassis {
		return false
	}
	if f.Kind == state.FaultBadCredentials && !call.Password {
		return false
	}
	if call.Open && (f.Kind == state.FaultBusy || f.Kind == state.FaultError) {
		return false
	}
	switch f.Call {
	case "":
		return true
	case callPower:
		return call.Power
	case callLogin:
		return call.Login
	}
	return strings.Contains(strings.ToLower(call.Command), strings.ToLower(f.Call))
}

// hit reports whether the n-th request to a node is one of the fault's share.
func hit(f *Fault, node string, n uint64) bool {
	if f.SharePPM >= million {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(node)) // a hash never fails
	// The upper half of a product by n is even over [0, n).
	at, _ := bits.Mul64(mix(mix(f.Seed^h.Sum64())+n), million)
	return at < uint64(f.SharePPM)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
// Number Generators, 2014): every bit of x has a say in every bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// effect is what a fault does to what it hits.
func effect(f *Fault, protocol string) Effect {
	late := time.Duration(f.DelayMilli) * time.Millisecond
	switch f.Kind {
	case state.FaultDrop, state.FaultBMCReset:
		return Effect{Drop: true}
	case state.FaultDelay:
		return Effect{Delay: late}
	case state.FaultBusy:
		return Effect{Code: usual(protocol, codeBusy, statusBusy)}
	case state.FaultError:
		return Effect{Code: cmp.Or(f.Code, usual(protocol, codeUnspecified, statusError))}
	case state.FaultBadCredentials:
		return Effect{WrongPassword: true}
	case state.FaultStuckPower:
		return Effect{Stuck: true}
	case state.FaultSlowPower:
		return Effect{Slow: late}
	}
	return Effect{} // of a newer version
}

func usual(protocol string, completion, status int) int {
	if protocol == Redfish {
		return status
	}
	return completion
}

// With returns both effects: delays add up, and the first code counts.
func (e Effect) With(o Effect) Effect {
	return Effect{Drop: e.Drop || o.Drop, Delay: e.Delay + o.Delay, Code: cmp.Or(e.Code, o.Code),
		WrongPassword: e.WrongPassword || o.WrongPassword, Stuck: e.Stuck || o.Stuck, Slow: e.Slow + o.Slow}
}
