package recovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// Sources are what a state is rebuilt from, besides this host's own part.
type Sources struct {
	// Parts are part files of other hosts, or directories of such.
	Parts []string
	// Backup is an older state to lay them over; empty: the newest that is on this host.
	Backup string
}

// PrepareRebuild makes ready that the mesh goes on with what its peers know of
// themselves. It is refused, unless forced, while a majority of the voters works, or if
// something is known to be on a host whose part is not given.
func PrepareRebuild(ctx context.Context, p Place, from Sources, o Options) (*Step, error) {
	local, err := cluster.ReadLocal(p.Mesh)
	if err != nil {
		return nil, err
	}
	answers, err := ask(ctx, p, local.Peers)
	if err != nil {
		return nil, err
	}
	l, baseLine, err := baseOf(p, from.Backup)
	if err != nil {
		return nil, err
	}
	parts, lines, err := readParts(p, from.Parts)
	if err != nil {
		return nil, err
	}
	m, err := mergeParts(l.dump, parts)
	if err != nil {
		return nil, err
	}
	if err := alive(local, votersOf(local.Peers), max(m.index, l.index), local.Peers, answers); err != nil && !o.Force {
		return nil, fmt.Errorf("%w; --force goes on in spite of that", err)
	}
	if err := m.complete(); err != nil && !o.Force {
		return nil, err
	}
	if m.dump.Keys == nil || !signs(m.dump.Keys) {
		if err := m.newAuthority(local, o.Now); err != nil {
			return nil, err
		}
		lines = append(lines, "no key of the mesh's authority is on this host: a new authority is made, and the other peers must be let in again")
	}
	g, err := (cluster.Generation{Number: max(local.Number, m.generation)}).Next(o.Number, max(m.index, l.index))
	if err != nil {
		return nil, err
	}
	l.dump = m.dump
	after, err := l.next(local, g, "rebuild", o.Now)
	if err != nil {
		return nil, err
	}
	s := &Step{Generation: g, Summary: slices.Concat([]string{fmt.Sprintf("mesh %s goes from generation %d to %d with a state of %d peers, %d clusters, %d nodes",
		m.dump.Mesh.Name, local.Number, g.Number, len(after.Peers()), len(m.dump.Clusters), len(m.dump.Nodes)), baseLine}, lines, m.notes)}
	s.run = func() error {
		s.Follow = m.follow(lines)
		return found(p, l, after, g, o.Now)
	}
	return s, nil
}

// complete says which parts are missing.
func (m *merged) complete() error {
	var out []string
	for _, name := range m.without {
		line := name
		if nodes := m.missing[name]; len(nodes) > 0 {
			line += " (it has " + strings.Join(nodes, ", ") + ")"
		}
		out = append(out, line)
	}
	if len(out) == 0 {
		return nil
	}
	return fmt.Errorf("the parts of these hosts are missing: %s: copy part.tnk from there and add it with --from; --force goes on without, and leaves out what only they know", strings.Join(out, ", "))
}

// follow says what a person has to do next.
func (m *merged) follow(lines []string) []string {
	var out []string
	if slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, "new authority") }) {
		out = append(out, "let each other host in again: tenks token create here, tenks join TOKEN there; it keeps its nodes")
	} else {
		out = append(out, followLine)
	}
	for _, name := range m.remade {
		out = append(out, fmt.Sprintf("of cluster %s only the nodes are known: apply its file again, for Ironic and whatever is to come", name))
	}
	if len(m.remade) > 0 {
		out = append(out, "nodes that had no host yet are forgotten: an apply makes them again")
	}
	return out
}

func signs(k *state.Keys) bool {
	return len(k.Authorities) > 0 && !k.Authorities[0].KeyPEM.IsZero()
}

// newAuthority gives the mesh an authority. The gossip keys stay.
func (m *merged) newAuthority(local cluster.Local, now time.Time) error {
	authority, err := pki.NewAuthority(local.Mesh, now)
	if err != nil {
		return err
	}
	cert, key := authority.PEM()
	k := &state.Keys{Authorities: []state.Authority{{CertPEM: cert, KeyPEM: state.NewSecret(string(key))}}}
	for i, g := range local.Gossip {
		k.Gossip = append(k.Gossip, state.GossipKey{ID: fmt.Sprintf("rebuilt-%d", i), Key: state.NewSecret(string(g))})
	}
	m.dump.Keys = k
	return nil
}

// baseOf finds the newest whole state that there is on this host: the log's, or that of
// a backup. None is no error.
func baseOf(p Place, backup string) (loaded, string, error) {
	if backup != "" {
		d, info, err := ReadBackup(backup)
		return loaded{dump: d, index: d.Index}, fmt.Sprintf("laid over %s: log index %d, %s", backup, info.Index, info.Time), err
	}
	l, _, err := own(p)
	if err == nil && l.dump.Mesh != nil {
		return l, fmt.Sprintf("laid over this peer's log: log index %d", l.index), nil
	}
	list, listErr := List(p.Backups)
	if listErr != nil {
		return l, "", listErr
	}
	for _, e := range list {
		if d, info, err := ReadBackup(e.File); err == nil {
			return loaded{dump: d, index: max(l.index, d.Index), term: l.term}, fmt.Sprintf("laid over %s: log index %d, %s", e.File, info.Index, info.Time), nil
		}
	}
	return loaded{term: l.term, index: l.index}, "without a log or a backup", nil
}

// readParts reads this host's part and those that are named.
func readParts(p Place, paths []string) (parts []raftfsm.Part, lines []string, err error) {
	files := []string{}
	if _, err := os.Stat(p.Part); err == nil {
		files = append(files, p.Part)
	}
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return nil, nil, err
		}
		if !st.IsDir() {
			files = append(files, path)
			continue
		}
		found, err := filepath.Glob(filepath.Join(path, "*"+backupEnd))
		if err != nil {
			return nil, nil, err
		}
		if len(found) == 0 {
			return nil, nil, fmt.Errorf("%s: no part files (*%s): %w", path, backupEnd, fs.ErrNotExist)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return nil, nil, errors.New("there is no part.tnk on this host, and --from names none")
	}
	for _, f := range files {
		part, err := raftfsm.ReadPart(f)
		if err != nil {
			return nil, nil, err
		}
		parts, lines = append(parts, part), append(lines, f+": "+partSummary(part))
	}
	return parts, lines, nil
}
