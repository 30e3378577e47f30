package hostops

import (
	"context"
	"fmt"
	"math"
	"sync"

	"tenks/raftfsm/state"
)

// clearing is the end of this host's part in the mesh.
type clearing struct {
	mu sync.Mutex
	// done is closed once nothing of ours is here; nil: nobody asked for that.
	done chan struct{}
	// left says what was still here after the last pass, or what it failed by.
	left error
}

// Clear removes everything of ours that is on this host: nodes with their disks, wherever the
// mesh has them, links and bridges. From the call on the host makes nothing any more, also
// where it fails or the agent starts anew, until the mesh admits the host again; it may be
// repeated. The error says what is left.
func (h *Host) Clear(ctx context.Context) error {
	done := h.clear.begin()
	h.wakeSoon()
	if err := h.store.putClearing(&savedClearing{Hypervisor: h.cfg.Hypervisor}); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		h.clear.mu.Lock()
		defer h.clear.mu.Unlock()
		if h.clear.left != nil {
			return fmt.Errorf("this host is not cleared: %w", h.clear.left)
		}
		return fmt.Errorf("this host is not cleared: %w", ctx.Err())
	}
}

func (c *clearing) begin() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
	}
	return c.done
}

// wanted reports whether Clear was called.
func (c *clearing) wanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done != nil
}

// note remembers how a pass ended: nil is that nothing was left.
func (c *clearing) note(left error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = left
	if left != nil {
		return
	}
	select {
	case <-c.done:
	default:
		close(c.done)
	}
}

// clearPass is a pass that takes apart what there is.
func (h *Host) clearPass(ctx context.Context, snap *state.Snapshot) error {
	err := h.clearOnce(ctx, snap)
	h.clear.note(err)
	return err
}

func (h *Host) clearOnce(ctx context.Context, snap *state.Snapshot) error {
	now, err := h.observe(ctx, nil)
	if err != nil {
		return err
	}
	for name, err := range now.down {
		return fmt.Errorf("driver %s: %w", name, err)
	}
	if now.switches.Down != nil && (h.cfg.OVS || h.switched.used()) { // what it keeps would be there for ever
		return fmt.Errorf("Open vSwitch may have bridges or ports of ours: %w", now.switches.Down)
	}
	w := h.want(ctx, snap, nil, now)
	w.index, w.since = math.MaxUint64, 0 // whatever it is from
	for uuid := range now.present() {
		w.elsewhere[uuid], w.discard[uuid] = true, true
	}
	p, err := plan(w, now)
	if err != nil {
		return err
	}
	if len(p.before)+len(p.nodes)+len(p.after) == 0 {
		return nil
	}
	out := h.apply(ctx, p, now)
	for _, errs := range []map[string]error{out.host, out.nodes} {
		for what, err := range errs {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	h.wakeSoon() // for the pass that sees that it is so
	return fmt.Errorf("%d nodes and their links were being removed", len(p.nodes))
}
