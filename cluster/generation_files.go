package cluster

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"tenks/cluster/consensus"
	"tenks/cluster/pki"
)

// nextFile says that this peer goes into another generation: it is there from when that
// is decided until it is done, so that a crash half-way changes nothing.
const nextFile = "next.json"

// next is next.json.
type next struct {
	Membership membership `json:"membership"`
	// Certificate is a new one, in PEM; empty: the old one is good.
	Certificate []byte `json:"certificate,omitempty"`
	// Log says that the new log is ready in raft.new; otherwise it begins empty, and
	// waits for a leader.
	Log bool `json:"log,omitempty"`
}

func newLogDir(dir string) string { return filepath.Join(dir, "raft.new") }

// oldLogDir is where the log of a generation is kept once it was given up.
func oldLogDir(dir string, g Generation) string {
	name := fmt.Sprintf("raft.gen%d", g.Number)
	if g.Recovery != "" {
		name += "-" + g.Recovery
	}
	return filepath.Join(dir, name)
}

func (n next) write(dir string) error {
	b, err := json.MarshalIndent(n, "", " ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, nextFile), b)
}

// advance finishes what next.json says, if it is there. It may be repeated.
func advance(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, nextFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var n next
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", nextFile, err)
	}
	if err := n.advance(dir); err != nil {
		return fmt.Errorf("go to generation %d: %w", n.Membership.Generation.Number, err)
	}
	return errors.Join(os.Remove(filepath.Join(dir, nextFile)), syncDir(dir))
}

func (n next) advance(dir string) error {
	now, err := readMembership(dir)
	if err != nil {
		return err
	}
	if now.Generation != n.Membership.Generation {
		if err := n.exchangeLogs(dir, oldLogDir(dir, now.Generation)); err != nil {
			return err
		}
	}
	if len(n.Certificate) > 0 {
		if err := writeFile(filepath.Join(dir, certFile), n.Certificate); err != nil {
			return err
		}
	}
	return n.Membership.write(dir)
}

// exchangeLogs puts the log aside and a new one in its place.
func (n next) exchangeLogs(dir, aside string) error {
	if n.Log && !there(newLogDir(dir)) {
		return nil // the last step of an earlier try
	}
	if there(aside) {
		// What an earlier try put in its place.
		if err := os.RemoveAll(logDir(dir)); err != nil {
			return err
		}
	} else if there(logDir(dir)) {
		if err := os.Rename(logDir(dir), aside); err != nil {
			return err
		}
	}
	if n.Log {
		return errors.Join(os.Rename(newLogDir(dir), logDir(dir)), syncDir(dir))
	}
	return errors.Join(consensus.Prepare(logDir(dir)), syncDir(dir))
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Local is what the files of a peer that does not run say.
type Local struct {
	// ID is this peer's.
	ID   string
	Mesh string
	Generation
	// Roots are the authorities' certificates in PEM, Gossip the keys of the gossip ring.
	Roots  string
	Gossip [][]byte
	Peers  []Peer
}

// ReadLocal reads a mesh directory. Errors: ErrAbsent.
func ReadLocal(dir string) (Local, error) {
	if !Exists(dir) {
		return Local{}, fmt.Errorf("%s: %w", dir, ErrAbsent)
	}
	if err := advance(dir); err != nil {
		return Local{}, err
	}
	id, err := readIdentity(dir)
	if err != nil {
		return Local{}, err
	}
	m, err := readMembership(dir)
	if err != nil {
		return Local{}, err
	}
	return Local{ID: id, Mesh: m.Mesh, Generation: m.Generation, Roots: m.Roots, Gossip: m.Gossip, Peers: m.Peers}, nil
}

// Replay reads the log of a mesh directory whose agent does not run into a new state
// machine. See consensus.Replay.
func Replay(dir string, fsm raft.FSM) (consensus.Replayed, error) {
	if err := advance(dir); err != nil {
		return consensus.Replayed{}, err
	}
	return consensus.Replay(logDir(dir), fsm)
}

// RecoverConfig says what a mesh goes on with.
type RecoverConfig struct {
	Dir string
	// Generation is the new one; its state is at index Since.
	Generation Generation
	// Term is that of the newest entry that is known.
	Term uint64
	// Snapshot writes the state.
	Snapshot func(io.Writer) error
	// Authority signs this peer a new certificate. Nil: the one that is there is good.
	Authority *pki.Authority
	// Roots are the authorities' certificates, Gossip the gossip keys; empty: as they are.
	Roots  []*x509.Certificate
	Gossip [][]byte
	// Peers are those of the state.
	Peers []Peer
	Now   time.Time
}

// Recover makes this peer the only voter of its mesh, in a new generation with a new
// log. The old log is kept beside it as raft.gen<number>. The agent must not run.
func Recover(c RecoverConfig) error {
	local, err := ReadLocal(c.Dir)
	if err != nil {
		return err
	}
	n := next{Log: true, Membership: membership{Mesh: local.Mesh, Generation: c.Generation, Roots: local.Roots, Gossip: local.Gossip, Peers: c.Peers}}
	if len(c.Roots) > 0 {
		n.Membership.Roots = string(pki.JoinBundle(c.Roots...))
	}
	if len(c.Gossip) > 0 {
		n.Membership.Gossip = c.Gossip
	}
	if c.Authority != nil {
		if n.Certificate, err = ownCertificate(c, local.Mesh); err != nil {
			return err
		}
	}
	err = consensus.Found(newLogDir(c.Dir), consensus.Start{Voter: local.ID, Index: c.Generation.Since, Term: c.Term + 1, Snapshot: c.Snapshot})
	if err != nil {
		return err
	}
	if err := n.write(c.Dir); err != nil {
		return err
	}
	return advance(c.Dir)
}

func ownCertificate(c RecoverConfig, mesh string) ([]byte, error) {
	key, err := readKey(c.Dir)
	if err != nil {
		return nil, err
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		return nil, err
	}
	return c.Authority.Issue(pki.Request{CSR: csr, Mesh: mesh, Generation: c.Generation.Number, Now: c.Now})
}
