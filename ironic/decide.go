package ironic

import (
	"fmt"
	"slices"
	"strings"

	"tenks/raftfsm/state"
)

// kind is what to do next with one node.
type kind int

const (
	// settled: nothing to do until something changes.
	settled kind = iota
	// waiting: Ironic is at work; look again soon.
	waiting
	create
	patchNode
	setTraits
	createPort
	patchPort
	deletePort
	provision
	maintain
	unmaintain
	remove
	// gone: Ironic has no record of ours (any longer).
	gone
)

// action is the next step for one node. Problem is what its status says meanwhile.
type action struct {
	Kind    kind
	Verb    string
	Patches []patch
	Port    wantPort
	PortID  string
	Problem string
	// Again says that this step has failed before, so it is taken with backoff only.
	Again bool
}

// Ironic's provision states (ironic.common.states).
const (
	stEnroll, stVerifying, stManageable, stAvailable = "enroll", "verifying", "manageable", "available"
	stActive, stDeploying, stDeployWait              = "active", "deploying", "wait call-back"
	stDeployFailed, stDeployHold                     = "deploy failed", "deploy hold"
	stDeleting, stError                              = "deleting", "error"
	stCleaning, stCleanWait, stCleanHold             = "cleaning", "clean wait", "clean hold"
	stCleanFailed                                    = "clean failed"
	stInspecting, stInspectWait, stInspectFailed     = "inspecting", "inspect wait", "inspect failed"
	stAdopting, stAdoptFailed                        = "adopting", "adopt failed"
	stRescue, stRescuing, stRescueWait               = "rescue", "rescuing", "rescue wait"
	stRescueFailed, stUnrescuing, stUnrescueFailed   = "rescue failed", "unrescuing", "unrescue failed"
	stServicing, stServiceWait                       = "servicing", "service wait"
	stServiceFailed, stServiceHold                   = "service failed", "service hold"
)

var (
	// moving states end by themselves.
	moving = []string{stVerifying, stDeploying, stDeployWait, stDeleting, stCleaning, stCleanWait, stInspecting,
		stInspectWait, stAdopting, stRescuing, stRescueWait, stUnrescuing, stServicing, stServiceWait}
	// young states come before the first "available".
	young = []string{stEnroll, stVerifying, stManageable, stCleaning, stCleanWait, stCleanHold, stCleanFailed,
		stInspecting, stInspectWait, stInspectFailed, stAdopting, stAdoptFailed}
	// failed states keep the reason in last_error.
	failed = []string{stDeployFailed, stError, stCleanFailed, stInspectFailed, stAdoptFailed, stRescueFailed,
		stUnrescueFailed, stServiceFailed}
	// occupied states have, or may have, an instance on the node.
	occupied = []string{stActive, stDeploying, stDeployWait, stDeployFailed, stDeployHold, stError, stRescue,
		stRescuing, stRescueWait, stRescueFailed, stUnrescuing, stUnrescueFailed, stServicing, stServiceWait,
		stServiceFailed, stServiceHold}
	// deletable states allow DELETE without maintenance (DELETE_ALLOWED_STATES, and
	// available by allow_deleting_available_nodes).
	deletable = []string{stEnroll, stManageable, stAvailable, stAdoptFailed}
	// driverStates allow a change of driver, interfaces and resource class.
	driverStates = []string{stEnroll, stManageable, stAvailable, stInspectWait}
	// portStates allow a change of a port's connectivity.
	portStates = []string{stEnroll, stManageable, stInspectWait}
	// patchWhileMoving states allow a change of a node that has a target.
	patchWhileMoving = []string{stVerifying, stInspectWait, stCleanFailed, stDeployFailed, stError, stInspectFailed,
		stAdoptFailed, stRescueFailed, stUnrescueFailed}
)

// reasonPorts and reasonRemoval mark maintenance that is ours to end.
const (
	reasonPorts   = "tenks: changing ports"
	reasonRemoval = "tenks: removing the node"
)

// next decides the next step for a node that shall be enrolled, from what Ironic
// has of it; r is nil if that is nothing.
func next(n *state.Node, w want, r *record) action {
	if r == nil {
		return action{Kind: create}
	}
	if a, differs := nextChange(w, r); differs {
		return a
	}
	if r.Maintenance && r.MaintenanceReason == reasonPorts {
		return action{Kind: unmaintain}
	}
	return nextState(n, r)
}

