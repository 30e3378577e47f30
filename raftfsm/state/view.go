package state

// viewRow is who waits for a hypervisor's part of the state to change: its own row, a
// node that is or was placed on it. It follows from the other rows and is in no dump.
type viewRow struct {
	Hypervisor string
	// changed is closed once there is a snapshot with another such row. memdb's own
	// channels are closed before that snapshot can be had.
	changed chan struct{}
}

// peersView is the key of who waits for peers; no hypervisor has it.
const peersView = ""

// touch wakes, once the transaction is published, who watches hypervisors.
func (t *tx) touch(hypervisors ...string) {
	for _, h := range hypervisors {
		if t.touched[h] {
			continue
		}
		t.touched[h] = true
		if old, ok := first[*viewRow](t.Txn, tableViews, "id", h); ok {
			t.wake = append(t.wake, old.changed)
		}
		t.put(tableViews, &viewRow{Hypervisor: h, changed: make(chan struct{})})
	}
}

// touchAll wakes who watches anything, and forgets them.
func (t *tx) touchAll() {
	for _, v := range all[*viewRow](t.Txn, tableViews, "id") {
		t.wake = append(t.wake, v.changed)
		must(t.Delete(tableViews, v))
	}
}

// WatchOn returns a channel that is closed once something that concerns a hypervisor
// is no longer as in this snapshot: its own row, or a node that is or was placed on
// it. It is closed already if that has happened, and stays open while only others
// change. If nothing that concerns the hypervisor was ever in the state, any change
// closes it.
func (s *Snapshot) WatchOn(hypervisor string) <-chan struct{} {
	if v, ok := first[*viewRow](s.txn, tableViews, "id", hypervisor); ok {
		return v.changed
	}
	return s.changed
}

// WatchPeers returns a channel that is closed once some peer, or the mesh, is no
// longer as in this snapshot.
func (s *Snapshot) WatchPeers() <-chan struct{} { return s.WatchOn(peersView) }
