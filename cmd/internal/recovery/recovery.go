// Package recovery is what can be done with the files of a peer whose agent does not
// run: backups, and a mesh that goes on after it lost its voters. Each recovery is first
// prepared, which says what it will do and changes nothing, and then done. It starts
// nothing that outlives a call.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// Place is a peer's data directory.
type Place struct {
	// Mesh and Backups are directories, Part a file.
	Mesh, Backups, Part string
}

// Options of a recovery.
type Options struct {
	// Number is the new generation's; 0: the next.
	Number uint64
	// Force goes on in spite of what refuses a recovery otherwise.
	Force bool
	Now   time.Time
}

// Step is a recovery that is ready to be done.
type Step struct {
	// Summary says what will be done, a line each, and Follow what is left to do then.
	Summary, Follow []string
	Generation      cluster.Generation
	run             func() error
}

// Do does it. What was there is kept: see Follow.
func (s *Step) Do() error { return s.run() }

// loaded is the state that a recovery begins with.
type loaded struct {
	dump state.Dump
	// term and index are those of the newest entry that is known here.
	term, index uint64
}

// next turns a state into the first of a new generation, in which one peer votes.
func (l loaded) next(local cluster.Local, g cluster.Generation, how string, now time.Time) (*state.Snapshot, error) {
	d := l.dump
	if d.Mesh == nil || d.Mesh.ID != local.Mesh {
		return nil, fmt.Errorf("the state is another mesh's, not that of %s", local.Mesh)
	}
	mesh := *d.Mesh
	mesh.Generation = g.Number
	d.Mesh, d.Index = &mesh, g.Since
	// Nobody can be told of differences to an earlier generation: all get the whole.
	d.Departures, d.Departed = nil, &state.Departed{Since: g.Since}
	if d.Keys != nil {
		keys := *d.Keys
		keys.ModifyIndex = g.Since // whoever has others reads them anew
		d.Keys = &keys
	}
	self := local.ID
	peers := make([]*state.Peer, 0, len(d.Peers))
	name := ""
	for _, old := range d.Peers {
		p := *old
		p.ModifyIndex, p.Role = g.Since, state.RoleClient
		if p.ID == self {
			if p.Removed {
				return nil, fmt.Errorf("peer %s, this host, was removed from the mesh in that state: run it on another host", p.Name)
			}
			name, p.Role, p.Generation = p.Name, state.RoleVoter, g.Number
			p.Lost, p.LostIndex, p.LostMilli, p.Fenced = false, 0, 0, false
		}
		peers = append(peers, &p)
	}
	if name == "" {
		return nil, errors.New("this host is no peer of the mesh in that state: run it on another host")
	}
	d.Peers = peers
	serial := uint64(1)
	if n := len(d.Events); n > 0 {
		serial = d.Events[n-1].Serial + 1
	}
	d.Events = append(d.Events[:len(d.Events):len(d.Events)], &state.EventRow{Serial: serial, Event: state.Event{Index: g.Since,
		UnixMilli: now.UnixMilli(), Type: state.EventGeneration, Message: fmt.Sprintf("generation %d, by %s on %s", g.Number, how, name)}})
	return snapshotOf(d)
}

// snapshotOf loads a dump, which checks all of it.
func snapshotOf(d state.Dump) (*state.Snapshot, error) {
	store := state.New()
	if err := store.Load(d); err != nil {
		return nil, err
	}
	snap, _ := store.Snapshot()
	return snap, nil
}

// found makes the new log.
func found(p Place, l loaded, snap *state.Snapshot, g cluster.Generation, now time.Time) error {
	c := cluster.RecoverConfig{Dir: p.Mesh, Generation: g, Term: l.term, Peers: peersOf(snap), Now: now,
		Snapshot: func(w io.Writer) error { return raftfsm.WriteSnapshot(w, snap) }}
	if k, ok := snap.Keys(); ok {
		for i, row := range k.Authorities {
			roots, err := pki.ParseBundle(row.CertPEM)
			if err != nil {
				return fmt.Errorf("authority: %w", err)
			}
			c.Roots = append(c.Roots, roots...)
			if i == 0 && !row.KeyPEM.IsZero() {
				if c.Authority, err = pki.LoadAuthority(row.CertPEM, []byte(row.KeyPEM.Reveal())); err != nil {
					return fmt.Errorf("authority: %w", err)
				}
			}
		}
		for _, key := range k.Gossip {
			c.Gossip = append(c.Gossip, []byte(key.Key.Reveal()))
		}
	}
	return cluster.Recover(c)
}

func peersOf(snap *state.Snapshot) []cluster.Peer {
	var out []cluster.Peer
	for _, p := range snap.Peers() {
		if !p.Removed {
			out = append(out, cluster.Peer{ID: p.ID, Name: p.Name, Address: p.Address, Gossip: p.Gossip, Zone: p.Zone, Role: cluster.Role(p.Role)})
		}
	}
	return out
}

// own reads this peer's log. A peer that does not follow the log has an empty one.
func own(p Place) (loaded, []string, error) {
	fsm := raftfsm.New()
	r, err := cluster.Replay(p.Mesh, fsm)
	if err == nil {
		err = fsm.Err()
	}
	if err != nil {
		return loaded{}, nil, err
	}
	snap, _ := fsm.Source().Snapshot()
	return loaded{dump: snap.Dump(), term: r.Term, index: r.Index}, r.Voters, nil
}

// keep writes a backup of a state that is about to be replaced, and returns its file.
func keep(p Place, d state.Dump, now time.Time) (string, error) {
	snap, err := snapshotOf(d)
	if err != nil {
		return "", err
	}
	return keepAs(p.Backups, snap, now, beforeRecovery)
}

// nameOf is a peer's name, or its ID.
func nameOf(peers []cluster.Peer, id string) string {
	for _, p := range peers {
		if p.ID == id && p.Name != "" {
			return p.Name
		}
	}
	return id
}

func names(peers []cluster.Peer, ids []string) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = nameOf(peers, id)
	}
	return strings.Join(out, ", ")
}

// ask asks all other peers.
func ask(ctx context.Context, p Place, peers []cluster.Peer) (map[string]cluster.Answer, error) {
	const most = 64 // those of the log, of which there are few, come first
	var some, rest []cluster.Peer
	for _, q := range peers {
		if q.Role == cluster.Client {
			rest = append(rest, q)
		} else {
			some = append(some, q)
		}
	}
	some = append(some, rest...)
	return cluster.Ask(ctx, p.Mesh, some[:min(len(some), most)])
}
