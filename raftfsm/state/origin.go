package state

import "slices"

// Origin is what a node that was there before it was declared here has of its own: what
// another tool made is kept as it is, under the names that it has.
type Origin struct {
	// Hypervisor is the ID of the only peer that the node may be placed on; empty: any. What
	// is of that host (this, BMCPort, Volumes and Links) is forgotten once the node leaves it.
	Hypervisor string `json:",omitempty"`
	// BMCPort is the port that the node's BMC gets there, if that is free; 0: any.
	BMCPort int `json:",omitempty"`
	// IronicUUID is that of the record which Ironic had of the node; empty: it had none.
	IronicUUID string `json:",omitempty"`
	// Volumes are the node's, in order, as they are; nil: they are made as any node's.
	Volumes []OriginVolume `json:",omitempty"`
	// Links are those of the node's ports, in order; nil: they are made as any node's.
	Links []OriginLink `json:",omitempty"`
	// NVRAM is the file of the firmware's variables; empty: as any node's.
	NVRAM string `json:",omitempty"`
}

// OriginVolume is a disk that was there before.
type OriginVolume struct {
	// Path is the file's, absolute; Format is what is in it: "raw", "qcow2".
	Path, Format string
}

// OriginLink is a port's pair of interfaces that was there before.
type OriginLink struct {
	// Tap is the node-side end, Peer the switch-side one, and PeerMAC the address of that.
	Tap, Peer, PeerMAC string
	// Bridge is the one that Peer is in, and BridgeMAC its address.
	Bridge, BridgeMAC string
}

// NamedNode is a node that a spec wants under a certain name.
type NamedNode struct {
	Name string
	// UUID is the one that the node gets; empty: a new one.
	UUID string `json:",omitempty"`
	// Hypervisor is the name of the peer that the node is placed on; empty: any.
	Hypervisor string `json:",omitempty"`
	// BMCPort is the port that its BMC gets there, if that is free; 0: any.
	BMCPort int `json:",omitempty"`
}

// Adopted reports whether something of the node was there before, where it is.
func (o *Origin) Adopted() bool { return o != nil && (o.Volumes != nil || o.Links != nil) }

// Equal reports whether both say the same; nil says nothing.
func (o *Origin) Equal(p *Origin) bool {
	if o == nil || p == nil {
		return o == p
	}
	return o.Hypervisor == p.Hypervisor && o.BMCPort == p.BMCPort && o.IronicUUID == p.IronicUUID && o.NVRAM == p.NVRAM &&
		slices.Equal(o.Volumes, p.Volumes) && slices.Equal(o.Links, p.Links)
}

// elsewhere is what is left of it once the node has left the host: who Ironic says it is.
func (o *Origin) elsewhere() *Origin {
	if o == nil || o.IronicUUID == "" {
		return nil
	}
	return &Origin{IronicUUID: o.IronicUUID}
}

// Pinned is the ID of the only peer that the node may be placed on; empty: any.
func (n *Node) Pinned() string {
	if n.Pin != "" || n.Origin == nil {
		return n.Pin
	}
	return n.Origin.Hypervisor
}

// PinnedTo reports whether the node may not leave a hypervisor because that is declared. Where
// it was found is no such reason: once it was taken over it moves as others do.
func (n *Node) PinnedTo(hypervisor string) bool {
	return hypervisor != "" && !n.Origin.Adopted() && n.Pinned() == hypervisor
}

// SetPin declares where the node may be placed; empty: anywhere. Nodes that were declared before
// there was Pin have it in their Origin.
func (n *Node) SetPin(hypervisor string) {
	n.Pin = hypervisor
	if n.Origin == nil || n.Origin.Adopted() || n.Origin.Hypervisor == "" {
		return
	}
	o := *n.Origin
	o.Hypervisor = ""
	n.Origin = &o
	if o.Equal(&Origin{}) {
		n.Origin = nil
	}
}

// Elsewhere is the node as it is on another hypervisor than the one that it is on: without
// what is of that.
func (n *Node) Elsewhere() *Node {
	out := *n
	out.Origin = n.Origin.elsewhere()
	return &out
}
