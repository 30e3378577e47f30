package declare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tenks/raftfsm/state"
)

// A use is how much a node would be missed: those of the lowest go first.
type use int

const (
	unplaced use = iota
	broken
	notEnrolled
	notAvailable
	available
	busy
	kept
	inUse
	guarded
)

// uses says in words why a node goes first.
var uses = map[use]string{
	unplaced: "has no place yet", broken: "does not work", notEnrolled: "is not enrolled", notAvailable: "is not available in Ironic",
	available: "is not used", busy: "Ironic is at work on it", kept: "is kept in Ironic", inUse: "is in use", guarded: "is protected in Ironic",
}

// occupied are the provision states in which there is, or may be, an instance on the node
// (Ironic's ironic.common.states).
var occupied = []string{"active", "deploying", "wait call-back", "deploy failed", "deploy hold", "deleting", "error", "rescue", "rescuing", "rescue wait",
	"rescue failed", "unrescuing", "unrescue failed", "servicing", "service wait", "service failed", "service hold", "adopting",
	"adopt failed"} // what is to be adopted was deployed before

// InUse reports whether a node has an instance, as far as Ironic last said.
func InUse(n *state.Node) bool { return useOf(n) == inUse }

func useOf(n *state.Node) use {
	enrolled := n.Ironic.Phase != "" && n.Ironic.Phase != state.IronicGone
	switch provision := n.Ironic.ProvisionState; {
	case enrolled && slices.Contains(occupied, provision):
		return inUse // wherever it is: somebody's data
	case n.Placement == nil:
		return unplaced
	case n.Host.Phase == state.HostError, n.Lost, enrolled && strings.HasSuffix(provision, " failed"):
		return broken // those failures that may leave an instance are above
	case !enrolled:
		return notEnrolled
	case provision == "available":
		return available
	case provision == "", provision == "enroll", provision == "manageable":
		return notAvailable
	}
	return busy
}

// shrink chooses which nodes go: those of goFirst, then by use, then those that are off, then
// the highest names, and those that the file names last. What Ironic does not let go stays as
// long as there are others. used says how much each would be missed, by UUID.
func shrink(have []*state.Node, surplus int, opt Options, goFirst map[string]bool, named []state.NamedNode) (stay, gone []*state.Node, used map[string]use) {
	order, runs := slices.Clone(have), map[string]int{}
	used = usesOf(have, opt)
	for _, n := range have {
		if opt.On != nil && opt.On(n.UUID) {
			runs[n.UUID] = 1
		}
	}
	first := func(n *state.Node) int {
		switch {
		case goFirst[n.Name]:
			return 0
		case slices.ContainsFunc(named, func(w state.NamedNode) bool { return w.Name == n.Name }):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b *state.Node) int {
		return cmp.Or(cmp.Compare(first(a), first(b)), cmp.Compare(used[a.UUID], used[b.UUID]), cmp.Compare(runs[a.UUID], runs[b.UUID]), -byNumber(a.Name, b.Name))
	})
	gone = order[:surplus]
	for _, n := range have {
		if !slices.Contains(gone, n) {
			stay = append(stay, n)
		}
	}
	return stay, gone, used
}

// usesOf says of each node how much it would be missed, by UUID: Ironic is asked, because what
// it said last does not tell of people's maintenance and protection.
func usesOf(nodes []*state.Node, opt Options) map[string]use {
	out := map[string]use{}
	for _, n := range nodes {
		out[n.UUID] = useOf(n)
	}
	if opt.Kept == nil || opt.Forget {
		return out
	}
	held := opt.Kept(nodes, false)
	for uuid := range held {
		out[uuid] = max(out[uuid], kept)
	}
	if len(held) > 0 {
		for uuid := range opt.Kept(nodes, true) {
			out[uuid] = guarded
		}
	}
	return out
}

// goFirst says which of the nodes of Options.Remove are of a spec, and refuses those that
// would not go although they were named.
func (p *planner) goFirst(spec state.Spec, have []*state.Node, surplus int) map[string]bool {
	out := map[string]bool{}
	for _, n := range have {
		if slices.Contains(p.opt.Remove, n.Name) {
			out[n.Name] = true
		}
	}
	if len(out) > max(surplus, 0) {
		p.errs = append(p.errs, fmt.Errorf("--remove %s: %d of the spec of type %s (prefix %s) would have to go, and its count of %d takes %d away: lower the count to %d",
			strings.Join(sortedKeys(out), ","), len(out), spec.Type, spec.Prefix, spec.Count, max(surplus, 0), len(have)-len(out)))
	}
	return out
}

// checkNamed refuses names that are no nodes of the cluster.
func (p *planner) checkNamed() {
	for _, name := range p.opt.Remove {
		n, ok := p.snap.NodeByName(name)
		switch {
		case !ok:
			p.errs = append(p.errs, fmt.Errorf("--remove %s: there is no such node; see tenks node list", name))
		case n.Cluster != p.want.Name:
			p.errs = append(p.errs, fmt.Errorf("--remove %s: is a node of cluster %q, not %q", name, n.Cluster, p.want.Name))
		case n.Removing:
			p.errs = append(p.errs, fmt.Errorf("--remove %s: is being removed already", name))
		}
	}
}
