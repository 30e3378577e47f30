package api

import (
	"cmp"

	"tenks/raftfsm/state"
)

// What scripts rely on (DESIGN.md §10): extend, never rename.

// Node is one row of "node list -o json".
type Node struct {
	Name           string   `json:"name"`
	UUID           string   `json:"uuid"`
	Cluster        string   `json:"cluster"`
	Type           string   `json:"type"`
	Driver         string   `json:"driver"`
	Hypervisor     string   `json:"hypervisor"`
	Phase          string   `json:"phase"`
	Reason         string   `json:"reason"`
	Power          string   `json:"power"`
	BootMode       string   `json:"boot_mode"`
	Ports          []Port   `json:"ports"`
	BMC            BMC      `json:"bmc"`
	Ironic         Ironic   `json:"ironic"`
	PendingChanges []string `json:"pending_changes"`
	MemoryMB       uint64   `json:"memory_mb"`
	VCPUs          int      `json:"vcpus"`
	DiskGB         uint64   `json:"disk_gb"`
	Epoch          uint64   `json:"epoch"`
	Architecture   string   `json:"architecture"`
	// Hardware is what else the node's type says of the machine; nil: nothing.
	Hardware *Hardware `json:"hardware,omitempty"`
	// Volumes are its disks.
	Volumes []Volume `json:"volumes"`
	// Display is where its screen is shared, as a URL, while it runs; empty: nowhere.
	Display string `json:"display,omitempty"`
	// Plug says where the node is plugged in; nil: nowhere that can be switched.
	Plug *Plug `json:"plug,omitempty"`
	// Enrols says that the node is to be enrolled in Ironic.
	Enrols bool `json:"enrols"`
}

// Port is one NIC of a node.
type Port struct {
	MAC     string `json:"mac"`
	Physnet string `json:"physnet"`
	// Trunk says which tagged frames it passes: all, or VLANs such as 100,200; empty: it is no trunk.
	Trunk  string `json:"trunk,omitempty"`
	Bridge string `json:"bridge"`
	Link   string `json:"link"`
}

// BMC says how a node's BMC is reached. Password is set only when secrets were
// asked for.
type BMC struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	Port     int    `json:"port"`
	Username string `json:"username"`
	Password string `json:"password,omitempty"`
	// KeyHex is K_g of IPMI, in hexadecimal digits: a secret too.
	KeyHex     string `json:"key_hex,omitempty"`
	RedfishURL string `json:"redfish_url"`
	// Audit says that every request is noted in its host's audit.log.
	Audit bool `json:"audit,omitempty"`
}

// Ironic says what Ironic knows of a node.
type Ironic struct {
	// UUID is the record's, which is another than the node's where it was adopted.
	UUID           string `json:"uuid"`
	ProvisionState string `json:"provision_state"`
	Error          string `json:"error"`
	// What follows is as declared; State is what the node is taken to.
	State          string            `json:"state,omitempty"`
	ResourceClass  string            `json:"resource_class,omitempty"`
	Traits         []string          `json:"traits,omitempty"`
	ConductorGroup string            `json:"conductor_group,omitempty"`
	Shard          string            `json:"shard,omitempty"`
	Owner          string            `json:"owner,omitempty"`
	Lessee         string            `json:"lessee,omitempty"`
	Interfaces     map[string]string `json:"interfaces,omitempty"`
	PortGroups     []string          `json:"port_groups,omitempty"`
}

// Cluster is one row of "cluster list -o json".
type Cluster struct {
	Name    string         `json:"name"`
	State   string         `json:"state"`
	Types   int            `json:"types"`
	Nodes   int            `json:"nodes"`
	Wanted  int            `json:"wanted"`
	ByPhase map[string]int `json:"by_phase"`
	Ironic  string         `json:"ironic"`
	Index   uint64         `json:"index"`
	// Quota is absent where nothing is limited.
	Quota *Quota `json:"quota,omitempty"`
	// Flavors are those in Nova, and those that shall be there.
	Flavors []Flavor `json:"flavors,omitempty"`
	// FlavorsPending says that Nova does not have what is declared; FlavorsReason what is in the way.
	FlavorsPending bool   `json:"flavors_pending,omitempty"`
	FlavorsReason  string `json:"flavors_reason,omitempty"`
	// WaitForPlacement says that whoever waits for the nodes waits for Placement, too.
	WaitForPlacement bool `json:"wait_for_placement,omitempty"`
}

// Flavor is a flavor of Nova.
type Flavor struct {
	Name string `json:"name"`
	// ID is Nova's; empty: it is not there yet.
	ID string `json:"id"`
	// Reason says why it is not as declared.
	Reason string `json:"reason,omitempty"`
}

