package state

import "fmt"

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
	}
	if row, ok := first[*meshRow](s.txn, tableMesh, "id", meshKey); ok {
		d.Mesh = &row.Mesh
	}
	return d
}

// Load replaces the whole state. Snapshots taken before stay as they are, and their
// channels are closed. On an error, which says what in d cannot be, the store is
// untouched.
func (s *Store) Load(d Dump) error {
	db := newDB()
	t := &tx{Txn: db.Txn(true), index: d.Index}
	if err := t.load(d); err != nil {
		t.Abort()
		return err
	}
	t.Commit()
	s.db = db
	s.publish(d.Index)
	return nil
}

func (t *tx) load(d Dump) error {
	if d.Mesh != nil {
		t.put(tableMesh, &meshRow{Key: meshKey, Mesh: *d.Mesh})
	}
	for _, c := range d.Clusters {
		if err := t.loadRow(tableClusters, "id", "cluster", c.Name, c); err != nil {
			return err
		}
	}
	for _, h := range d.Hypervisors {
		if err := t.loadRow(tableHypervisors, "id", "hypervisor", h.ID, h); err != nil {
			return err
		}
	}
	for _, n := range d.Nodes {
		if err := t.checkNew(n); err != nil {
			return err
		}
		if n.Placement != nil && t.endpointTaken(n.Placement.Hypervisor, n.Placement.BMC) {
			return fmt.Errorf("node %q: BMC %s:%d is another's", n.Name, n.Placement.BMC.Address, n.Placement.BMC.Port)
		}
		t.put(tableNodes, n)
	}
	return t.loadHistory(d)
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
