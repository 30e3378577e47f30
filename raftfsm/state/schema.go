package state

import (
	"cmp"
	"slices"

	"github.com/hashicorp/go-memdb"
)

const (
	tableMesh        = "mesh"
	tableClusters    = "clusters"
	tableNodes       = "nodes"
	tableHypervisors = "hypervisors"
	tableEvents      = "events"
	tableRequests    = "requests"

	meshKey = "mesh"
)

// meshRow and requestRow are rows that are not part of the vocabulary.
type meshRow struct {
	Key  string
	Mesh Mesh
}

// requestRow remembers the result of a request: the error's text, empty if it was
// applied.
type requestRow struct {
	ID    string
	Index uint64
	Err   string
}

func schema() *memdb.DBSchema {
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		tableMesh: table(tableMesh, unique("id", field("Key"))),
		tableClusters: table(tableClusters,
			unique("id", field("Name"))),
		tableNodes: table(tableNodes,
			unique("id", field("UUID")),
			unique("name", field("Name")),
			unique("linkname", field("LinkName")),
			index("cluster", field("Cluster")),
			index("hypervisor", hypervisorOf{})),
		tableHypervisors: table(tableHypervisors,
			unique("id", field("ID"))),
		tableEvents: table(tableEvents,
			unique("id", &memdb.CompoundIndex{Indexes: []memdb.Indexer{
				&memdb.UintFieldIndex{Field: "Index"}, &memdb.IntFieldIndex{Field: "Seq"}}})),
		tableRequests: table(tableRequests,
			unique("id", field("ID")),
			index("index", &memdb.UintFieldIndex{Field: "Index"})),
	}}
}

func table(name string, indexes ...*memdb.IndexSchema) *memdb.TableSchema {
	t := &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{}}
	for _, i := range indexes {
		t.Indexes[i.Name] = i
	}
	return t
}

func unique(name string, i memdb.Indexer) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, Unique: true, Indexer: i}
}

func index(name string, i memdb.Indexer) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, AllowMissing: true, Indexer: i}
}

func field(name string) *memdb.StringFieldIndex { return &memdb.StringFieldIndex{Field: name} }

// hypervisorOf indexes a node by the hypervisor that it is placed on.
type hypervisorOf struct{}

func (hypervisorOf) FromObject(row any) (bool, []byte, error) {
	n := row.(*Node)
	if n.Placement == nil {
		return false, nil, nil
	}
	return true, []byte(n.Placement.Hypervisor + "\x00"), nil
}

func (hypervisorOf) FromArgs(args ...any) ([]byte, error) {
	return []byte(args[0].(string) + "\x00"), nil
}

func byName(nodes []*Node) []*Node {
	slices.SortFunc(nodes, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes
}
