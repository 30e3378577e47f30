package consensus

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// Replayed is what Replay found.
type Replayed struct {
	// Index and Term are those of the newest entry.
	Index, Term uint64
	// Voters are the IDs of who votes, as this log knows.
	Voters []string
}

// Replay reads a log that nobody has open into a state machine, which must be a new
// one: the newest snapshot that can be read, and every entry after it, committed or
// not. An entry that was never acknowledged may be among them; one that was and is
// here is never left out.
func Replay(dir string, fsm raft.FSM) (Replayed, error) {
	if _, err := os.Stat(filepath.Join(dir, "raft.db")); err != nil {
		return Replayed{}, fmt.Errorf("log: %w", err)
	}
	s, err := openStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return Replayed{}, err
	}
	r, err := s.replay(fsm)
	if err = errors.Join(err, s.bolt.Close()); err != nil {
		return Replayed{}, fmt.Errorf("log: %s: %w", dir, err)
	}
	return r, nil
}

func (s *stores) replay(fsm raft.FSM) (Replayed, error) {
	var r Replayed
	snapshot, err := s.restoreNewest(fsm)
	if err != nil {
		return r, err
	}
	if snapshot != nil {
		r.Index, r.Term, r.Voters = snapshot.Index, snapshot.Term, voters(snapshot.Configuration)
	}
	first, err := s.bolt.FirstIndex()
	if err != nil {
		return r, err
	}
	last, err := s.bolt.LastIndex()
	if err != nil {
		return r, err
	}
	if last > r.Index && first > r.Index+1 {
		return r, fmt.Errorf("entries %d to %d are missing", r.Index+1, first-1)
	}
	for index := r.Index + 1; index <= last; index++ {
		var entry raft.Log
		if err := s.bolt.GetLog(index, &entry); err != nil {
			return r, fmt.Errorf("entry %d: %w", index, err)
		}
		switch entry.Type {
		case raft.LogCommand:
			_ = fsm.Apply(&entry) // what it refused, it refused before
		case raft.LogConfiguration:
			r.Voters = voters(raft.DecodeConfiguration(entry.Data))
		}
		r.Index, r.Term = entry.Index, entry.Term
	}
	return r, nil
}

// restoreNewest returns nil if there is no snapshot.
func (s *stores) restoreNewest(fsm raft.FSM) (*raft.SnapshotMeta, error) {
	all, err := s.snapshots.List()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	var errs error
	for _, meta := range all {
		opened, source, err := s.snapshots.Open(meta.ID)
		if err == nil {
			err = fsm.Restore(source)
		}
		if err == nil {
			return opened, nil
		}
		errs = errors.Join(errs, fmt.Errorf("snapshot %s: %w", meta.ID, err))
	}
	return nil, errs
}

func voters(c raft.Configuration) []string {
	var out []string
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			out = append(out, string(s.ID))
		}
	}
	return out
}

// Start says how a log begins that is not the first of its mesh.
type Start struct {
	// Voter is the only one.
	Voter string
	// Index and Term are those that the snapshot is of.
	Index, Term uint64
	// Snapshot writes the state at Index.
	Snapshot func(io.Writer) error
}

// Found makes a log that begins with a snapshot and has one voter. It is durable when
// Found returns; what is in dir is lost.
func Found(dir string, start Start) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	s, err := openStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	err = s.found(start)
	if err = errors.Join(err, s.bolt.Close(), syncDir(dir)); err != nil {
		return fmt.Errorf("log: begin anew: %w", err)
	}
	return nil
}

func (s *stores) found(start Start) error {
	id := raft.ServerAddress(start.Voter)
	only := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: id}}}
	_, nowhere := raft.NewInmemTransport(id)
	defer nowhere.Close()
	sink, err := s.snapshots.Create(raft.SnapshotVersionMax, start.Index, start.Term, only, 1, nowhere)
	if err != nil {
		return err
	}
	if err := start.Snapshot(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return errors.Join(sink.Close(), s.bolt.SetUint64([]byte("CurrentTerm"), start.Term))
}
