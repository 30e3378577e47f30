package endpoint

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tenks/bmc"
	"tenks/bmc/fault"
	"tenks/raftfsm/state"
)

// lateWithin bounds a power change that a fault held back.
const lateWithin = 30 * time.Second

// faulty is a chassis as one protocol sees it: a fault may keep its power from changing,
// or make that take long.
type faulty struct {
	bmc.Chassis
	protocol, uuid string
	ask            func(fault.Call) fault.Effect
	log            *slog.Logger

	// mu guards cancel and closed.
	mu sync.Mutex
	// cancel takes back the change that is held back; nil: there was none.
	cancel context.CancelFunc
	closed bool
	wg     sync.WaitGroup
}

// Power implements bmc.Chassis. What is held back is taken back by the next request:
// the last one counts.
func (c *faulty) Power(ctx context.Context, action state.PowerAction) error {
	if action == state.ActionDiag { // no change of power
		return c.Chassis.Power(ctx, action)
	}
	e := c.ask(fault.Call{Protocol: c.protocol, Node: c.uuid, Command: "power " + string(action), Power: true, AtChassis: true})
	switch {
	case e.Stuck:
		c.log.InfoContext(ctx, "bmc: power request lost by a fault", "node", c.uuid, "action", action)
		return nil
	case e.Slow > 0:
		c.log.InfoContext(ctx, "bmc: power request held back by a fault", "node", c.uuid, "action", action, "for", e.Slow)
		c.later(ctx, action, e.Slow)
		return nil
	}
	c.takeBack()
	return c.Chassis.Power(ctx, action)
}

// later has a change made after a while.
func (c *faulty) later(ctx context.Context, action state.PowerAction, after time.Duration) {
	c.takeBack()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cancel()
		return
	}
	c.cancel = cancel
	c.wg.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		bounded, done := context.WithTimeout(ctx, lateWithin)
		defer done()
		if err := c.Chassis.Power(bounded, action); err != nil {
			c.log.WarnContext(ctx, "bmc: power request that a fault held back failed", "node", c.uuid, "action", action, "err", err)
		}
	})
}

func (c *faulty) takeBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
		c.cancel = nil
	}
}

// close takes back what is held back, and waits.
func (c *faulty) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.takeBack()
	c.wg.Wait()
}

// redfish are the chassis as Redfish sees them, by node UUID.
type redfish struct {
	mu    sync.Mutex // guards nodes
	nodes map[string]redfishNode
}

type redfishNode struct {
	*faulty
	events *late
}

// RedfishChassis returns a node's chassis as Redfish is to see it: faults of its power
// apply. It is the same for as long as the node is here, and is safe for concurrent use.
func (m *Manager) RedfishChassis(uuid string) bmc.Chassis {
	m.redfish.mu.Lock()
	defer m.redfish.mu.Unlock()
	c, ok := m.redfish.nodes[uuid]
	if !ok {
		chassis := newLookUp(uuid, m.cfg.Chassis)
		c = redfishNode{&faulty{Chassis: chassis, protocol: fault.Redfish, uuid: uuid, ask: m.faults.ask, log: m.cfg.Log}, chassis.events}
		if m.redfish.nodes == nil {
			m.redfish.nodes = map[string]redfishNode{}
		}
		m.redfish.nodes[uuid] = c
	}
	return c.faulty
}

// keepRedfish forgets the chassis of nodes that are not here, and what is held back of
// them.
func (m *Manager) keepRedfish(here []*state.Node) {
	m.redfish.mu.Lock()
	defer m.redfish.mu.Unlock()
	for uuid, c := range m.redfish.nodes {
		if slices.ContainsFunc(here, func(n *state.Node) bool { return n.UUID == uuid }) {
			c.events.attach()
			continue
		}
		delete(m.redfish.nodes, uuid)
		c.close()
	}
}

// Unwrap implements bmc.Wrapper: what a chassis can do besides is subject to no fault.
func (c *faulty) Unwrap() bmc.Chassis { return c.Chassis }
