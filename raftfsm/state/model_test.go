package state

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is what the store should hold, as plain maps and obvious code. It knows
// nodes by UUID and is told what the commands of the generators below mean.
type model struct {
	clusters map[string]uint64 // ModifyIndex
	removing map[string]bool   // clusters
	nodes    map[string]*modelNode
	peers    map[string]*modelPeer
	hosts    map[string]bool // hypervisors
}

type modelNode struct {
	name, cluster, link string
	macs                []string
	on                  string
	port                int
	address             string
	epoch               uint64
	removing, forget    bool
	host                HostPhase
	ironic              IronicPhase
	lost                bool
	// past has the hypervisors that had the node before.
	past map[string]bool
	// discard are those of past that are to delete it.
	discard map[string]bool
	move    *modelMove
}

func newModel() *model {
	return &model{clusters: map[string]uint64{}, removing: map[string]bool{}, nodes: map[string]*modelNode{},
		peers: map[string]*modelPeer{}, hosts: map[string]bool{}}
}

// taken reports whether a new node would share part of its identity.
func (m *model) taken(n Node) bool {
	if m.nodes[n.UUID] != nil {
		return true
	}
	for _, o := range m.nodes {
		if o.name == n.Name || o.link == n.LinkName || slices.ContainsFunc(n.Ports, func(p Port) bool { return slices.Contains(o.macs, p.MAC) }) {
			return true
		}
	}
	return n.Ports[0].MAC == n.Ports[1].MAC
}

// declare is ApplyCluster of new nodes; false: it is refused as a whole.
func (m *model) declare(index uint64, c ApplyCluster) bool {
	name := c.Cluster.Name
	if m.removing[name] || m.clusters[name] != c.Expect {
		return false
	}
	old := maps.Clone(m.nodes)
	for _, n := range c.Create {
		if m.taken(n) {
			m.nodes = old
			return false
		}
		m.nodes[n.UUID] = &modelNode{past: map[string]bool{}, discard: map[string]bool{}, name: n.Name, cluster: name, link: n.LinkName, macs: []string{n.Ports[0].MAC, n.Ports[1].MAC}}
	}
	m.clusters[name] = index
	return true
}

func (m *model) place(index uint64, p NodePlacement) {
	n := m.nodes[p.UUID]
	if n == nil || n.on != "" || n.removing || !m.hosts[p.Hypervisor] || m.peers[p.Hypervisor].refuses() {
		return
	}
	if m.endpointTaken(p.Hypervisor, p.BMC.Port) || n.discard[p.Hypervisor] {
		return
	}
	if p.BMCAddress != "" && p.BMCAddress != n.address && (n.address != "" || m.addressTaken(p.BMCAddress)) {
		return
	}
	n.address = cmp.Or(p.BMCAddress, n.address)
	n.on, n.port, n.epoch, n.host = p.Hypervisor, p.BMC.Port, index, ""
	delete(n.past, n.on)
}

// poolOfModel is the pool of every node.
var poolOfModel = AddressPool{{"192.0.2.100", "192.0.2.101"}, {"2001:db8::9", "2001:db8::9"}}

// addressTaken reports whether an address is none of the pool as it is written, every
// hypervisor's, or a node's.
func (m *model) addressTaken(address string) bool {
	return address != "192.0.2.100" && address != "2001:db8::9" ||
		slices.ContainsFunc(slices.Collect(maps.Values(m.nodes)), func(n *modelNode) bool { return n.address == address })
}

func (m *model) remove(uuid string, forget bool) {
	if n := m.nodes[uuid]; n != nil {
		n.removing, n.forget = true, n.forget || forget
		n.endMove()
	}
	m.settle()
}

// settle drops what nobody has any longer.
func (m *model) settle() {
	for uuid, n := range m.nodes {
		ironicDone := n.ironic == "" || n.ironic == IronicGone || n.forget
		hostDone := n.on == "" || n.host == HostGone
		if n.removing && ironicDone && hostDone {
			delete(m.nodes, uuid)
		}
	}
	for name := range m.removing {
		if !slices.ContainsFunc(slices.Collect(maps.Values(m.nodes)), func(n *modelNode) bool { return n.cluster == name }) {
			delete(m.clusters, name)
			delete(m.removing, name)
		}
	}
}

