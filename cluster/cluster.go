// Package cluster is a peer's place in the mesh: its identity, and the replicated
// log behind Propose and WhileLeader. It never looks into commands: the state
// machine is an opaque raft.FSM. Open starts the log's goroutines; Close stops them
// and waits.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"tenks/cluster/consensus"
)

// Errors that callers branch on.
var (
	// ErrNotLeader says that nothing was proposed: another peer leads, or none, or the
	// log is closed.
	ErrNotLeader = consensus.ErrNotLeader
	// ErrUnknown says that leadership was lost while a command was in flight: it is
	// committed once, or never. Repeat it with the same request ID.
	ErrUnknown = consensus.ErrUnknown
	// ErrExists says that the directory holds a mesh already.
	ErrExists = errors.New("there is a mesh already")
	// ErrAbsent says that the directory holds no mesh, or a half-made one.
	ErrAbsent = errors.New("there is no mesh")
)

// Config of a Mesh.
type Config struct {
	// Dir is what Init made.
	Dir string
	// FSM is the replicated state. Open replays into it.
	FSM raft.FSM
	Log *slog.Logger
}

// Mesh is this peer's part in a mesh. It is safe for concurrent use.
type Mesh struct {
	id  string
	log *consensus.Log
}

// doneFile is written last by Init: a directory without it is half-made.
const doneFile = "initialised"

// Exists reports whether Init has made a mesh in dir.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, doneFile))
	return err == nil
}

// Init makes a mesh of one in dir: the peer's key, and a log with one voter whose
// first entry is first. After a crash half-way it may be repeated. Errors:
// ErrExists.
func Init(dir string, first []byte) error {
	if Exists(dir) {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	id, err := makeIdentity(dir)
	if err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	// Whatever a crash left of a log was never acknowledged.
	if err := os.RemoveAll(logDir(dir)); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	if err := consensus.Bootstrap(logDir(dir), id, first); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	if err := writeFile(filepath.Join(dir, doneFile), []byte(id+"\n")); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

func logDir(dir string) string { return filepath.Join(dir, "raft") }

// Open starts this peer's part of the log. Errors: ErrAbsent.
func Open(c Config) (*Mesh, error) {
	if !Exists(c.Dir) {
		return nil, fmt.Errorf("%s: %w", c.Dir, ErrAbsent)
	}
	id, err := readIdentity(c.Dir)
	if err != nil {
		return nil, err
	}
	log, err := consensus.Open(consensus.Config{Dir: logDir(c.Dir), ID: id, FSM: c.FSM, Log: c.Log})
	if err != nil {
		return nil, err
	}
	return &Mesh{id: id, log: log}, nil
}

// ID returns this peer's ID: a hash of its key.
func (m *Mesh) ID() string { return m.id }

// Propose commits a command and returns what the state machine answered. It blocks
// until the command is applied here. Errors: ErrNotLeader, ErrUnknown (also when ctx
// ended meanwhile), and ctx's own if it had ended before.
func (m *Mesh) Propose(ctx context.Context, command []byte) (any, error) {
	return m.log.Propose(ctx, command)
}

// Barrier blocks until everything that was acknowledged before is applied here.
// Errors: ErrNotLeader.
func (m *Mesh) Barrier(ctx context.Context) error { return m.log.Barrier(ctx) }

// Leader returns the ID of the peer that leads, if one is known.
func (m *Mesh) Leader() (id string, ok bool) { return m.log.Leader() }

// IsLeader reports whether this peer leads.
func (m *Mesh) IsLeader() bool { return m.log.IsLeader() }

// LastIndex is the index of the newest entry of the log here.
func (m *Mesh) LastIndex() uint64 { return m.log.LastIndex() }

// Close lets proposals that are under way finish, for a few seconds, stops the log
// and waits for it.
func (m *Mesh) Close() error { return m.log.Close() }

// WhileLeader runs work whenever this peer leads and has applied everything that
// was acknowledged, under a context that ends with its leadership, and again with
// growing pauses if work fails. It blocks until ctx ends and work has returned; it
// returns nil then. Several may run at once.
func (m *Mesh) WhileLeader(ctx context.Context, work func(context.Context) error) error {
	return m.log.WhileLeader(ctx, work)
}
