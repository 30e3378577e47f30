package hostops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

const (
	// readyGrace is how long a node may lack nothing but Config.Ready until that is
	// an error.
	readyGrace = 10 * time.Second
	// readyPoll is how soon a node that lacks only that is looked at again.
	readyPoll = 200 * time.Millisecond
)

// finding is how a node placed here is after a pass.
type finding struct {
	node *state.Node
	// removed says that it should be gone.
	removed bool
	// present says that there is something of it; complete, that it is all as it
	// should be.
	present, complete bool
	instance          driver.Instance
	links             []state.PortLink
	// err says what is wrong; busy, that it is a driver that does not answer.
	err  error
	busy bool
}

// find compares what is wanted with what there is after a program was carried out.
func (h *Host) find(w want, now have, p program, out outcome) []*finding {
	links, unplugged := now.portLinks(p.links)
	present := now.present()
	found := make([]*finding, 0, len(w.nodes))
	for _, n := range w.nodes {
		f := &finding{node: n, removed: n.TakenApart(), links: links[n.UUID]}
		_, f.present = present[n.UUID]
		in, i, exists := now.find(n.UUID)
		f.instance = i
		made := exists && in == n.Machine.Driver && i.Digest == w.spec(n).Digest()
		f.complete = made && len(f.links) == len(n.Ports) && i.Epoch == n.Placement.Epoch
		if made {
			h.chassisOf(n).carriedOut(w.setups[n.UUID])
		}
		f.err = p.faults[n.UUID]
		for _, err := range []error{bridgeError(n, p.links, out.host), out.nodes[n.UUID], unplugged[n.UUID], now.down[n.Machine.Driver]} {
			if f.err == nil && err != nil {
				f.err, f.busy = err, transient(err)
			}
		}
		if n.Anew && f.err == nil { // one that does not answer may have it
			for _, name := range slices.Sorted(maps.Keys(now.down)) {
				f.err, f.busy = now.down[name], true
			}
		}
		found = append(found, f)
	}
	return found
}

