package ironic

import (
	"encoding/json"
	"slices"
	"strings"
)

// record is a node as Ironic has it, with its ports.
type record struct {
	UUID, Name        string
	State, Target     string
	LastError         string
	InstanceUUID      string
	Maintenance       bool
	MaintenanceReason string
	// Fault is why Ironic itself put the node into maintenance; empty: somebody else did.
	Fault string
	// Protected and Retired are flags of people's, with their reasons.
	Protected, Retired             bool
	ProtectedReason, RetiredReason string
	// Inspected says that an inspection ended well.
	Inspected bool
	// Since is when the node came into its state, as Ironic writes it.
	Since string
	// Fields holds what can be patched, by JSON pointer ("/driver_info/ipmi_port").
	Fields map[string]any
	Traits []string
	// Mark is nil on a node that is not ours.
	Mark   *mark
	Ports  []portRecord
	Groups []groupRecord
}

// portRecord is a port as Ironic has it.
type portRecord struct {
	UUID, NodeUUID string
	MAC, Physnet   string
	Link           map[string]any
	PXE            bool
	// Group is the UUID of the port group that it is in; empty: none.
	Group string
	Mark  *mark
}

// groupRecord is a port group as Ironic has it.
type groupRecord struct {
	UUID, NodeUUID      string
	Name, Address, Mode string
	Standalone          bool
	Properties          map[string]any
	Mark                *mark
}

// mark is what Tenks writes to "extra" of everything it makes in Ironic, under the
// key "tenks". Objects without the mesh's mark are never touched.
type mark struct {
	Mesh    string `json:"mesh"`
	Cluster string `json:"cluster"`
	Epoch   uint64 `json:"epoch,omitempty"`
	// Check tells a changed BMC password, which Ironic never shows, from the one it
	// was given (see passwordCheck).
	Check string `json:"bmc_check,omitempty"`
	// Managed lists the optional fields that the declaration set, so that they can be
	// unset once it does not name them any longer.
	Managed []string `json:"managed,omitempty"`
	// Capabilities are the names of those that the declaration set, for the same reason: they
	// are one property, which is not ours alone.
	Capabilities []string `json:"capabilities,omitempty"`
	// Node is the UUID of the node that a record with another UUID is the record of.
	Node string `json:"node,omitempty"`
	// Adopted says that the record was there before the node's declaration.
	Adopted bool `json:"adopted,omitempty"`
	// Kept lists the traits that an adopted record had and no declaration named.
	Kept []string `json:"kept_traits,omitempty"`
	// Recovery is what was tried to get the node out of a failed state.
	Recovery recovery `json:"recovery,omitzero"`
}

// recovery is how often a node was taken out of a failed state. It counts in Ironic, so that
// a new leader goes on with it.
type recovery struct {
	// Tries is how often, since the node was well; more than mostTries: no more of it.
	Tries int `json:"tries,omitempty"`
	// Since is the record's, of the failed state that the last try was counted for.
	Since string `json:"since,omitempty"`
	// Asked is the RecoverIndex of the node that was heard last.
	Asked uint64 `json:"asked,omitempty"`
}

func (m *mark) equal(o *mark) bool {
	if m == nil || o == nil {
		return m == o
	}
	return m.Mesh == o.Mesh && m.Cluster == o.Cluster && m.Epoch == o.Epoch &&
		m.Check == o.Check && slices.Equal(m.Managed, o.Managed) && slices.Equal(m.Capabilities, o.Capabilities) && m.Node == o.Node &&
		m.Adopted == o.Adopted && slices.Equal(m.Kept, o.Kept) && m.Recovery == o.Recovery
}

func (m *mark) ours(mesh string) bool { return m != nil && mesh != "" && m.Mesh == mesh }

const markKey = "tenks"

// interfaceKinds are the hardware interfaces of a node (Ironic API reference, "Nodes").
var interfaceKinds = []string{"bios", "boot", "console", "deploy", "inspect", "management", "network",
	"power", "raid", "rescue", "storage", "vendor"}

// nodeFields are asked for in lists: all that record needs and the API has in its version.
func nodeFields(minor int) string {
	names := []string{"uuid", "name", "provision_state", "target_provision_state", "provision_updated_at", "last_error",
		"instance_uuid", "maintenance", "maintenance_reason", "fault", "inspection_finished_at", "driver_info", "properties", "extra", "traits"}
	for _, name := range slices.Concat(plainFields, []string{"protected", "protected_reason", "retired", "retired_reason"}) {
		if needOf("/"+name) <= minor {
			names = append(names, name)
		}
	}
	for _, kind := range append(slices.Clone(interfaceKinds), "firmware") {
		if needOf("/"+kind+"_interface") <= minor {
			names = append(names, kind+"_interface")
		}
	}
	return strings.Join(names, ",")
}

