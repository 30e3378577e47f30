package declare

import (
	"errors"
	"fmt"

	"tenks/raftfsm/state"
)

// maxOutlets is how many outlets a PDU has: more than any that is built.
const maxOutlets = 1000

// outlets gives the nodes of a cluster the outlets of its PDUs.
type outlets struct {
	pdus map[string]state.PDU
	// taken are the numbers in use, by PDU.
	taken map[string]map[int]bool
}

// newOutlets takes a cluster's PDUs. Who logs in says which PDU is meant, so neither their
// names nor what clients log in with may be another's in the mesh.
func newOutlets(snap *state.Snapshot, want *state.Cluster) (*outlets, error) {
	o := &outlets{pdus: map[string]state.PDU{}, taken: map[string]map[int]bool{}}
	var others []owned
	for _, c := range snap.Clusters() {
		if c.Name == want.Name {
			continue
		}
		for _, p := range c.PDUs {
			others = append(others, owned{p, c.Name})
		}
	}
	var errs []error
	for _, p := range want.PDUs {
		for _, other := range others {
			if err := other.clash(p); err != nil {
				errs = append(errs, err)
			}
		}
		others = append(others, owned{p, want.Name})
		o.pdus[p.Name], o.taken[p.Name] = p, map[int]bool{}
	}
	for _, n := range snap.Nodes() {
		if n.Outlet != nil && o.taken[n.Outlet.PDU.Name] != nil {
			o.taken[n.Outlet.PDU.Name][n.Outlet.Number] = true
		}
	}
	return o, errors.Join(errs...)
}

// owned is a PDU and its cluster.
type owned struct {
	state.PDU
	cluster string
}

// clash says what of a PDU is this one's already.
func (o owned) clash(p state.PDU) error {
	var what string
	switch {
	case o.Name == p.Name:
		what = "its name"
	case o.User == p.User && p.User != "":
		what = fmt.Sprintf("its user %q", p.User)
	case o.Community == p.Community && !p.Community.IsZero():
		what = "its community"
	default:
		return nil
	}
	return fmt.Errorf("pdu %q: %s is that of PDU %q of cluster %q: each PDU of the mesh has its own", p.Name, what, o.Name, o.cluster)
}

// of returns a node's outlet: the one that it has or, if that is none of the spec's PDU, the
// lowest free one.
func (o *outlets) of(spec state.Spec, have *state.Outlet) (*state.Outlet, error) {
	p, ok := o.pdus[spec.PDU]
	if !ok {
		return nil, nil //nolint:nilnil // no outlet is a fine answer
	}
	if have != nil && have.PDU.Name == p.Name {
		return &state.Outlet{PDU: p, Number: have.Number}, nil
	}
	for number := 1; number <= maxOutlets; number++ {
		if !o.taken[p.Name][number] {
			o.taken[p.Name][number] = true
			return &state.Outlet{PDU: p, Number: number}, nil
		}
	}
	return nil, fmt.Errorf("pdu %q: all %d outlets are taken: declare another one for some of the specs", p.Name, maxOutlets)
}

// note says that Ironic cannot log in to a spec's PDU.
func (o *outlets) note(spec state.Spec, m state.Machine) string {
	if p, ok := o.pdus[spec.PDU]; !ok || !p.Community.IsZero() || spec.Enrol == nil || m.IronicDriver != state.ProtocolSNMP {
		return ""
	}
	return fmt.Sprintf("nodes of type %s: Ironic's snmp driver speaks SNMPv3 by MD5 and DES only, which PDU %s does not take: give that a community_file", spec.Type, spec.PDU)
}

// plug says where a node is plugged in.
func plug(o *state.Outlet) string {
	if o == nil {
		return "none"
	}
	return fmt.Sprintf("%d of %s", o.Number, o.PDU.Name)
}