// machine drives a store and the model with the same commands.
type machine struct {
	log   *log
	model *model
	// past are snapshots and what they were like when they were taken.
	past []pastSnapshot
	// placed is where each node was first seen.
	placed map[string]Placement
}

type pastSnapshot struct {
	snap   *Snapshot
	digest string
}

func (m *machine) uuid(t *rapid.T) string {
	return fmt.Sprintf("u%d", rapid.IntRange(0, 5).Draw(t, "uuid"))
}

func (m *machine) declare(t *rapid.T) {
	small := func(what string) int { return rapid.IntRange(0, 5).Draw(t, what) }
	c := ApplyCluster{Cluster: Cluster{Name: fmt.Sprintf("c%d", rapid.IntRange(0, 1).Draw(t, "cluster"))}}
	c.Expect = m.model.clusters[c.Cluster.Name]
	if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		c.Expect++
	}
	for range rapid.IntRange(0, 3).Draw(t, "nodes") {
		c.Create = append(c.Create, Node{UUID: m.uuid(t), Name: fmt.Sprintf("tk%d", small("name")), Cluster: c.Cluster.Name,
			LinkName: fmt.Sprintf("l%d", small("link")), BMCPool: poolOfModel,
			Ports: []Port{{MAC: fmt.Sprintf("m%d", small("mac"))}, {MAC: fmt.Sprintf("n%d", small("mac"))}}})
	}
	before := m.log.snap().Digest()
	want := m.model.declare(m.log.index+1, c)
	err := m.log.try(c)
	if (err == nil) != want {
		t.Fatalf("%+v: error %v, but the model says %t", c, err, want)
	}
	if err != nil && m.log.snap().Digest() != before {
		t.Fatalf("%+v was refused and changed the state", c)
	}
}

func (m *machine) place(t *rapid.T) {
	p := NodePlacement{UUID: m.uuid(t), Hypervisor: fmt.Sprintf("h%d", rapid.IntRange(1, 3).Draw(t, "host")),
		BMC:        Endpoint{"192.0.2.1", rapid.IntRange(1, 4).Draw(t, "port")},
		BMCAddress: rapid.SampledFrom([]string{"", "192.0.2.100", "192.0.2.101", "2001:db8::9", "2001:DB8::9", "192.0.2.102"}).Draw(t, "address")}
	m.model.place(m.log.index+1, p)
	m.log.must(PlaceNodes{Placements: []NodePlacement{p}})
}

func (m *machine) removeNode(t *rapid.T) {
	r := NodeRemoval{UUID: m.uuid(t), Forget: rapid.Bool().Draw(t, "forget")}
	m.model.remove(r.UUID, r.Forget)
	m.log.must(RemoveNodes{[]NodeRemoval{r}})
}

func (m *machine) removeCluster(t *rapid.T) {
	name := fmt.Sprintf("c%d", rapid.IntRange(0, 1).Draw(t, "cluster"))
	_, there := m.model.clusters[name]
	if there {
		m.model.removing[name] = true
		for uuid, n := range m.model.nodes {
			if n.cluster == name {
				m.model.nodes[uuid].removing = true
				n.endMove()
			}
		}
		m.model.clusters[name] = m.log.index + 1
		m.model.settle()
	}
	if err := m.log.try(RemoveCluster{Name: name}); (err == nil) != there {
		t.Fatalf("removal of %s: error %v, there %t", name, err, there)
	}
}

func (m *machine) reportHost(t *rapid.T) {
	uuid, on := m.uuid(t), fmt.Sprintf("h%d", rapid.IntRange(1, 3).Draw(t, "host"))
	phase := rapid.SampledFrom([]HostPhase{HostCreating, HostReady, HostError, HostGone}).Draw(t, "phase")
	epoch := uint64(0)
	if n := m.model.nodes[uuid]; n != nil {
		epoch = n.epoch + uint64(rapid.IntRange(0, 1).Draw(t, "stale"))
		if n.on == on && n.epoch == epoch {
			n.host = phase
			m.model.settle()
		}
	}
	m.log.must(ReportHost{on, []NodeHostReport{{uuid, epoch, HostStatus{Phase: phase}}}})
}

