package gossip

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls, most of it while it holds its own lock: nothing
// here may call memberlist.
type delegate struct{ g *Gossip }

// NodeMeta implements memberlist.Delegate.
func (d delegate) NodeMeta(int) []byte { return encodeMeta(d.g.published.edition()) }

// NotifyMsg implements memberlist.Delegate: there are no messages.
func (delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate: there are no messages.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (d delegate) LocalState(bool) []byte { return encodeState(d.g.table.records()) }

// MergeRemoteState implements memberlist.Delegate.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	records, err := decodeState(b)
	if err != nil {
		d.g.log.Debug("did not read another peer's state", "bytes", len(b), "err", err)
		return
	}
	if mine := d.g.table.merge(records); mine > 0 {
		d.g.published.outdo(mine)
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.NotifyUpdate(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (d delegate) NotifyUpdate(n *memberlist.Node) {
	meta, err := decodeMeta(n.Meta)
	if err != nil { // a later version's: it is there, and that is all that is known
		d.g.log.Debug("did not read a peer's facts", "peer", n.Name, "err", err)
	}
	d.g.table.alive(n.Name, n.Address(), meta)
}

// NotifyLeave implements memberlist.EventDelegate.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	d.g.table.gone(n.Name)
	d.g.clones.forget(n.Name)
}

// NotifyConflict implements memberlist.ConflictDelegate. A peer that came back with
// another address before its death was seen looks the same as a clone: cloneLoop asks.
func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	if d.g.table.is(existing.Name, Alive) {
		d.g.clones.suspect(clone{ID: existing.Name, Address: existing.Address(), Other: other.Address()})
	}
}

// NotifyAlive implements memberlist.AliveDelegate.
func (d delegate) NotifyAlive(n *memberlist.Node) error { return d.g.admit(n) }

// NotifyMerge implements memberlist.MergeDelegate. The other side may well know peers
// that this one refuses, one by one: it is itself refused if it knows nobody else.
func (d delegate) NotifyMerge(nodes []*memberlist.Node) error {
	var errs []error
	for _, n := range nodes {
		if n.State != memberlist.StateAlive {
			continue
		}
		err := d.g.admit(n)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("peer %s: %w", n.Name, err))
	}
	return errors.Join(errs...)
}

var (
	errRemoved    = errors.New("it was removed from the mesh")
	errGeneration = errors.New("it is of another generation of the mesh")
	errID         = errors.New("its ID is too long")
)

// refusals counts.
type refusals struct {
	mu sync.Mutex // guards the rest
	// count is of messages, not of peers; generation is the highest that was refused.
	count, generation uint64
}

// admit says why a peer is refused. This one never is: what others say of it is for
// memberlist to refute.
func (g *Gossip) admit(n *memberlist.Node) error {
	if n.Name == g.config.ID {
		return nil
	}
	meta, _ := decodeMeta(n.Meta) // a later version's generation is not known
	theirs, ours := meta.Facts.Generation, g.published.edition().Facts.Generation
	other := theirs != ours && theirs != 0 && ours != 0
	var err error
	switch {
	case n.Name == "" || len(n.Name) > maxID:
		err = errID
	case g.config.Allowed != nil && !g.config.Allowed(n.Name):
		err = errRemoved
	case other:
		err = errGeneration
	default:
		return nil
	}
	g.refused.mu.Lock()
	defer g.refused.mu.Unlock()
	g.refused.count++
	if other && !errors.Is(err, errRemoved) {
		g.refused.generation = max(g.refused.generation, theirs)
	}
	return err
}
