package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tenks/cluster"
	"tenks/cmd/internal/api"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// raiseEvery is how often a leader looks whether all peers know more than the mesh uses.
const raiseEvery = time.Second

// raise brings the mesh to the level that all its peers know, for as long as this peer leads.
func (a *agent) raise(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		snap, _ := a.fsm.Source().Snapshot()
		now := snap.Level().Number
		if now >= raftfsm.Level {
			<-ctx.Done() // none goes back
			return nil
		}
		levels := a.mesh.Levels()
		why := laggards(levels, snap, raftfsm.Level)
		switch common := commonLevel(levels); {
		case common > now:
			if _, err := a.commit(ctx, "", state.RaiseLevel{Level: common}); err != nil && ctx.Err() == nil {
				a.log.WarnContext(ctx, "the mesh's level was not raised; will retry", "err", err)
			}
		case why != said:
			said = why
			a.log.InfoContext(ctx, "new features wait until all peers know them", "level", now, "known", raftfsm.Level, "upgrade", why)
		}
		sleep(ctx, raiseEvery)
	}
	return nil
}

// checkLevel names the peers that features of this version wait for.
func (a *agent) checkLevel() []api.Check {
	snap, _ := a.source.Snapshot()
	if snap.Level().Number >= raftfsm.Level {
		return nil
	}
	return []api.Check{{Name: "upgrade", State: "warning", Detail: "features of this version wait for " + laggards(a.mesh.Levels(), snap, raftfsm.Level),
		Fix: "see docs/troubleshooting.md#upgrading-a-mesh"}}
}

// commonLevel is the level that all know; 0 where that cannot be told.
func commonLevel(levels []cluster.PeerLevel) int {
	common := raftfsm.Level
	for _, l := range levels {
		if !l.Known {
			return 0
		}
		common = min(common, l.Level)
	}
	return common
}

// laggards names the peers that do not know a level, or do not say so.
func laggards(levels []cluster.PeerLevel, snap *state.Snapshot, need int) string {
	var out []string
	for _, l := range levels {
		name := l.ID
		if p, ok := snap.Peer(l.ID); ok {
			name = p.Name
		}
		switch {
		case !l.Known:
			out = append(out, fmt.Sprintf("%s (%s, does not answer: start it, or tenks peer remove)", name, l.Role))
		case l.Level < need:
			out = append(out, fmt.Sprintf("%s (%s)", name, l.Role))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// allowed refuses a command that needs more than a mesh of a level may use.
func allowed(c state.Command, level int, laggards func(need int) string) error {
	if level >= raftfsm.Level {
		return nil
	}
	need, what := raftfsm.Needs(c)
	if need <= level {
		return nil
	}
	who := cmp.Or(laggards(need), "none any more: try again in a few seconds")
	return fmt.Errorf("%w: %s: every peer must know it before the mesh may use it; upgrade first: %s", state.ErrRefused, what, who)
}

// fit returns what is proposed of a command. A drain that is refused because of pins would be
// in the way of an upgrade: where the mesh may not use that, it goes on as it did before.
func fit(c state.Command, level int) state.Command {
	if drain, ok := c.(state.DrainPeer); ok && drain.Pins == state.PinsRefuse {
		return raftfsm.Withhold(drain, level)
	}
	return c
}

// allowed is allowed, by what this peer knows of the mesh. Levels only rise, so that what an
// older state allows is never too much.
func (a *agent) allowed(c state.Command) error {
	switch c.(type) {
	case state.PutHypervisor, state.ReportHost, state.ReportIronic:
		return nil // see fitRow
	}
	snap, _ := a.source.Snapshot()
	return allowed(c, snap.Level().Number, func(need int) string { return laggards(a.mesh.Levels(), snap, need) })
}

// fitRow returns what a peer may report by itself of something, without what the mesh may not
// use yet. If the state has more than the mesh's level, it is of before there were levels, and
// nothing is taken back.
func fitRow[T any](snap *state.Snapshot, report T, now any) T {
	level := snap.Level().Number
	if has, _ := raftfsm.Needs(now); level >= raftfsm.Level || has > level {
		return report
	}
	return raftfsm.Withhold(report, level)
}

// fitHost leaves out, besides, statuses that the state has: one that it can never have would
// be reported for ever.
func fitHost(snap *state.Snapshot, nodes []state.NodeHostReport) []state.NodeHostReport {
	if snap.Level().Number >= raftfsm.Level {
		return nodes
	}
	var out []state.NodeHostReport
	for _, r := range nodes {
		n, ok := snap.Node(r.UUID)
		if r = fitRow(snap, r, n); !ok || n.Placement == nil || n.Placement.Epoch != r.Epoch || !n.Host.Equal(r.Status) {
			out = append(out, r)
		}
	}
	return out
}

// fitIronic is fitHost for what Ironic has.
func fitIronic(snap *state.Snapshot, nodes []state.NodeIronicReport) []state.NodeIronicReport {
	if snap.Level().Number >= raftfsm.Level {
		return nodes
	}
	var out []state.NodeIronicReport
	for _, r := range nodes {
		n, ok := snap.Node(r.UUID)
		if r = fitRow(snap, r, n); !ok || n.Ironic != r.Status {
			out = append(out, r)
		}
	}
	return out
}
