package state

// PeerRole is a peer's part in Raft.
type PeerRole string

// The roles: votes; follows the log, ready to vote; neither (a stream of its own
// part of the state).
const (
	RoleVoter   PeerRole = "voter"
	RoleStandby PeerRole = "standby"
	RoleClient  PeerRole = "client"
)

// Peer is a host in the mesh. A row stays for ever: that of a removed peer keeps
// its key from coming back.
type Peer struct {
	// ID is the hash of the peer's key.
	ID string
	// Name is unique among the peers that are not removed.
	Name string
	// Address is host:port of the mTLS port, Gossip that of the gossip port.
	Address, Gossip string
	Zone            string
	Version         string
	// Role is the leader's decision; who votes is in Raft's own configuration.
	Role PeerRole
	// Token is the ID of the token that the peer came by; empty for the first peer.
	Token string
	// Draining peers get no new nodes.
	Draining bool
	// StopMilli is how long guests get to shut down, in milliseconds, so that their nodes
	// can move from a draining peer; 0: those that run are waited for.
	StopMilli int64
	// Lost says that the peer's lease has ended. LostIndex and LostMilli (the
	// proposer's time) say since when; 0: not lost.
	Lost      bool
	LostIndex uint64
	LostMilli int64
	// Fenced says that an operator declared a lost host to be powered off.
	Fenced bool
	// Leaving says that the peer asked to go.
	Leaving bool
	// Removed is for ever.
	Removed bool
	// Generation is the mesh's generation that the peer last reported to know.
	Generation uint64

	CreateIndex, ModifyIndex uint64
}

// Refuses says why no node may be placed on the peer, as in "is draining"; empty:
// one may. A nil peer refuses nothing: hypervisors are older than peers.
func (p *Peer) Refuses() string {
	switch {
	case p == nil:
		return ""
	case p.Removed:
		return "is removed"
	case p.Lost:
		return "is lost"
	case p.Leaving:
		return "is leaving"
	case p.Draining:
		return "is draining"
	}
	return ""
}

// hashSize is the length of a token's hash, in bytes (SHA-256), and keySize that of
// a gossip key (AES-256).
const (
	hashSize = 32
	keySize  = 32
)

// Token admits peers to the mesh.
type Token struct {
	ID string
	// Hash is the SHA-256 of the token's secret, which itself is nowhere in the state.
	Hash []byte
	// ExpiresMilli is when the token ends, in Unix milliseconds; 0: never.
	ExpiresMilli int64
	// Uses is how many peers may still come by it; negative: any number.
	Uses int
	// Name is the only name that a peer may come by; empty: any.
	Name string
	// Zone is the zone of peers that name none themselves.
	Zone         string
	CreatedMilli int64
	// UsedBy lists who came by it, oldest first, each peer once.
	UsedBy  []TokenUse
	Revoked bool

	CreateIndex, ModifyIndex uint64
}

// TokenUse is the admission of one peer.
type TokenUse struct {
	// Peer is the peer's ID, Name what it was called then.
	Peer, Name string
	UnixMilli  int64
}

// Keys is what peers recognise each other by. The first of each is in use; the
// others are still, or already, accepted.
type Keys struct {
	Authorities []Authority
	Gossip      []GossipKey

	CreateIndex, ModifyIndex uint64
}

// Authority is a certificate authority of the mesh.
type Authority struct {
	CertPEM []byte
	// KeyPEM signs certificates; empty once the authority is only trusted.
	KeyPEM Secret
	// Cross is this authority's key certified by the one before it, as PEM; empty:
	// none.
	Cross []byte
	// Retired authorities sign nothing, and are trusted until nobody needs them.
	// Others behind the first are to sign once every peer trusts them.
	Retired bool
	// AddedMilli and RetiredMilli are when it came and when it ceased to sign (the
	// proposer's time); 0: not known, or not yet.
	AddedMilli, RetiredMilli int64
	// Forced ones, once retired, go without waiting for peers that are lost.
	Forced bool
}

// GossipKey is a key of the gossip keyring.
type GossipKey struct {
	ID string
	// Key holds 32 bytes.
	Key Secret
	// Since is the log index of the state that its maker had: peers that were removed
	// later know it.
	Since uint64
	// AddedMilli is when it came (the proposer's time); 0: not known.
	AddedMilli int64
	// Retired ones encrypt nothing, and are accepted until nobody needs them. Others
	// behind the first are to encrypt once every peer accepts them.
	Retired bool
	// Forced ones, once retired, go without waiting for peers that are lost.
	Forced bool
}

// keysRow is the only row of its table.
type keysRow struct {
	Key  string
	Keys Keys
}

// Peers returns all peers by ID, removed ones too.
func (s *Snapshot) Peers() []*Peer { return all[*Peer](s.txn, tablePeers, "id") }

// Peer returns one peer by ID, be it removed or not.
func (s *Snapshot) Peer(id string) (*Peer, bool) {
	return first[*Peer](s.txn, tablePeers, "id", id)
}

// PeerByName returns the peer of that name that is not removed.
func (s *Snapshot) PeerByName(name string) (*Peer, bool) {
	return first[*Peer](s.txn, tablePeers, "name", name)
}

// Tokens returns all tokens by ID.
func (s *Snapshot) Tokens() []*Token { return all[*Token](s.txn, tableTokens, "id") }

// Token returns one token.
func (s *Snapshot) Token(id string) (*Token, bool) {
	return first[*Token](s.txn, tableTokens, "id", id)
}

// Keys returns the mesh's keys; false before the first PutKeys, and in a state that
// was made of parts. Its slices are shared and must not be changed.
func (s *Snapshot) Keys() (Keys, bool) {
	row, ok := first[*keysRow](s.txn, tableKeys, "id", keysKey)
	if !ok {
		return Keys{}, false
	}
	return row.Keys, true
}
