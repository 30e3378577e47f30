package hostops

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// Pass makes this host match a snapshot, as far as that goes now, and reports what
// changed. Nodes do not wait for each other's failures: those are in their statuses
// and tried again. The error is that nothing could be looked at, or that the
// snapshot cannot be right. It may be repeated, but not called concurrently.
func (h *Host) Pass(ctx context.Context, snap *state.Snapshot) error {
	h.passes.Add(1)
	if h.clear.wanted() && !h.readmitted(ctx, snap) {
		return h.clearPass(ctx, snap)
	}
	nodes := snap.NodesOn(h.cfg.Hypervisor)
	for _, n := range nodes {
		h.chassisOf(n)
	}
	have, err := h.observe(ctx, nodes)
	if err != nil {
		return err
	}
	want := h.want(ctx, snap, nodes, have)
	p, err := plan(want, have)
	if err != nil {
		return err
	}
	h.reports.offer(ctx, h, announce(want, p))
	out := h.apply(ctx, p, have)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if out.changed {
		if have, err = h.observeChanged(ctx, nodes, have, p, out); err != nil {
			return err
		}
	}
	h.noteQuarantine(want, have)
	h.noteHostErrors(ctx, out.host, p.links)
	h.noteShared(ctx, have.shared(p.links.Bridges, want.ovs))
	found := h.find(want, have, p, out)
	h.tend(ctx, found)
	h.reports.offer(ctx, h, h.statuses(ctx, found))
	h.tidy(ctx, have)
	h.reportDiscarded(ctx, snap, have)
	return nil
}

