package state

import "slices"

// Enrolment is what Ironic is told of a node beyond its hardware.
type Enrolment struct {
	ResourceClass string
	Traits        []string
	// Properties are laid over the ones derived from the Machine.
	Properties map[string]string
	// Interfaces maps the kind ("network", "boot", …) to the Ironic interface.
	Interfaces     map[string]string
	ConductorGroup string
	Description    string
	// RedfishVerifyCA is what Ironic checks the certificate of a Redfish service by: a path
	// on its conductors; empty: it does not.
	RedfishVerifyCA string

	// Shard, Owner and Lessee are empty where Ironic is told none.
	Shard  string `json:",omitempty"`
	Owner  string `json:",omitempty"`
	Lessee string `json:",omitempty"`
	// Objects are properties that are no scalars, as JSON: the root device hints among them.
	Objects map[string]string `json:",omitempty"`
	// Extra is what "extra" has besides our mark, values as JSON.
	Extra map[string]string `json:",omitempty"`
	// AutomatedClean is "true" or "false"; empty: as Ironic is configured.
	AutomatedClean string `json:",omitempty"`
	// State is what nodes are taken to; empty: TargetAvailable.
	State EnrolTarget `json:",omitempty"`
	// Inspect has nodes inspected, once, before they are provided.
	Inspect bool `json:",omitempty"`
	// Recover has nodes taken out of failed states.
	Recover bool `json:",omitempty"`
	// PXE says of each port, in order, whether the node boots from it; shorter than that: of
	// the rest it is not said.
	PXE []bool `json:",omitempty"`
	// PortGroups are ports that are one link.
	PortGroups []PortGroup `json:",omitempty"`
	// NetworkData is JSON as Ironic's network_data; empty: none. A MAC address "port0" in it is
	// that of the node's port 0.
	NetworkData string `json:",omitempty"`
}

// PortGroup is ports of a node that are one link.
type PortGroup struct {
	// Name is unique in the node.
	Name string
	// Ports are indexes of the node's ports.
	Ports []int
	Mode  string `json:",omitempty"`
	// Address is a MAC; empty: none. FirstPort: that of the first of Ports.
	Address string `json:",omitempty"`
	// FirstPort is the address of its first port.
	FirstPort bool `json:",omitempty"`
	// Dependent says that the ports may not be used by themselves.
	Dependent bool `json:",omitempty"`
	// Properties have values as JSON.
	Properties map[string]string `json:",omitempty"`
}

// EnrolTarget is a provision state of Ironic that nodes can be taken to.
type EnrolTarget string

// The targets, in the order in which nodes pass them.
const (
	TargetEnroll     EnrolTarget = "enroll"
	TargetManageable EnrolTarget = "manageable"
	TargetAvailable  EnrolTarget = "available"
)

// Rank orders targets: what is further on the way to available is greater. Empty is
// TargetAvailable.
func (t EnrolTarget) Rank() int {
	if i := slices.Index([]EnrolTarget{TargetEnroll, TargetManageable}, t); i >= 0 {
		return i
	}
	return 2
}

// IronicLimits bound the requests to an Ironic. Zero values mean the defaults.
type IronicLimits struct {
	// Concurrency is how many there are at a time.
	Concurrency int `json:",omitempty"`
	// Rate is how many there are in a second.
	Rate float64 `json:",omitempty"`
}

// IronicStatus is what the enroller reports of a node.
type IronicStatus struct {
	Phase          IronicPhase
	ProvisionState string
	Error          string
	// Reached is what an enrolled node was taken to; empty: TargetAvailable.
	Reached EnrolTarget `json:",omitempty"`
	// Record is the UUID of the node's record where that is not the node's own.
	Record string `json:",omitempty"`
}

// RecoverNodes asks for nodes (UUIDs) to be taken out of failed states in Ironic, once more.
// Those that there are not, or that are not enrolled, are skipped.
type RecoverNodes struct{ Nodes []string }

func (RecoverNodes) kind() string { return "recover-nodes" }

func (c RecoverNodes) apply(t *tx) error {
	for _, uuid := range c.Nodes {
		old, ok := first[*Node](t.Txn, tableNodes, "id", uuid)
		if !ok || old.Enrol == nil || old.Removing {
			continue
		}
		n := *old
		n.RecoverIndex = t.index
		t.putNode(&n)
		t.event(EventNodeRecover, n.Cluster, n.Name, "asked for")
	}
	return nil
}
