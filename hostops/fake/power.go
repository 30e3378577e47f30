package fake

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// softTime is how many delays a guest takes to shut down when it is asked to.
const softTime = 3

// Power implements driver.Driver.
func (d *Driver) Power(ctx context.Context, uuid string, req driver.PowerRequest) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	return d.change(func() ([]driver.Event, error) {
		n, err := d.mine(uuid)
		if err != nil {
			return nil, err
		}
		switch req.Action {
		case state.ActionOn:
			return n.on(req.Boot), nil
		case state.ActionOff:
			d.detach(uuid)
			return n.off(driver.CauseRequest), nil
		case state.ActionCycle, state.ActionReset, state.ActionSoft, state.ActionDiag:
			if n.Power != state.PowerOn {
				return nil, offError(n)
			}
			return d.work(n, req), nil
		}
		return nil, fmt.Errorf("driver fake: power %q: %w", req.Action, state.ErrUnsupported)
	})
}

// work carries out what a running guest is needed for; mu is held.
func (d *Driver) work(n *node, req driver.PowerRequest) []driver.Event {
	uuid := n.Spec.UUID
	switch req.Action {
	case state.ActionCycle:
		d.detach(uuid)
		return append(n.off(driver.CauseRequest), n.on(req.Boot)...)
	case state.ActionReset:
		n.Boot = req.Boot
		return []driver.Event{{Type: driver.EventReboot, UUID: uuid}}
	case state.ActionSoft:
		if !d.closed {
			d.guests.Go(func() { d.shutDown(uuid) })
		}
	}
	return nil
}

// on starts the guest, if it does not run.
func (n *node) on(boot state.Boot) []driver.Event {
	if n.Power == state.PowerOn {
		return nil
	}
	running := n.Spec
	n.Keys = cmp.Or(n.Spec.Setup.Keys, n.Keys)
	n.Power, n.Boot, n.Running, n.Began = state.PowerOn, boot, &running, time.Now()
	return []driver.Event{{Type: driver.EventPower, UUID: n.Spec.UUID, Power: state.PowerOn, Cause: driver.CauseRequest}}
}

// off stops the guest, if it runs.
func (n *node) off(cause driver.Cause) []driver.Event {
	if n.Power == state.PowerOff {
		return nil
	}
	n.Power, n.Running = state.PowerOff, nil
	return []driver.Event{{Type: driver.EventPower, UUID: n.Spec.UUID, Power: state.PowerOff, Cause: cause}}
}

// shutDown is what a guest does that was asked to.
func (d *Driver) shutDown(uuid string) {
	if pause(d.alive, softTime*d.delay) != nil {
		return
	}
	err := d.change(func() ([]driver.Event, error) {
		n, err := d.mine(uuid)
		if err != nil {
			return nil, nil //nolint:nilerr // it was removed meanwhile
		}
		d.detach(uuid)
		return n.off(driver.CauseGuest), nil
	})
	if err != nil {
		d.FailNext(err) // what could not be saved is told to the next caller
	}
}

func offError(n *node) error {
	return fmt.Errorf("driver fake: node %q is off: %w", n.Spec.Name, state.ErrWrongState)
}
