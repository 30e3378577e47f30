package state

import (
	"slices"

	"github.com/hashicorp/go-memdb"
)

// keepDepartures is how many departures are kept.
const keepDepartures = 8192

// Departure says that a node is gone from the state which a hypervisor had been
// told of, because it is or was placed there.
type Departure struct {
	// Serial counts the departures of the mesh.
	Serial     uint64
	Hypervisor string
	UUID       string
	// Index is the log index at which the node went.
	Index uint64
}

// Departed says how far back departures are known: all those after Since are in the
// state. Who was told of less needs the whole of its part.
type Departed struct{ Since uint64 }

// departedRow is the only row of its table.
type departedRow struct {
	Key      string
	Departed Departed
}

// hosts returns the hypervisors that a node concerns: the one that it is placed on, the
// one that it moves to, and those that it was on before. A node is in the parts of all of them.
func (n *Node) hosts() []string {
	out := n.Past
	if n.Placement != nil {
		out = withPast(out, n.Placement.Hypervisor)
	}
	if n.Moving() {
		out = withPast(out, n.Move.To)
	}
	return out
}

// putNode writes a changed node.
func (t *tx) putNode(n *Node) {
	n.ModifyIndex = t.index
	t.put(tableNodes, n)
	t.touch(n.hosts()...)
}

// dropNode deletes a node, and remembers it for the hypervisors that know it.
func (t *tx) dropNode(n *Node) {
	must(t.Delete(tableNodes, n))
	t.depart(n.UUID, n.hosts()...)
}

// depart remembers that a node is no longer in the parts of hypervisors.
func (t *tx) depart(uuid string, hypervisors ...string) {
	serial := uint64(0)
	if last, ok := last[*Departure](t.Txn, tableDepartures, "id"); ok {
		serial = last.Serial
	}
	for _, h := range hypervisors {
		serial++
		t.put(tableDepartures, &Departure{Serial: serial, Hypervisor: h, UUID: uuid, Index: t.index})
		t.touch(h)
	}
	t.trimDepartures(serial)
}

func (t *tx) trimDepartures(newest uint64) {
	since := t.departedSince()
	trim(t, tableDepartures, "id", func(d *Departure) bool {
		old := d.Serial+keepDepartures <= newest
		if old {
			since = max(since, d.Index)
		}
		return old
	})
	t.setDeparted(since)
}

func (t *tx) departedSince() uint64 { return departedSince(t.Txn) }

func departedSince(txn *memdb.Txn) uint64 {
	row, ok := first[*departedRow](txn, tableDeparted, "id", departedKey)
	if !ok {
		return 0
	}
	return row.Departed.Since
}

func (t *tx) setDeparted(since uint64) {
	if since != t.departedSince() {
		t.put(tableDeparted, &departedRow{Key: departedKey, Departed: Departed{Since: since}})
	}
}

// departures returns the nodes that a hypervisor lost from its part after a log
// index, by UUID.
func (s *Snapshot) departures(hypervisor string, after uint64) []string {
	it, err := s.txn.LowerBound(tableDepartures, "hypervisor", hypervisor, after+1)
	must(err)
	var out []string
	for row := it.Next(); row != nil; row = it.Next() {
		d := row.(*Departure)
		if d.Hypervisor != hypervisor {
			break
		}
		out = append(out, d.UUID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
