package hostops

import (
	"math"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func (e *env) asked() int {
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	return e.nodes.asked
}

func wantLoad(t *testing.T, what string, c *Chassis, want float64) {
	t.Helper()
	l, ok := c.Load()
	switch {
	case want < 0 && ok:
		t.Errorf("%s: load %+v, want none", what, l)
	case want >= 0 && (!ok || math.Abs(l.CPU-want) > 0.02 || time.Since(l.At) > loadPeriod):
		t.Errorf("%s: load %+v, %t; want %.2f measured just now", what, l, ok, want)
	}
}

func TestLoadIsTheShareOfTheLastInterval(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		two := node("a")
		two.Machine.VCPUs = 2
		e.place(two, node("b"))
		e.run()
		elapse(time.Minute)
		if got := e.asked(); got != 0 {
			t.Errorf("asked %d times while no node is on", got)
		}
		a, b := e.chassis("a"), e.chassis("b")
		e.power("a", state.ActionOn)
		elapse(loadPeriod)
		wantLoad(t, "after one sample", a, -1)
		e.nodes.works("a", 10*time.Second)
		elapse(loadPeriod)
		wantLoad(t, "one of two CPUs", a, 0.5)
		wantLoad(t, "a node that is off", b, -1)
		elapse(loadPeriod)
		wantLoad(t, "idle", a, 0)
		e.nodes.works("a", time.Hour)
		elapse(loadPeriod)
		wantLoad(t, "more than there is", a, 1)
		e.power("a", state.ActionCycle)
		wantLoad(t, "just cycled", a, -1)
		elapse(loadPeriod)
		e.nodes.works("a", 5*time.Second)
		elapse(loadPeriod)
		wantLoad(t, "after the cycle", a, 0.25)
		e.power("a", state.ActionOff)
		wantLoad(t, "off", a, -1)
		before := e.asked()
		elapse(time.Minute)
		if got := e.asked() - before; got != 0 {
			t.Errorf("asked %d times after it was switched off", got)
		}
	})
}

func TestADriverThatHangsHasNoLoadAndBlocksNothing(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.run()
		elapse(time.Second)
		e.power("a", state.ActionOn)
		elapse(2 * loadPeriod)
		c := e.chassis("a")
		wantLoad(t, "at first", c, 0)
		e.nodes.hang("loads")
		elapse(loadPeriod)
		if _, ok := c.Load(); !ok {
			t.Error("the load is forgotten at once")
		}
		began := time.Now()
		e.power("a", state.ActionReset)
		if took := time.Since(began); took > time.Second {
			t.Errorf("a reset took %v", took)
		}
		elapse(loadAge)
		wantLoad(t, "a long time later", c, -1)
	})
}

func TestLoadCountsTheCPUsThatTheGuestHas(t *testing.T) {
	c := newChassis(&Host{}, "a", newRow(""))
	c.power, c.told = state.PowerOn, state.PowerOn
	at := time.Now()
	c.used(driver.Load{CPU: 0, VCPUs: 4}, 1, at, 0)
	c.used(driver.Load{CPU: 10 * time.Second, VCPUs: 4}, 1, at.Add(10*time.Second), 0)
	if c.load.CPU != 0.25 {
		t.Errorf("load %+v, want a quarter", c.load)
	}
	for _, test := range []struct {
		name string
		cpu  time.Duration
		took time.Duration
	}{{"less than before", time.Second, time.Second}, {"no time between", 20 * time.Second, 0}} {
		c.used(driver.Load{CPU: test.cpu}, 1, c.sample.at.Add(test.took), 0)
		if c.load != (ChassisLoad{}) {
			t.Errorf("%s: load %+v, want none", test.name, c.load)
		}
	}
}
