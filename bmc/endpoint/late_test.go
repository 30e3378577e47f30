package endpoint

import (
	"sync/atomic"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// eventLog is where bmc/ipmi keeps a node's event log.
const eventLog = "ipmi/sel"

func TestBMCHearsOfAChassisThatCameLater(t *testing.T) {
	var there atomic.Bool
	chassis := bmctest.NewChassis()
	m := newMesh(t)
	manager := newManager(t, func(string) (bmc.Chassis, bool) { return chassis, there.Load() })
	m.declare(node(0))
	m.place(uuidOf(0), hypervisor, freePorts(t, 1)[0])
	do(t, manager, m.snapshot())
	chassis.SetPower(state.PowerOn) // nobody hears of this
	there.Store(true)
	for range 3 {
		do(t, manager, m.snapshot())
	}
	chassis.SetPower(state.PowerOff)
	const entryLen, headLen = 16, 22
	logged := func() int { return max(0, len(chassis.Recall(eventLog))-headLen) / entryLen }
	deadline := time.After(10 * time.Second)
	for logged() == 0 {
		select {
		case <-deadline:
			t.Fatal("power off was not logged")
		case <-time.After(time.Millisecond):
		}
	}
	manager.Close()
	chassis.SetPower(state.PowerOn)
	if got := logged(); got != 1 {
		t.Errorf("%d entries, want 1: one subscription, that ends with the BMC", got)
	}
}

func TestOneWhoWaitsForAnEventTakesNobodyElsesEvents(t *testing.T) {
	chassis := bmctest.NewChassis()
	there := false
	l := late{find: func() (bmc.Chassis, bool) { return chassis, there }}
	heard := make([]chan bmc.EventKind, 3)
	var cancels []func()
	for i := range heard {
		heard[i] = make(chan bmc.EventKind, 4)
		cancels = append(cancels, l.subscribe(func(e bmc.Event) { heard[i] <- e.Kind }))
	}
	cancels[2]() // it left before there was a chassis
	there = true
	l.attach()
	l.attach()
	chassis.SetPower(state.PowerOn)
	cancels[1]()
	cancels[1]()
	chassis.SetPower(state.PowerOff)
	for i, want := range []int{2, 1, 0} {
		if got := len(heard[i]); got != want {
			t.Errorf("subscriber %d heard %d events, want %d", i, got, want)
		}
	}
}
