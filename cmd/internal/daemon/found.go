package daemon

import (
	"os"
	"time"

	"github.com/google/uuid"

	"tenks/cluster"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// Found makes a mesh of one, with a name, in the mesh directory of an agent. The
// first peer is called as agent.yml says; empty: as the host. Errors:
// cluster.ErrExists.
func Found(dir, mesh, peer string) error {
	if peer == "" {
		var err error
		if peer, err = os.Hostname(); err != nil {
			return err
		}
	}
	id := uuid.NewString()
	return cluster.Init(dir, id, func(f cluster.Founding) ([][]byte, error) {
		return firstEntries(state.Mesh{ID: id, Name: mesh, Generation: 1}, peer, f)
	})
}

// firstEntries are what the log of a new mesh begins with.
func firstEntries(mesh state.Mesh, peer string, f cluster.Founding) ([][]byte, error) {
	keys := state.Keys{
		Authorities: []state.Authority{{CertPEM: f.AuthorityCert, KeyPEM: state.NewSecret(string(f.AuthorityKey))}},
		Gossip:      []state.GossipKey{{ID: "first", Key: state.NewSecret(string(f.GossipKey))}},
	}
	var entries [][]byte
	for _, c := range []state.Command{
		state.SetMesh{Mesh: mesh},
		state.RaiseLevel{Level: raftfsm.Level},
		state.PutKeys{Keys: keys},
		state.PutPeer{Peer: state.Peer{ID: f.Peer, Name: peer, Generation: 1}},
	} {
		b, err := raftfsm.Encode(state.Envelope{UnixMilli: time.Now().UnixMilli(), Command: c})
		if err != nil {
			return nil, err
		}
		entries = append(entries, b)
	}
	return entries, nil
}