// Status is "status -o json".
type Status struct {
	Mesh     string      `json:"mesh"`
	MeshID   string      `json:"mesh_id"`
	Leader   string      `json:"leader"`
	Voters   []string    `json:"voters"`
	Peers    int         `json:"peers"`
	Healthy  bool        `json:"healthy"`
	Problems []string    `json:"problems"`
	Clusters int         `json:"clusters"`
	Nodes    NodeSummary `json:"nodes"`
	Index    uint64      `json:"index"`
	Version  string      `json:"version"`
}

// NodeSummary counts nodes.
type NodeSummary struct {
	Total   int            `json:"total"`
	ByPhase map[string]int `json:"by_phase"`
}

// ApplyRequest declares a cluster.
type ApplyRequest struct {
	// File is the text of the cluster file, Name what to call it in errors.
	File string `json:"file"`
	Name string `json:"name"`
	// CloudYAML is a clouds.yaml document with the entry that the file names, and
	// the passwords are what password_file keys name: the client reads them, so
	// that no peer needs the client's files.
	CloudYAML   string `json:"cloud_yaml,omitempty"`
	BMCPassword string `json:"bmc_password,omitempty"`
	BMCKey      string `json:"bmc_key,omitempty"`
	// PDUs has the communities and passwords of PDUs, by name.
	PDUs           map[string]PDUSecrets `json:"pdus,omitempty"`
	IronicPassword string                `json:"ironic_password,omitempty"`
	Restart        bool                  `json:"restart,omitempty"`
	Force          bool                  `json:"force,omitempty"`
	Forget         bool                  `json:"forget_ironic,omitempty"`
	AllowUnplaced  bool                  `json:"allow_unplaced,omitempty"`
	// AllowDataLoss accepts that volumes and nodes are made anew.
	AllowDataLoss bool `json:"allow_data_loss,omitempty"`
	// Remove names nodes that go first where a count shrinks.
	Remove []string `json:"remove,omitempty"`
	// Request makes a repeat of the same call harmless.
	Request string `json:"request,omitempty"`
	// Plan is the fingerprint of the plan that the user agreed to; the call is
	// refused if the plan is another one by now. Empty: whatever the plan is.
	Plan string `json:"plan,omitempty"`
}

// PDUSecrets are what the files hold that a cluster file names for a PDU.
type PDUSecrets struct {
	Community string `json:"community,omitempty"`
	Password  string `json:"password,omitempty"`
}

// Plan is what an apply does or did.
type Plan struct {
	Cluster string     `json:"cluster"`
	Steps   []PlanStep `json:"steps"`
	// Flavors is what happens to flavors of Nova.
	Flavors   []PlanFlavor `json:"flavors,omitempty"`
	Unchanged int          `json:"unchanged"`
	// Notes say what of the file has no effect, and what is not as it should be with nodes
	// of the cluster.
	Notes []string `json:"notes"`
	// Refusals say why an apply is refused; empty: it is not.
	Refusals []string `json:"refusals"`
	// Changed says that applying it writes to the log.
	Changed     bool   `json:"changed"`
	Fingerprint string `json:"fingerprint"`
	// Index is the log index of an apply; 0 for a plan, or when nothing changed.
	Index uint64 `json:"index"`
}

// PlanStep is what happens to one node.
type PlanStep struct {
	// Action is create, change, recreate (a change for which the node is made anew) or remove.
	Action     string `json:"action"`
	Node       string `json:"node"`
	Hypervisor string `json:"hypervisor"`
	// When is the latest time at which a part of it takes effect, as in PlanChange.
	When    string       `json:"when"`
	Reasons []string     `json:"reasons"`
	Changes []PlanChange `json:"changes"`
}

// PlanChange is one thing about a node that is to be another.
type PlanChange struct {
	// Field is a key of the cluster file, or a word like one.
	Field string `json:"field"`
	// Old and New are in words; both are empty where the value is a secret.
	Old string `json:"old"`
	New string `json:"new"`
	// When is now, restart (now, by the power cycle that --restart asked for), power-on
	// (a running node: at its next power-on) or placement (for nodes placed from now on).
	When string `json:"when"`
	// LosesData says that what is on a volume, or on all of the node's, is lost.
	LosesData bool `json:"loses_data"`
	// Text says all but when in one line.
	Text string `json:"text"`
}

// PlanFlavor is what happens to one flavor.
type PlanFlavor struct {
	Action  string   `json:"action"`
	Name    string   `json:"name"`
	Reasons []string `json:"reasons"`
}

