package ovs

import (
	"strconv"
	"strings"

	"tenks/raftfsm/state"
)

// Role says what a bridge or port of ours is for.
type Role string

// The roles.
const (
	RoleBridge Role = "bridge"
	// RolePort is a node's port.
	RolePort Role = "port"
	// RoleUplink is either end of what joins a bridge of ours to a bridge of the host.
	RoleUplink Role = "uplink"
	// RoleDevice is an interface of the host in a bridge of ours.
	RoleDevice Role = "device"
)

// The keys of the mark in external_ids.
const (
	keyMesh    = "tenks-mesh"
	keyRole    = "tenks-role"
	keyPhysnet = "tenks-physnet"
	keyNode    = "tenks-node"
	keyIndex   = "tenks-port"
	keyTrunk   = "tenks-trunk"
)

// Mark is what external_ids say of something of ours. The zero value: it is not ours.
type Mark struct {
	Role Role
	// Physnet is set for all but RolePort.
	Physnet string
	// Node is a node's UUID and Index its port's place, for RolePort.
	Node  string
	Index int
	// Trunk is, for RolePort, what was declared of the port as state.Port.Trunk has it: the
	// column trunks is written when that changes, and is others' otherwise.
	Trunk string
}

// trunks is the column trunks: VLAN 0 are untagged frames. Empty: all VLANs.
func (m Mark) trunks() []int {
	if m.Trunk == "" || m.Trunk == state.TrunkAll {
		return nil
	}
	out := []int{0}
	for _, id := range strings.Split(m.Trunk, ",") {
		if vlan, err := strconv.Atoi(id); err == nil {
			out = append(out, vlan)
		}
	}
	return out
}

func (m Mark) externalIDs(mesh string) map[string]string {
	ids := map[string]string{keyMesh: mesh, keyRole: string(m.Role)}
	if m.Role == RolePort {
		ids[keyNode], ids[keyIndex] = m.Node, strconv.Itoa(m.Index)
		if m.Trunk != "" {
			ids[keyTrunk] = m.Trunk
		}
		return ids
	}
	ids[keyPhysnet] = m.Physnet
	return ids
}

// parseMark is the inverse of externalIDs. It is the zero value for whatever this mesh
// did not write. Other keys are anybody's.
func parseMark(mesh string, ids map[string]string) Mark {
	if mesh == "" || ids[keyMesh] != mesh {
		return Mark{}
	}
	m := Mark{Role: Role(ids[keyRole])}
	switch m.Role {
	case RolePort:
		index, err := strconv.Atoi(ids[keyIndex])
		if err != nil || index < 0 || ids[keyNode] == "" {
			return Mark{}
		}
		m.Node, m.Index, m.Trunk = ids[keyNode], index, ids[keyTrunk]
	case RoleBridge, RoleUplink, RoleDevice:
		m.Physnet = ids[keyPhysnet]
	default:
		return Mark{}
	}
	return m
}
