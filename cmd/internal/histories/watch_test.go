package histories

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tenks/raftfsm/state"
)

// digestEvery is how far apart the indexes are at which states are compared whole.
const digestEvery = 16

// place is where a node was, by a state of an index.
type place struct {
	index, epoch uint64
	hypervisor   string
}

// watch is what all peers' states said, whenever they said something new.
type watch struct {
	mu     sync.Mutex // guards what follows
	faults map[string]bool
	// events are those of the log, by index and place.
	events map[[2]uint64]state.Event
	// places are those of each node, in the order in which they were seen.
	places map[string][]place
	// digests are of states, by index.
	digests map[uint64]string
	// led is when a peer was last seen to lead; leaderless the longest time without.
	led        time.Time
	leaderless time.Duration
	leaders    map[string]bool
}

func newWatch() *watch {
	return &watch{faults: map[string]bool{}, events: map[[2]uint64]state.Event{}, places: map[string][]place{},
		digests: map[uint64]string{}, leaders: map[string]bool{}}
}

// fault notes what should never be.
func (w *watch) fault(format string, args ...any) { w.faults[fmt.Sprintf(format, args...)] = true }

// observe looks at every state of a peer until it ends.
func (w *watch) observe(p *peer) {
	var last *state.Snapshot
	for {
		snap, changed := p.source.Snapshot()
		if snap != last {
			w.look(p.host.name, last, snap)
			last = snap
		}
		select {
		case <-p.ctx.Done():
			return
		case <-changed:
		}
	}
}

func (w *watch) look(who string, last, snap *state.Snapshot) {
	digest := ""
	if snap.Index()%digestEvery == 0 {
		digest = snap.Digest()
	}
	after := uint64(0)
	if last != nil {
		after = last.Index()
	}
	events := snap.Events(after)
	w.mu.Lock()
	defer w.mu.Unlock()
	if snap.Index() < after {
		w.fault("%s: the state went back from %d to %d", who, after, snap.Index())
	}
	if known := w.digests[snap.Index()]; digest != "" && known != "" && known != digest {
		w.fault("%s: another state than others at index %d", who, snap.Index())
	} else if digest != "" {
		w.digests[snap.Index()] = digest
	}
	for _, e := range events {
		at := [2]uint64{e.Index, uint64(e.Seq)}
		if known, ok := w.events[at]; ok && known != e {
			w.fault("%s: event %v is %v, elsewhere %v", who, at, e, known)
		}
		w.events[at] = e
	}
	for _, n := range snap.Nodes() {
		if n.Placement == nil {
			continue
		}
		now := place{snap.Index(), n.Placement.Epoch, n.Placement.Hypervisor}
		known := w.places[n.UUID]
		if !slices.ContainsFunc(known, func(k place) bool {
			return k.epoch == now.epoch && k.hypervisor == now.hypervisor && k.index == now.index
		}) {
			w.places[n.UUID] = append(known, now)
		}
	}
}

// leads notes who leads now; empty: nobody.
func (w *watch) leads(leader string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if leader != "" {
		w.leaders[leader] = true
		w.led = now
	}
	w.leaderless = max(w.leaderless, now.Sub(w.led))
}

// check says what was wrong in the end: a node at two places at once, an epoch that fell,
// a write that is not there once.
func (w *watch) check(h *history) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for uuid, places := range w.places {
		slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.epoch, b.epoch)) })
		of := map[uint64]string{}
		for i, p := range places {
			if was, ok := of[p.epoch]; ok && was != p.hypervisor {
				w.fault("node %s is at %s and at %s in epoch %d", uuid, was, p.hypervisor, p.epoch)
			}
			of[p.epoch] = p.hypervisor
			if i > 0 && p.epoch < places[i-1].epoch {
				w.fault("node %s: epoch %d at index %d, and %d at %d", uuid, places[i-1].epoch, places[i-1].index, p.epoch, p.index)
			}
		}
	}
	w.checkWrites(h)
	var out []string
	for f := range w.faults {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// checkWrites compares what clients were told with the log's events.
func (w *watch) checkWrites(h *history) {
	puts, applied := map[string]int{}, map[uint64]string{}
	for at, e := range w.events {
		switch e.Type {
		case state.EventHypervisor:
			puts[hypervisorOf(e.Message)]++
		case state.EventClusterApplied:
			applied[at[0]] = e.Cluster
		}
	}
	least := map[string]int{}
	most := map[string]int{}
	for _, op := range h.all() {
		i, o := op.Input.(input), op.Output.(output)
		switch i.op {
		case opPut:
			n := puts[i.value]
			if n > 1 || n == 0 && o.outcome == done || n == 1 && (o.outcome == never || o.outcome == refused) {
				w.fault("%s is in the log %d times", describe(i, o), n)
			}
		case opApply:
			if o.outcome == done {
				least[i.key]++
			}
			if o.outcome == done || o.outcome == unknown {
				most[i.key]++
			}
		}
	}
	all := map[string]int{}
	for _, key := range applied {
		all[key]++
	}
	for _, key := range clusterKeys {
		if all[key] < least[key] || all[key] > most[key] {
			w.fault("%s was applied %d times, %d times as clients know, and at most %d times", key, all[key], least[key], most[key])
		}
	}
}

// hypervisorOf is the name in the event of a PutHypervisor.
func hypervisorOf(message string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(message, "hypervisor "), ":")
	return name
}
