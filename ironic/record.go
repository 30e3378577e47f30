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
	// Fields holds what can be patched, by JSON pointer ("/driver_info/ipmi_port").
	Fields map[string]any
	Traits []string
	// Mark is nil on a node that is not ours.
	Mark  *mark
	Ports []portRecord
}

// portRecord is a port as Ironic has it.
type portRecord struct {
	UUID, NodeUUID string
	MAC, Physnet   string
	Link           map[string]any
	Mark           *mark
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
}

func (m *mark) equal(o *mark) bool {
	if m == nil || o == nil {
		return m == o
	}
	return m.Mesh == o.Mesh && m.Cluster == o.Cluster && m.Epoch == o.Epoch &&
		m.Check == o.Check && slices.Equal(m.Managed, o.Managed)
}

func (m *mark) ours(mesh string) bool { return m != nil && mesh != "" && m.Mesh == mesh }

const markKey = "tenks"

// interfaceKinds are the hardware interfaces of a node (Ironic API reference, "Nodes").
var interfaceKinds = []string{"bios", "boot", "console", "deploy", "inspect", "management", "network",
	"power", "raid", "rescue", "storage", "vendor"}

// nodeFields are asked for in lists: all that record needs and no more.
func nodeFields(firmware bool) string {
	names := []string{"uuid", "name", "provision_state", "target_provision_state", "last_error",
		"instance_uuid", "maintenance", "maintenance_reason", "driver", "driver_info", "properties",
		"resource_class", "conductor_group", "description", "extra", "traits"}
	for _, kind := range interfaceKinds {
		names = append(names, kind+"_interface")
	}
	if firmware {
		names = append(names, "firmware_interface")
	}
	return strings.Join(names, ",")
}

const portFields = "uuid,address,node_uuid,physical_network,local_link_connection,extra"

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
	Extra    extra          `json:"extra"`
}

// extra is the "extra" of a node or port; whatever else is in it, and a mark that
// is not ours to read, is left alone.
type extra struct{ mark *mark }

func (e *extra) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil || all[markKey] == nil {
		return nil //nolint:nilerr // somebody else's idea of "extra": not ours
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
		MaintenanceReason: n.MaintenanceReason, Traits: n.Traits, Mark: n.Extra.mark, Fields: map[string]any{},
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
	return nil
}

// plainFields are the patchable fields that are neither a map nor an interface.
var plainFields = []string{"driver", "resource_class", "conductor_group", "description"}

func (p apiPort) record() portRecord {
	return portRecord{UUID: p.UUID, NodeUUID: p.NodeUUID, MAC: strings.ToLower(p.Address),
		Physnet: p.Physnet, Link: p.Link, Mark: p.Extra.mark}
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

// inventory is everything that one Ironic has, as far as the caller may see it.
type inventory struct {
	nodes  map[string]*record
	byName map[string]*record
	byMAC  map[string]portRecord
}

func newInventory(nodes []*record, ports []portRecord) *inventory {
	inv := &inventory{nodes: map[string]*record{}, byName: map[string]*record{}, byMAC: map[string]portRecord{}}
	for _, n := range nodes {
		inv.nodes[n.UUID] = n
		if n.Name != "" {
			inv.byName[n.Name] = n
		}
	}
	for _, p := range ports {
		inv.byMAC[p.MAC] = p
		if n := inv.nodes[p.NodeUUID]; n != nil {
			n.Ports = append(n.Ports, p)
		}
	}
	return inv
}
