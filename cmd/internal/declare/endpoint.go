package declare

import (
	"slices"

	"tenks/raftfsm/state"
)

// endpoint returns where the BMC of a placed node is to listen from now on, if its host's
// address or range of ports is another one since; nil: where it does. The port stays
// where it is one of the range, or where none of that is free.
func (ids *identities) endpoint(n *state.Node, machine state.Machine) *state.Endpoint {
	if n.Placement == nil || n.Placement.BMC.Port == 0 || n.Moving() || n.BMCAddress != "" || !machine.Own() {
		return nil
	}
	h, ok := ids.snap.Hypervisor(n.Placement.Hypervisor)
	if !ok || h.BMC.Address == "" {
		return nil
	}
	at := state.Endpoint{Address: h.BMC.Address, Port: n.Placement.BMC.Port}
	if !within(h, at.Port) {
		at.Port = ids.port(h, at.Port)
	}
	if at == n.Placement.BMC {
		return nil
	}
	return &at
}

func within(h *state.Hypervisor, port int) bool {
	return port >= h.BMC.First && port <= h.BMC.Last && !slices.Contains(h.Reserved, port)
}

// port takes the lowest port of a hypervisor that no BMC has; the one given where none is
// free.
func (ids *identities) port(h *state.Hypervisor, has int) int {
	taken := ids.ports[h.ID]
	if taken == nil {
		taken = map[int]bool{}
		for _, n := range ids.snap.NodesOn(h.ID) {
			taken[n.Placement.BMC.Port] = true
		}
		for _, n := range ids.snap.MovingTo(h.ID) {
			taken[n.Move.BMC.Port] = true
		}
		ids.ports[h.ID] = taken
	}
	for port := max(h.BMC.First, 1); port <= h.BMC.Last; port++ {
		if !taken[port] && within(h, port) {
			taken[port] = true
			return port
		}
	}
	return has
}
