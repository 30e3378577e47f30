package state

// ProtocolSNMP is Machine.IronicDriver of nodes without a BMC: their power is an outlet's.
const ProtocolSNMP = "snmp"

// PDU is a power distribution unit, which clients find by what they log in with.
type PDU struct {
	// Name is unique in the mesh.
	Name string
	// Community is that of SNMPv1 and SNMPv2c, unique in the mesh; empty: those are not
	// answered.
	Community Secret
	// User is that of SNMPv3, unique in the mesh; empty: that is not answered. Its keys for
	// authentication and for privacy are both made of Password.
	User     string
	Password Secret
}

// Outlet is where a node is plugged in.
type Outlet struct {
	// PDU is as its cluster declares it, so that the node's host knows it.
	PDU PDU
	// Number counts from 1, and is unique in the PDU.
	Number int
}

// Own reports whether a node's BMC has an endpoint of the node alone.
func (m Machine) Own() bool {
	return m.IronicDriver != ProtocolRedfish && m.IronicDriver != ProtocolSNMP
}
