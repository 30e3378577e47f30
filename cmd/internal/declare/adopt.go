package declare

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tenks/raftfsm/state"
)

// Adopt is the action of a node that another tool made, and that is taken over as it is.
const Adopt Action = "adopt"

// Adoption is what is known of nodes that are to be taken over.
type Adoption struct {
	// Found is what hosts have under the names of named nodes, by name.
	Found map[string]Found
	// Ironic has the UUIDs of the records in Ironic of these names.
	Ironic map[string]string
	// Partial takes over what can be, and leaves the rest as it is.
	Partial bool
}

// Found is what a host has under the name of a node.
type Found struct {
	// Hypervisor is the ID of the peer.
	Hypervisor, UUID, Driver string
	BootMode                 state.BootMode
	Volumes                  []FoundVolume
	Ports                    []FoundPort
	NVRAM                    string
	// Problem says why it cannot be taken over; empty: it can.
	Problem string
}

// FoundVolume is a disk of a Found.
type FoundVolume struct {
	state.OriginVolume
	CapacityBytes uint64
}

// FoundPort is a NIC of a Found. Device is what its bridge is joined to, and Mapped the
// physnets that the host maps to that.
type FoundPort struct {
	MAC    string
	Link   state.OriginLink
	Device string
	Mapped []string
	// Problem says why it cannot be taken over; empty: it can.
	Problem string
}

// adoptNodes takes over the named nodes of a spec that are not the mesh's yet. Nothing else
// is created, changed or removed.
func (p *planner) adoptNodes(spec state.Spec, have []*state.Node, machine state.Machine) error {
	p.plan.Unchanged += len(have)
	room := spec.Count - len(have)
	named, err := p.named(spec, room)
	if err != nil {
		return err
	}
	for _, want := range named {
		f, ok := p.opt.Adopt.Found[want.Name]
		why := f.misfit(want, machine)
		switch {
		case !ok:
			why = "there is nothing of that name on its host"
		case room <= 0:
			why = fmt.Sprintf("the spec has as many nodes as it counts already: %d", spec.Count)
		}
		if why != "" {
			if !p.opt.Adopt.Partial {
				p.errs = append(p.errs, fmt.Errorf("node %q cannot be taken over: %s", want.Name, why))
			}
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("node %s is left as it is: %s", want.Name, why))
			continue
		}
		room--
		if err := p.adoptNode(spec, want, f, machine); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) adoptNode(spec state.Spec, want state.NamedNode, f Found, machine state.Machine) error {
	want.UUID = f.UUID
	if other, taken := p.snap.Node(f.UUID); taken {
		p.errs = append(p.errs, fmt.Errorf("node %q: its UUID %s is that of node %q", want.Name, f.UUID, other.Name))
		return nil
	}
	want.Hypervisor = "" // it is known by its ID
	if err := p.create(spec, machine, want); err != nil {
		return err
	}
	n := &p.plan.Command.Create[len(p.plan.Command.Create)-1]
	n.Origin = &state.Origin{Hypervisor: f.Hypervisor, BMCPort: want.BMCPort, IronicUUID: p.opt.Adopt.Ironic[want.Name], NVRAM: f.NVRAM}
	n.AdoptIronic = n.Origin.IronicUUID != ""
	for _, v := range f.Volumes {
		n.Origin.Volumes = append(n.Origin.Volumes, v.OriginVolume)
	}
	for i, port := range f.Ports {
		n.Ports[i].MAC = port.MAC
		n.Origin.Links = append(n.Origin.Links, port.Link)
	}
	step := &p.plan.Steps[len(p.plan.Steps)-1]
	step.Action, step.Reasons = Adopt, []string{f.describe(n)}
	return nil
}

// describe says what is taken over.
func (f Found) describe(n *state.Node) string {
	text := fmt.Sprintf("domain %s", f.UUID)
	for _, v := range f.Volumes {
		text += ", " + v.Path
	}
	for _, p := range f.Ports {
		text += fmt.Sprintf(", %s in %s", p.Link.Peer, p.Link.Bridge)
	}
	if n.Origin.IronicUUID != "" {
		text += ", Ironic's node " + n.Origin.IronicUUID
	}
	return text
}

// misfit says why what was found is not the node that is declared; empty: it is.
func (f Found) misfit(want state.NamedNode, m state.Machine) string {
	switch {
	case f.Problem != "":
		return f.Problem
	case want.UUID != "" && want.UUID != f.UUID:
		return fmt.Sprintf("the domain has UUID %s, not %s", f.UUID, want.UUID)
	case f.Driver != m.Driver:
		return fmt.Sprintf("it is one of driver %s, not %s", f.Driver, m.Driver)
	case f.BootMode != m.BootMode:
		return fmt.Sprintf("its firmware is %s, not %s", f.BootMode, m.BootMode)
	case len(f.Volumes) == 0:
		return "it has no disks: remove it and create it anew"
	case len(f.Volumes) != len(m.Volumes):
		return fmt.Sprintf("it has %d disks, not %d", len(f.Volumes), len(m.Volumes))
	case len(f.Ports) != len(m.Physnets):
		return fmt.Sprintf("it has %d NICs, not %d", len(f.Ports), len(m.Physnets))
	}
	for i, v := range f.Volumes {
		if v.CapacityBytes > m.Volumes[i].CapacityBytes {
			return fmt.Sprintf("disk %s has %d bytes, more than the %d that are declared", v.Path, v.CapacityBytes, m.Volumes[i].CapacityBytes)
		}
	}
	for i, p := range f.Ports {
		switch {
		case p.Problem != "":
			return fmt.Sprintf("NIC %d: %s", i, p.Problem)
		case !slices.Contains(p.Mapped, m.Physnets[i]):
			return fmt.Sprintf("NIC %d is in bridge %s, which is joined to %s: agent.yml of its host has %s for physnet %s", i, p.Link.Bridge,
				orNothing(p.Device), strings.Join(p.Mapped, ", "), m.Physnets[i])
		}
	}
	return ""
}

func orNothing(device string) string {
	if device == "" {
		return "nothing"
	}
	return device
}

// adoptPlan is Cluster for nodes that are to be taken over.
func (p *planner) adoptPlan(existing map[string][]*state.Node) (*Plan, error) {
	for _, spec := range p.want.Specs {
		if spec.Enrol != nil && p.want.Ironic == nil {
			spec.Enrol = nil
		}
		machine := p.want.Types[spec.Type]
		machine.Hardware.VolumePrefix = spec.VolumePrefix
		if err := p.adoptNodes(spec, existing[spec.Key], machine); err != nil {
			return nil, err
		}
	}
	if len(p.plan.Steps) == 0 && len(p.errs) == 0 {
		return nil, errors.New("there is nothing to take over: no spec of the file names a node (specs.nodes) that the mesh does not have")
	}
	return p.finish()
}
