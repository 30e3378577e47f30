package state

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/hashicorp/go-memdb"
)

// Snapshot is the whole state at one log index. It never changes and is safe for
// concurrent use. Rows are returned in the order of their names, so that whatever
// is decided from a snapshot is decided the same everywhere.
type Snapshot struct {
	txn   *memdb.Txn
	index uint64
	// changed is closed once there is a newer snapshot.
	changed <-chan struct{}
}

// Index is the log index of the last command in the snapshot.
func (s *Snapshot) Index() uint64 { return s.index }

// Mesh returns the mesh's identity; the zero value before the first command.
func (s *Snapshot) Mesh() Mesh {
	if row, ok := first[*meshRow](s.txn, tableMesh, "id", meshKey); ok {
		return row.Mesh
	}
	return Mesh{}
}

// Clusters returns all clusters by name.
func (s *Snapshot) Clusters() []*Cluster { return all[*Cluster](s.txn, tableClusters, "id") }

// Cluster returns one cluster.
func (s *Snapshot) Cluster(name string) (*Cluster, bool) {
	return first[*Cluster](s.txn, tableClusters, "id", name)
}

// Nodes returns all nodes by name.
func (s *Snapshot) Nodes() []*Node { return all[*Node](s.txn, tableNodes, "name") }

// Node returns one node by UUID.
func (s *Snapshot) Node(uuid string) (*Node, bool) {
	return first[*Node](s.txn, tableNodes, "id", uuid)
}

// NodeByName returns one node by its name, which is unique in the mesh.
func (s *Snapshot) NodeByName(name string) (*Node, bool) {
	return first[*Node](s.txn, tableNodes, "name", name)
}

// NodesOf returns a cluster's nodes by name.
func (s *Snapshot) NodesOf(cluster string) []*Node {
	return byName(all[*Node](s.txn, tableNodes, "cluster", cluster))
}

// NodesOn returns the nodes placed on a hypervisor, by name.
func (s *Snapshot) NodesOn(hypervisor string) []*Node {
	return byName(all[*Node](s.txn, tableNodes, "hypervisor", hypervisor))
}

// Hypervisors returns all hypervisors by ID.
func (s *Snapshot) Hypervisors() []*Hypervisor {
	return all[*Hypervisor](s.txn, tableHypervisors, "id")
}

// Hypervisor returns one hypervisor by the peer's ID.
func (s *Snapshot) Hypervisor(id string) (*Hypervisor, bool) {
	return first[*Hypervisor](s.txn, tableHypervisors, "id", id)
}

// Events returns the events after a log index, oldest first; only the newest few
// thousand are kept.
func (s *Snapshot) Events(after uint64) []Event {
	if after == math.MaxUint64 {
		return nil
	}
	var out []Event
	it, err := s.txn.LowerBound(tableEvents, "index", after+1, 0)
	must(err)
	for row := it.Next(); row != nil; row = it.Next() {
		out = append(out, row.(*EventRow).Event)
	}
	return out
}

func byID(peers []*Peer) []*Peer {
	slices.SortFunc(peers, func(a, b *Peer) int { return cmp.Compare(a.ID, b.ID) })
	return peers
}

func byName(nodes []*Node) []*Node {
	slices.SortFunc(nodes, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes
}

func first[T any](txn *memdb.Txn, table, index string, args ...any) (T, bool) {
	row, err := txn.First(table, index, args...)
	must(err)
	t, ok := row.(T)
	return t, ok
}

func last[T any](txn *memdb.Txn, table, index string) (T, bool) {
	row, err := txn.Last(table, index)
	must(err)
	t, ok := row.(T)
	return t, ok
}

func all[T any](txn *memdb.Txn, table, index string, args ...any) []T {
	it, err := txn.Get(table, index, args...)
	must(err)
	var out []T
	for row := it.Next(); row != nil; row = it.Next() {
		out = append(out, row.(T))
	}
	return out
}

// must turns an error of memdb, which says that table, index or argument types do
// not fit our own schema, into a panic.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("state: memdb: %v", err))
	}
}
