package state

import (
	"fmt"
	"net"
	"strconv"
)

// ProtocolRedfish is Machine.IronicDriver of nodes whose BMC speaks Redfish.
const ProtocolRedfish = "redfish"

// NoEndpoint is that of a node that only the mesh's Redfish service answers for.
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

// BMC is where a node's BMC is reached: its own endpoint or, with Redfish, that of the
// service at the hypervisor which it is placed on. False: nowhere yet, or it is not known
// here.
func (s *Snapshot) BMC(n *Node) (Endpoint, bool) {
	if n.Placement == nil {
		return Endpoint{}, false
	}
	if n.Machine.IronicDriver != ProtocolRedfish {
		return n.Placement.BMC, n.Placement.BMC.Port != 0
	}
	h, ok := s.Hypervisor(n.Placement.Hypervisor)
	if !ok || h.Redfish == 0 {
		return Endpoint{}, false
	}
	return Endpoint{Address: h.BMC.Address, Port: h.Redfish}, true
}