// transient reports whether an error says only that a driver does not answer now.
func transient(err error) bool {
	return errors.Is(err, state.ErrBusy) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// bridgeError is what is wrong with a bridge that the node has a port on.
func bridgeError(n *state.Node, links link.Want, errs map[string]error) error {
	for _, p := range links.Ports {
		if p.Node == n.UUID && errs[p.Bridge] != nil {
			return errs[p.Bridge]
		}
	}
	return nil
}

// announce says of nodes that nobody has reported yet that they are being made.
func announce(w want, p program) []state.NodeHostReport {
	var out []state.NodeHostReport
	for _, n := range w.nodes {
		made := slices.ContainsFunc(p.nodes, func(w work) bool { return w.kind == kindEnsure && w.node == n.UUID })
		if made && n.Host.Phase == "" {
			out = append(out, report(n, state.HostStatus{Phase: state.HostCreating}))
		}
	}
	return out
}

func report(n *state.Node, s state.HostStatus) state.NodeHostReport {
	s.StopAfterMilli = n.Promise()
	return state.NodeHostReport{UUID: n.UUID, Epoch: n.Placement.Epoch, Status: s}
}

// statuses returns what there is to say of each node.
func (h *Host) statuses(ctx context.Context, found []*finding) []state.NodeHostReport {
	out := make([]state.NodeHostReport, 0, len(found))
	for _, f := range found {
		complaint := f.err
		if f.busy { // the driver's, said once
			complaint = nil
		}
		h.complain(ctx, "node "+f.node.UUID, complaint)
		if s, ok := h.status(f); ok {
			out = append(out, report(f.node, s))
		}
	}
	return out
}

// status is what the mesh is told of a node; false: nothing new is known. A driver
// that does not answer for a while does not make a ready node anything else.
func (h *Host) status(f *finding) (state.HostStatus, bool) {
	phase := f.node.Host.Phase
	creating := phase == "" || phase == state.HostCreating
	switch {
	case f.err != nil && f.busy:
		// Once: the text may say for how long it has not answered.
		return state.HostStatus{Phase: state.HostCreating, Error: f.err.Error()}, creating && f.node.Host.Error == ""
	case f.err != nil:
		s := state.HostStatus{Phase: state.HostError, Error: f.err.Error(), Links: f.links, Pending: f.instance.Pending, Display: f.instance.Display}
		if f.links == nil {
			s.Links = f.node.Host.Links
		}
		return s, true
	case f.removed:
		return state.HostStatus{Phase: state.HostGone}, !f.present
	case !f.complete:
		return state.HostStatus{}, false
	}
	s := state.HostStatus{Phase: state.HostReady, Links: f.links, Pending: f.instance.Pending, Display: f.instance.Display}
	if err := h.notReady(f.node); err != nil {
		s.Phase, s.Error = state.HostError, err.Error()
		return s, time.Since(h.unready[f.node.UUID]) >= readyGrace
	}
	return s, true
}

// notReady asks Config.Ready, and remembers since when the answer is an error.
func (h *Host) notReady(n *state.Node) error {
	if h.cfg.Ready == nil {
		return nil
	}
	err := h.cfg.Ready(n)
	if err == nil {
		delete(h.unready, n.UUID)
		return nil
	}
	if _, ok := h.unready[n.UUID]; !ok {
		h.unready[n.UUID] = time.Now()
	}
	h.wakeIn(readyPoll)
	return err
}

// tend gives nodes the power and the media that they should have: after a reboot of the
// host, where a declared change asks for a restart, and where a drive is not as it was left.
func (h *Host) tend(ctx context.Context, found []*finding) {
	var todo []*finding
	for _, f := range found {
		t, tried := h.trials[f.node.UUID]
		switch {
		case f.err != nil || f.removed || !f.complete || !h.chassisOf(f.node).needsTending(f):
		case tried && time.Now().Before(t.next):
			f.err = t.err
		default:
			todo = append(todo, f)
		}
	}
	var g errgroup.Group
	g.SetLimit(h.cfg.Parallel)
	for _, f := range todo {
		g.Go(func() error {
			f.err = h.chassisOf(f.node).tend(ctx, f)
			f.busy = transient(f.err)
			return nil
		})
	}
	_ = g.Wait() // failures are in the findings
	for _, f := range todo {
		h.tried(f.node.UUID, "power", f.err)
	}
}

func (c *Chassis) needsTending(f *finding) bool {
	r := c.remembered()
	return r.HostBoot != c.host.cfg.BootID || f.node.RestartIndex > r.Restarted || slices.ContainsFunc(c.drives(), func(d *Drive) bool { return d.drifted(f.instance) })
}

// tend sees to the drives first: the node may be started from one.
func (c *Chassis) tend(ctx context.Context, f *finding) error {
	for _, d := range c.drives() {
		if d.drifted(f.instance) {
			if err := d.mendDrive(ctx); err != nil {
				return err
			}
		}
	}
	if c.remembered().HostBoot != c.host.cfg.BootID {
		return c.restore(ctx, f.instance.Power)
	}
	return c.restart(ctx, f.node.RestartIndex, f.instance.Power, f.instance.Pending)
}

// restore does what the policy says after a reboot of the host, or after the host had no
// lease, once. A node that
// runs already is left alone.
func (c *Chassis) restore(ctx context.Context, power state.Power) error {
	r := c.remembered()
	on := r.Policy == state.RestoreOn || r.Policy == state.RestorePrevious && r.Power == state.PowerOn
	if !on || power != state.PowerOff {
		return c.save(func(r *row) { r.HostBoot, r.Power = c.host.cfg.BootID, power })
	}
	if err := c.host.mayStart(c.uuid); err != nil {
		return err
	}
	if err := c.carryOutNow(ctx, request{action: state.ActionOn, origin: originRestore}); err != nil {
		return fmt.Errorf("power on after the host's reboot: %w", err)
	}
	return nil
}

// restart power cycles a running node that has changes pending, once for each
// request.
func (c *Chassis) restart(ctx context.Context, index uint64, power state.Power, pending []string) error {
	if power != state.PowerOn || len(pending) == 0 {
		return c.save(func(r *row) { r.Restarted = max(r.Restarted, index) })
	}
	if err := c.carryOutNow(ctx, request{action: state.ActionCycle, origin: originDeclare, restart: index}); err != nil {
		return fmt.Errorf("restart for pending changes: %w", err)
	}
	return nil
}

// carryOutNow makes a request of the reconciler's own and waits for its end.
func (c *Chassis) carryOutNow(ctx context.Context, q request) error {
	c.host.driverWrites.Add(1)
	j, err := c.begin(ctx, q)
	if err != nil || j == nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
