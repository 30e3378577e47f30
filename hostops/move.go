package hostops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// reportTime bounds the report of nodes that were deleted.
const reportTime = 10 * time.Second

// Outgoing is what a node takes along that moves to another host.
type Outgoing struct {
	driver.Luggage
	// Start is the move's.
	Start uint64
	// Chassis is what the node's chassis remembers.
	Chassis []byte
}

// Outgoing returns what a node here consists of that moves to another hypervisor.
// Errors: state.ErrNotFound if it does not move there, state.ErrWrongState if it is on,
// state.ErrBusy, state.ErrUnsupported.
func (h *Host) Outgoing(ctx context.Context, uuid, to string) (Outgoing, error) {
	n, err := h.MayLeave(uuid, to)
	if err != nil {
		return Outgoing{}, err
	}
	m, err := h.mover(n)
	if err != nil {
		return Outgoing{}, err
	}
	out := Outgoing{Start: n.Move.Start}
	if out.Luggage, err = m.Luggage(ctx, uuid); err != nil {
		return Outgoing{}, err
	}
	c := h.chassisOf(n)
	r := c.remembered()
	out.Chassis, err = json.Marshal(movedChassis{
		row:    row{Version: r.Version, Boot: r.Boot, Policy: r.Policy, Restarted: r.Restarted},
		Memory: c.allKept()})
	return out, err
}

// movedChassis is what a chassis takes along. A Tenks that knows less of it leaves the
// rest behind.
type movedChassis struct {
	row
	Memory map[string][]byte `json:"memory,omitempty"`
}

// MayLeave returns a node that moves from here to another hypervisor and whose disks
// stand still: it is off, and will not be switched on before the move is over. It costs
// no call to the driver. Errors: those of Outgoing.
func (h *Host) MayLeave(uuid, to string) (*state.Node, error) {
	snap, _ := h.cfg.Source.Snapshot()
	n, ok := snap.Node(uuid)
	if !ok || n.Placement == nil || n.Placement.Hypervisor != h.cfg.Hypervisor || !n.Moving() || n.Move.To != to {
		return nil, fmt.Errorf("node %s: a move from here to there: %w", uuid, state.ErrNotFound)
	}
	c := h.chassisOf(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.job != nil:
		return nil, fmt.Errorf("node %s: %w: power %s is under way", n.Name, state.ErrBusy, c.job.action)
	case c.power == state.PowerUnknown:
		return nil, fmt.Errorf("node %s: %w: its power state is not known yet", n.Name, state.ErrBusy)
	case c.power != state.PowerOff:
		return nil, fmt.Errorf("node %s: it is on: %w", n.Name, state.ErrWrongState)
	}
	return n, nil
}

// leaving says why a node may not be started now: what is being copied of it must not
// change. It is asked with the chassis' lock held, so that MayLeave either sees the
// start or was asked before the move, and then gave nothing away.
func (h *Host) leaving(uuid string) error {
	snap, _ := h.cfg.Source.Snapshot()
	if n, ok := snap.Node(uuid); ok && n.Moving() {
		return fmt.Errorf("%w: the node is moving to %s", state.ErrBusy, n.Move.Name)
	}
	return nil
}

func (h *Host) mover(n *state.Node) (driver.Mover, error) {
	d, err := h.driverOf(n.Machine.Driver)
	if err != nil {
		return nil, err
	}
	m, err := driver.MoverOf(d)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", n.Machine.Driver, err)
	}
	return m, nil
}

// Stage returns the directory for the files of a node that moves here; empty: the node
// has been imported. It may be repeated.
func (h *Host) Stage(ctx context.Context, n *state.Node) (dir string, err error) {
	m, err := h.mover(n)
	if err != nil {
		return "", err
	}
	h.driverWrites.Add(1)
	n = n.Elsewhere()
	if dir, err = m.Stage(ctx, specOf(n, state.Boot{}, driver.Setup{})); err != nil {
		return "", err
	}
	// If the move was cancelled meanwhile, what there was of it may have been deleted
	// before this made it anew.
	snap, _ := h.cfg.Source.Snapshot()
	now, known := snap.Node(n.UUID)
	if known && (h.comes(now) || now.Placement != nil && now.Placement.Hypervisor == h.cfg.Hypervisor) {
		return dir, nil
	}
	err = h.call(n.Machine.Driver, func(d driver.Driver) error { return d.Remove(ctx, n.UUID) })
	return "", errors.Join(fmt.Errorf("node %s: does not move here any longer: %w", n.Name, state.ErrNotFound), err)
}

// Import makes what is in the directory of Stage the node, off, and gives its chassis
// back what it remembered. The node is not placed here yet. It may be repeated.
func (h *Host) Import(ctx context.Context, n *state.Node, l driver.Luggage, chassis []byte) error {
	var r movedChassis
	if err := json.Unmarshal(chassis, &r); err != nil {
		return fmt.Errorf("chassis of node %s: decode: %w", n.Name, err)
	}
	if r.Version > rowVersion {
		return fmt.Errorf("chassis of node %s: %w", n.Name, state.ErrNewer)
	}
	m, err := h.mover(n)
	if err != nil {
		return err
	}
	h.driverWrites.Add(1)
	n = n.Elsewhere()
	if err := m.Import(ctx, h.withMTUs(specOf(n, state.Boot{}, decodeSetup(r.Memory[keySetup]).Setup)), l); err != nil {
		return err
	}
	c := h.coming(n.UUID)
	return errors.Join(c.adopt(r.Memory),
		c.save(func(now *row) { now.Boot, now.Policy, now.Restarted = r.Boot, r.Policy, r.Restarted }))
}

// coming returns the chassis of a node that is not placed here yet. Nobody else gets it
// before: it has no driver.
func (h *Host) coming(uuid string) *Chassis {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.chassisNamed(uuid)
}

// comes reports whether a node moves here.
func (h *Host) comes(n *state.Node) bool { return n.Moving() && n.Move.To == h.cfg.Hypervisor }

// reportDiscarded tells the mesh which of the nodes that this host was to delete are
// gone. It does not wait; what is not heard is told again by a later pass.
func (h *Host) reportDiscarded(ctx context.Context, snap *state.Snapshot, now have) {
	if h.cfg.Discarded == nil || len(now.down) > 0 {
		return
	}
	present := now.present()
	var gone []string
	for _, n := range snap.ToDiscard(h.cfg.Hypervisor) {
		if _, there := present[n.UUID]; !there {
			gone = append(gone, n.UUID)
		}
	}
	if len(gone) == 0 || !h.discarding.CompareAndSwap(false, true) {
		return
	}
	started := h.start(func() {
		defer h.discarding.Store(false)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTime)
		defer cancel()
		if err := h.cfg.Discarded(ctx, gone); err != nil {
			h.log.WarnContext(ctx, "deleted nodes not reported; will retry", "nodes", len(gone), "err", err)
		}
	})
	if !started {
		h.discarding.Store(false)
	}
}
