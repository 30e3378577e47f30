package state

// PutKeys replaces the mesh's keys. It is refused with ErrConflict unless Expect is
// their ModifyIndex (0: there are none).
type PutKeys struct {
	Keys   Keys
	Expect uint64
}

// PutToken records a new token. It is refused with ErrConflict if there is one of
// that ID.
type PutToken struct{ Token Token }

// RevokeToken ends a token, whatever uses it has left. Repeating it changes
// nothing. Errors: ErrNotFound.
type RevokeToken struct{ ID string }

// AdmitPeer lets a peer in that showed a token; Hash is the SHA-256 of the secret
// that it showed. Time is the envelope's. Of Peer, what it says of itself counts;
// its role becomes client. A peer that has already come by the token is admitted
// again, without another use, and what it says of itself is updated; that holds
// after the token's end, too. Refusals are ErrRefused and say why.
type AdmitPeer struct {
	Peer  Peer
	Token string
	Hash  []byte
}

// PutPeer records what a peer says of itself: Name, Address, Gossip, Zone, Version,
// Generation. In a state without any peer it makes the first one, a voter. Errors:
// ErrNotFound for another peer that there is not, ErrRefused for a removed one,
// ErrConflict for a name that another has.
type PutPeer struct{ Peer Peer }

// SetRoles records who votes. Peers that there are not, or that are removed, are
// skipped.
type SetRoles struct{ Roles []PeerRoleChange }

// PeerRoleChange is one peer's part of a SetRoles.
type PeerRoleChange struct {
	ID   string
	Role PeerRole
}

// MarkPeers records whose lease has ended, and who is back: with the latter, what
// DeclareLost said of them ends. The nodes placed on them are lost, or no longer,
// with them. Peers that there are not, that are removed, or of which that is known,
// are skipped.
type MarkPeers struct{ Lost, Found []string }

// DeclareLost records that an operator says that a host is powered off: its peer is
// lost, and fenced. Errors: ErrNotFound, ErrRefused for a removed peer.
type DeclareLost struct{ ID string }

// DrainPeer says whether a peer gets new nodes and those that it has move away. When it
// no longer drains, moves that are not finished end. Errors: ErrNotFound, ErrRefused for
// a removed peer.
type DrainPeer struct {
	ID       string
	Draining bool
	// StopMilli is Peer.StopMilli; it counts only while the peer drains.
	StopMilli int64
	// Pins says what of nodes that are pinned to the peer, where it is to drain.
	Pins PinPolicy `json:",omitempty"`
}

// PinPolicy is what a drain does about nodes that are pinned to the peer.
type PinPolicy string

// The policies. The empty one lets them wait, for ever if need be.
const (
	// PinsRefuse refuses the drain with ErrRefused, and says which nodes it is about.
	PinsRefuse PinPolicy = "refuse"
	// PinsForget has them move as others do, and be pinned no longer.
	PinsForget PinPolicy = "forget"
)

// LeavePeer records that a peer asks to go. Errors: ErrNotFound, ErrRefused for a
// removed peer.
type LeavePeer struct{ ID string }

// RemovePeer takes a peer out of the mesh for ever, and its hypervisor with it. It is
// refused with ErrRefused for the last peer, and while nodes are placed on it unless
// Force is set: then they lose their placement, whatever they say of the loss of
// their host, and are made anew elsewhere; those being removed are taken to be gone
// from it. Repeating it changes nothing. Errors: ErrNotFound, ErrRefused.
type RemovePeer struct {
	ID    string
	Force bool
}

// UnplaceNodes takes nodes off their hypervisors, so that they are placed and made
// anew. A node that is not placed with that epoch is skipped, and one whose host is not lost
// since LostIndex, where that is set.
type UnplaceNodes struct{ Nodes []NodeUnplacement }

// NodeUnplacement is one node's part of an UnplaceNodes.
type NodeUnplacement struct {
	UUID   string
	Epoch  uint64
	Reason string
	// LostIndex is the LostIndex of the peer that the node is placed on; 0: it need not be lost.
	LostIndex uint64
}

// BumpGeneration raises the mesh's generation by one. It is refused with ErrConflict
// if the generation is not Expect.
type BumpGeneration struct{ Expect uint64 }
