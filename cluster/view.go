package cluster

import (
	"crypto/rand"
	"crypto/x509"

	"tenks/cluster/consensus"
	"tenks/cluster/pki"
)

// Role is a peer's part in the log.
type Role = consensus.Role

// The roles.
const (
	Voter   = consensus.Voter
	Standby = consensus.Standby
	Client  = consensus.Client
)

// Peer is what the replicated state says of a peer.
type Peer struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Gossip  string `json:"gossip"`
	Zone    string `json:"zone,omitempty"`
	Role    Role   `json:"role,omitempty"`
	// Removed peers are refused.
	Removed bool `json:"removed,omitempty"`
	// Barred peers have no part in the log: they leave or drain.
	Barred bool `json:"-"`
}

// View is what a mesh needs to know of the replicated state. Its zero value is that
// of a peer that knows nothing yet, and goes by its files.
type View struct {
	Peers []Peer
	// Roots are the authorities' certificates.
	Roots []*x509.Certificate
	// Cross are keys of newer authorities, certified by older ones.
	Cross []*x509.Certificate
	// Authority signs; nil where its key is not known.
	Authority *pki.Authority
	// Gossip are the keys of the gossip ring; the first one encrypts.
	Gossip     [][]byte
	Generation uint64
	// Level is the format of the state that the mesh uses.
	Level int
	// ByID finds peers; nil: they are looked through.
	ByID map[string]Peer
}

// view is what the state says. A peer that came over to a recovered mesh may still have
// the state of before, by which it goes at its host, but not here.
func (m *Mesh) view() View {
	v := m.cfg.View()
	if v.Generation < m.files.Generation.Number {
		return View{}
	}
	return v
}

// peer finds a peer by ID.
func (v View) peer(id string) (Peer, bool) {
	if v.ByID != nil {
		p, ok := v.ByID[id]
		return p, ok
	}
	for _, p := range v.Peers {
		if p.ID == id {
			return p, true
		}
	}
	return Peer{}, false
}

func newGossipKey() ([]byte, error) {
	key := make([]byte, 32)
	_, err := rand.Read(key)
	return key, err
}
