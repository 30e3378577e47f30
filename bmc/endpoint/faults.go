package endpoint

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tenks/bmc/fault"
	"tenks/raftfsm/state"
)

// faults are those of the nodes here. update and resets are called by one goroutine at a
// time; the others are safe for concurrent use.
type faults struct {
	clock fault.Clock
	// reset are the BMCs whose sessions a fault has ended.
	reset map[resetKey]bool
	// byNode is what ask reads: without faults it costs one look.
	byNode atomic.Pointer[map[string][]*inForce]

	// mu guards what follows.
	mu  sync.Mutex
	all map[string]*inForce
}

// resetKey is a fault, and the node and protocol whose sessions it ended.
type resetKey struct{ fault, uuid, protocol string }

// inForce is a fault and what it did here.
type inForce struct {
	fault fault.Fault
	ends  time.Time

	// mu guards asked, by node, and hit.
	mu    sync.Mutex
	asked map[string]uint64
	hit   uint64
}

// FaultCount is what a fault did on this host.
type FaultCount struct {
	// Asked counts the requests that it is about, Hit those that it hit.
	Asked, Hit uint64
}

// update takes over the faults of a snapshot.
func (f *faults) update(snap *state.Snapshot, hypervisor string, now time.Time) {
	rows, nodes := snap.Faults(), snap.NodesOn(hypervisor)
	f.clock.See(snap.Index(), rows, now)
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string]*inForce, len(rows))
	byNode := map[string][]*inForce{} // "": of the host as a whole
	for _, row := range rows {
		known, ok := f.all[row.ID]
		if !ok {
			known = &inForce{fault: *row, ends: f.clock.Ends(row.ID), asked: map[string]uint64{}}
		}
		all[row.ID] = known
		if slices.Contains(row.Hypervisors, hypervisor) {
			byNode[""] = append(byNode[""], known)
		}
		for _, n := range nodes {
			if row.Concerns(n) {
				byNode[n.UUID] = append(byNode[n.UUID], known)
			}
		}
	}
	f.all = all
	f.byNode.Store(&byNode)
}

// resets returns the nodes whose BMCs begin to reset: their sessions end.
func (f *faults) resets(protocol string, now time.Time) []string {
	resets := map[resetKey]bool{}
	for key := range f.reset {
		if key.protocol != protocol {
			resets[key] = true
		}
	}
	var out []string
	for uuid, list := range *f.byNode.Load() {
		if uuid == "" {
			continue
		}
		for _, a := range list {
			other := a.fault.Protocol != "" && a.fault.Protocol != protocol
			if a.fault.Kind != state.FaultBMCReset || other || !now.Before(a.ends) {
				continue
			}
			key := resetKey{a.fault.ID, uuid, protocol}
			resets[key] = true
			if !f.reset[key] {
				out = append(out, uuid)
			}
		}
	}
	f.reset = resets
	slices.Sort(out)
	return slices.Compact(out)
}

// ask says what becomes of a request.
func (f *faults) ask(call fault.Call) (e fault.Effect) {
	byNode := f.byNode.Load()
	if byNode == nil || len((*byNode)[call.Node]) == 0 {
		return fault.Effect{}
	}
	now := time.Now()
	for _, a := range (*byNode)[call.Node] {
		if now.Before(a.ends) && fault.Matches(&a.fault, call) {
			e = e.With(a.decide(call))
		}
	}
	return e
}

// decide counts a request, and says whether it is hit: each fault counts for itself, so
// that what it hits does not depend on when it was declared, or what else was.
func (a *inForce) decide(call fault.Call) fault.Effect {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.asked[call.Node]
	a.asked[call.Node]++
	e := fault.Decide([]fault.Fault{a.fault}, call, n)
	if e != (fault.Effect{}) {
		a.hit++
	}
	return e
}

// counts returns what the faults did here, by ID.
func (f *faults) counts() map[string]FaultCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]FaultCount, len(f.all))
	for id, a := range f.all {
		a.mu.Lock()
		c := FaultCount{Hit: a.hit}
		for n := range maps.Values(a.asked) {
			c.Asked += n
		}
		a.mu.Unlock()
		out[id] = c
	}
	return out
}

// FaultCounts returns what each fault did on this host, by its ID. It is safe for
// concurrent use.
func (m *Manager) FaultCounts() map[string]FaultCount { return m.faults.counts() }

// EndedFaults returns the faults of the last snapshot whose time is over by this peer's
// reckoning: see fault.Clock. It is safe for concurrent use.
func (m *Manager) EndedFaults() []string {
	now := time.Now()
	m.faults.mu.Lock()
	defer m.faults.mu.Unlock()
	var out []string
	for id, a := range m.faults.all {
		if !now.Before(a.ends) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