// nextChange makes the record as declared.
func nextChange(w want, r *record) (action, bool) {
	allowed, refused := split(diffFields(w, r), w, r)
	ports := portChanges(w, r)
	busy := slices.Contains(moving, r.State) || r.Target != ""
	switch {
	case len(allowed) > 0 && busy && !slices.Contains(patchWhileMoving, r.State):
		return action{Kind: waiting}, true
	case len(allowed) > 0:
		return action{Kind: patchNode, Patches: allowed}, true
	case len(refused) > 0 && busy:
		return action{Kind: waiting}, true
	case !slices.Equal(w.Traits, r.Traits):
		return action{Kind: setTraits}, true
	case len(ports) > 0:
		return nextPort(ports[0], r, busy), true
	case len(refused) > 0:
		return action{Kind: settled, Problem: refusal(refused, r)}, true
	}
	return action{}, false
}

// split parts what Ironic lets change in the node's state from what it does not.
func split(patches []patch, w want, r *record) (allowed, refused []patch) {
	m := w.Mark
	for _, p := range patches {
		if mayChange(p.Path, r) {
			allowed = append(allowed, p)
			continue
		}
		refused = append(refused, p)
		if p.Op == "remove" {
			// Still ours to remove, later.
			m.Managed = append(slices.Clone(m.Managed), p.Path)
		}
	}
	slices.Sort(m.Managed)
	if !m.equal(r.Mark) {
		allowed = append(allowed, patch{Op: "add", Path: pointer("extra", markKey), Value: m})
	}
	return allowed, refused
}

func mayChange(path string, r *record) bool {
	switch {
	case slices.Contains(driverStates, r.State):
		return true
	case path == "/resource_class":
		return text(r.Fields[path]) == ""
	case path == "/driver", strings.HasSuffix(path, "_interface"):
		return r.Maintenance
	}
	return true
}

func refusal(refused []patch, r *record) string {
	var names []string
	for _, p := range refused {
		names = append(names, strings.TrimPrefix(p.Path, "/"))
	}
	return fmt.Sprintf("node %s is %s in Ironic, which refuses to change %s: it is done once the node is available",
		r.Name, r.State, strings.Join(names, ", "))
}

// portChange is one difference between the wanted ports and Ironic's.
type portChange struct {
	action
	// restricted changes need certain states, or maintenance.
	restricted bool
}

func portChanges(w want, r *record) []portChange {
	var out []portChange
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
	return out
}

// nextPort takes one change to a port. An available node is put into maintenance
// for it, which nobody notices; one with an instance is left alone.
func nextPort(c portChange, r *record, busy bool) action {
	switch {
	case !c.restricted, slices.Contains(portStates, r.State), r.Maintenance:
		return c.action
	case busy:
		return action{Kind: waiting}
	case r.State == stAvailable && r.InstanceUUID == "":
		return action{Kind: maintain, Verb: reasonPorts}
	}
	return action{Kind: settled, Problem: fmt.Sprintf(
		"node %s is %s in Ironic, which refuses to change its ports: it is done once the node is available", r.Name, r.State)}
}

// nextState moves a complete record towards available, once: a node that was
// available before belongs to Ironic's users.
func nextState(n *state.Node, r *record) action {
	enrolled := n.Ironic.Phase == state.IronicEnrolled
	switch {
	case r.State == stEnroll && r.LastError != "":
		return action{Kind: provision, Verb: "manage", Again: true, Problem: failure(r)}
	case r.State == stEnroll:
		return action{Kind: provision, Verb: "manage"}
	case slices.Contains(failed, r.State):
		return action{Kind: settled, Problem: failure(r)}
	case enrolled || !slices.Contains(young, r.State):
		return action{Kind: settled}
	case r.Maintenance && r.State == stManageable:
		return action{Kind: settled, Problem: fmt.Sprintf("node %s is in maintenance in Ironic: %s", r.Name, r.MaintenanceReason)}
	case r.State == stManageable && r.Target == "":
		return action{Kind: provision, Verb: "provide", Again: r.LastError != "", Problem: lastError(r)}
	}
	return action{Kind: waiting}
}

