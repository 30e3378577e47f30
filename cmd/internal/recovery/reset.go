package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tenks/cluster"
)

// PrepareReset makes ready that this peer goes on alone with what its own log holds. It
// is refused while the mesh still works, or another survivor has a newer log, unless
// forced.
func PrepareReset(ctx context.Context, p Place, o Options) (*Step, error) {
	local, err := cluster.ReadLocal(p.Mesh)
	if err != nil {
		return nil, err
	}
	l, voters, err := own(p)
	if err != nil {
		return nil, err
	}
	if l.dump.Mesh == nil {
		return nil, errors.New("this peer does not follow the log, and has only its part of the state: run it on a voter or standby (tenks recover status says which), or use tenks backup restore or tenks recover rebuild")
	}
	snap, err := snapshotOf(l.dump)
	if err != nil {
		return nil, err
	}
	peers := peersOf(snap)
	answers, err := ask(ctx, p, peers)
	if err != nil {
		return nil, err
	}
	if err := alive(local, voters, l.index, peers, answers); err != nil && !o.Force {
		return nil, fmt.Errorf("%w; --force goes on in spite of that", err)
	}
	g, err := local.Next(o.Number, l.index)
	if err != nil {
		return nil, err
	}
	after, err := l.next(local, g, "reset", o.Now)
	if err != nil {
		return nil, err
	}
	s := &Step{Generation: g, Summary: []string{
		fmt.Sprintf("mesh %s goes from generation %d to %d with the state that this peer has: log index %d, %d clusters, %d nodes",
			l.dump.Mesh.Name, local.Number, g.Number, l.index, len(l.dump.Clusters), len(l.dump.Nodes)),
		"this peer votes alone; others follow it and vote again once they answer",
		"what only other voters had acknowledged is lost; guests and their disks are not touched"}}
	s.run = func() error {
		file, err := keep(p, l.dump, o.Now)
		if err != nil {
			return err
		}
		s.Follow = append(s.Follow, "the state from before is in "+file, followLine)
		return found(p, l, after, g, o.Now)
	}
	return s, nil
}

// followLine says what becomes of the others.
const followLine = "other peers come over by themselves as soon as they reach this one; their nodes run on"

// alive says why a reset is not needed, or not here.
func alive(local cluster.Local, voters []string, index uint64, peers []cluster.Peer, answers map[string]cluster.Answer) error {
	up := 0
	var running, ahead []string
	for _, id := range sortedKeys(answers) {
		a := answers[id]
		if a.Err != nil {
			continue
		}
		if a.Number > local.Number {
			return fmt.Errorf("the mesh was recovered already: %s is in generation %d, this host in %d; start the agent, and it comes over", nameOf(peers, id), a.Number, local.Number)
		}
		if a.Generation != local.Generation || !slices.Contains(voters, id) {
			continue
		}
		up++
		running = append(running, id)
		if a.Index > index {
			ahead = append(ahead, fmt.Sprintf("%s has log index %d, this host %d", nameOf(peers, id), a.Index, index))
		}
	}
	mine := 0
	if slices.Contains(voters, local.ID) {
		mine = 1
	}
	if 2*(up+mine) > len(voters) && up > 0 {
		return fmt.Errorf("a majority of the voters can work: with this host, %s: start its agent instead", names(peers, running))
	}
	if len(ahead) > 0 {
		return fmt.Errorf("another survivor knows more: %s: run it there", strings.Join(ahead, ", "))
	}
	return nil
}
