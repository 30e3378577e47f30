// Package state is the vocabulary and the replicated state of a mesh: clusters,
// nodes, placements and hypervisors in a go-memdb store, the commands that
// change it, and the immutable snapshots that every other part reads.
//
// It is pure: Store.Apply uses no clock, randomness, I/O or map order, so the
// same log gives the same state on every peer. It starts no goroutine. Rows
// handed out by a Snapshot are shared and must not be changed by the caller.
package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors that callers branch on.
var (
	// ErrNotFound says that no row has that key.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the state changed after the command was planned;
	// read it again, plan again, propose again.
	ErrConflict = errors.New("the state changed meanwhile")
	// ErrRefused says that the mesh does not want it: an admission whose token does
	// not hold, a change to a removed peer, a removal that would lose nodes. Asking
	// again changes nothing.
	ErrRefused = errors.New("refused")
	// ErrNewer says that a command or snapshot was written by a newer Tenks.
	ErrNewer = errors.New("written by a newer version of tenks: upgrade this peer")
)

// Mesh identifies the mesh that a state belongs to.
type Mesh struct {
	// ID is a random UUID, fixed at init. It is in every mark that Tenks leaves.
	ID string
	// Name is for people.
	Name string
	// Generation counts the recoveries of the mesh, from 1.
	Generation uint64
}

// Cluster is one declared set of virtual bare-metal nodes.
type Cluster struct {
	Name  string
	Types map[string]Machine
	Specs []Spec
	// Ironic says where nodes are enrolled; nil: nowhere.
	Ironic *IronicAccess
	// IronicLimits bound what Ironic is asked at a time.
	IronicLimits IronicLimits `json:",omitzero"`
	// DeployKernel and DeployRamdisk are given to Ironic: URLs, or names or UUIDs of images in
	// Glance; empty: none.
	DeployKernel, DeployRamdisk string
	// BMC is the account of every node's BMC. An empty Username means "admin", an
	// empty Password a generated one per node.
	BMC Account
	// PDUs are sorted by name.
	PDUs []PDU
	// BMCPool has the addresses that each node's BMC gets one of; empty: BMCs have a port
	// of their host.
	BMCPool AddressPool
	// Flavors are those that Nova, which is where Ironic is, has for the nodes, sorted by name.
	Flavors []Flavor `json:",omitempty"`
	// FlavorStatus is what became of them, and of those before.
	FlavorStatus FlavorStatus `json:",omitzero"`
	// WaitForPlacement has whoever waits for the nodes wait for Placement to offer them, too.
	WaitForPlacement bool `json:",omitempty"`
	// Source is the cluster file as it was applied.
	Source string
	// Removing is set once the cluster is being destroyed; the row goes with its
	// last node.
	Removing bool

	CreateIndex, ModifyIndex uint64
}

// Spec asks for Count nodes of one type.
type Spec struct {
	// Key identifies the spec within its cluster over changes of the file: type,
	// prefix and ordinal among equals, as in "compute/tk/0".
	Key    string
	Type   string
	Count  int
	Prefix string
	// VolumePrefix is in the names of the nodes' volumes; see Hardware.
	VolumePrefix string `json:",omitempty"`
	// Enrol says how the nodes appear in Ironic; nil: they do not.
	Enrol       *Enrolment
	Constraints Constraints
	OnHostLoss  LossPolicy
	// StopAfterMilli is as in Node.
	StopAfterMilli int64
	// PDU names one of the cluster's, whose outlets the nodes are plugged into; empty: none.
	PDU string
	// Nodes are those that are made first, and how; others are named by Prefix.
	Nodes []NamedNode `json:",omitempty"`
}

// LossPolicy says what becomes of a node whose host is lost.
type LossPolicy string

// The loss policies.
const (
	LossHold    LossPolicy = "hold"
	LossRebuild LossPolicy = "rebuild"
)

// Constraints narrow where nodes may be placed.
type Constraints struct {
	// Spread is "zone", "hypervisor" or empty (hypervisor).
	Spread string
	// Require lists labels that a hypervisor must have, with these values.
	Require map[string]string
}

// IronicAccess says how the Ironic API is reached. Everything needed is in it,
// so that any peer can be the leader.
type IronicAccess struct {
	// Endpoint is the API's URL, used when Auth is "none" or "http_basic".
	Endpoint string
	// Auth is "none", "http_basic" or "cloud".
	Auth string
	// Cloud names the entry of clouds.yaml that CloudYAML was taken from.
	Cloud string
	// CloudYAML is a clouds.yaml document with that one entry, secrets merged in.
	CloudYAML Secret
	Username  string
	Password  Secret
}

// Account is a BMC login.
type Account struct {
	Username string
	Password Secret
	// Key is K_g of IPMI (v2.0 §13.31), at most 20 bytes; empty: none.
	Key Secret
	// IPMI15 says that sessions of IPMI 1.5 are answered as well.
	IPMI15 bool
}

