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
	createGroup
	patchGroup
	deleteGroup
	provision
	// recoverNode counts a try to get the node out of a failed state, before it is made.
	recoverNode
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
	Group   wantGroup
	// PortID is the UUID of a port or port group.
	PortID  string
	Problem string
	// Done says that the node has been taken to what is declared, Reached.
	Done    bool
	Reached state.EnrolTarget
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
	// occupied states have, or may have, an instance on the node: what failed to be adopted was
	// deployed before.
	occupied = []string{stActive, stDeploying, stDeployWait, stDeployFailed, stDeployHold, stError, stRescue,
		stRescuing, stRescueWait, stRescueFailed, stUnrescuing, stUnrescueFailed, stServicing, stServiceWait,
		stServiceFailed, stServiceHold, stAdoptFailed}
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

// faultClean is Ironic's reason for maintenance after a failed cleaning (ironic.common.faults).
const faultClean = "clean failure"

// next decides the next step for a node that shall be enrolled, from what Ironic
// has of it; r is nil if that is nothing.
func next(n *state.Node, w want, r *record) action {
	if r == nil {
		return action{Kind: create}
	}
	a, differs := nextChange(w, r)
	if differs && a.Kind != settled {
		return a
	}
	if r.changingPorts() {
		return action{Kind: unmaintain}
	}
	// What Ironic refuses to change in a failed state can be changed once that is left.
	if _, known := ways[r.State]; differs && !known {
		return a
	}
	if a, failed := nextRecovery(n, r); failed {
		return a
	}
	return nextState(n, r)
}

