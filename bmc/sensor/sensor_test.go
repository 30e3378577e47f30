package sensor

import (
	"math"
	"testing"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// sizes are nodes from the smallest to a large one.
func sizes() []bmc.Hardware {
	large := bmc.Hardware{UUID: "6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10", VCPUs: 128, MemoryMB: 1 << 20, NICs: make([]bmc.NIC, 8), Disks: make([]bmc.Disk, 16)}
	return []bmc.Hardware{{}, {UUID: "a", VCPUs: 1, MemoryMB: 512}, {UUID: "b", VCPUs: 4, MemoryMB: 8192, NICs: make([]bmc.NIC, 2)}, large}
}

func running(h bmc.Hardware, use float64) Node {
	return Node{Hardware: h, Power: state.PowerOn, Load: bmc.Load{CPU: use}, Known: true}
}

func TestSensorsAreWellFormed(t *testing.T) {
	for _, h := range sizes() {
		names := map[string]bool{}
		for id := ID(1); int(id) <= Count; id++ {
			s, ok := Of(h, id)
			if !ok || s.ID != id || len(s.Name) < 1 || len(s.Name) > 16 || names[s.Name] || s.Step <= 0 || s.Instance < 1 {
				t.Errorf("sensor %d: got %+v, %v", id, s, ok)
			}
			names[s.Name] = true
			last := math.Inf(-1)
			for at := LowerFatal; at < Levels; at++ {
				if !s.Limits.Has(at) {
					continue
				}
				if v := s.Limits[at]; v <= last || v < 0 || v > s.Max() || math.Abs(quantised(v, s.Step)-v) > 1e-9 {
					t.Errorf("%s: threshold %d is %v: out of order, out of range or no multiple of %v", s.Name, at, v, s.Step)
				}
				last = s.Limits[at]
			}
		}
	}
	for _, id := range []ID{-1, 0, ID(Count) + 1} {
		if _, ok := Of(bmc.Hardware{}, id); ok {
			t.Errorf("sensor %d: there is one", id)
		}
	}
}

func TestNoNodeCrossesAThresholdByItself(t *testing.T) {
	for _, h := range sizes() {
		for _, use := range []float64{-1, 0, 0.5, 1, 7, math.NaN(), math.Inf(1)} {
			n := running(h, use)
			for id := ID(1); int(id) <= Count; id++ {
				s, _ := Of(h, id)
				v, ok := n.Read(id)
				if !ok || v < 0 || v > s.Max() {
					t.Errorf("%s at load %v: got %v, %v; want 0 to %v", s.Name, use, v, ok, s.Max())
				}
				raw, _ := n.Steps(s)
				if c := Crossed(float64(raw)*s.Step, s.Limits, s.Hysteresis, 0); c != 0 {
					t.Errorf("%s at load %v reads %v: thresholds %06b crossed", s.Name, use, v, c)
				}
			}
		}
	}
}

func TestReadingsFollowTheLoad(t *testing.T) {
	for _, h := range sizes() {
		idle, busy := running(h, 0), running(h, 1)
		for id, more := range map[ID]bool{CPUTemp: true, SystemTemp: true, Fan1: true, Fan2: true, PowerIn: true, PowerOut: true, CPUUsage: true, Volt12: false} {
			a, _ := idle.Read(id)
			b, _ := busy.Read(id)
			if (b > a) != more || a == b {
				t.Errorf("sensor %d: idle %v, busy %v; want more: %v", id, a, b, more)
			}
			if again, _ := idle.Read(id); again != a {
				t.Errorf("sensor %d: %v, then %v", id, a, again)
			}
		}
	}
}

func TestNodesDifferALittle(t *testing.T) {
	a, b := running(bmc.Hardware{UUID: "a", VCPUs: 2}, 0.5), running(bmc.Hardware{UUID: "b", VCPUs: 2}, 0.5)
	for id := ID(1); id < CPUUsage; id++ {
		va, _ := a.Read(id)
		vb, _ := b.Read(id)
		if va == vb || math.Abs(va-vb) > 0.3*va {
			t.Errorf("sensor %d: %v and %v", id, va, vb)
		}
	}
}

func TestReadingsAreAbsentWithoutPower(t *testing.T) {
	for power, want := range map[state.Power]map[ID]bool{
		state.PowerOff: {InletTemp: true, PowerIn: true}, state.PowerUnknown: {InletTemp: true},
	} {
		n := Node{Hardware: sizes()[2], Power: power}
		for id := ID(1); int(id) <= Count; id++ {
			if v, ok := n.Read(id); ok != want[id] {
				t.Errorf("sensor %d with power %q: got %v, %v; want a reading: %v", id, power, v, ok, want[id])
			}
		}
	}
	if v, ok := (Node{Hardware: sizes()[2], Power: state.PowerOn}).Read(CPUUsage); ok {
		t.Errorf("CPU usage without a known load: %v", v)
	}
}

func TestAtAsksTheChassis(t *testing.T) {
	c := bmctest.NewChassis()
	c.SetLoad(bmc.Load{CPU: 0.25})
	if n := At(c); n.Known || n.Power != state.PowerOff || n.Watts() != standbyWatts {
		t.Errorf("off: %+v, %v W", n, n.Watts())
	}
	c.SetPower(state.PowerOn)
	n := At(c)
	if v, ok := n.Read(CPUUsage); !ok || v != 25 {
		t.Errorf("on: %+v: CPU usage %v, %v", n, v, ok)
	}
	if v := n.Watts(); v < 40 || v > 100 {
		t.Errorf("on: %v W", v)
	}
}

func TestCrossedHasHysteresis(t *testing.T) {
	l := Limits{none, 10, 20, 80, 90, none}
	const lc, ln, un, uc = 1 << LowerCritical, 1 << LowerCaution, 1 << UpperCaution, 1 << UpperCritical
	for _, tc := range []struct {
		v            float64
		before, want uint8
	}{
		{50, 0, 0}, {80, 0, un}, {79, 0, 0}, {79, un, un}, {78, un, un}, {77.9, un, 0}, {95, 0, un | uc},
		{20, 0, ln}, {21, 0, 0}, {22, ln, ln}, {22.1, ln, 0}, {10, 0, ln | lc}, {12, ln | lc, ln | lc},
	} {
		if got := Crossed(tc.v, l, 2, tc.before); got != tc.want {
			t.Errorf("%v after %06b: got %06b, want %06b", tc.v, tc.before, got, tc.want)
		}
	}
}