// KeyLen is how long Account.Key may be, in bytes (IPMI v2.0 table 22-27).
const KeyLen = 20

// KeyHex is Key as clients of IPMI are given it: 40 hexadecimal digits; nothing without one.
func (a Account) KeyHex() string {
	if a.Key.IsZero() {
		return ""
	}
	key := make([]byte, KeyLen)
	copy(key, a.Key.Reveal())
	return hex.EncodeToString(key)
}

// ParseKey reads Account.Key as people write it: up to 20 characters of ASCII, or 0x and an
// even number of up to 40 hexadecimal digits.
func ParseKey(text string) (Secret, error) {
	key := text
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		b, err := hex.DecodeString(digits)
		if err != nil {
			return Secret{}, errors.New("want an even number of hexadecimal digits after 0x")
		}
		key = string(b)
	} else if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return Secret{}, errors.New("want printable ASCII characters, or 0x and hexadecimal digits")
	}
	if len(key) == 0 || len(key) > KeyLen {
		return Secret{}, fmt.Errorf("want 1 to %d characters, or 0x and 2 to %d hexadecimal digits", KeyLen, 2*KeyLen)
	}
	return NewSecret(key), nil
}

// Node is one virtual bare-metal machine. Name, UUID, port MACs and LinkName are
// fixed when it is created, the BMC endpoint when it is placed.
type Node struct {
	// UUID is the same in libvirt, Ironic and Redfish.
	UUID    string
	Name    string
	Cluster string
	Type    string
	// Spec is the Key of the spec that asked for the node.
	Spec    string
	Machine Machine
	Enrol   *Enrolment
	// Deploy kernel and ramdisk for Ironic, from the cluster.
	DeployKernel, DeployRamdisk string
	Constraints                 Constraints
	OnHostLoss                  LossPolicy
	// StopAfterMilli is how long its host may be without a lease, in milliseconds, until it
	// stops the node, so that it can be made anew elsewhere. 0 without LossRebuild: never.
	StopAfterMilli int64
	Ports          []Port
	// Audit says that every request to its BMC is noted in a file on its host.
	Audit bool
	// LinkName stands for the node in interface names: at most 6 bytes, unique in
	// the mesh.
	LinkName string
	BMC      Account
	// Outlet is where the node is plugged in; nil: nowhere that can be switched.
	Outlet *Outlet
	// BMCPool is the cluster's. BMCAddress is the address of it that the node's BMC has,
	// wherever the node is; empty: none yet, or a port of the host.
	BMCPool    AddressPool
	BMCAddress string
	// Origin is what the node has from before it was declared here; nil: nothing.
	Origin *Origin `json:",omitempty"`
	// Pin is the ID of the only peer that the node may be placed on, as it is declared; empty: any.
	Pin string `json:",omitempty"`

	// Placement is nil until the node is scheduled.
	Placement *Placement
	// LastPlacement is the placement before; nil: there was none.
	LastPlacement *Placement
	// Past lists the other hypervisors that the node was placed on before, sorted.
	// They must know that it is no longer theirs.
	Past []string
	// Discard lists those of Past, sorted, that are to delete what they have of the node:
	// it moved away with its disks, or never got there whole. The others keep it.
	Discard []string
	// Move is the move that is under way, or that the node waits for; nil: none.
	Move *Move
	// Unplaced says why the node could not be scheduled, or why it lost its placement.
	Unplaced string
	// Lost says that the hypervisor which the node is placed on is, and LostReason
	// since when.
	Lost       bool
	LostReason string
	// RestartIndex is the index of the last command that asked for a power cycle
	// to make pending changes effective; 0: never.
	RestartIndex uint64

	// Anew says that the host is to take the node apart; then it is placed again.
	Anew bool `json:",omitempty"`

	Removing bool
	// Force allows removal from Ironic in a state that has an instance.
	Force bool
	// Forget leaves the Ironic record alone on removal.
	Forget bool
	// AdoptIronic lets a record of Ironic with the node's UUID or name that nobody marked become
	// the node's, as it is.
	AdoptIronic bool `json:",omitempty"`
	// RecoverIndex is the index of the last command that asked for the node to be taken out of
	// a failed state in Ironic; 0: never.
	RecoverIndex uint64 `json:",omitempty"`

	Host   HostStatus
	Ironic IronicStatus

	CreateIndex, ModifyIndex uint64
}

// Port is one NIC of a node.
type Port struct {
	// MAC is lower case, colon-separated.
	MAC     string
	Physnet string
	// Trunk says which tagged frames the port passes: TrunkAll, or VLANs, sorted, as in
	// "100,200"; empty: it is no trunk.
	Trunk string `json:",omitempty"`
}

// TrunkAll is a trunk of all VLANs.
const TrunkAll = "all"

