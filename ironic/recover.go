package ironic

import (
	"fmt"

	"tenks/raftfsm/state"
)

// mostTries bounds how often a node is taken out of a failed state until it is well.
const mostTries = 3

// ways are what leads out of failed states: back to manageable, to cleaning, or back to what was
// deployed, which is as it was. Those that are not among them are left to people.
var ways = map[string]string{stCleanFailed: "manage", stInspectFailed: "manage", stAdoptFailed: "manage",
	stDeployFailed: "deleted", stError: "deleted", stRescueFailed: "unrescue", stUnrescueFailed: "unrescue"}

// recovering reports whether a try is under way.
func (v recovery) recovering() bool { return v.Tries > 0 && v.Tries <= mostTries }

// nextRecovery takes a node out of a failed state, if that is declared or was asked for. A
// try is counted in Ironic before it is made, once for each time that the node failed.
func nextRecovery(n *state.Node, r *record) (action, bool) {
	verb, known := ways[r.State]
	if !known {
		return action{}, false
	}
	v := r.recovery()
	asked := n.RecoverIndex > v.Asked
	counted := v.recovering() && v.Since == r.Since
	var why string
	switch {
	case r.InstanceUUID != "":
		why = "it has instance " + r.InstanceUUID + ", and is left to whoever that belongs to"
	case r.Protected:
		why = "it is protected" + because(r.ProtectedReason)
	case r.Retired:
		why = "it is retired" + because(r.RetiredReason)
	case r.ofPeople(), r.Maintenance && verb == "unrescue": // Ironic refuses that in any maintenance
		why = "it is in maintenance" + because(r.MaintenanceReason)
	case asked:
		return count(r, recovery{Tries: 1, Since: r.Since, Asked: n.RecoverIndex}), true
	case counted:
		return action{Kind: provision, Verb: verb, Problem: failure(r)}, true
	case !n.Enrol.Recover, r.State == stAdoptFailed: // who adopts a node has a workload on it: no cleaning unasked
		why = "tenks node recover " + n.Name + " tries again"
	case v.Tries < mostTries:
		return count(r, recovery{Tries: v.Tries + 1, Since: r.Since, Asked: v.Asked}), true
	case v.Tries == mostTries:
		return count(r, recovery{Tries: mostTries + 1, Asked: v.Asked}), true
	default:
		why = fmt.Sprintf("not well after %d tries: tenks node recover %s tries again", mostTries, n.Name)
	}
	return action{Kind: settled, Problem: failure(r) + "; " + why}, true
}

// count writes a recovery into the record's mark. The more tries there were, the longer it waits.
func count(r *record, v recovery) action {
	m := *r.Mark
	m.Recovery = v
	return action{Kind: recoverNode, Patches: []patch{{Op: "add", Path: pointer("extra", markKey), Value: m}},
		Problem: failure(r), Again: v.Tries <= mostTries}
}

// well is what to do with a node that is where it shall be: what was counted is forgotten, and
// a recovery that was asked for has been heard.
func well(n *state.Node, r *record, a action) action {
	v := r.recovery()
	if r.Mark == nil || r.Target != "" || v.Tries == 0 && n.RecoverIndex <= v.Asked {
		return a
	}
	m := *r.Mark
	m.Recovery = recovery{Asked: max(v.Asked, n.RecoverIndex)}
	return action{Kind: recoverNode, Patches: []patch{{Op: "add", Path: pointer("extra", markKey), Value: m}}}
}

// heard is the record with what counts of what it says was heard last. In one log no node is
// asked for less than was heard before: a mark that says so is of a log that was lost, and a
// backup restored in its place. What was asked for since then has not been heard.
func heard(n *state.Node, r *record, since uint64) *record {
	if r == nil || r.recovery().Asked <= n.RecoverIndex {
		return r
	}
	out, m := *r, *r.Mark
	m.Recovery.Asked = min(n.RecoverIndex, since)
	out.Mark = &m
	return &out
}

func (r *record) recovery() recovery {
	if r.Mark == nil {
		return recovery{}
	}
	return r.Mark.Recovery
}
