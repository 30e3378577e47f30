package raftfsm

import (
	"errors"
	"fmt"
	"slices"

	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

// Part is what one hypervisor's peer needs to know of the state.
type Part = state.Part

// PartOf returns what changed after a log index in a hypervisor's part of the state;
// all of it for since 0, or if deltas from there are no longer known.
func PartOf(snap *state.Snapshot, hypervisor string, since uint64) Part {
	return snap.PartOf(hypervisor, since)
}

const (
	// partFormat is the first byte of a part: 1 means CBOR of a Part. levelFormat is that of
	// a part of a mesh with a level, which who knows of none must not read.
	partFormat  = 1
	levelFormat = 2
	// maxPart bounds a part, in bytes: 10,000 nodes of one hypervisor and 2,000 peers
	// take about 11 MB.
	maxPart = 64 << 20
)

// EncodePart returns a part as bytes. They hold the BMC passwords of the hypervisor's
// own nodes.
func EncodePart(p Part) ([]byte, error) {
	b, err := encoder.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("part: encode: %w", err)
	}
	if len(b) >= maxPart {
		return nil, fmt.Errorf("part: encode: %d bytes, at most %d are allowed", len(b)+1, maxPart)
	}
	format := byte(partFormat)
	if p.Level != nil {
		format = levelFormat
	}
	return append([]byte{format}, b...), nil
}

// DecodePart reads what EncodePart wrote. Errors: state.ErrNewer for a format that
// this version does not know.
func DecodePart(b []byte) (Part, error) {
	switch {
	case len(b) == 0:
		return Part{}, errors.New("part: empty")
	case len(b) > maxPart:
		return Part{}, fmt.Errorf("part: %d bytes, at most %d are allowed", len(b), maxPart)
	case b[0] != partFormat && b[0] != levelFormat:
		return Part{}, fmt.Errorf("part: format %d: %w", b[0], state.ErrNewer)
	}
	var p Part
	if err := decoder.Unmarshal(b[1:], &p); err != nil {
		return Part{}, fmt.Errorf("part: decode: %w", err)
	}
	if err := known(p.Level); err != nil {
		return Part{}, fmt.Errorf("part: %w", err)
	}
	if slices.Contains(p.Peers, nil) || slices.Contains(p.Hypervisors, nil) || slices.Contains(p.Nodes, nil) ||
		p.Faults != nil && slices.Contains(p.Faults.Faults, nil) {
		return Part{}, errors.New("part: decode: a row is missing")
	}
	return p, nil
}

// Errors of Replica.Apply.
var (
	// ErrGap says that a delta is laid over a state that is not this one: ask for all.
	ErrGap = errors.New("the delta is of another state")
	// ErrStale says that a part is older than what is known: ask another peer.
	ErrStale = errors.New("older than what is known")
)

// Replica is one hypervisor's part of the state, as a state: what a peer knows that
// does not follow the log. Apply is called by one goroutine at a time; Snapshot by
// any.
type Replica struct{ store *state.Store }

var _ reconcile.Source = (*Replica)(nil)

// NewReplica returns a replica that knows nothing, at index 0.
func NewReplica() *Replica { return &Replica{store: state.New()} }

// Snapshot returns the newest state, and a channel that is closed once there is a
// newer one. Its index is what to ask PartOf for next.
func (r *Replica) Snapshot() (*state.Snapshot, <-chan struct{}) { return r.store.Snapshot() }

// Apply takes over a part, or leaves the state as it is and returns an error: ErrGap,
// ErrStale, ErrForeign, or what in the part cannot be. A part that was taken over
// before is ErrGap, or, if it is full and nothing came after, changes nothing. A
// full part of a later generation of the mesh is taken over at any index: the mesh
// was recovered, and its log begins anew.
func (r *Replica) Apply(p Part) error {
	now, _ := r.store.Snapshot()
	if err := follows(now, p); err != nil {
		return fmt.Errorf("part at index %d: %w", p.Index, err)
	}
	if err := r.store.ApplyPart(p); err != nil {
		return fmt.Errorf("part at index %d: %w", p.Index, err)
	}
	return nil
}

// follows says why a part cannot come after a state.
func follows(now *state.Snapshot, p Part) error {
	ours, theirs := now.Mesh(), state.Mesh{}
	if p.Mesh != nil {
		theirs = *p.Mesh
	}
	switch {
	case ours.ID != "" && ours.ID != theirs.ID:
		return fmt.Errorf("%w: this is mesh %s", ErrForeign, ours.ID)
	case theirs.Generation < ours.Generation:
		return fmt.Errorf("generation %d, this is %d: %w", theirs.Generation, ours.Generation, ErrStale)
	case !p.Full && theirs.Generation != ours.Generation:
		return fmt.Errorf("generation %d, this is %d: %w", theirs.Generation, ours.Generation, ErrGap)
	case !p.Full && (now.Index() == 0 || p.Since != now.Index() || p.Index < p.Since):
		return fmt.Errorf("laid over %d, this is at %d: %w", p.Since, now.Index(), ErrGap)
	case p.Full && theirs.Generation == ours.Generation && p.Index < now.Index():
		return fmt.Errorf("this is at %d: %w", now.Index(), ErrStale)
	}
	return nil
}