// observe looks at links and drivers, and tells the chassis of their power.
func (h *Host) observe(ctx context.Context, nodes []*state.Node) (have, error) {
	versions := make(map[string]uint64, len(nodes))
	for _, n := range nodes {
		versions[n.UUID] = h.chassisOf(n).version()
	}
	out := have{instances: map[string]map[string]driver.Instance{}, down: map[string]error{}}
	var mu sync.Mutex // guards out's maps
	var g errgroup.Group
	g.Go(func() (err error) {
		out.links, out.switches, err = h.observeLinks(ctx)
		return err
	})
	for name := range h.cfg.Drivers {
		g.Go(func() error {
			instances, err := h.instances(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.down[name] = err
				return nil
			}
			out.instances[name] = instances
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return have{}, err
	}
	for name := range h.cfg.Drivers {
		// Its reason may say for how long already.
		if _, said := h.logged["driver "+name]; !said || out.down[name] == nil {
			h.complain(ctx, "driver "+name, out.down[name])
		}
	}
	for _, n := range nodes {
		if instances, ok := out.instances[n.Machine.Driver]; ok {
			power := state.PowerOff
			if i, exists := instances[n.UUID]; exists {
				power = i.Power
				h.chassisOf(n).seen(i.Firmware)
			}
			h.chassisOf(n).observed(ctx, power, versions[n.UUID])
		}
	}
	return out, nil
}

// observeChanged looks again after a program. Where that only made nodes that were not
// there, and succeeded, drivers are not asked for all they have: Ensure said that these
// are as they should be, and the next pass looks.
func (h *Host) observeChanged(ctx context.Context, nodes []*state.Node, before have, p program, out outcome) (have, error) {
	if len(out.nodes) > 0 {
		return h.observe(ctx, nodes)
	}
	made := map[string]map[string]driver.Instance{}
	for name, instances := range before.instances {
		made[name] = maps.Clone(instances)
	}
	for _, w := range p.nodes {
		instances, up := made[w.driver]
		_, _, exists := before.find(w.node)
		if w.kind != kindEnsure || w.spec == nil || !up || exists {
			return h.observe(ctx, nodes)
		}
		instances[w.node] = driver.Instance{UUID: w.node, Name: w.spec.Name, Epoch: w.spec.Epoch,
			Power: state.PowerOff, Digest: w.spec.Digest()}
	}
	links, switches, err := h.observeLinks(ctx)
	return have{links: links, switches: switches, instances: made, down: before.down}, err
}

func (h *Host) instances(ctx context.Context, name string) (map[string]driver.Instance, error) {
	d, err := h.driverOf(name)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	list, err := d.Instances(bounded)
	if err != nil {
		return nil, fmt.Errorf("driver %s: list nodes: %w: %w", name, state.ErrBusy, err)
	}
	out := make(map[string]driver.Instance, len(list))
	for _, i := range list {
		out[i.UUID] = i
	}
	return out, nil
}

// want is the snapshot's part for this host, with what only this host knows.
func (h *Host) want(ctx context.Context, snap *state.Snapshot, nodes []*state.Node, now have) want {
	w := want{ovs: h.cfg.OVS, datapath: h.cfg.Datapath, index: snap.Index(), since: h.cfg.Since, nodes: nodes, elsewhere: map[string]bool{}, discard: map[string]bool{}, coming: map[string]bool{}, physnets: h.cfg.Physnets,
		drivers: map[string]bool{}, boots: map[string]state.Boot{}, relinked: map[string]bool{}, setups: map[string][]byte{}}
	for uuid := range now.present() {
		if n, ok := snap.Node(uuid); ok && (n.Placement == nil || n.Placement.Hypervisor != h.cfg.Hypervisor) {
			w.elsewhere[uuid], w.discard[uuid], w.coming[uuid] = true, n.Gone(h.cfg.Hypervisor), h.comes(n)
		}
	}
	for name := range h.cfg.Drivers {
		w.drivers[name] = true
	}
	var used []string
	for _, n := range nodes {
		r := h.chassisOf(n).remembered()
		w.relinked[n.UUID] = r.Relinked
		if kept := h.chassisOf(n).Recall(keySetup); kept != nil {
			w.setups[n.UUID] = kept
		}
		if r.Boot.Persistent {
			w.boots[n.UUID] = state.Boot(r.Boot)
		}
		for _, p := range n.Ports {
			if _, offered := h.cfg.Physnets[p.Physnet]; offered {
				used = append(used, p.Physnet)
			}
		}
	}
	indices := assign(used, h.bridges, h.cfg.Physnets, now.links, origins(nodes))
	if !maps.Equal(indices, h.bridges) {
		h.complain(ctx, "bridges", h.store.putBridges(indices))
		h.bridges = indices
	}
	w.bridges = indices
	w.adopted = adoptedMACs(h.adopted, nodes, indices, now.links)
	if !maps.Equal(w.adopted, h.adopted) {
		h.complain(ctx, "adopted bridges", h.store.putAdopted(w.adopted))
		h.adopted = w.adopted
	}
	w.vxlan, w.tunnels = h.cfg.VXLAN, snap.Tunnels(h.cfg.Hypervisor)
	h.mu.Lock()
	w.lastMTUs = maps.Clone(h.mtus)
	maps.DeleteFunc(w.lastMTUs, func(physnet string, _ int) bool { return h.guessed[physnet] })
	w.mtus = w.mtusIn(now.links)
	h.mtus, h.guessed, h.exposed, h.missing = w.mtus, w.guessed(now.links), w.exposed(now.links), w.missing(now.links)
	h.mu.Unlock()
	return w
}

// assign gives each used physnet the index of its bridge. What is there counts
// first, and what is to be adopted, then what was remembered, unless a foreign link took the name meanwhile.
// Physnets that this host offers keep their index while no node uses them.
func assign(used []string, remembered map[string]int, offered map[string]Physnet, now link.Have, origins map[string]int) map[string]int {
	known := now.Indices()
	adopted(known, origins)
	taken := slices.Collect(maps.Values(known))
	for physnet, i := range remembered {
		_, there := known[physnet]
		_, keep := offered[physnet]
		if keep && !there && !slices.Contains(taken, i) && !now.Taken(link.BridgeName(i)) {
			known[physnet] = i
		}
	}
	maps.Copy(known, link.AssignBridges(used, known, now.Taken))
	return known
}

// tidy forgets the chassis of nodes that are gone.
func (h *Host) tidy(ctx context.Context, now have) {
	if len(now.down) > 0 {
		return
	}
	h.mu.Lock()
	all := slices.Collect(maps.Keys(h.chassis))
	h.mu.Unlock()
	// Newer than all of them: none belongs to a node that was placed only now.
	snap, _ := h.cfg.Source.Snapshot()
	var g sync.WaitGroup // together, so that they are one write to the disk
	defer g.Wait()
	for _, uuid := range all {
		n, ok := snap.Node(uuid)
		if ok && (n.Placement != nil && n.Placement.Hypervisor == h.cfg.Hypervisor || h.comes(n)) {
			continue
		}
		if _, _, exists := now.find(uuid); !exists {
			g.Go(func() { h.forget(ctx, uuid) })
			delete(h.trials, uuid)
			delete(h.unready, uuid)
			delete(h.logged, "node "+uuid)
			h.reports.forget(uuid)
		}
	}
}

// complain logs what is wrong when that changes, and when it is over.
func (h *Host) complain(ctx context.Context, what string, err error) {
	last, wrong := h.logged[what]
	switch {
	case err == nil && wrong:
		delete(h.logged, what)
		h.log.InfoContext(ctx, "recovered", "what", what)
	case err != nil && err.Error() != last:
		h.logged[what] = err.Error()
		h.log.WarnContext(ctx, "not as it should be; will retry", "what", what, "err", err)
	}
}
