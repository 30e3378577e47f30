package link

import (
	"crypto/sha256"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Role says what a link of ours is for.
type Role string

// The roles. RoleUnknown is a link that was made and never marked, because the
// agent was killed in between.
const (
	RoleBridge  Role = "bridge"
	RolePort    Role = "port"
	RoleUplink  Role = "uplink"
	RoleVLAN    Role = "vlan"
	RoleVXLAN   Role = "vxlan"
	RoleUnknown Role = "unknown"
)

// Mark is what a link's alias says of it.
type Mark struct {
	Role Role
	// Physnet is set for all but ports.
	Physnet string
	// VLAN is, for an uplink into a bridge that filters VLANs, the one that it is an access
	// port of; 0: none.
	VLAN int
	// Device is, for a bridge, the interface that Tenks plugged into it.
	Device string
	// Node is a node's UUID and Index its port's place, for both ends of a port.
	Node  string
	Index int
}

// alias is the mark as an interface alias: "tenks:<mesh>:bridge:<physnet>" with
// ":<device>" behind it while one is plugged in, "tenks:<mesh>:uplink:<physnet>" (":<vlan>" behind
// it for an access port), "tenks:<mesh>:vlan:<physnet>", "tenks:<mesh>:vxlan:<physnet>",
// "tenks:<mesh>:port:<node>:<index>". A physnet is query-escaped, which leaves
// ordinary names as they are and a colon out; an interface name cannot have one.
func (m Mark) alias(mesh string) string {
	parts := []string{"tenks", mesh, string(m.Role)}
	switch m.Role {
	case RolePort:
		parts = append(parts, m.Node, strconv.Itoa(m.Index))
	default:
		parts = append(parts, url.QueryEscape(m.Physnet))
		switch {
		case m.Device != "":
			parts = append(parts, m.Device)
		case m.VLAN != 0:
			parts = append(parts, strconv.Itoa(m.VLAN))
		}
	}
	return strings.Join(parts, ":")
}

// parseMark is the inverse of alias. It is false for whatever this mesh did not
// write.
func parseMark(mesh, alias string) (Mark, bool) {
	rest, ok := strings.CutPrefix(alias, "tenks:"+mesh+":")
	if !ok {
		return Mark{}, false
	}
	parts := strings.Split(rest, ":")
	m := Mark{Role: Role(parts[0])}
	switch {
	case m.Role == RolePort && len(parts) == 3:
		index, err := strconv.Atoi(parts[2])
		m.Node, m.Index = parts[1], index
		return m, err == nil && m.alias(mesh) == alias
	case m.Role == RoleBridge && len(parts) == 3:
		m.Device = parts[2]
	case m.Role == RoleUplink && len(parts) == 3:
		vlan, err := strconv.Atoi(parts[2])
		if err != nil {
			return Mark{}, false
		}
		m.VLAN = vlan
	case slices.Contains([]Role{RoleBridge, RoleUplink, RoleVLAN, RoleVXLAN}, m.Role) && len(parts) == 2:
	default:
		return Mark{}, false
	}
	physnet, err := url.QueryUnescape(parts[1])
	m.Physnet = physnet
	return m, err == nil && m.alias(mesh) == alias
}

// birthMAC is the address that a link gets in the message that creates it. Linux
// takes no alias in that message, so this is how a link is known as ours from its
// first moment on; see DESIGN.md.
func birthMAC(mesh, name string) string { return derivedMAC("link", mesh, name) }

// BridgeMAC is the address of a physnet's bridge, Ironic's switch_id. It depends on
// the mesh and the physnet only, so it survives reboots.
func BridgeMAC(mesh, physnet string) string { return derivedMAC("bridge", mesh, physnet) }

func derivedMAC(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	mac := net.HardwareAddr(sum[:6])
	// Locally administered, individual (IEEE 802 §8.2).
	mac[0] = mac[0]&^1 | 2
	return mac.String()
}
