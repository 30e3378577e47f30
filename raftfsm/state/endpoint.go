package state

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ProtocolRedfish is Machine.IronicDriver of nodes whose BMC speaks Redfish.
const ProtocolRedfish = "redfish"

// NoEndpoint is that of a node that only the mesh's Redfish service, or a PDU, answers for,
// or whose BMC has an address of its own.
func NoEndpoint(uuid string) Endpoint { return Endpoint{Address: uuid} }

// String is the endpoint as people read it.
func (e Endpoint) String() string {
	if e.Port == 0 {
		return "over Redfish"
	}
	if strings.Contains(e.Address, ":") {
		return net.JoinHostPort(e.Address, strconv.Itoa(e.Port))
	}
	return fmt.Sprintf("%s:%d", e.Address, e.Port)
}

// URL is that of a Redfish service at the endpoint.
func (e Endpoint) URL() string {
	if e.Port == PortRedfish {
		if strings.Contains(e.Address, ":") {
			return "https://[" + e.Address + "]"
		}
		return "https://" + e.Address
	}
	return "https://" + net.JoinHostPort(e.Address, strconv.Itoa(e.Port))
}

// OwnEndpoint is where a BMC with an address of its own is reached; false: it has none.
func (n *Node) OwnEndpoint() (Endpoint, bool) {
	switch {
	case n.BMCAddress == "" || n.Machine.IronicDriver == ProtocolSNMP:
		return Endpoint{}, false
	case n.Machine.IronicDriver == ProtocolRedfish:
		return Endpoint{n.BMCAddress, PortRedfish}, true
	}
	return Endpoint{n.BMCAddress, PortIPMI}, true
}

// endpoint is a placed node's, as events tell it.
func (n *Node) endpoint() Endpoint {
	if own, ok := n.OwnEndpoint(); ok {
		return own
	}
	return n.Placement.BMC
}

// BMC is where a node's BMC, or its PDU, is reached: its own endpoint or, with Redfish and
// SNMP, that of the hypervisor that it is placed on. It is false where it is not reached.
func (s *Snapshot) BMC(n *Node) (Endpoint, bool) {
	if n.Placement == nil {
		return Endpoint{}, false
	}
	if own, ok := n.OwnEndpoint(); ok {
		return own, true
	}
	if n.Machine.Own() {
		return n.Placement.BMC, n.Placement.BMC.Port != 0
	}
	h, ok := s.Hypervisor(n.Placement.Hypervisor)
	if !ok {
		return Endpoint{}, false
	}
	port := h.Redfish
	if n.Machine.IronicDriver == ProtocolSNMP {
		port = h.SNMP
	}
	if port == 0 {
		return Endpoint{}, false
	}
	return Endpoint{Address: h.BMC.Address, Port: port}, true
}
