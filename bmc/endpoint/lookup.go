package endpoint

import (
	"context"
	"fmt"
	"io"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// lookUp is a node's chassis, found anew for each request: a BMC is open before its
// node is made, and stays open when the reconciler makes the chassis anew. While
// there is none the node is busy, which clients retry.
type lookUp struct {
	uuid string
	find func(uuid string) (bmc.Chassis, bool)
	// events are the subscriptions, which Manager.Do attaches once there is a chassis.
	events *late
}

func newLookUp(uuid string, find func(uuid string) (bmc.Chassis, bool)) lookUp {
	return lookUp{uuid, find, &late{find: func() (bmc.Chassis, bool) { return find(uuid) }}}
}

// Status implements bmc.Chassis.
func (l lookUp) Status() bmc.Status {
	if c, ok := l.find(l.uuid); ok {
		return c.Status()
	}
	return bmc.Status{Power: state.PowerUnknown}
}

// Power implements bmc.Chassis.
func (l lookUp) Power(ctx context.Context, action state.PowerAction) error {
	return l.with(func(c bmc.Chassis) error { return c.Power(ctx, action) })
}

// SetBoot implements bmc.Chassis.
func (l lookUp) SetBoot(ctx context.Context, boot state.Boot) error {
	return l.with(func(c bmc.Chassis) error { return c.SetBoot(ctx, boot) })
}

// SetRestorePolicy implements bmc.Chassis.
func (l lookUp) SetRestorePolicy(ctx context.Context, policy state.RestorePolicy) error {
	return l.with(func(c bmc.Chassis) error { return c.SetRestorePolicy(ctx, policy) })
}

// Console implements bmc.Chassis.
func (l lookUp) Console(ctx context.Context) (rw io.ReadWriteCloser, err error) {
	err = l.with(func(c bmc.Chassis) error {
		rw, err = c.Console(ctx)
		return err
	})
	return rw, err
}

// Hardware implements bmc.Chassis.
func (l lookUp) Hardware() bmc.Hardware {
	if c, ok := l.find(l.uuid); ok {
		return c.Hardware()
	}
	return bmc.Hardware{UUID: l.uuid}
}

// Load implements bmc.Chassis.
func (l lookUp) Load() (bmc.Load, bool) {
	if c, ok := l.find(l.uuid); ok {
		return c.Load()
	}
	return bmc.Load{}, false
}

// Subscribe implements bmc.Chassis.
func (l lookUp) Subscribe(on func(bmc.Event)) (cancel func()) { return l.events.subscribe(on) }

// Recall implements bmc.Chassis.
func (l lookUp) Recall(key string) []byte {
	if c, ok := l.find(l.uuid); ok {
		return c.Recall(key)
	}
	return nil
}

// Keep implements bmc.Chassis.
func (l lookUp) Keep(ctx context.Context, key string, value []byte) error {
	return l.with(func(c bmc.Chassis) error { return c.Keep(ctx, key, value) })
}

// InsertMedia implements bmc.Chassis.
func (l lookUp) InsertMedia(ctx context.Context, m bmc.Media) error {
	return l.with(func(c bmc.Chassis) error { return c.InsertMedia(ctx, m) })
}

// EjectMedia implements bmc.Chassis.
func (l lookUp) EjectMedia(ctx context.Context) error {
	return l.with(func(c bmc.Chassis) error { return c.EjectMedia(ctx) })
}

// Media implements bmc.Chassis.
func (l lookUp) Media() bmc.MediaStatus {
	if c, ok := l.find(l.uuid); ok {
		return c.Media()
	}
	return bmc.MediaStatus{}
}

func (l lookUp) with(do func(bmc.Chassis) error) error {
	c, ok := l.find(l.uuid)
	if !ok {
		return fmt.Errorf("node %s: no chassis yet: %w", l.uuid, state.ErrBusy)
	}
	return do(c)
}

// Unwrap implements bmc.Wrapper.
func (l lookUp) Unwrap() bmc.Chassis {
	if c, ok := l.find(l.uuid); ok {
		return c
	}
	return nil
}