func failure(r *record) string {
	return fmt.Sprintf("node %s is %s in Ironic: %s", r.Name, r.State, r.LastError)
}

func lastError(r *record) string {
	if r.LastError == "" {
		return ""
	}
	return failure(r)
}

// nextRemoval decides the next step for a node that shall leave Ironic.
func nextRemoval(n *state.Node, mesh string, r *record) action {
	if r == nil || !r.Mark.ours(mesh) {
		return action{Kind: gone}
	}
	inUse := slices.Contains(occupied, r.State) || r.InstanceUUID != ""
	switch {
	case inUse && !n.Force:
		return action{Kind: settled, Problem: inUseProblem(r)}
	case r.Maintenance && (r.MaintenanceReason == reasonRemoval || !inUse && !slices.Contains(moving, r.State)):
		return action{Kind: remove}
	case slices.Contains(deletable, r.State) && r.InstanceUUID == "":
		return action{Kind: remove}
	case slices.Contains(deletable, r.State), r.State == stError:
		// Undeployed and still not free: it is deleted as a broken node is.
		return action{Kind: maintain, Verb: reasonRemoval}
	}
	return leave(n, r)
}

// leave moves a node out of a state that cannot be deleted.
func leave(n *state.Node, r *record) action {
	again := r.LastError != ""
	switch r.State {
	case stActive, stDeployFailed, stDeployWait, stRescue, stRescueWait, stRescueFailed, stUnrescueFailed, stServiceFailed:
		return action{Kind: provision, Verb: "deleted", Again: again && r.State != stActive, Problem: lastError(r)}
	case stCleanFailed, stInspectFailed:
		return action{Kind: provision, Verb: "manage", Problem: lastError(r)}
	case stCleanWait, stInspectWait, stServiceWait:
		if n.Force {
			return action{Kind: provision, Verb: "abort", Again: true}
		}
	case stCleanHold, stDeployHold, stServiceHold:
		return action{Kind: provision, Verb: "abort", Again: true}
	}
	return action{Kind: waiting}
}

func inUseProblem(r *record) string {
	if !slices.Contains(occupied, r.State) {
		return fmt.Sprintf("node %s has instance %s in Ironic: undeploy it or use --force", r.Name, r.InstanceUUID)
	}
	return fmt.Sprintf("node %s is %s in Ironic: undeploy it or use --force", r.Name, r.State)
}

// conflict says why a node cannot be enrolled: what stands in its way in Ironic
// and is not ours. It returns the node's own record, or nil.
func conflict(w want, inv *inventory) (r *record, problem string) {
	if r = inv.nodes[w.UUID]; r != nil && !r.Mark.ours(w.Mark.Mesh) {
		return nil, fmt.Sprintf("Ironic has a node %s (%s) with this UUID that is not of this mesh: it is left alone", r.UUID, r.Name)
	}
	if other := inv.byName[w.Name]; other != nil && other.UUID != w.UUID {
		return r, fmt.Sprintf("Ironic has another node named %s (%s): it is left alone", other.Name, other.UUID)
	}
	for _, p := range w.Ports {
		if other, held := inv.byMAC[p.MAC]; held && other.NodeUUID != w.UUID {
			return r, fmt.Sprintf("Ironic has MAC %s on node %s: it is left alone", p.MAC, nodeLabel(inv, other.NodeUUID))
		}
	}
	return r, ""
}

func nodeLabel(inv *inventory, uuid string) string {
	if n := inv.nodes[uuid]; n != nil && n.Name != "" {
		return fmt.Sprintf("%s (%s)", n.Name, uuid)
	}
	return uuid
}

// statusOf is the status of a node for which nothing is to be done now.
func statusOf(n *state.Node, r *record, problem string) state.IronicStatus {
	s := state.IronicStatus{Phase: n.Ironic.Phase, Error: problem}
	if s.Phase == state.IronicGone {
		s.Phase = ""
	}
	if r == nil {
		return s
	}
	s.ProvisionState = r.State
	switch {
	case n.Removing:
	case !slices.Contains(young, r.State):
		s.Phase = state.IronicEnrolled
	case s.Phase == "":
		s.Phase = state.IronicEnrolling
	}
	return s
}
