package state

// Command is a change to the replicated state. Its fields are facts decided by
// the proposer; Store.Apply only checks and records them.
type Command interface {
	// kind is the word that identifies the command in the log. It never changes.
	kind() string
	apply(tx *tx) error
}

// Kind returns the word that identifies a command in the log; empty for nil.
func Kind(c Command) string {
	if c == nil {
		return ""
	}
	return c.kind()
}

// Envelope is what the log holds: a command and who asked for it when.
type Envelope struct {
	// Request makes a repeat of the command harmless: the second time, the first
	// result is returned. Empty: no such check.
	Request string
	// UnixMilli is the proposer's time.
	UnixMilli int64
	Command   Command
}

// SetMesh names the mesh. It is the first command of a log and refused later.
type SetMesh struct{ Mesh Mesh }

// PutHypervisor records what a peer offers.
type PutHypervisor struct{ Hypervisor Hypervisor }

// ApplyCluster declares a cluster and carries out the plan made for it. It is
// refused with ErrConflict, as a whole, if Expect is not the cluster's
// ModifyIndex (0: the cluster must not exist), if a name, MAC or LinkName has
// meanwhile been taken, or if a node to change or remove is no longer the
// cluster's, and with ErrRefused if it grows over its quota. A node to remove that is
// gone is no conflict.
type ApplyCluster struct {
	Cluster Cluster
	Expect  uint64
	Create  []Node
	Change  []NodeChange
	Remove  []NodeRemoval
}

// NodeChange is a new declaration of an existing node.
type NodeChange struct {
	UUID                        string
	Spec                        string
	Machine                     Machine
	Enrol                       *Enrolment
	DeployKernel, DeployRamdisk string
	Constraints                 Constraints
	OnHostLoss                  LossPolicy
	StopAfterMilli              int64
	Ports                       []Port
	BMC                         Account
	Outlet                      *Outlet
	BMCPool                     AddressPool
	// BMCAddress replaces the node's.
	BMCAddress string
	// Restart asks for a power cycle where a change needs one.
	Restart bool
	// Endpoint replaces that of a placed node's BMC; nil: as it is. It is one of the node's
	// host, and free.
	Endpoint *Endpoint `json:",omitempty"`
	// Anew has the node's host take it apart, disks and all, before it is placed again, for
	// a change that a node which exists cannot take. It keeps who it is: UUID, name, MACs,
	// its record in Ironic.
	Anew bool `json:",omitempty"`
	// AdoptIronic is as in Node; a node that has it keeps it.
	AdoptIronic bool `json:",omitempty"`
	// Pin replaces the node's; nil: it stays.
	Pin *string `json:",omitempty"`
}

// NodeRemoval asks for a node to go.
type NodeRemoval struct {
	UUID          string
	Force, Forget bool
}

// RemoveCluster asks for a cluster and all its nodes to go.
type RemoveCluster struct {
	Name          string
	Force, Forget bool
}

// RemoveNodes asks for single nodes to go.
type RemoveNodes struct{ Nodes []NodeRemoval }

// PlaceNodes records placements, and why nodes could not be placed. A placement of
// a node that is placed already or being removed, on a hypervisor that there is
// not, or that has yet to delete what it has of the node, or at a BMC endpoint or address
// that has been taken, is skipped.
type PlaceNodes struct {
	Placements []NodePlacement
	Refusals   []NodeRefusal
}

// NodePlacement places one node. The epoch becomes the command's log index.
type NodePlacement struct {
	UUID       string
	Hypervisor string
	BMC        Endpoint
	// BMCAddress is the address that the node's BMC gets, or has, of its pool; empty: none.
	BMCAddress string
}

// NodeRefusal says why a node could not be placed.
type NodeRefusal struct {
	UUID   string
	Reason string
}

// ReportHost records what a hypervisor says of nodes placed on it. Reports of a
// node that is not placed there with that epoch are skipped.
type ReportHost struct {
	Hypervisor string
	Nodes      []NodeHostReport
}

// NodeHostReport is one node's part of a ReportHost.
type NodeHostReport struct {
	UUID   string
	Epoch  uint64
	Status HostStatus
}

// ReportIronic records how far enrolment is.
type ReportIronic struct{ Nodes []NodeIronicReport }

// NodeIronicReport is one node's part of a ReportIronic.
type NodeIronicReport struct {
	UUID   string
	Status IronicStatus
}