// DestroyRequest asks for a cluster, or single nodes, to go.
type DestroyRequest struct {
	Force  bool `json:"force,omitempty"`
	Forget bool `json:"forget_ironic,omitempty"`
}

// PowerRequest asks for a power change: on, off, soft, cycle, reset, nmi.
type PowerRequest struct {
	Action string `json:"action"`
}

// Chassis is the state of a node's chassis.
type Chassis struct {
	Power         string `json:"power"`
	BootDevice    string `json:"boot_device"`
	Persistent    bool   `json:"persistent"`
	EFI           bool   `json:"efi"`
	RestorePolicy string `json:"restore_policy"`
}

// BootRequest sets a node's boot override.
type BootRequest struct {
	Device     string `json:"device"`
	Persistent bool   `json:"persistent"`
	EFI        bool   `json:"efi"`
}

// Event is one line of "events -o json".
type Event struct {
	Index   uint64 `json:"index"`
	Time    string `json:"time"`
	Type    string `json:"type"`
	Cluster string `json:"cluster,omitempty"`
	Node    string `json:"node,omitempty"`
	Message string `json:"message"`
}

// Check is one line of doctor.
type Check struct {
	Name string `json:"name"`
	// State is ok, warning or error.
	State  string `json:"state"`
	Detail string `json:"detail"`
	// Fix says what to do.
	Fix string `json:"fix,omitempty"`
}

// ErrorBody is the body of every answer with a status of 400 or more.
type ErrorBody struct {
	Error string `json:"error"`
}

// NodeView turns a row of the state into what scripts see. at is where the BMC is reached,
// if it is anywhere.
func NodeView(n *state.Node, host string, at state.Endpoint, power state.Power, secrets Secrets) Node {
	phase, reason := n.Phase()
	v := Node{Name: n.Name, UUID: n.UUID, Cluster: n.Cluster, Type: n.Type, Driver: n.Machine.Driver,
		Hypervisor: host, Phase: string(phase), Reason: reason, Power: string(power),
		BootMode: string(n.Machine.BootMode), PendingChanges: append([]string{}, n.Host.Pending...),
		MemoryMB: n.Machine.MemoryMB, VCPUs: n.Machine.VCPUs, DiskGB: n.Machine.DiskBytes() >> 30,
		Ports: []Port{}, Enrols: n.Enrol != nil, Architecture: n.Machine.Arch(), Hardware: hardwareView(n.Machine.Hardware),
		Volumes: volumesView(n.Machine.Volumes), Display: n.Host.Display,
		BMC: BMC{Protocol: n.Machine.IronicDriver, Username: n.BMC.Username, Audit: n.Audit}}
	if n.Ironic.Phase != "" {
		v.Ironic = Ironic{UUID: cmp.Or(n.Ironic.Record, n.UUID), ProvisionState: n.Ironic.ProvisionState}
	}
	if e := n.Enrol; e != nil {
		i := &v.Ironic
		i.State, i.ResourceClass, i.Traits = string(cmp.Or(e.State, state.TargetAvailable)), e.ResourceClass, e.Traits
		i.ConductorGroup, i.Shard, i.Owner, i.Lessee, i.Interfaces = e.ConductorGroup, e.Shard, e.Owner, e.Lessee, e.Interfaces
		for _, g := range e.PortGroups {
			i.PortGroups = append(i.PortGroups, n.Name+"-"+g.Name)
		}
	}
	v.Ironic.Error = n.Ironic.Error
	for i, p := range n.Ports {
		port := Port{MAC: p.MAC, Physnet: p.Physnet, Trunk: p.Trunk}
		if i < len(n.Host.Links) {
			port.Bridge, port.Link = n.Host.Links[i].Bridge, n.Host.Links[i].Link
		}
		v.Ports = append(v.Ports, port)
	}
	if n.Outlet != nil {
		v.Plug = &Plug{PDU: n.Outlet.PDU.Name, Outlet: n.Outlet.Number}
	}
	if n.Placement != nil {
		v.Epoch = n.Placement.Epoch
	}
	v.BMC.Address, v.BMC.Port = at.Address, at.Port
	if v.BMC.Protocol == state.ProtocolRedfish && at.Port != 0 {
		v.BMC.RedfishURL = at.URL()
	}
	if secrets == ShowSecrets {
		v.BMC.Password = n.BMC.Password.Reveal()
		v.BMC.KeyHex = n.BMC.KeyHex()
	}
	return v
}

// Secrets says whether passwords are shown.
type Secrets int

// The choices.
const (
	HideSecrets Secrets = iota
	ShowSecrets
)
