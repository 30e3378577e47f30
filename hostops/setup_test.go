package hostops

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/hostops/fake"
	"tenks/raftfsm/state"
)

// bios changes one attribute.
func bios(t *testing.T, c *Chassis, value string) {
	t.Helper()
	err := c.changeSetup(t.Context(), func(s *driver.Setup) error {
		s.BIOS = nil
		if value != "" {
			s.BIOS = map[string]string{"k": value}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// began fails the test unless the guest was last started with an attribute.
func (e *env) began(uuid, want string) {
	e.t.Helper()
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	if got := e.nodes.nodes[uuid].began.Setup.BIOS["k"]; got != want {
		e.t.Errorf("node %s was started with %q, want %q", uuid, got, want)
	}
}

func TestAStartHasTheSetupOfAMomentAgo(t *testing.T) {
	for name, delay := range map[string]time.Duration{"a quick driver": 0, "a slow one": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			withNode(t, func(t *testing.T, e *env, c *Chassis) {
				e.nodes.delay = delay
				for i, want := range []string{"1", "2", "", "3"} {
					bios(t, c, want)
					e.power("a", state.ActionOn)
					elapse(20 * time.Second)
					if got := c.Status().Power; got != state.PowerOn {
						t.Fatalf("start %d: power %s", i, got)
					}
					e.began("a", want)
					e.power("a", state.ActionOff)
					elapse(20 * time.Second)
				}
				e.calls("on a", "off a", "on a", "off a", "on a", "off a", "on a", "off a")
			})
		})
	}
}

func TestAStartWaitsForASetupThatCannotBeCarriedOut(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.nodes.failWith(func(op, _ string) error {
			if op == "ensure" {
				return errors.New("no space")
			}
			return nil
		})
		bios(t, c, "1")
		e.power("a", state.ActionOn)
		elapse(10 * time.Second)
		e.calls()
		e.phase("a", state.HostError)
		e.nodes.failWith(nil)
		elapse(time.Minute)
		e.calls("on a")
		e.began("a", "1")
	})
}

func TestARunningGuestHasItsSetupFromTheNextRestart(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.power("a", state.ActionOn)
		elapse(5 * time.Second)
		var ear ear
		defer e.host.Subscribe("a", ear.hear)()
		bios(t, c, "1")
		elapse(5 * time.Second)
		e.began("a", "")
		for _, step := range []struct {
			do          func()
			value, want string
		}{
			{func() { e.power("a", state.ActionReset) }, "1", "reset!"},
			{func() { e.nodes.reboot("a") }, "2", "reset"},
			{func() { e.power("a", state.ActionCycle) }, "3", "off! on!"},
		} {
			bios(t, c, step.value)
			elapse(5 * time.Second)
			step.do()
			elapse(5 * time.Second)
			e.began("a", step.value)
			if got := ear.heard(); got != step.want {
				t.Errorf("with %s: heard %q, want %q", step.value, got, step.want)
			}
		}
		// Nothing waits any longer: a reset is one again.
		e.power("a", state.ActionReset)
		elapse(5 * time.Second)
		e.calls("on a", "cycle a", "cycle a", "cycle a", "reset a")
	})
}

func TestSetupOutlivesTheAgent(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.mustPass()
		bios(t, e.chassis("a"), "1")
		e.mustPass()
		for _, want := range []string{"2", ""} { // changed, and the agent ends at once
			bios(t, e.chassis("a"), want)
			e.restart()
			e.run()
			elapse(time.Second)
			e.power("a", state.ActionOn)
			elapse(5 * time.Second)
			e.began("a", want)
			e.power("a", state.ActionOff)
			elapse(5 * time.Second)
			e.restart()
		}
		writes := e.nodes.writes
		e.mustPass()
		if e.nodes.writes != writes {
			t.Error("a pass changes what is as it should be")
		}
	})
}

func TestSetupMovesWithItsNode(t *testing.T) {
	withMover(t, func(t *testing.T, e *env, d *fake.Driver) {
		e.place(withDisk("a"))
		e.mustPass()
		bios(t, e.chassis("a"), "1")
		e.mustPass()
		e.startMove("a", "peer-2")
		out, err := e.host.Outgoing(t.Context(), "a", "peer-2")
		if err != nil {
			t.Fatal(err)
		}
		err = e.chassis("a").changeSetup(t.Context(), func(s *driver.Setup) error { s.Order = []string{"nic0"}; return nil })
		if !errors.Is(err, state.ErrBusy) {
			t.Errorf("a change while it moves: %v, want busy", err)
		}
		e.placeOn("peer-2", withDisk("b"))
		start := e.startMove("b", self)
		if _, err := e.host.Stage(t.Context(), e.node("b")); err != nil {
			t.Fatal(err)
		}
		if err := e.host.Import(t.Context(), e.node("b"), driver.Luggage{}, out.Chassis); err != nil {
			t.Fatal(err)
		}
		e.apply(state.FinishMove{UUID: "b", Start: start})
		all, err := d.Instances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := specOf(e.node("b"), state.Boot{}, driver.Setup{BIOS: map[string]string{"k": "1"}}).Digest()
		for _, i := range all {
			if i.UUID == "b" && i.Digest != want {
				t.Errorf("digest of the node that came: %s, want %s", i.Digest, want)
			}
		}
	})
}

func TestAttributesAndOrderReachTheDriver(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.power("a", state.ActionOn)
		if err := errors.Join(c.SetAttributes(t.Context(), map[string]string{driver.BIOSBootMode: "Uefi"}), c.SetBootOrder(t.Context(), []string{"nic0"})); err != nil {
			t.Fatal(err)
		}
		elapse(5 * time.Second)
		e.phase("a", state.HostReady)
		if got := c.BootMode(state.BootBIOS); got != state.BootUEFI || !slices.Equal(c.BootOrder(), []string{"nic0"}) {
			t.Errorf("boot mode %s, order %q", got, c.BootOrder())
		}
		e.power("a", state.ActionReset)
		elapse(5 * time.Second)
		e.nodes.mu.Lock()
		began := e.nodes.nodes["a"].began
		e.nodes.mu.Unlock()
		if began.Machine.BootMode != state.BootUEFI || !slices.Equal(began.Setup.Order, []string{"nic0"}) {
			t.Errorf("started from %+v", began)
		}
		// With an order, "disk" is an override like others, and over with a restart of the guest.
		e.boot("a", state.Boot{Device: state.BootDisk})
		e.power("a", state.ActionReset)
		elapse(5 * time.Second)
		e.nodes.reboot("a")
		elapse(5 * time.Second)
		e.calls("on a", "cycle a", "reset a disk", "cycle a")
		if err := c.SetAttributes(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := c.BootMode(state.BootBIOS); got != state.BootBIOS {
			t.Errorf("boot mode %s, want what was declared", got)
		}
	})
}
