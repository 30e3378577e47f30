package state

import "slices"

// Part is what one hypervisor's peer needs to know of the state: the mesh, the
// peers and what they recognise each other by, its own hypervisor, the nodes that are
// or were placed on it or move to it. It holds no authority's private key, no token and no cluster,
// and of nodes that are elsewhere only who and where they are. Its rows are shared and
// must not be changed.
type Part struct {
	// Index is the log index of the state that it is of.
	Index uint64
	// Since is the index of the state that a delta is laid over.
	Since uint64
	// Full parts replace whatever was known; others are deltas.
	Full bool
	// Mesh is in every part; nil before the first command.
	Mesh *Mesh
	// Keys are without the authorities' private keys; nil: as before.
	Keys        *Keys
	Peers       []*Peer
	Hypervisors []*Hypervisor
	// Nodes that are not placed on the hypervisor are placed elsewhere, or nowhere.
	Nodes []*Node
	// Gone are the UUIDs of nodes that were in the part and are no longer in the state.
	Gone []string
	// Faults are those that concern the hypervisor or its nodes, all of them; nil: as before.
	Faults *FaultList
	// Tunnels are the ends of the hypervisor's overlays elsewhere, all of them; nil: as before.
	Tunnels *TunnelList
	// Level is in every part; nil: level 0, or not known.
	Level *Level `json:",omitempty"`
}

// Empty reports whether a delta says nothing but that time went on.
func (p Part) Empty() bool {
	raised := p.Level != nil && p.Level.Index > p.Since
	return !p.Full && !raised && p.Keys == nil && p.Faults == nil && p.Tunnels == nil && len(p.Peers)+len(p.Hypervisors)+len(p.Nodes)+len(p.Gone) == 0
}

// PartOf returns what changed after a log index in a hypervisor's part, or all of it:
// if since is 0, is later than the snapshot, or is so long ago that it is no longer
// known what went since. Rows are in the order of their keys.
func (s *Snapshot) PartOf(hypervisor string, since uint64) Part {
	if since > s.index || since < departedSince(s.txn) {
		since = 0
	}
	p := Part{Index: s.index, Since: since, Full: since == 0, Level: s.Level().dumped()}
	if row, ok := first[*meshRow](s.txn, tableMesh, "id", meshKey); ok {
		p.Mesh = &row.Mesh
	}
	if k, ok := s.Keys(); ok && k.ModifyIndex > since {
		p.Keys = k.trusted()
	}
	p.Peers = s.peersSince(since)
	if h, ok := s.Hypervisor(hypervisor); ok && h.ModifyIndex > since {
		p.Hypervisors = []*Hypervisor{h}
	}
	known, nodes := map[string]bool{}, s.nodesFor(hypervisor)
	for _, n := range nodes {
		known[n.UUID] = true
		if n.ModifyIndex > since {
			p.Nodes = append(p.Nodes, n)
		}
	}
	if !p.Full {
		for _, uuid := range s.departures(hypervisor, since) {
			if !known[uuid] {
				p.Gone = append(p.Gone, uuid)
			}
		}
	}
	p.Faults = s.faultsOf(hypervisor, p, nodes)
	p.Tunnels = s.tunnelsOf(hypervisor, p)
	return p
}

// trusted are the keys without what signs certificates.
func (k Keys) trusted() *Keys {
	k.Authorities = slices.Clone(k.Authorities)
	for i := range k.Authorities {
		k.Authorities[i].KeyPEM = Secret{}
	}
	return &k
}

// peersSince returns the peers that changed after a log index, by ID.
func (s *Snapshot) peersSince(since uint64) []*Peer {
	if since == 0 {
		return s.Peers()
	}
	it, err := s.txn.LowerBound(tablePeers, "modified", since+1, "")
	must(err)
	var out []*Peer
	for row := it.Next(); row != nil; row = it.Next() {
		out = append(out, row.(*Peer))
	}
	return byID(out)
}

// nodesFor returns the nodes of a hypervisor's part, by name.
func (s *Snapshot) nodesFor(hypervisor string) []*Node {
	out := all[*Node](s.txn, tableNodes, "hypervisor", hypervisor)
	out = append(out, all[*Node](s.txn, tableNodes, "target", hypervisor)...)
	for _, n := range all[*Node](s.txn, tableNodes, "past", hypervisor) {
		out = append(out, n.elsewhere())
	}
	return byName(out)
}

// elsewhere is what a hypervisor is told of a node that it had before.
func (n *Node) elsewhere() *Node {
	return &Node{UUID: n.UUID, Name: n.Name, Cluster: n.Cluster, Type: n.Type, LinkName: n.LinkName,
		Placement: n.Placement, LastPlacement: n.LastPlacement, Past: n.Past, Discard: n.Discard, Removing: n.Removing,
		CreateIndex: n.CreateIndex, ModifyIndex: n.ModifyIndex}
}

// ApplyPart lays a delta over the state, or replaces the state by a full part. It
// does not check that the delta fits: the caller does. On an error, which says what
// in p cannot be, the store is untouched. It is called like Apply, and not on a
// store that Apply is called on.
func (s *Store) ApplyPart(p Part) error {
	t := s.begin(p.Index, 0)
	if err := t.applyPart(p); err != nil {
		t.Abort()
		return err
	}
	s.commit(t)
	return nil
}

func (t *tx) applyPart(p Part) error {
	if p.Full {
		t.clear()
	}
	if p.Mesh != nil {
		t.putMesh(*p.Mesh)
	}
	if p.Level != nil {
		t.putLevel(*p.Level)
	}
	if p.Keys != nil {
		t.put(tableKeys, &keysRow{Key: keysKey, Keys: *p.Keys})
		t.touch(peersView)
	}
	// Old rows go before any new one comes: names, MACs and endpoints may have changed
	// hands.
	t.dropOld(p)
	for _, peer := range p.Peers {
		if err := t.loadPeer(peer); err != nil {
			return err
		}
	}
	for _, h := range p.Hypervisors {
		if err := t.loadHypervisor(h); err != nil {
			return err
		}
	}
	for _, n := range p.Nodes {
		if err := t.loadNode(n); err != nil {
			return err
		}
	}
	if p.Faults != nil {
		if err := t.loadFaults(p.Faults.Faults); err != nil {
			return err
		}
	}
	if p.Tunnels != nil {
		t.put(tableTunnels, &tunnelsRow{Key: tunnelsKey, List: *p.Tunnels})
	}
	// A state made of parts does not know what went, only what is.
	t.setDeparted(p.Index)
	return nil
}

// dropOld deletes what is gone and what the part has anew.
func (t *tx) dropOld(p Part) {
	for _, uuid := range p.Gone {
		t.forget(tableNodes, uuid)
	}
	for _, n := range p.Nodes {
		t.forget(tableNodes, n.UUID)
	}
	for _, h := range p.Hypervisors {
		t.forget(tableHypervisors, h.ID)
	}
	for _, peer := range p.Peers {
		t.forget(tablePeers, peer.ID)
		if peer.Removed { // and its hypervisor with it
			t.forget(tableHypervisors, peer.ID)
		}
	}
}

// forget deletes a row without remembering that it was there.
func (t *tx) forget(table, id string) {
	row, ok := first[any](t.Txn, table, "id", id)
	if !ok {
		return
	}
	if n, isNode := row.(*Node); isNode {
		t.touch(n.hosts()...)
	}
	must(t.Delete(table, row))
}
