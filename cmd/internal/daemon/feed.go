package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"tenks/cluster"
	"tenks/raftfsm"
)

const (
	// quorumPatience is how long an agent that starts looks for a leader before it goes
	// by what it last knew.
	quorumPatience = 10 * time.Second
	// keepPause is between two times that a peer's part is written to disk.
	keepPause = time.Second
	// feedSettle is how long changes are collected before they are sent.
	feedSettle = 20 * time.Millisecond
)

// openReplica reads what this peer last knew. A file that cannot be read is put aside:
// the log or another peer knows better.
func (a *agent) openReplica() {
	r, err := raftfsm.OpenReplica(a.paths.Part)
	if err != nil {
		aside := a.paths.Part + ".bad"
		a.log.Error("what this peer last knew cannot be read; it is put aside", "file", aside, "err", errors.Join(err, os.Rename(a.paths.Part, aside)))
		r = raftfsm.NewReplica()
	}
	a.replica = r
}

// feed implements cluster.Feeder.
func (a *agent) feed(ctx context.Context, peer string, at cluster.Position, send func([]byte) error) error {
	source := a.fsm.Source()
	// It may know more than this peer does yet.
	if snap, _ := source.Snapshot(); at.Generation == snap.Mesh().Generation {
		bounded, cancel := context.WithTimeout(ctx, seenTime)
		_, err := raftfsm.WaitIndex(bounded, source, at.Index)
		cancel()
		if err != nil {
			return fmt.Errorf("this peer is behind index %d: %w", at.Index, err)
		}
	}
	for first := true; ; first = false {
		snap, _ := source.Snapshot()
		since := at.Index
		if snap.Mesh().Generation != at.Generation {
			since = 0
		}
		if p := raftfsm.PartOf(snap, peer, since); first || !p.Empty() {
			b, err := raftfsm.EncodePart(p)
			if err != nil {
				return err
			}
			if err := send(b); err != nil {
				return err
			}
			at = cluster.Position{Generation: snap.Mesh().Generation, Index: p.Index}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-snap.WatchOn(peer):
		case <-snap.WatchPeers():
		}
		sleep(ctx, feedSettle)
	}
}

// position is where this peer's part of the state is.
func (a *agent) position() cluster.Position {
	snap, _ := a.replica.Snapshot()
	return cluster.Position{Generation: snap.Mesh().Generation, Index: snap.Index()}
}

// take takes a part over. One that does not fit is asked for as a whole.
func (a *agent) take(b []byte) error {
	p, err := raftfsm.DecodePart(b)
	if err != nil {
		return err
	}
	if err := a.replica.Apply(p); err != nil {
		return err
	}
	a.fedOnce.Do(func() { close(a.fed) })
	return nil
}

// follow keeps this peer's part of the state up to date where the log leaves it out.
func (a *agent) follow(ctx context.Context) error {
	gap := false
	return a.mesh.Follow(ctx, func() cluster.Position {
		if gap {
			return cluster.Position{}
		}
		return a.position()
	}, func(b []byte) error {
		err := a.take(b)
		gap = errors.Is(err, raftfsm.ErrGap)
		return err
	})
}

// keepPart writes this peer's part of the state to disk when it changes: what it goes
// by when it starts and nobody tells it more.
func (a *agent) keepPart(ctx context.Context) error {
	for {
		snap, _ := a.source.Snapshot()
		if snap.Index() > 0 {
			if err := raftfsm.WritePart(a.paths.Part, raftfsm.PartOf(snap, a.mesh.ID(), 0)); err != nil {
				a.log.WarnContext(ctx, "what this peer knows was not written; will retry", "err", err)
				sleep(ctx, keepPause)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-snap.WatchOn(a.mesh.ID()):
		case <-snap.WatchPeers():
		}
		sleep(ctx, keepPause)
	}
}

// known waits until this peer knows enough of the state to act on: all that was ever
// acknowledged, because deciding from less could take nodes apart that are wanted; its
// part, from who knows all; or, if nobody tells it either for a while, what it last knew.
func (a *agent) known(ctx context.Context) error {
	bounded, cancel := context.WithCancel(ctx)
	whole := make(chan error, 1)
	var wait sync.WaitGroup
	wait.Go(func() { whole <- a.current(bounded) })
	defer wait.Wait()
	defer cancel()
	var patience <-chan time.Time
	if snap, _ := a.replica.Snapshot(); snap.Index() > 0 {
		timer := time.NewTimer(quorumPatience)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case err := <-whole:
		return err
	case <-a.fed:
		a.newest.look()
		return nil
	case <-patience:
		snap, _ := a.source.Snapshot()
		a.log.WarnContext(ctx, "nobody tells this peer the state: it goes by what it last knew", "index", snap.Index())
		return nil
	}
}

// hasAll reports whether this peer has the whole state, and is told of changes.
func (a *agent) hasAll() bool { return a.newest.isWhole() && a.mesh.Following() }

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