func (m *machine) reportIronic(t *rapid.T) {
	uuid := m.uuid(t)
	phase := rapid.SampledFrom([]IronicPhase{IronicEnrolling, IronicEnrolled, IronicGone}).Draw(t, "phase")
	if n := m.model.nodes[uuid]; n != nil {
		n.ironic = phase
		m.model.settle()
	}
	m.log.must(ReportIronic{[]NodeIronicReport{{uuid, IronicStatus{Phase: phase}}}})
}

// check compares the store with the model after every command.
func (m *machine) check(t *rapid.T) {
	snap := m.log.snap()
	if got := len(snap.Nodes()); got != len(m.model.nodes) {
		t.Fatalf("%d nodes, the model has %d", got, len(m.model.nodes))
	}
	for uuid, want := range m.model.nodes {
		m.checkNode(t, snap, uuid, want)
	}
	var clusters []string
	for _, c := range snap.Clusters() {
		clusters = append(clusters, c.Name)
		if c.ModifyIndex != m.model.clusters[c.Name] || c.Removing != m.model.removing[c.Name] {
			t.Fatalf("cluster %+v, the model has %d %t", c, m.model.clusters[c.Name], m.model.removing[c.Name])
		}
	}
	if want := slices.Sorted(maps.Keys(m.model.clusters)); !slices.Equal(clusters, want) {
		t.Fatalf("clusters %v, the model has %v", clusters, want)
	}
	m.checkPeers(t, snap)
	m.past = append(m.past, pastSnapshot{snap, snap.Digest()})
}

func (m *machine) checkNode(t *rapid.T, snap *Snapshot, uuid string, want *modelNode) {
	n, ok := snap.NodeByName(want.name)
	if !ok || n.UUID != uuid || n.Cluster != want.cluster || n.LinkName != want.link {
		t.Fatalf("node %s is %+v, want %+v", want.name, n, want)
	}
	if n.BMCAddress != want.address {
		t.Fatalf("node %s has the address %q, want %q", n.Name, n.BMCAddress, want.address)
	}
	if n.Lost != want.lost || !slices.Equal(n.Past, slices.Sorted(maps.Keys(want.past))) {
		t.Fatalf("node %+v, want %+v", n, want)
	}
	if n.Removing != want.removing || n.Host.Phase != want.host || n.Ironic.Phase != want.ironic {
		t.Fatalf("node %+v, want %+v", n, want)
	}
	m.checkMove(t, snap, n, want)
	if !slices.Contains(snap.NodesOf(want.cluster), n) {
		t.Fatalf("node %s is not among its cluster's", n.Name)
	}
	switch first, seen := m.placed[placedKey(n)]; {
	case n.Placement == nil && want.on != "", n.Placement == nil && seen && len(n.Past) == 0:
		t.Fatalf("node %s is not placed, want %s", n.Name, want.on)
	case n.Placement == nil:
	case n.Placement.Hypervisor != want.on || n.Placement.BMC.Port != want.port || n.Placement.Epoch != want.epoch:
		t.Fatalf("placement %+v, want %+v", n.Placement, want)
	case seen && first != *n.Placement:
		t.Fatalf("node %s moved from %+v to %+v", n.Name, first, *n.Placement)
	case !slices.Contains(snap.NodesOn(want.on), n):
		t.Fatalf("node %s is not among its hypervisor's", n.Name)
	default:
		m.placed[placedKey(n)] = *n.Placement
	}
}

// placedKey tells apart the nodes of one UUID, and the times that a node was placed.
func placedKey(n *Node) string {
	var last uint64
	if n.LastPlacement != nil {
		last = n.LastPlacement.Epoch
	}
	return fmt.Sprint(n.UUID, n.LinkName, n.CreateIndex, last)
}

func TestTheStoreDoesWhatAModelOfPlainMapsDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{log: newLog(t), model: newModel(), placed: map[string]Placement{}}
		m.join(rt, "h1")
		m.join(rt, "h2")
		rt.Repeat(map[string]func(*rapid.T){
			"declare": m.declare, "declare again": m.declare, "place": m.place, "place again": m.place,
			"remove node": m.removeNode, "remove cluster": m.removeCluster,
			"report host": m.reportHost, "report Ironic": m.reportIronic, "": m.check,
			"place and ready": m.placeAndReady, "mark peers": m.markPeers, "declare lost": m.declareLost, "drain peer": m.drainPeer,
			"leave": m.leavePeer, "remove peer": m.removePeer, "unplace": m.unplace, "join": m.joinAny,
			"start move": m.startMove, "start another": m.startMove, "wait": m.waitMove, "finish move": m.finishMove,
			"cancel move": m.cancelMove, "report move": m.reportMove, "discarded": m.discarded,
		})
		m.checkPast(rt)
		m.checkReplay(rt)
		m.checkLoad(rt)
	})
}

