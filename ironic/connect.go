package ironic

import (
	"fmt"
	"slices"

	"tenks/raftfsm/state"
)

// portChange is one difference between the wanted ports or port groups and Ironic's.
type portChange struct {
	action
	// restricted changes need certain states, or maintenance.
	restricted bool
}

// portChanges are in the order in which Ironic takes them: groups before the ports in them,
// but a group whose ports stop to be used by themselves after those stopped to boot.
func portChanges(w want, r *record) []portChange {
	first, last := groupChanges(w, r)
	out := first
	kept := map[string]bool{}
	for _, p := range w.Ports {
		kept[p.MAC] = true
		i := slices.IndexFunc(r.Ports, func(have portRecord) bool { return have.MAC == p.MAC })
		if i < 0 {
			out = append(out, portChange{action: action{Kind: createPort, Port: p}})
			continue
		}
		if patches, restricted := diffPort(p, r.Ports[i]); len(patches) > 0 {
			out = append(out, portChange{action{Kind: patchPort, PortID: r.Ports[i].UUID, Patches: patches}, restricted})
		}
	}
	for _, have := range r.Ports {
		if !kept[have.MAC] && have.Mark.ours(w.Mark.Mesh) {
			out = append(out, portChange{action{Kind: deletePort, PortID: have.UUID}, false})
		}
	}
	return append(out, last...)
}

func groupChanges(w want, r *record) (first, last []portChange) {
	for _, g := range w.Groups {
		i := slices.IndexFunc(r.Groups, func(have groupRecord) bool { return have.UUID == g.UUID })
		if i < 0 {
			first = append(first, portChange{action: action{Kind: createGroup, Group: g}})
			continue
		}
		patches := diffGroup(g, r.Groups[i])
		change := portChange{action: action{Kind: patchGroup, PortID: g.UUID, Patches: patches}}
		switch {
		case len(patches) == 0:
		case r.Groups[i].Standalone && !g.Standalone:
			last = append(last, change)
		default:
			first = append(first, change)
		}
	}
	for _, have := range groupsOf(r, w.Mark.Mesh) {
		if !slices.ContainsFunc(w.Groups, func(g wantGroup) bool { return g.UUID == have.UUID }) {
			last = append(last, portChange{action: action{Kind: deleteGroup, PortID: have.UUID}})
		}
	}
	return first, last
}

// nextPort takes one change to the ports. An available node is put into maintenance
// for it, which nobody notices; one with an instance is left alone, but for what Ironic
// takes all the same: ports that come and go, and our mark on those that were there before.
func nextPort(changes []portChange, r *record, busy bool) action {
	c := changes[0]
	switch {
	case !c.restricted, slices.Contains(portStates, r.State), r.Maintenance:
		return c.action
	case busy:
		return action{Kind: waiting}
	case r.State == stAvailable && r.InstanceUUID == "":
		return action{Kind: maintain, Verb: reasonPorts}
	}
	for _, c := range changes {
		if mark, ok := c.newMark(r); ok {
			return mark
		}
		if c.Kind == createPort && c.Port.Group == "" || c.Kind == deletePort {
			return c.action
		}
	}
	return action{Kind: settled, Problem: fmt.Sprintf(
		"node %s is %s in Ironic, which refuses to change its ports: it is done once the node is available", r.Name, r.State)}
}

// newMark is the part of a change that marks a port which had no mark.
func (c portChange) newMark(r *record) (action, bool) {
	i := slices.IndexFunc(r.Ports, func(p portRecord) bool { return p.UUID == c.PortID })
	if c.Kind != patchPort || i < 0 || r.Ports[i].Mark != nil {
		return action{}, false
	}
	a := c.action
	a.Patches = a.Patches[len(a.Patches)-1:]
	return a, true
}

// statusOf is the status of a node for which nothing is to be done now.
func statusOf(n *state.Node, r *record, problem string) state.IronicStatus {
	s := state.IronicStatus{Phase: n.Ironic.Phase, Error: problem, Reached: n.Ironic.Reached}
	if s.Phase == state.IronicGone {
		s.Phase = ""
	}
	if r == nil {
		return s
	}
	s.ProvisionState = r.State
	if r.UUID != n.UUID {
		s.Record = r.UUID
	}
	switch {
	case n.Removing:
	case !slices.Contains(young, r.State):
		s.Phase, s.Reached = state.IronicEnrolled, ""
	case s.Phase == "":
		s.Phase = state.IronicEnrolling
	case n.Enrol != nil && !arrived(n):
		// It is on its way up, again.
		s.Phase, s.Reached = state.IronicEnrolling, ""
	}
	return s
}