const (
	portFields  = "uuid,address,node_uuid,physical_network,local_link_connection,pxe_enabled,portgroup_uuid,extra"
	groupFields = "uuid,name,address,node_uuid,mode,standalone_ports_supported,properties,extra"
)

// apiNode and apiPort are the JSON of the API.
type apiNode struct {
	UUID              string         `json:"uuid"`
	Name              string         `json:"name"`
	ProvisionState    string         `json:"provision_state"`
	Target            string         `json:"target_provision_state"`
	LastError         string         `json:"last_error"`
	InstanceUUID      string         `json:"instance_uuid"`
	Maintenance       bool           `json:"maintenance"`
	MaintenanceReason string         `json:"maintenance_reason"`
	Fault             string         `json:"fault"`
	Protected         bool           `json:"protected"`
	ProtectedReason   string         `json:"protected_reason"`
	Retired           bool           `json:"retired"`
	RetiredReason     string         `json:"retired_reason"`
	Inspected         string         `json:"inspection_finished_at"`
	Since             string         `json:"provision_updated_at"`
	DriverInfo        map[string]any `json:"driver_info"`
	Properties        map[string]any `json:"properties"`
	Extra             extra          `json:"extra"`
	Traits            []string       `json:"traits"`
}

type apiPort struct {
	UUID     string         `json:"uuid"`
	Address  string         `json:"address"`
	NodeUUID string         `json:"node_uuid"`
	Physnet  string         `json:"physical_network"`
	Link     map[string]any `json:"local_link_connection"`
	PXE      bool           `json:"pxe_enabled"`
	Group    string         `json:"portgroup_uuid"`
	Extra    extra          `json:"extra"`
}

type apiGroup struct {
	UUID       string         `json:"uuid"`
	NodeUUID   string         `json:"node_uuid"`
	Name       string         `json:"name"`
	Address    string         `json:"address"`
	Mode       string         `json:"mode"`
	Standalone bool           `json:"standalone_ports_supported"`
	Properties map[string]any `json:"properties"`
	Extra      extra          `json:"extra"`
}

// extra is the "extra" of an object; a mark that is not ours to read is left alone, like
// all else in it that was not declared.
type extra struct {
	mark   *mark
	values map[string]any
}

func (e *extra) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil //nolint:nilerr // somebody else's idea of "extra": not ours
	}
	if json.Unmarshal(b, &e.values) == nil {
		delete(e.values, markKey)
	}
	if all[markKey] == nil {
		return nil
	}
	var m mark
	if json.Unmarshal(all[markKey], &m) == nil && m.Mesh != "" {
		e.mark = &m
	}
	return nil
}

// UnmarshalJSON reads a node of the API.
func (r *record) UnmarshalJSON(b []byte) error {
	var n apiNode
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*r = record{
		UUID: n.UUID, Name: n.Name, State: n.ProvisionState, Target: n.Target, LastError: n.LastError,
		InstanceUUID: n.InstanceUUID, Maintenance: n.Maintenance,
		MaintenanceReason: n.MaintenanceReason, Fault: n.Fault, Protected: n.Protected, ProtectedReason: n.ProtectedReason,
		Retired: n.Retired, RetiredReason: n.RetiredReason, Inspected: n.Inspected != "", Since: n.Since,
		Traits: n.Traits, Mark: n.Extra.mark, Fields: map[string]any{},
	}
	slices.Sort(r.Traits)
	for name, value := range all {
		if value != nil && (strings.HasSuffix(name, "_interface") || slices.Contains(plainFields, name)) {
			r.Fields["/"+name] = value
		}
	}
	for key, value := range n.DriverInfo {
		r.Fields[pointer("driver_info", key)] = value
	}
	for key, value := range n.Properties {
		r.Fields[pointer("properties", key)] = value
	}
	for key, value := range n.Extra.values {
		r.Fields[pointer("extra", key)] = value
	}
	return nil
}

// plainFields are the patchable fields that are neither a map nor an interface.
var plainFields = []string{"driver", "resource_class", "conductor_group", "description", "owner", "lessee", "shard", "automated_clean", "network_data"}

func (p apiPort) record() portRecord {
	return portRecord{UUID: p.UUID, NodeUUID: p.NodeUUID, MAC: strings.ToLower(p.Address),
		Physnet: p.Physnet, Link: p.Link, PXE: p.PXE, Group: p.Group, Mark: p.Extra.mark}
}

func (g apiGroup) record() groupRecord {
	return groupRecord{UUID: g.UUID, NodeUUID: g.NodeUUID, Name: g.Name, Address: strings.ToLower(g.Address), Mode: g.Mode,
		Standalone: g.Standalone, Properties: g.Properties, Mark: g.Extra.mark}
}

// pointer makes a JSON pointer (RFC 6901).
func pointer(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	return b.String()
}
