package state

import (
	"fmt"
	"maps"
	"slices"
)

// EventRow is an event as it is stored.
type EventRow struct {
	// Serial counts the events of the mesh.
	Serial uint64
	Event  Event
}

// Dump is the whole state as values, in an order that depends on nothing but the
// state. Its rows are shared with snapshots and must not be changed.
type Dump struct {
	// Index is the log index of the last command in the state.
	Index uint64
	// Mesh is nil before the first command.
	Mesh        *Mesh
	Clusters    []*Cluster
	Hypervisors []*Hypervisor
	Nodes       []*Node
	Events      []*EventRow
	Requests    []*RequestRow
	Peers       []*Peer
	Tokens      []*Token
	// Keys is nil before the first PutKeys.
	Keys       *Keys
	Departures []*Departure
	// Departed is nil in a dump from before departures were kept: the state that it
	// is loaded into knows none from before Index.
	Departed *Departed
	Faults   []*Fault
	// Quotas is not in the digest of a state that has none.
	Quotas []*QuotaRow `json:",omitempty"`
	// Level is nil at level 0, and as Quotas in the digest.
	Level *Level `json:",omitempty"`
}

// Dump returns the whole state.
func (s *Snapshot) Dump() Dump {
	d := Dump{
		Index:       s.index,
		Clusters:    s.Clusters(),
		Hypervisors: s.Hypervisors(),
		Nodes:       s.Nodes(),
		Events:      all[*EventRow](s.txn, tableEvents, "id"),
		Requests:    all[*RequestRow](s.txn, tableRequests, "serial"),
		Peers:       s.Peers(),
		Tokens:      s.Tokens(),
		Departures:  all[*Departure](s.txn, tableDepartures, "id"),
		Departed:    &Departed{Since: departedSince(s.txn)},
		Faults:      s.Faults(),
		Quotas:      s.Quotas(),
		Level:       s.Level().dumped(),
	}
	if row, ok := first[*meshRow](s.txn, tableMesh, "id", meshKey); ok {
		d.Mesh = &row.Mesh
	}
	if row, ok := first[*keysRow](s.txn, tableKeys, "id", keysKey); ok {
		d.Keys = &row.Keys
	}
	return d
}

// Load replaces the whole state. Snapshots taken before stay as they are, and their
// channels are closed, those of WatchOn and WatchPeers too. On an error, which says
// what in d cannot be, the store is untouched.
func (s *Store) Load(d Dump) error {
	t := s.begin(d.Index, 0)
	t.clear()
	if err := t.load(d); err != nil {
		t.Abort()
		return err
	}
	s.commit(t)
	return nil
}

func (t *tx) load(d Dump) error {
	if d.Mesh != nil {
		t.putMesh(*d.Mesh)
	}
	if d.Level != nil {
		t.putLevel(*d.Level)
	}
	if d.Keys != nil {
		t.put(tableKeys, &keysRow{Key: keysKey, Keys: *d.Keys})
	}
	if err := t.loadPeers(d); err != nil {
		return err
	}
	for _, c := range d.Clusters {
		if err := t.loadRow(tableClusters, "id", "cluster", c.Name, c); err != nil {
			return err
		}
	}
	for _, h := range d.Hypervisors {
		if err := t.loadHypervisor(h); err != nil {
			return err
		}
	}
	for _, n := range d.Nodes {
		if err := t.loadNode(n); err != nil {
			return err
		}
	}
	if err := t.loadFaults(d.Faults); err != nil {
		return err
	}
	for _, q := range d.Quotas {
		if err := q.check(); err != nil {
			return err
		}
		if err := t.loadRow(tableQuotas, "id", "quota of cluster", q.Cluster, q); err != nil {
			return err
		}
	}
	return t.loadHistory(d)
}

// clear deletes every row.
func (t *tx) clear() {
	t.touchAll()
	for _, name := range slices.Sorted(maps.Keys(schema().Tables)) {
		_, err := t.DeleteAll(name, "id")
		must(err)
	}
}

func (t *tx) loadHypervisor(h *Hypervisor) error {
	t.touch(h.ID)
	return t.loadRow(tableHypervisors, "id", "hypervisor", h.ID, h)
}

func (t *tx) loadNode(n *Node) error {
	if err := t.checkNew(n); err != nil {
		return err
	}
	if n.Placement != nil && t.endpointTaken(n.Placement.Hypervisor, n.Placement.BMC) {
		return fmt.Errorf("node %q: BMC %s:%d is another's", n.Name, n.Placement.BMC.Address, n.Placement.BMC.Port)
	}
	if n.Moving() && t.endpointTaken(n.Move.To, n.Move.BMC) {
		return fmt.Errorf("node %q: BMC %s:%d, which it moves to, is another's", n.Name, n.Move.BMC.Address, n.Move.BMC.Port)
	}
	t.put(tableNodes, n)
	t.touch(n.hosts()...)
	return nil
}

func (t *tx) loadPeers(d Dump) error {
	for _, p := range d.Peers {
		if err := t.loadPeer(p); err != nil {
			return err
		}
	}
	for _, k := range d.Tokens {
		if err := t.loadRow(tableTokens, "id", "token", k.ID, k); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) loadPeer(p *Peer) error {
	if err := checkPeer(p); err != nil {
		return err
	}
	if other, taken := t.nameTaken(p); taken && !p.Removed {
		return fmt.Errorf("peer %q: name %s is taken by peer %s", p.ID, p.Name, other.ID)
	}
	t.touch(peersView)
	return t.loadRow(tablePeers, "id", "peer", p.ID, p)
}

func (t *tx) loadRow(table, index, noun, id string, row any) error {
	if err := checkKey(noun+" name", id); err != nil {
		return err
	}
	if _, ok := first[any](t.Txn, table, index, id); ok {
		return fmt.Errorf("%s %q is there twice", noun, id)
	}
	t.put(table, row)
	return nil
}

func (t *tx) loadHistory(d Dump) error {
	before := uint64(0)
	for _, e := range d.Events {
		if e.Serial <= before {
			return fmt.Errorf("event %d is out of order", e.Serial)
		}
		before = e.Serial
		t.put(tableEvents, e)
	}
	if err := t.loadDepartures(d); err != nil {
		return err
	}
	before = 0
	for _, r := range d.Requests {
		if r.Serial <= before {
			return fmt.Errorf("request %q is out of order", r.ID)
		}
		before = r.Serial
		if err := t.loadRow(tableRequests, "id", "request", r.ID, r); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) loadDepartures(d Dump) error {
	before := uint64(0)
	for _, dep := range d.Departures {
		if dep.Serial <= before {
			return fmt.Errorf("departure %d is out of order", dep.Serial)
		}
		before = dep.Serial
		t.put(tableDepartures, dep)
	}
	since := d.Index
	if d.Departed != nil {
		since = d.Departed.Since
	}
	t.setDeparted(since)
	return nil
}
