package declare

import (
	"reflect"
	"slices"

	"tenks/raftfsm/state"
)

// differences says what a change does to a node; nothing means that the node is as
// declared. What can differ is in three tables: hardware, enrolment, placing.
func differences(n *state.Node, c *state.NodeChange) []Difference {
	now := declared(n, c)
	out := compare(hardware, AtPowerOn, func(n *state.Node) any { return machineOf(n) }, n, now)
	out = append(out, compare(enrolment, Now, func(n *state.Node) any { return enrolOf(n) }, n, now)...)
	return append(out, compare(placing, Now, nil, n, now)...)
}

// declared is a node as a change makes it.
func declared(n *state.Node, c *state.NodeChange) *state.Node {
	now := *n
	now.Machine, now.Enrol = c.Machine, c.Enrol
	now.DeployKernel, now.DeployRamdisk = c.DeployKernel, c.DeployRamdisk
	now.Constraints, now.OnHostLoss, now.StopAfterMilli = c.Constraints, c.OnHostLoss, c.StopAfterMilli
	now.Ports, now.BMC, now.Outlet = c.Ports, c.BMC, c.Outlet
	now.BMCPool, now.BMCAddress = c.BMCPool, c.BMCAddress
	if c.Pin != nil {
		now.SetPin(*c.Pin)
	}
	if c.Endpoint != nil && n.Placement != nil {
		at := *n.Placement
		at.BMC = *c.Endpoint
		now.Placement = &at
	}
	return &now
}

// needsRestart reports whether a change has a part that a running node gets only at
// its next power-on.
func needsRestart(differ []Difference) bool {
	for _, d := range differ {
		if d.When == AtPowerOn {
			return true
		}
	}
	return false
}

// restarted says of what waits for a power-on that a restart is asked for.
func restarted(differ []Difference) {
	for i, d := range differ {
		if d.When == AtPowerOn {
			differ[i].When = ByRestart
		}
	}
}

// latest is when the last of the differences takes effect.
func latest(differ []Difference) When {
	out := Now
	for _, d := range differ {
		if slices.Index(times, d.When) > slices.Index(times, out) {
			out = d.When
		}
	}
	return out
}

// sameCluster reports whether two declarations are equal but for their indexes and
// the text they were read from.
func sameCluster(a, b *state.Cluster) bool {
	x, y := *a, *b
	x.CreateIndex, x.ModifyIndex, y.CreateIndex, y.ModifyIndex = 0, 0, 0, 0
	x.Source, y.Source = "", ""
	x.FlavorStatus, y.FlavorStatus = state.FlavorStatus{}, state.FlavorStatus{}
	return reflect.DeepEqual(x, y)
}