// checkPast: a snapshot is for ever what it was when it was taken.
func (m *machine) checkPast(t *rapid.T) {
	for _, p := range m.past {
		if p.snap.Digest() != p.digest {
			t.Fatalf("the snapshot at %d changed", p.snap.Index())
		}
	}
}

// checkReplay: the same log makes the same state.
func (m *machine) checkReplay(t *rapid.T) {
	other := New()
	for i, e := range m.log.past {
		_ = other.Apply(uint64(i+1), e)
	}
	snap, _ := other.Snapshot()
	if snap.Digest() != m.log.snap().Digest() || snap.Index() != m.log.snap().Index() {
		t.Fatal("the same log made another state")
	}
}

// checkLoad: what is dumped and loaded is the same, and goes on the same.
func (m *machine) checkLoad(t *rapid.T) {
	other := New()
	if err := other.Load(m.log.snap().Dump()); err != nil {
		t.Fatalf("load: %v", err)
	}
	next := Envelope{Request: "next", Command: RemoveCluster{Name: "c0"}}
	first, second := m.log.envelope(next), other.Apply(m.log.index, next)
	snap, _ := other.Snapshot()
	if snap.Digest() != m.log.snap().Digest() || fmt.Sprint(first) != fmt.Sprint(second) {
		t.Fatalf("a loaded state went another way: %v and %v", first, second)
	}
}

func TestLoadRefusesWhatCannotBeAndLeavesTheStoreAlone(t *testing.T) {
	l := demo(t)
	good := l.snap().Dump()
	moved := with(*good.Nodes[1], func(n *Node) { n.Placement = good.Nodes[0].Placement })
	tests := map[string]func(d *Dump){
		"a node twice":          func(d *Dump) { d.Nodes = append(slices.Clone(d.Nodes), d.Nodes[0]) },
		"an endpoint twice":     func(d *Dump) { d.Nodes = []*Node{d.Nodes[0], &moved} },
		"a node without a name": func(d *Dump) { d.Nodes = []*Node{{UUID: "u"}} },
		"a cluster twice":       func(d *Dump) { d.Clusters = append(slices.Clone(d.Clusters), d.Clusters[0]) },
		"a hypervisor, no ID":   func(d *Dump) { d.Hypervisors = []*Hypervisor{{}} },
		"an event twice":        func(d *Dump) { d.Events = append(slices.Clone(d.Events), d.Events[len(d.Events)-1]) },
		"a request twice":       func(d *Dump) { d.Requests = []*RequestRow{{ID: "r", Serial: 1}, {ID: "r", Serial: 2}} },
		"requests out of order": func(d *Dump) { d.Requests = []*RequestRow{{ID: "r", Serial: 2}, {ID: "s", Serial: 1}} },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			before := l.snap()
			d := good
			damage(&d)
			if err := l.store.Load(d); err == nil {
				t.Error("loaded")
			}
			if l.snap() != before {
				t.Error("the store changed")
			}
		})
	}
}

// BenchmarkPlaceNodes records 2,000 placements on 100 hypervisors in one command.
func BenchmarkPlaceNodes(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := newLog(b)
		for h := range 100 {
			l.must(hypervisor(fmt.Sprintf("h%03d", h)))
		}
		create := ApplyCluster{Cluster: Cluster{Name: "demo"}}
		var c PlaceNodes
		for i := range 2000 {
			n := declared(i)
			n.Ports[0].MAC = fmt.Sprintf("52:54:00:00:%02x:%02x", i/256, i%256)
			create.Create = append(create.Create, n)
			c.Placements = append(c.Placements, NodePlacement{UUID: n.UUID, Hypervisor: fmt.Sprintf("h%03d", i%100), BMC: Endpoint{"192.0.2.1", 6230 + i/100}})
		}
		l.must(create)
		b.StartTimer()
		l.must(c)
	}
}
