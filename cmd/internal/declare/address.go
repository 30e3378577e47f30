package declare

import (
	"errors"
	"fmt"
	"net/netip"

	"tenks/raftfsm/state"
)

// poolOf is what the BMC of a node with that hardware gets its address of; one that is
// switched by a PDU has none.
func poolOf(want *state.Cluster, machine state.Machine) state.AddressPool {
	if machine.IronicDriver == state.ProtocolSNMP {
		return nil
	}
	return want.BMCPool
}

// address returns the BMC address of a node that exists when its cluster has a pool: the
// one that it has, or one where its host can serve it. A node that is placed anew gets
// its address then.
func (ids *identities) address(n *state.Node, pool state.AddressPool, machine state.Machine) (string, error) {
	switch {
	case pool.Contains(n.BMCAddress):
		return n.BMCAddress, nil
	case len(pool) == 0 && n.BMCAddress != "" && machine.Own() && !hasEndpoint(n):
		return "", errors.New("was made with a BMC address and has no port: keep bmc.addresses, or remove the node")
	case len(pool) == 0 || n.Placement == nil:
		return "", nil
	case n.Moving():
		return "", errors.New("moves: apply again when it has arrived, to give its BMC an address")
	}
	host, ok := ids.snap.Hypervisor(n.Placement.Hypervisor)
	if !ok {
		return "", fmt.Errorf("its hypervisor %s is not known", n.Placement.Hypervisor)
	}
	spans := pool.In(host.Prefixes())
	for _, s := range spans {
		for at := s.First; at.IsValid() && !s.Last.Less(at); at = at.Next() {
			if ids.takeAddress(at) {
				return at.String(), nil
			}
		}
	}
	if len(spans) == 0 {
		return "", fmt.Errorf("its hypervisor %s has no link in the BMC network of %s: move or remove the node first", host.Name, pool)
	}
	return "", fmt.Errorf("no BMC address of %s is free in the networks of its hypervisor %s", pool, host.Name)
}

// takeAddress takes an address if nobody has it; false: somebody does.
func (ids *identities) takeAddress(at netip.Addr) bool {
	if ids.addresses == nil {
		ids.addresses = ids.snap.ClosedAddresses()
		for _, n := range ids.snap.Nodes() {
			if has, err := netip.ParseAddr(n.BMCAddress); err == nil {
				ids.addresses[has] = true
			}
		}
	}
	if ids.addresses[at] {
		return false
	}
	ids.addresses[at] = true
	return true
}
