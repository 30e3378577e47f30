package state

import (
	"github.com/hashicorp/go-memdb"
)

const (
	tableMesh        = "mesh"
	tableClusters    = "clusters"
	tableNodes       = "nodes"
	tableHypervisors = "hypervisors"
	tableEvents      = "events"
	tableRequests    = "requests"
	tablePeers       = "peers"
	tableTokens      = "tokens"
	tableKeys        = "keys"
	tableDepartures  = "departures"
	tableDeparted    = "departed"
	tableViews       = "views"
	tableFaults      = "faults"
	tableFaultsIndex = "faultsindex"
	tableTunnels     = "tunnels"
	tableQuotas      = "quotas"
	tableLevel       = "level"

	tableTunnelsIndex = "tunnelsindex"

	meshKey     = "mesh"
	keysKey     = "keys"
	departedKey = "departed"
	faultsKey   = "faults"
	tunnelsKey  = "tunnels"
	levelKey    = "level"
)

// meshRow is the only row of its table.
type meshRow struct {
	Key  string
	Mesh Mesh
}

func schema() *memdb.DBSchema {
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		tableMesh:  table(tableMesh, unique("id", field("Key"))),
		tableLevel: table(tableLevel, unique("id", field("Key"))),
		tableClusters: table(tableClusters,
			unique("id", field("Name"))),
		tableNodes: table(tableNodes,
			unique("id", field("UUID")),
			unique("name", field("Name")),
			unique("linkname", field("LinkName")),
			optional(unique("mac", macs{})),
			optional(unique("bmcaddress", keyOf[*Node](bmcAddress))),
			index("cluster", field("Cluster")),
			index("hypervisor", keyOf[*Node](onHypervisor)),
			index("past", pastHosts{}),
			index("target", keyOf[*Node](movingTo)),
			optional(unique("targetpoint", keyOf[*Node](movingToEndpoint))),
			optional(unique("endpoint", keyOf[*Node](atEndpoint)))),
		tableHypervisors: table(tableHypervisors,
			unique("id", field("ID"))),
		tableEvents: table(tableEvents,
			unique("id", keyOf[*EventRow](func(e *EventRow) []byte { return key(e.Serial) })),
			unique("index", keyOf[*EventRow](func(e *EventRow) []byte { return key(e.Event.Index, e.Event.Seq) }))),
		tableRequests: table(tableRequests,
			unique("id", field("ID")),
			unique("serial", keyOf[*RequestRow](func(r *RequestRow) []byte { return key(r.Serial) }))),
		tablePeers: table(tablePeers,
			unique("id", field("ID")),
			optional(unique("name", keyOf[*Peer](peerName))),
			unique("modified", keyOf[*Peer](func(p *Peer) []byte { return key(p.ModifyIndex, p.ID) }))),
		tableTokens: table(tableTokens,
			unique("id", field("ID"))),
		tableKeys: table(tableKeys, unique("id", field("Key"))),
		tableDepartures: table(tableDepartures,
			unique("id", keyOf[*Departure](func(d *Departure) []byte { return key(d.Serial) })),
			unique("hypervisor", keyOf[*Departure](func(d *Departure) []byte { return key(d.Hypervisor, d.Index, d.UUID) }))),
		tableDeparted:     table(tableDeparted, unique("id", field("Key"))),
		tableFaults:       table(tableFaults, unique("id", field("ID"))),
		tableFaultsIndex:  table(tableFaultsIndex, unique("id", field("Key"))),
		tableQuotas:       table(tableQuotas, unique("id", field("Cluster"))),
		tableTunnels:      table(tableTunnels, unique("id", field("Key"))),
		tableTunnelsIndex: table(tableTunnelsIndex, unique("id", field("Hypervisor"))),
		tableViews:        table(tableViews, unique("id", keyOf[*viewRow](func(v *viewRow) []byte { return key(v.Hypervisor) }))),
	}}
}

func onHypervisor(n *Node) []byte {
	if n.Placement == nil {
		return nil
	}
	return key(n.Placement.Hypervisor)
}

func movingTo(n *Node) []byte {
	if !n.Moving() {
		return nil
	}
	return key(n.Move.To)
}

func movingToEndpoint(n *Node) []byte {
	if !n.Moving() {
		return nil
	}
	return key(n.Move.To, n.Move.BMC.Address, n.Move.BMC.Port)
}

// peerName leaves out removed peers: their names are free again.
func peerName(p *Peer) []byte {
	if p.Removed {
		return nil
	}
	return key(p.Name)
}

func atEndpoint(n *Node) []byte {
	if n.Placement == nil {
		return nil
	}
	return key(n.Placement.Hypervisor, n.Placement.BMC.Address, n.Placement.BMC.Port)
}

func table(name string, indexes ...*memdb.IndexSchema) *memdb.TableSchema {
	t := &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{}}
	for _, i := range indexes {
		t.Indexes[i.Name] = i
	}
	return t
}

// unique names an index of rows that all have a key of their own. memdb does not
// check that: a second row would take the first one's place in this index only.
// What inserts a row looks first.
func unique(name string, i memdb.Indexer) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, Unique: true, Indexer: i}
}

func index(name string, i memdb.Indexer) *memdb.IndexSchema {
	return optional(&memdb.IndexSchema{Name: name, Indexer: i})
}

func optional(s *memdb.IndexSchema) *memdb.IndexSchema {
	s.AllowMissing = true
	return s
}

func field(name string) *memdb.StringFieldIndex { return &memdb.StringFieldIndex{Field: name} }
