package driver

import (
	"context"
	"fmt"
	"io"
	"time"

	"tenks/raftfsm/state"
)

// call makes one call with a deadline.
func (s *Supervisor) call(ctx context.Context, limit time.Duration, do func(context.Context, client) error) error {
	p, err := s.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx, p.driver)
}

// Info implements Driver.
func (s *Supervisor) Info(ctx context.Context) (info Info, err error) {
	err = s.call(ctx, s.timing.read, func(ctx context.Context, c client) error {
		info, err = c.Info(ctx)
		return err
	})
	return info, err
}

// Instances implements Driver.
func (s *Supervisor) Instances(ctx context.Context) (all []Instance, err error) {
	err = s.call(ctx, s.timing.read, func(ctx context.Context, c client) error {
		all, err = c.Instances(ctx)
		return err
	})
	return all, err
}

// Ensure implements Driver.
func (s *Supervisor) Ensure(ctx context.Context, spec Spec) error {
	return s.call(ctx, s.timing.write, func(ctx context.Context, c client) error { return c.Ensure(ctx, spec) })
}

// Remove implements Driver.
func (s *Supervisor) Remove(ctx context.Context, uuid string) error {
	return s.call(ctx, s.timing.write, func(ctx context.Context, c client) error { return c.Remove(ctx, uuid) })
}

// Power implements Driver.
func (s *Supervisor) Power(ctx context.Context, uuid string, req PowerRequest) error {
	return s.call(ctx, s.timing.write, func(ctx context.Context, c client) error { return c.Power(ctx, uuid, req) })
}

// SetMedia implements Driver.
func (s *Supervisor) SetMedia(ctx context.Context, uuid string, slot Slot, path string) error {
	return s.call(ctx, s.timing.write, func(ctx context.Context, c client) error { return c.SetMedia(ctx, uuid, slot, path) })
}

// Loads implements Driver.
func (s *Supervisor) Loads(ctx context.Context) (all []Load, err error) {
	err = s.call(ctx, s.timing.read, func(ctx context.Context, c client) error {
		all, err = c.Loads(ctx)
		return err
	})
	return all, err
}

// Luggage implements Mover.
func (s *Supervisor) Luggage(ctx context.Context, uuid string) (l Luggage, err error) {
	err = s.call(ctx, s.timing.read, func(ctx context.Context, c client) error {
		l, err = c.Luggage(ctx, uuid)
		return err
	})
	return l, err
}

// Stage implements Mover.
func (s *Supervisor) Stage(ctx context.Context, spec Spec) (dir string, err error) {
	err = s.call(ctx, s.timing.write, func(ctx context.Context, c client) error {
		dir, err = c.Stage(ctx, spec)
		return err
	})
	return dir, err
}

// Import implements Mover.
func (s *Supervisor) Import(ctx context.Context, spec Spec, l Luggage) error {
	return s.call(ctx, s.timing.write, func(ctx context.Context, c client) error { return c.Import(ctx, spec, l) })
}

// Watch implements Driver. It ends with an error when the process does.
func (s *Supervisor) Watch(ctx context.Context, on func(Event)) error {
	p, err := s.get()
	if err != nil {
		return err
	}
	return p.driver.Watch(ctx, on)
}

// Console implements Driver. It ends when the process does.
func (s *Supervisor) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	p, err := s.get()
	if err != nil {
		return nil, err
	}
	// The deadline is for attaching only: what is attached lives on.
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(s.timing.read, cancel)
	console, err := p.driver.Console(ctx, uuid)
	if err != nil {
		cancel()
		return nil, err
	}
	attached := &boundConsole{console, cancel}
	if !late.Stop() {
		_ = attached.Close()
		return nil, fmt.Errorf("driver %s: console of node %s: %w", s.c.Name, uuid, state.ErrBusy)
	}
	return attached, nil
}

// boundConsole lets go of its context when it is closed.
type boundConsole struct {
	io.ReadWriteCloser
	cancel context.CancelFunc
}

// SendBreak implements Breaker.
func (c *boundConsole) SendBreak(ctx context.Context) error {
	if b, able := c.ReadWriteCloser.(Breaker); able {
		return b.SendBreak(ctx)
	}
	return state.ErrUnsupported
}

// Close implements io.Closer.
func (c *boundConsole) Close() error {
	defer c.cancel()
	return c.ReadWriteCloser.Close()
}
