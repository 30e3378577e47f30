package state

import "cmp"

// Phase is what people and scripts see of a node (DESIGN.md §10).
type Phase string

// The phases.
const (
	PhasePending   Phase = "pending"
	PhaseCreating  Phase = "creating"
	PhaseReady     Phase = "ready"
	PhaseEnrolling Phase = "enrolling"
	PhaseEnrolled  Phase = "enrolled"
	PhaseRemoving  Phase = "removing"
	PhaseLost      Phase = "lost"
	PhaseError     Phase = "error"
)

// Phase returns the node's phase and, where there is one, the reason for it.
func (n *Node) Phase() (Phase, string) {
	reason := n.Host.Error
	if reason == "" {
		reason = n.Ironic.Error
	}
	if reason == "" {
		reason = n.Move.said()
	}
	switch {
	case n.Removing && reason == "":
		return PhaseRemoving, n.LostReason
	case n.Removing:
		return PhaseRemoving, reason
	case n.Placement == nil:
		return PhasePending, n.Unplaced
	case n.Lost:
		return PhaseLost, n.LostReason
	case n.Anew:
		return PhaseCreating, cmp.Or(n.Host.Error, "is taken apart, to be made anew")
	case n.Host.Phase == HostError:
		return PhaseError, reason
	case n.Host.Phase != HostReady:
		return PhaseCreating, reason
	case n.Enrol == nil || n.Ironic.Phase == "":
		return PhaseReady, reason
	case n.Ironic.Phase == IronicEnrolled:
		return PhaseEnrolled, reason
	case n.Ironic.Error != "":
		// Ironic is down or refuses: the node itself is ready.
		return PhaseReady, reason
	}
	return PhaseEnrolling, reason
}