// Placement is the decision that a node runs on a hypervisor.
type Placement struct {
	// Hypervisor is the peer's ID.
	Hypervisor string
	// Epoch is the log index of the placement; it fences what is stale.
	Epoch uint64
	// BMC is the endpoint of the node alone; see Snapshot.BMC.
	BMC Endpoint
}

// Endpoint is where a BMC listens. A node that only the mesh's Redfish service or a PDU
// answers for, or whose BMC has an address of its own, has none at its host: Port is 0
// then, and Address the node's UUID, because endpoints are unique.
type Endpoint struct {
	Address string
	Port    int
}

// HostPhase is how far the hypervisor is with a node.
type HostPhase string

// The host phases. The empty one means that the host has not reported yet.
const (
	HostCreating HostPhase = "creating"
	HostReady    HostPhase = "ready"
	HostError    HostPhase = "error"
	HostGone     HostPhase = "gone"
)

// HostStatus is what the hypervisor reports of a node placed on it.
type HostStatus struct {
	Phase HostPhase
	Error string
	// Links has an entry per port, in port order, once they exist.
	Links []PortLink
	// Pending lists changes that wait for a power cycle, in words.
	Pending []string
	// StopAfterMilli is after which time without a lease the host promises to have begun to
	// stop the node; 0: it promises nothing. It holds until the host reports another.
	StopAfterMilli int64
	// Display is where the screen of the running guest is shared, as a URL; empty: nowhere.
	Display string `json:",omitempty"`
}

// Equal reports whether both say the same.
func (h HostStatus) Equal(o HostStatus) bool {
	return h.Phase == o.Phase && h.Error == o.Error && h.StopAfterMilli == o.StopAfterMilli && h.Display == o.Display &&
		slices.Equal(h.Links, o.Links) && slices.Equal(h.Pending, o.Pending)
}

// PortLink is where a port is plugged in: Ironic's local_link_connection.
type PortLink struct {
	Bridge    string
	BridgeMAC string
	// Link is the switch-side end.
	Link string
}

// IronicPhase is how far enrolment is.
type IronicPhase string

// The enrolment phases. The empty one means not begun.
const (
	IronicEnrolling IronicPhase = "enrolling"
	IronicEnrolled  IronicPhase = "enrolled"
	IronicGone      IronicPhase = "gone"
)

// Hypervisor is a peer seen as a place to run nodes.
type Hypervisor struct {
	// ID is the peer's ID.
	ID       string
	Name     string
	Address  string
	Zone     string
	Labels   map[string]string
	Version  string
	Physnets []string
	Drivers  []string
	// Archs are the architectures of guests that it can run, sorted; none: ArchX86 only.
	Archs    []string `json:",omitempty"`
	Capacity Resources
	// Overcommit multiplies Capacity.
	Overcommit Overcommit
	BMC        PortRange
	// Reserved lists ports within BMC that something else of the host uses.
	Reserved []int
	// Redfish is the TCP port of its Redfish service, at BMC.Address; 0: it has none.
	Redfish int
	// SNMP is the UDP port at which PDUs are reached, at BMC.Address; 0: they are not.
	SNMP int
	// Networks are those of its links that BMC addresses may be in, sorted: its own address
	// there with the prefix's length, as in "192.0.2.11/24", or the prefix alone where it has
	// no address.
	Networks []string
	// PhysnetLinks says how it has those of Physnets that it knows that of; sorted by name.
	PhysnetLinks []PhysnetLink `json:",omitempty"`
	// VXLAN is where its overlays end; the zero value: it has none.
	VXLAN Endpoint `json:",omitzero"`

	CreateIndex, ModifyIndex uint64
}

// PhysnetLink is how a hypervisor has a physnet.
type PhysnetLink struct {
	Physnet string
	// VNI is that of an overlay (RFC 7348 §5); 0: it is none.
	VNI int `json:",omitempty"`
	// MTU is in bytes; 0: not known.
	MTU int `json:",omitempty"`
}

// PortRange is the address and the UDP ports, both ends included, that node BMCs
// of a hypervisor may have.
type PortRange struct {
	Address     string
	First, Last int
}

// Resources is an amount of what nodes need.
type Resources struct {
	VCPUs int
	// MemoryMB is in MiB.
	MemoryMB uint64
	// DiskGB is in GiB.
	DiskGB uint64
}

// Overcommit holds the factors by which a hypervisor may be promised more than it
// has. Zero means 1.
type Overcommit struct {
	VCPUs, Memory, Disk float64
}

// Event is one line of the mesh's history.
type Event struct {
	// Index is the log index that caused it, Seq its place among that index's events.
	Index uint64
	Seq   int
	// UnixMilli is the proposer's time.
	UnixMilli int64
	// Type is a word such as "node-created"; see the Event… constants.
	Type    string
	Cluster string
	Node    string
	Message string
}
