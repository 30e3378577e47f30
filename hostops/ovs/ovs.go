// Package ovs is one host's Open vSwitch over its database (OVSDB, RFC 7047): bridges
// of ours, and ports in them and in bridges of the host. It makes no interface: veth
// pairs and devices are package link's, and Open vSwitch opens them.
//
// Observe reads, Plan decides (pure), Apply does one step and may be repeated. What
// Tenks makes carries the mesh's mark in external_ids; nothing without it is ever
// changed or deleted, and of what carries it only the columns that are named here. Open
// starts nothing and connects to nothing: the first call that needs the database does,
// and again after it was lost. Watch has ended its goroutines when it returns, Close
// those of the connection.
package ovs

// The datapaths: of the kernel's module, and of ovs-vswitchd itself.
const (
	DatapathSystem = "system"
	DatapathNetdev = "netdev"
)

// Bridge is a bridge of ours as it should be.
type Bridge struct {
	Physnet string
	// Name is that of the bridge and of its own interface, at most 15 bytes.
	Name string
	// MAC is the bridge's address (other_config:hwaddr): without one Open vSwitch takes
	// the lowest of its ports', and Ironic's switch_id would change with them.
	MAC string
	// Datapath is DatapathSystem or DatapathNetdev.
	Datapath string
	// MTU is that of the bridge's own interface (mtu_request), in bytes.
	MTU int
	// Adopt lets a bridge of that name that is not ours become ours.
	Adopt bool
}

// Port is a port of ours as it should be.
type Port struct {
	// Name is that of the port and of its only interface.
	Name string
	// Bridge is a bridge of ours, or one of the host.
	Bridge string
	// Peer makes it a patch port: the name of the port at the other end. Empty: an
	// interface of the host that has the port's name.
	Peer string
	// Tag makes it an access port of that VLAN, for uplinks: the tag of a node's port is
	// for others to set. 0: none is set, and none is taken away.
	Tag  int
	Mark Mark
	// Adopt lets a port of that name, in that bridge, that is not ours become ours.
	Adopt bool
}

// Want is everything of ours that should be in this host's Open vSwitch.
type Want struct {
	Bridges []Bridge
	Ports   []Port
	// Keep are names of ports that stay as they are, if they are there: of what cannot be
	// decided now.
	Keep []string
	// Anew are names of interfaces that are deleted and made again meanwhile.
	Anew []string
}
