package state

import (
	"fmt"
	"net"
	"strconv"
)

// ProtocolRedfish is Machine.IronicDriver of nodes whose BMC speaks Redfish.
const ProtocolRedfish = "redfish"

// NoEndpoint is that of a node that only the mesh's Redfish service, or a PDU, answers for.
func NoEndpoint(uuid string) Endpoint { return Endpoint{Address: uuid} }

// String is the endpoint as people read it.
func (e Endpoint) String() string {
	if e.Port == 0 {
		return "over Redfish"
	}
	return fmt.Sprintf("%s:%d", e.Address, e.Port)
}

// URL is that of a Redfish service at the endpoint.
func (e Endpoint) URL() string {
	return "https://" + net.JoinHostPort(e.Address, strconv.Itoa(e.Port))
}

// BMC is where a node's BMC, or its PDU, is reached: its own endpoint or, with Redfish and
// SNMP, that of the hypervisor that it is placed on. It is false where it is not reached.
func (s *Snapshot) BMC(n *Node) (Endpoint, bool) {
	if n.Placement == nil {
		return Endpoint{}, false
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
