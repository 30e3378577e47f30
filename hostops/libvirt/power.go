//go:build cgo && libvirt_dlopen

package libvirt

import (
	"cmp"
	"context"
	"fmt"

	lv "libvirt.org/go/libvirt"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Power implements driver.Driver.
func (d *Driver) Power(ctx context.Context, uuid string, req driver.PowerRequest) error {
	return d.change(ctx, uuid, func(ctx context.Context, s *session) error {
		f, err := d.find(s, uuid)
		if err != nil {
			return err
		}
		if f == nil {
			return fmt.Errorf("libvirt: node %s: %w", uuid, state.ErrNotFound)
		}
		defer f.free()
		if !f.running {
			return d.powerOff(ctx, s, f, req)
		}
		return d.powerOn(ctx, s, f, req)
	})
}

// powerOff carries out a request to a node that is off.
func (d *Driver) powerOff(ctx context.Context, s *session, f *found, req driver.PowerRequest) error {
	switch req.Action {
	case state.ActionOff:
		return nil
	case state.ActionOn:
		return d.turnOn(ctx, s, f, req.Boot)
	case state.ActionSoft, state.ActionCycle, state.ActionReset, state.ActionDiag:
		return fmt.Errorf("node %s: %s while it is off: %w", f.def.Name, req.Action, state.ErrWrongState)
	}
	return fmt.Errorf("node %s: power %q: %w", f.def.Name, req.Action, state.ErrUnsupported)
}

// powerOn carries out a request to a node that is on.
func (d *Driver) powerOn(ctx context.Context, s *session, f *found, req driver.PowerRequest) error {
	var err error
	switch req.Action {
	case state.ActionOn:
	case state.ActionOff:
		err = d.turnOff(ctx, s, f)
	case state.ActionSoft:
		err = f.dom.ShutdownFlags(lv.DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
	case state.ActionDiag:
		err = f.dom.InjectNMI(0)
	case state.ActionCycle:
		return d.cycle(ctx, s, f, req.Boot)
	case state.ActionReset:
		return d.reset(ctx, s, f, req.Boot)
	default:
		return fmt.Errorf("node %s: power %q: %w", f.def.Name, req.Action, state.ErrUnsupported)
	}
	switch {
	case err != nil && gone(err) && req.Action != state.ActionOff: // it went off meanwhile
		return fmt.Errorf("node %s: %s while it is off: %w", f.def.Name, req.Action, state.ErrWrongState)
	case err != nil:
		return fmt.Errorf("node %s: power %s: %w", f.def.Name, req.Action, err)
	}
	return nil
}

// turnOff stops a guest. One that somebody undefined gets its definition back first:
// it would be gone else.
func (d *Driver) turnOff(ctx context.Context, s *session, f *found) error {
	if !f.persistent {
		dom, err := define(s, f.def)
		if err != nil {
			return err
		}
		if err := dom.Free(); err != nil {
			return err
		}
		f.persistent = true
	}
	d.stops.begin(ctx)
	defer d.stops.end(ctx)
	if ctx.Err() != nil {
		return hung(ctx)
	}
	if err := f.dom.Destroy(); err != nil && !gone(err) {
		return err
	}
	return nil
}

// turnOn starts a guest with a boot order.
func (d *Driver) turnOn(ctx context.Context, s *session, f *found, boot state.Boot) error {
	rec, ok := d.records.get(f.def.UUID)
	if ok {
		if err := d.settle(ctx, s, &rec, false); err != nil {
			return err
		}
		if err := d.records.settleVars(&rec, true); err != nil {
			return err
		}
		if len(rec.Replug) > 0 { // it gets its NICs now
			rec.Replug = nil
			if err := d.records.put(rec); err != nil {
				return err
			}
		}
	}
	if order := orderOf(f.def, boot, rec.Start); !order.equal(getOrder(f.def)) {
		setOrder(f.def, order)
		dom, err := define(s, f.def)
		if err != nil {
			return err
		}
		if err := dom.Free(); err != nil {
			return fmt.Errorf("domain %s: %w", f.def.Name, err)
		}
	}
	if ctx.Err() != nil {
		return hung(ctx)
	}
	if err := f.dom.Create(); err != nil {
		if on, e := f.dom.IsActive(); e == nil && on {
			return nil // somebody else was faster
		}
		return fmt.Errorf("domain %s: start: %w", f.def.Name, err)
	}
	return nil
}

// cycle stops and starts a guest. A start that libvirtd undoes, because it sees the end
// of the old QEMU late all the same, is repeated once.
func (d *Driver) cycle(ctx context.Context, s *session, f *found, boot state.Boot) error {
	if err := d.turnOff(ctx, s, f); err != nil {
		return fmt.Errorf("domain %s: stop: %w", f.def.Name, err)
	}
	first := d.turnOn(ctx, s, f, boot)
	rest(ctx, drain)
	on, err := f.dom.IsActive() // answers when libvirtd has killed it, if it does
	switch {
	case err != nil:
		return cmp.Or(first, fmt.Errorf("domain %s: read: %w", f.def.Name, err))
	case on || ctx.Err() != nil:
		return first
	}
	return d.turnOn(ctx, s, f, boot)
}

// reset restarts a guest; QEMU cannot change a boot order without a new process.
func (d *Driver) reset(ctx context.Context, s *session, f *found, boot state.Boot) error {
	live, _, err := f.live()
	if err != nil {
		return err
	}
	rec, _ := d.records.get(f.def.UUID)
	if !getOrder(live).equal(orderOf(live, boot, rec.Start)) {
		return d.cycle(ctx, s, f, boot)
	}
	if err := f.dom.Reset(0); err != nil {
		return fmt.Errorf("domain %s: reset: %w", f.def.Name, err)
	}
	return nil
}
