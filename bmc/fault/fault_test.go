package fault

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
)

const node = "3f8a1c52-9d47-4e6b-8a21-000000000001"

func all(kind state.FaultKind) Fault { return Fault{Kind: kind, SharePPM: million} }

func with(f Fault, change func(*Fault)) Fault {
	change(&f)
	return f
}

func TestDecide(t *testing.T) {
	status := Call{Protocol: IPMI, Node: node, Command: "Get Chassis Status"}
	control := Call{Protocol: IPMI, Node: node, Command: "Chassis Control", Power: true}
	login := Call{Protocol: IPMI, Node: node, Command: "RAKP 1", Login: true, Password: true, Open: true}
	get := Call{Protocol: Redfish, Node: node, Command: "GET /redfish/v1/Systems"}
	power := Call{Protocol: IPMI, Node: node, Command: "power on", Power: true, AtChassis: true}
	late := with(all(state.FaultDelay), func(f *Fault) { f.DelayMilli = 1500 })
	tests := map[string]struct {
		faults []Fault
		call   Call
		want   Effect
	}{
		"nothing":                           {nil, status, Effect{}},
		"drop":                              {[]Fault{all(state.FaultDrop)}, status, Effect{Drop: true}},
		"a BMC that resets":                 {[]Fault{all(state.FaultBMCReset)}, login, Effect{Drop: true}},
		"delay":                             {[]Fault{late}, status, Effect{Delay: 1500 * time.Millisecond}},
		"delays add up":                     {[]Fault{late, late}, status, Effect{Delay: 3 * time.Second}},
		"IPMI is busy":                      {[]Fault{all(state.FaultBusy)}, status, Effect{Code: 0xc0}},
		"Redfish is busy":                   {[]Fault{all(state.FaultBusy)}, get, Effect{Code: 503}},
		"an IPMI error":                     {[]Fault{all(state.FaultError)}, status, Effect{Code: 0xff}},
		"a Redfish error":                   {[]Fault{all(state.FaultError)}, get, Effect{Code: 500}},
		"an error of a code":                {[]Fault{with(all(state.FaultError), func(f *Fault) { f.Code = 0xd5 })}, status, Effect{Code: 0xd5}},
		"the first code counts":             {[]Fault{all(state.FaultBusy), all(state.FaultError)}, status, Effect{Code: 0xc0}},
		"a wrong password":                  {[]Fault{all(state.FaultBadCredentials)}, login, Effect{WrongPassword: true}},
		"no password is in a command":       {[]Fault{all(state.FaultBadCredentials)}, status, Effect{}},
		"no login is refused as busy":       {[]Fault{all(state.FaultBusy), all(state.FaultError)}, login, Effect{}},
		"another protocol":                  {[]Fault{with(all(state.FaultDrop), func(f *Fault) { f.Protocol = Redfish })}, status, Effect{}},
		"this protocol":                     {[]Fault{with(all(state.FaultDrop), func(f *Fault) { f.Protocol = IPMI })}, status, Effect{Drop: true}},
		"a command by a part of its name":   {[]Fault{with(all(state.FaultDrop), func(f *Fault) { f.Call = "chassis CONTROL" })}, control, Effect{Drop: true}},
		"another command":                   {[]Fault{with(all(state.FaultDrop), func(f *Fault) { f.Call = "chassis control" })}, status, Effect{}},
		"power requests":                    {[]Fault{with(all(state.FaultDrop), func(f *Fault) { f.Call = "power" })}, control, Effect{Drop: true}},
		"power, of what asks for none":      {[]Fault{with(all(state.FaultDrop), func(f *Fault) { f.Call = "power" })}, status, Effect{}},
		"logins":                            {[]Fault{with(all(state.FaultDrop), func(f *Fault) { f.Call = "login" })}, login, Effect{Drop: true}},
		"stuck power":                       {[]Fault{all(state.FaultStuckPower)}, power, Effect{Stuck: true}},
		"slow power":                        {[]Fault{with(all(state.FaultSlowPower), func(f *Fault) { f.DelayMilli = 60_000 })}, power, Effect{Slow: time.Minute}},
		"stuck power lets requests in":      {[]Fault{all(state.FaultStuckPower)}, control, Effect{}},
		"at the chassis nothing is lost":    {[]Fault{all(state.FaultDrop), all(state.FaultBusy), late}, power, Effect{}},
		"a kind of a newer version":         {[]Fault{all("melt")}, status, Effect{}},
		"a share of nothing hits nothing":   {[]Fault{{Kind: state.FaultDrop}}, status, Effect{}},
		"one that does not match, one that": {[]Fault{all(state.FaultBadCredentials), all(state.FaultDrop)}, status, Effect{Drop: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Decide(tt.faults, tt.call, 7); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// hits are which of the first n requests to a node a fault hits.
func hits(seed uint64, share float64, node string, n int) []int {
	f := []Fault{{Kind: state.FaultDrop, SharePPM: uint32(share * million), Seed: seed}}
	var out []int
	for i := range n {
		if Decide(f, Call{Protocol: IPMI, Node: node}, uint64(i)).Drop {
			out = append(out, i)
		}
	}
	return out
}

func TestTheSameSeedHitsTheSameRequests(t *testing.T) {
	first := hits(1, 0.3, node, 1000)
	if diff := cmp.Diff(first, hits(1, 0.3, node, 1000)); diff != "" {
		t.Errorf("the same seed: (-first +second)\n%s", diff)
	}
	if cmp.Equal(first, hits(2, 0.3, node, 1000)) {
		t.Error("another seed hits the same requests")
	}
	if cmp.Equal(first, hits(1, 0.3, node+"x", 1000)) {
		t.Error("the same requests of another node are hit")
	}
	// What was hit once is hit for ever: a run is repeated with another version.
	if got, want := fmt.Sprint(hits(1, 0.3, node, 20)), "[10 11 12 14 16]"; got != want {
		t.Errorf("the first hits are %s, want %s", got, want)
	}
}

func TestTheShareIsWhatWasAskedFor(t *testing.T) {
	const n = 10_000
	for _, share := range []float64{0.001, 0.1, 0.3, 0.5, 0.9, 1} {
		for seed := range uint64(20) {
			got := float64(len(hits(seed, share, node, n)))
			// Five standard deviations of a binomial distribution.
			if off := math.Abs(got - share*n); off > 5*math.Sqrt(n*share*(1-share)) {
				t.Errorf("share %v, seed %d: %v of %d requests are hit", share, seed, got, n)
			}
		}
	}
}

func TestHitsComeInNoPattern(t *testing.T) {
	// Runs of hits are as long as chance makes them: a client's three tries fail together
	// about as often as 0.5^3.
	const n = 10_000
	all := hits(3, 0.5, node, n)
	three := 0
	for i := 2; i < len(all); i++ {
		if all[i] == all[i-2]+2 {
			three++
		}
	}
	if want := n / 8; three < want*8/10 || three > want*12/10 {
		t.Errorf("%d runs of three, want about %d", three, want)
	}
}

func ptr[T any](v T) *T { return &v }

func TestParse(t *testing.T) {
	minute := func(n int64) int64 { return n * 60_000 }
	tests := map[string]struct {
		spec Spec
		want Fault
		err  string
	}{
		"defaults": {Spec{Kind: "drop"}, Fault{Kind: state.FaultDrop, SharePPM: million, Seed: 99, ForMilli: minute(10)}, ""},
		"all of it": {Spec{Kind: "error", Protocol: "ipmi", Call: "chassis control", Share: ptr(0.3), Seed: ptr(uint64(0)), For: "1h", Code: 0xd5},
			Fault{Kind: state.FaultError, Protocol: "ipmi", Call: "chassis control", SharePPM: 300_000, ForMilli: minute(60), Code: 0xd5}, ""},
		"the usual delay": {Spec{Kind: "delay"}, Fault{Kind: state.FaultDelay, SharePPM: million, Seed: 99, ForMilli: minute(10), DelayMilli: 5000}, ""},
		"slow power":      {Spec{Kind: "slow-power", Delay: "90s"}, Fault{Kind: state.FaultSlowPower, SharePPM: million, Seed: 99, ForMilli: minute(10), DelayMilli: 90_000}, ""},
		"a reset":         {Spec{Kind: "bmc-reset"}, Fault{Kind: state.FaultBMCReset, SharePPM: million, Seed: 99, ForMilli: minute(1)}, ""},
		"a share too small to count": {Spec{Kind: "busy", Share: ptr(1e-12)},
			Fault{Kind: state.FaultBusy, SharePPM: 1, Seed: 99, ForMilli: minute(10)}, ""},

		"no kind":                   {Spec{}, Fault{}, "not one of drop, delay"},
		"another kind":              {Spec{Kind: "melt"}, Fault{}, `kind "melt"`},
		"another protocol":          {Spec{Kind: "drop", Protocol: "snmp"}, Fault{}, "not ipmi or redfish"},
		"a share of nothing":        {Spec{Kind: "drop", Share: ptr(0.0)}, Fault{}, "more than 0"},
		"more than all":             {Spec{Kind: "drop", Share: ptr(1.5)}, Fault{}, "at most 1"},
		"no number":                 {Spec{Kind: "drop", Share: ptr(math.NaN())}, Fault{}, "share NaN"},
		"too long":                  {Spec{Kind: "drop", For: "25h"}, Fault{}, "for 25h0m0s: must be 1s to 24h0m0s"},
		"too short":                 {Spec{Kind: "drop", For: "1ms"}, Fault{}, "must be"},
		"backwards":                 {Spec{Kind: "drop", For: "-1m"}, Fault{}, "must be"},
		"no duration":               {Spec{Kind: "drop", For: "soon"}, Fault{}, `for "soon"`},
		"a delay of what is lost":   {Spec{Kind: "drop", Delay: "1s"}, Fault{}, "only delay and slow-power"},
		"a delay too long":          {Spec{Kind: "delay", Delay: "6m"}, Fault{}, "must be"},
		"a code of what is lost":    {Spec{Kind: "drop", Protocol: "ipmi", Code: 1}, Fault{}, "only error"},
		"a code of no protocol":     {Spec{Kind: "error", Code: 1}, Fault{}, "say of which protocol"},
		"an HTTP status in IPMI":    {Spec{Kind: "error", Protocol: "ipmi", Code: 500}, Fault{}, "0x1 to 0xff"},
		"what is no server's error": {Spec{Kind: "error", Protocol: "redfish", Code: 404}, Fault{}, "500 to 599"},
		"a call of a reset":         {Spec{Kind: "bmc-reset", Call: "power"}, Fault{}, "call"},
		"a share of a reset":        {Spec{Kind: "bmc-reset", Share: ptr(0.5)}, Fault{}, "hears nothing"},
		"a call of power":           {Spec{Kind: "stuck-power", Call: "power"}, Fault{}, "none to choose"},
		"a call with a line end":    {Spec{Kind: "drop", Call: "a\nb"}, Fault{}, "printable"},
		"two mistakes":              {Spec{Kind: "drop", Protocol: "x", For: "y"}, Fault{}, "\nfor"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tt.spec, 99)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestEveryKindParses(t *testing.T) {
	for _, kind := range Kinds {
		f, err := Parse(Spec{Kind: kind}, 1)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		calls := []Call{{Login: true, Password: true}, {Power: true, AtChassis: true}}
		if Decide([]Fault{f}, calls[0], 0) == (Effect{}) && Decide([]Fault{f}, calls[1], 0) == (Effect{}) {
			t.Errorf("%s has no effect", kind)
		}
	}
}
