package recovery

import (
	"context"
	"fmt"

	"tenks/cluster"
)

// PrepareRestore makes ready that the mesh goes on with the state of a backup, with this
// peer as its only voter. It is refused for another mesh's backup, and unless forced for
// one of an earlier generation, or while a majority of the voters works.
func PrepareRestore(ctx context.Context, p Place, file string, o Options) (*Step, error) {
	local, err := cluster.ReadLocal(p.Mesh)
	if err != nil {
		return nil, err
	}
	d, info, err := ReadBackup(file)
	if err != nil {
		return nil, err
	}
	if err := fits(info, local, o); err != nil {
		return nil, err
	}
	l := loaded{dump: d, index: d.Index}
	mine, voters, ownErr := own(p)
	if ownErr == nil {
		l.term, l.index = mine.term, max(mine.index, d.Index)
	}
	if len(voters) == 0 {
		voters = votersOf(local.Peers)
	}
	answers, err := ask(ctx, p, local.Peers)
	if err != nil {
		return nil, err
	}
	l.index = max(l.index, highest(answers))
	// That others know more is what a restore undoes.
	if err := alive(local, voters, l.index, local.Peers, answers); err != nil && !o.Force {
		return nil, fmt.Errorf("%w; --force restores all the same, and the others come over", err)
	}
	g, err := cluster.Generation{Number: max(local.Number, info.Generation)}.Next(o.Number, l.index)
	if err != nil {
		return nil, err
	}
	after, err := l.next(local, g, "restore of index "+fmt.Sprint(info.Index), o.Now)
	if err != nil {
		return nil, err
	}
	s := &Step{Generation: g, Summary: []string{
		fmt.Sprintf("mesh %s goes from generation %d to %d with the state of %s: log index %d, %s, %d clusters, %d nodes",
			info.Mesh, local.Number, g.Number, file, info.Index, info.Time, info.Clusters, info.Nodes),
		"what was declared since then is forgotten; guests that the backup does not know are left alone, and are the operator's to remove",
		"this peer votes alone; others follow it and vote again once they answer"}}
	s.run = func() error {
		if ownErr == nil && mine.dump.Mesh != nil {
			kept, err := keep(p, mine.dump, o.Now)
			if err != nil {
				return err
			}
			s.Follow = append(s.Follow, "the state from before is in "+kept)
		}
		s.Follow = append(s.Follow, followLine)
		return found(p, l, after, g, o.Now)
	}
	return s, nil
}

// fits says why a backup is not for this host.
func fits(b Info, local cluster.Local, o Options) error {
	if b.MeshID != local.Mesh {
		return fmt.Errorf("%s: a backup of mesh %s (%s), and this host is in mesh %s", b.File, b.Mesh, b.MeshID, local.Mesh)
	}
	if b.Generation < local.Number && !o.Force {
		return fmt.Errorf("%s: of generation %d, and the mesh is in %d: what was done since it was recovered would be lost; --force goes on in spite of that", b.File, b.Generation, local.Number)
	}
	return nil
}

// highest is the newest log index of those that answer.
func highest(answers map[string]cluster.Answer) uint64 {
	newest := uint64(0)
	for _, a := range answers {
		if a.Err == nil {
			newest = max(newest, a.Index)
		}
	}
	return newest
}
