package fault

import (
	"encoding/json"
	"testing"
	"time"

	"tenks/raftfsm/state"
)

// FuzzParse: whatever is declared is refused, or is a fault that the state takes, and
// that Decide can handle.
func FuzzParse(f *testing.F) {
	for _, spec := range []Spec{{Kind: "drop"}, {Kind: "delay", Delay: "5s", Share: ptr(0.3)}, {Kind: "error", Protocol: "redfish", Code: 502},
		{Kind: "slow-power", For: "24h", Seed: ptr(^uint64(0))}, {Kind: "bmc-reset", For: "2m"}, {Kind: "busy", Call: "power"}} {
		b, err := json.Marshal(spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "Chassis Control", uint64(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, command string, n uint64) {
		var spec Spec
		if json.Unmarshal(b, &spec) != nil {
			return
		}
		fault, err := Parse(spec, 1)
		if err != nil {
			return
		}
		fault.ID, fault.Nodes = "f1", []string{"u1"}
		if err := state.New().Apply(1, state.Envelope{Command: state.AddFault{Fault: fault}}); err != nil {
			t.Fatalf("%+v: %v", fault, err)
		}
		for _, call := range []Call{{Protocol: IPMI, Command: command}, {Protocol: Redfish, Command: command, Login: true}, {Power: true, AtChassis: true}} {
			e := Decide([]Fault{fault}, call, n)
			if e != Decide([]Fault{fault}, call, n) {
				t.Fatalf("%+v: two decisions", fault)
			}
			if e.Delay < 0 || e.Delay > maxDelay || e.Slow < 0 || e.Slow > maxSlow || e.Code < 0 || e.Code > 599 {
				t.Fatalf("%+v: effect %+v", fault, e)
			}
			if d := time.Duration(fault.ForMilli) * time.Millisecond; d < minFor || d > maxFor {
				t.Fatalf("%+v lasts %v", fault, d)
			}
		}
	})
}
