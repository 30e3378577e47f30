package declare

import (
	"cmp"
	"time"

	"tenks/raftfsm/state"
)

// placing is what else can differ of a node: where it may be, and how it is reached.
var placing = []field{
	{name: "placement.spread", when: AtPlacement, of: func(n *state.Node) any { return n.Constraints.Spread }},
	{name: "placement.require", when: AtPlacement, of: func(n *state.Node) any { return n.Constraints.Require }},
	{name: "on_host_loss", when: Now, of: func(n *state.Node) any { return n.OnHostLoss }},
	{name: "stop_after", when: Now, of: func(n *state.Node) any { return n.StopAfterMilli },
		text:   func(n *state.Node) string { return milli(n.StopAfterMilli).String() },
		unless: func(old, now *state.Node) bool { return old.OnHostLoss != now.OnHostLoss }},
	{name: "bmc", when: Now, of: func(n *state.Node) any { return n.BMC }, secret: true},
	{name: "bmc.endpoint", when: Now, of: func(n *state.Node) any { return endpointOf(n) },
		remark: "the old one is not one of its host's any longer"},
	{name: "outlet", when: Now, of: func(n *state.Node) any { return plug(n.Outlet) }},
	{name: "pdu", when: Now, of: func(n *state.Node) any { return n.Outlet }, secret: true,
		unless: func(old, now *state.Node) bool { return plug(old.Outlet) != plug(now.Outlet) }},
	{name: "bmc.address", when: Now, of: func(n *state.Node) any { return n.BMCAddress },
		text: func(n *state.Node) string { return cmp.Or(n.BMCAddress, "a port of its host") }},
	{name: "bmc.addresses", when: AtPlacement, of: func(n *state.Node) any { return n.BMCPool },
		text:   func(n *state.Node) string { return cmp.Or(n.BMCPool.String(), "none") },
		unless: func(old, now *state.Node) bool { return old.BMCAddress != now.BMCAddress }},
}

func milli(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// endpointOf is where a node's BMC listens at its host; the zero value where it has none of
// its own there.
func endpointOf(n *state.Node) state.Endpoint {
	if n.Placement == nil || n.Placement.BMC.Port == 0 {
		return state.Endpoint{}
	}
	return n.Placement.BMC
}