// nextChange makes the record as declared.
func nextChange(w want, r *record) (action, bool) {
	allowed, refused := split(diffFields(w, r), w, r)
	ports := portChanges(w, r)
	moves := slices.Contains(moving, r.State) || r.Target != ""
	// What failed has a target still, which nothing takes it to.
	busy := moves && !slices.Contains(failed, r.State)
	switch {
	case len(allowed) > 0 && moves && !slices.Contains(patchWhileMoving, r.State):
		return action{Kind: waiting}, true
	case len(allowed) > 0:
		return action{Kind: patchNode, Patches: allowed}, true
	case len(refused) > 0 && busy:
		return action{Kind: waiting}, true
	case !slices.Equal(w.Traits, r.Traits):
		return action{Kind: setTraits}, true
	case len(ports) > 0:
		return nextPort(ports, r, busy), true
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

// nextState moves a complete record towards what is declared, once: a node that has been
// there belongs to Ironic's users, and so does one that was adopted.
func nextState(n *state.Node, r *record) action {
	target := n.Enrol.State
	recovering := r.recovery().recovering()
	adopted := r.Mark != nil && r.Mark.Adopted
	switch {
	case r.State == stEnroll && target == state.TargetEnroll, adopted && !recovering && !slices.Contains(moving, r.State):
		return well(n, r, action{Kind: settled, Done: true, Reached: target})
	case r.State == stEnroll && r.LastError != "":
		return action{Kind: provision, Verb: "manage", Again: true, Problem: failure(r)}
	case r.State == stEnroll:
		return action{Kind: provision, Verb: "manage"}
	case slices.Contains(failed, r.State):
		return action{Kind: settled, Problem: failure(r)}
	}
	return onTheWay(n, r, recovering)
}

// onTheWay is the next step of a node that is neither new nor in a failed state.
func onTheWay(n *state.Node, r *record, recovering bool) action {
	switch {
	case recovering && r.Target != "" && slices.Contains(moving, r.State):
		return action{Kind: waiting}
	case arrived(n) && !recovering || !slices.Contains(young, r.State):
		return well(n, r, action{Kind: settled})
	case r.State == stManageable && r.Target == "":
		return nextManageable(n, r)
	}
	return action{Kind: waiting}
}

// nextManageable takes a node on that is manageable.
func nextManageable(n *state.Node, r *record) action {
	again := action{Kind: provision, Again: r.LastError != "", Problem: lastError(r)}
	switch {
	case r.Maintenance && r.Fault == faultClean && r.recovery().recovering():
		return action{Kind: unmaintain}
	case r.Maintenance:
		return action{Kind: settled, Problem: fmt.Sprintf("node %s is in maintenance in Ironic: %s", r.Name, r.MaintenanceReason)}
	case n.Enrol.Inspect && !r.Inspected:
		again.Verb = "inspect"
		return again
	case n.Enrol.State.Rank() <= state.TargetManageable.Rank():
		return well(n, r, action{Kind: settled, Done: true, Reached: state.TargetManageable})
	case r.Retired:
		return action{Kind: settled, Problem: fmt.Sprintf("node %s is retired in Ironic%s: it is not provided", r.Name, because(r.RetiredReason))}
	}
	again.Verb = "provide"
	return again
}

// arrived reports whether a node has been taken to what is declared, or further.
func arrived(n *state.Node) bool {
	return n.Ironic.Phase == state.IronicEnrolled && n.Ironic.Reached.Rank() >= n.Enrol.State.Rank()
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
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
	case r.Protected, !n.Force && (inUse || r.ofPeople()):
		return action{Kind: settled, Problem: keptProblem(r)}
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

// changingPorts reports whether the node is in the maintenance that we put it into.
func (r *record) changingPorts() bool { return r.Maintenance && r.MaintenanceReason == reasonPorts }

func (r *record) sameMaintenance(o *record) bool {
	return r.Maintenance == o.Maintenance && r.MaintenanceReason == o.MaintenanceReason && r.Fault == o.Fault
}

// ofPeople reports whether somebody put the node into maintenance: not Ironic, and not we.
func (r *record) ofPeople() bool {
	return r.Maintenance && r.Fault == "" && r.MaintenanceReason != reasonPorts && r.MaintenanceReason != reasonRemoval
}

// keptProblem says why a record may not go; empty: it may.
func keptProblem(r *record) string {
	switch {
	case r.Protected:
		return fmt.Sprintf("node %s is protected in Ironic%s, against --force as well: end that, or leave its record with --forget-ironic",
			r.Name, because(r.ProtectedReason))
	case !slices.Contains(occupied, r.State) && r.InstanceUUID == "" && r.ofPeople():
		return fmt.Sprintf("node %s is in maintenance in Ironic%s: end that or use --force", r.Name, because(r.MaintenanceReason))
	case !slices.Contains(occupied, r.State) && r.InstanceUUID == "":
		return ""
	case !slices.Contains(occupied, r.State):
		return fmt.Sprintf("node %s has instance %s in Ironic: undeploy it or use --force", r.Name, r.InstanceUUID)
	}
	return fmt.Sprintf("node %s is %s in Ironic: undeploy it or use --force", r.Name, r.State)
}

// conflict says why a node cannot be enrolled: what stands in its way in Ironic
// and is not ours. It returns the node's own record, or nil; that has no mark if the node
// is to adopt it.
func conflict(w want, inv *inventory, n *state.Node) (r *record, problem string) {
	r = inv.of(w.UUID, w.Mark.Mesh)
	if named := inv.byName[w.Name]; r == nil && named != nil && adopts(n, named) {
		r = named
	}
	if r != nil && !r.Mark.ours(w.Mark.Mesh) && (r.Mark != nil || !n.AdoptIronic) {
		return nil, fmt.Sprintf("Ironic has a node %s (%s) with this UUID that is not of this mesh: it is left alone", r.UUID, r.Name)
	}
	uuid := w.UUID
	if r != nil {
		uuid = r.UUID
	}
	if other := inv.byName[w.Name]; other != nil && other.UUID != uuid {
		return r, fmt.Sprintf("Ironic has another node named %s (%s): it is left alone", other.Name, other.UUID)
	}
	for _, p := range w.Ports {
		if other, held := inv.byMAC[p.MAC]; held && other.NodeUUID != uuid {
			return r, fmt.Sprintf("Ironic has MAC %s on node %s: it is left alone", p.MAC, nodeLabel(inv, other.NodeUUID))
		}
	}
	return r, ""
}

// adopts reports whether a record of a node's name is the one that was found when the node was
// taken over: should that go, another one of its name is somebody else's.
func adopts(n *state.Node, r *record) bool {
	return n.AdoptIronic && (n.Origin == nil || n.Origin.IronicUUID == "" || n.Origin.IronicUUID == r.UUID)
}

func nodeLabel(inv *inventory, uuid string) string {
	if n := inv.nodes[uuid]; n != nil && n.Name != "" {
		return fmt.Sprintf("%s (%s)", n.Name, uuid)
	}
	return uuid
}
