package ironic

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"tenks/raftfsm/state"
)

// want is a node as Ironic shall have it.
type want struct {
	UUID, Name string
	Fields     map[string]any
	// Unset lists the fields of ours that must have no value.
	Unset  []string
	Traits []string
	Mark   mark
	Ports  []wantPort
	Groups []wantGroup
}

type wantPort struct {
	MAC, Physnet string
	// Link is nil where the hypervisor reported none.
	Link map[string]any
	// PXE is nil where it is not declared.
	PXE *bool
	// Group is the UUID of the port group that it shall be in; empty: none of ours.
	Group string
	Mark  mark
}

type wantGroup struct {
	UUID, Name string
	// Address is empty for none.
	Address, Mode string
	Standalone    bool
	Properties    json.RawMessage
	Mark          mark
}

// body is that of a request that creates the group.
func (g wantGroup) body(node string) map[string]any {
	body := map[string]any{"uuid": g.UUID, "node_uuid": node, "name": g.Name, "mode": g.Mode,
		"standalone_ports_supported": g.Standalone, "properties": g.Properties, "extra": map[string]any{markKey: g.Mark}}
	if g.Address != "" {
		body["address"] = g.Address
	}
	return body
}

const (
	pathIPMIPassword    = "/driver_info/ipmi_password"
	pathRedfishPassword = "/driver_info/redfish_password"
	pathSNMPAuthKey     = "/driver_info/snmp_auth_key"
	pathSNMPPrivKey     = "/driver_info/snmp_priv_key"
	pathSNMPCommunity   = "/driver_info/snmp_community"
	pathCapabilities    = "/properties/capabilities"
	pathDeployKernel    = "/driver_info/deploy_kernel"
	pathDeployRamdisk   = "/driver_info/deploy_ramdisk"
	pathNetworkData     = "/network_data"
	pathPXE             = "/pxe_enabled"
	pathGroup           = "/portgroup_uuid"
	pathStandalone      = "/standalone_ports_supported"
	// managedGroups is among what is managed of a node that has port groups of ours.
	managedGroups = "port groups"
	// defaultMode is Ironic's default_portgroup_mode: a mode cannot be taken away.
	defaultMode = "active-backup"
)

// bmcKeys are the keys of driver_info by hardware type: what is of another one goes.
var bmcKeys = map[string][]string{
	"ipmi":                {"ipmi_address", "ipmi_port", "ipmi_username", "ipmi_password", "ipmi_hex_kg_key"},
	state.ProtocolRedfish: {"redfish_address", "redfish_system_id", "redfish_username", "redfish_password", "redfish_verify_ca"},
	state.ProtocolSNMP:    append([]string{"snmp_driver", "snmp_address", "snmp_port", "snmp_outlet", "snmp_version"}, slices.Concat(communityKeys, userKeys)...),
}

// wanted derives the record from a declared, placed node. The error says that the
// declaration cannot be expressed in Ironic.
func wanted(n *state.Node, mesh string) (want, error) {
	w := want{UUID: n.UUID, Name: n.Name, Fields: map[string]any{"/driver": n.Machine.IronicDriver},
		Mark: mark{Mesh: mesh, Cluster: n.Cluster}}
	if n.Placement != nil {
		w.Mark.Epoch = n.Placement.Epoch
	}
	if err := w.driverInfo(n); err != nil {
		return want{}, err
	}
	w.properties(n)
	w.enrolment(n.Enrol)
	w.networkData(n)
	w.Mark.Capabilities = namesOf(text(w.Fields[pathCapabilities]))
	w.ports(n)
	slices.Sort(w.Mark.Managed)
	slices.Sort(w.Unset)
	return w, nil
}

// claim takes over from a record what goes on with it; adopting says that it becomes the
// node's just now.
func (w *want) claim(r *record, adopting bool) {
	if r.UUID != w.UUID {
		w.Mark.Node = w.UUID
	}
	w.Mark.Adopted = adopting
	if m := r.Mark; m != nil {
		w.Mark.Adopted, w.Mark.Kept, w.Mark.Recovery = m.Adopted, m.Kept, m.Recovery
	} else if adopting {
		w.Mark.Kept = slices.DeleteFunc(slices.Clone(r.Traits), func(t string) bool { return slices.Contains(w.Traits, t) })
	}
	w.Traits = slices.Compact(slices.Sorted(slices.Values(slices.Concat(w.Traits, w.Mark.Kept))))
	if w.Mark.Adopted {
		w.keepDeployImages()
	}
	if len(groupsOf(r, w.Mark.Mesh)) > 0 && len(w.Groups) == 0 {
		// Still ours to remove.
		w.Mark.Managed = append(slices.Clone(w.Mark.Managed), managedGroups)
		slices.Sort(w.Mark.Managed)
	}
}

// keepDeployImages leaves an adopted record the images that it has, until some are declared.
func (w *want) keepDeployImages() {
	images := []string{pathDeployKernel, pathDeployRamdisk}
	w.Unset = slices.DeleteFunc(slices.Clone(w.Unset), func(path string) bool { return slices.Contains(images, path) })
	w.Mark.Managed = slices.Clone(w.Mark.Managed)
	for _, path := range images {
		if _, declared := w.Fields[path]; declared {
			w.Mark.Managed = append(w.Mark.Managed, path)
		}
	}
	slices.Sort(w.Mark.Managed)
}

// groupsOf are the port groups of ours that a record has.
func groupsOf(r *record, mesh string) []groupRecord {
	return slices.DeleteFunc(slices.Clone(r.Groups), func(g groupRecord) bool { return !g.Mark.ours(mesh) })
}

// ports are the node's, and the groups that they are in.
func (w *want) ports(n *state.Node) {
	for i, p := range n.Ports {
		port := wantPort{MAC: strings.ToLower(p.MAC), Physnet: p.Physnet, Mark: mark{Mesh: w.Mark.Mesh, Cluster: n.Cluster}}
		if i < len(n.Host.Links) && n.Host.Links[i].BridgeMAC != "" {
			l := n.Host.Links[i]
			port.Link = map[string]any{"switch_id": l.BridgeMAC, "switch_info": l.Bridge, "port_id": l.Link}
		}
		if n.Enrol != nil && i < len(n.Enrol.PXE) {
			port.PXE = &n.Enrol.PXE[i]
			port.Mark.Managed = append(port.Mark.Managed, pathPXE)
		}
		w.Ports = append(w.Ports, port)
	}
	if n.Enrol == nil || len(n.Enrol.PortGroups) == 0 {
		return
	}
	w.Mark.Managed = append(w.Mark.Managed, managedGroups)
	for _, g := range n.Enrol.PortGroups {
		w.group(n, g)
	}
}

func (w *want) group(n *state.Node, g state.PortGroup) {
	// The UUID is ours, so that a repeated create is refused.
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte("tenks port group\x00"+n.UUID+"\x00"+g.Name))
	group := wantGroup{UUID: id.String(), Name: n.Name + "-" + g.Name, Address: g.Address, Mode: cmp.Or(g.Mode, defaultMode),
		Standalone: !g.Dependent, Properties: object(g.Properties), Mark: mark{Mesh: w.Mark.Mesh, Cluster: n.Cluster}}
	for _, i := range g.Ports {
		if i >= len(w.Ports) {
			continue
		}
		port := &w.Ports[i]
		port.Group = group.UUID
		port.Mark.Managed = append(port.Mark.Managed, pathGroup)
		slices.Sort(port.Mark.Managed)
		if g.FirstPort && i == g.Ports[0] {
			group.Address = port.MAC
		}
	}
	w.Groups = append(w.Groups, group)
}

// object makes one of values that are JSON.
func object(values map[string]string) json.RawMessage {
	raw := make(map[string]json.RawMessage, len(values))
	for key, v := range values {
		raw[key] = json.RawMessage(v)
	}
	return json.RawMessage(canonical(raw))
}

func (w *want) driverInfo(n *state.Node) error {
	bmc := n.Machine.IronicDriver
	if bmcKeys[bmc] != nil && (n.Placement == nil || n.Placement.BMC.Port == 0) {
		return fmt.Errorf("node %q: has no BMC endpoint yet", n.Name)
	}
	switch bmc {
	case "ipmi":
		w.Fields["/driver_info/ipmi_address"] = n.Placement.BMC.Address
		w.Fields["/driver_info/ipmi_port"] = n.Placement.BMC.Port
		w.Fields["/driver_info/ipmi_username"] = n.BMC.Username
		w.Fields[pathIPMIPassword] = n.BMC.Password.Reveal()
		w.optional("/driver_info/ipmi_hex_kg_key", n.BMC.KeyHex())
		w.Mark.Check = passwordCheck(w.Mark.Mesh, n.BMC.Password)
	case state.ProtocolRedfish:
		w.Fields["/driver_info/redfish_address"] = n.Placement.BMC.URL()
		w.Fields["/driver_info/redfish_system_id"] = "/redfish/v1/Systems/" + strings.ToLower(n.UUID)
		w.Fields["/driver_info/redfish_username"] = n.BMC.Username
		w.Fields[pathRedfishPassword] = n.BMC.Password.Reveal()
		w.Fields["/driver_info/redfish_verify_ca"] = verifyCA(n.Enrol)
		w.Mark.Check = passwordCheck(w.Mark.Mesh, n.BMC.Password)
	case state.ProtocolSNMP:
		if n.Outlet == nil {
			return fmt.Errorf("node %q: is plugged into no PDU", n.Name)
		}
		w.outlet(n)
	case "fake-hardware", "manual-management":
	default:
		return fmt.Errorf("node %q: hardware type %q is not one that Tenks can enrol", n.Name, n.Machine.IronicDriver)
	}
	for other, keys := range bmcKeys {
		for _, key := range keys {
			if other != bmc {
				w.Unset = append(w.Unset, pointer("driver_info", key))
			}
		}
	}
	w.optional(pathDeployKernel, n.DeployKernel)
	w.optional(pathDeployRamdisk, n.DeployRamdisk)
	return nil
}

// What Ironic's snmp driver logs in with: SNMPv2c where the PDU has a community. Its SNMPv3
// ignores snmp_auth_protocol and snmp_priv_protocol (it looks for other keys than it stores),
// and so speaks MD5 and DES.
var (
	communityKeys = []string{"snmp_community"}
	userKeys      = []string{"snmp_user", "snmp_auth_protocol", "snmp_auth_key", "snmp_priv_protocol", "snmp_priv_key"}
)

// outlet has Ironic switch a node by its outlet.
func (w *want) outlet(n *state.Node) {
	pdu := n.Outlet.PDU
	w.Fields["/driver_info/snmp_driver"] = "apc_rackpdu"
	w.Fields["/driver_info/snmp_address"] = n.Placement.BMC.Address
	w.Fields["/driver_info/snmp_port"] = n.Placement.BMC.Port
	w.Fields["/driver_info/snmp_outlet"] = n.Outlet.Number
	secret, others := pdu.Password, communityKeys
	if !pdu.Community.IsZero() {
		secret, others = pdu.Community, userKeys
		w.Fields["/driver_info/snmp_version"] = "2c"
		w.Fields[pathSNMPCommunity] = secret.Reveal()
	} else {
		w.Fields["/driver_info/snmp_version"] = "3"
		w.Fields["/driver_info/snmp_user"] = pdu.User
		w.Fields["/driver_info/snmp_auth_protocol"] = "sha256"
		w.Fields[pathSNMPAuthKey] = secret.Reveal()
		w.Fields["/driver_info/snmp_priv_protocol"] = "aes"
		w.Fields[pathSNMPPrivKey] = secret.Reveal()
	}
	for _, key := range others {
		w.Unset = append(w.Unset, pointer("driver_info", key))
	}
	w.Mark.Check = passwordCheck(w.Mark.Mesh, secret)
}

// verifyCA is Ironic's redfish_verify_ca: a path, or false.
func verifyCA(e *state.Enrolment) any {
	if e == nil || e.RedfishVerifyCA == "" {
		return false
	}
	return e.RedfishVerifyCA
}

// reached returns the nodes as they are reached now: with Redfish and SNMP that is up to the
// hypervisor, not to the node's placement, and with a BMC address to neither.
func reached(snap *state.Snapshot, nodes []*state.Node) []*state.Node {
	out := slices.Clone(nodes)
	for i, n := range out {
		_, own := n.OwnEndpoint()
		if n.Machine.Own() && !own || n.Placement == nil {
			continue
		}
		changed, placement := *n, *n.Placement
		placement.BMC, _ = snap.BMC(n)
		if h, ok := snap.Hypervisor(placement.Hypervisor); ok {
			changed.ModifyIndex = max(n.ModifyIndex, h.ModifyIndex)
		}
		changed.Placement = &placement
		out[i] = &changed
	}
	return out
}

// optional wants a field to have a value, or none if the value is empty.
func (w *want) optional(path, value string) {
	if value == "" {
		w.Unset = append(w.Unset, path)
		return
	}
	w.Fields[path] = value
}

func (w *want) properties(n *state.Node) {
	w.Fields["/properties/cpus"] = n.Machine.VCPUs
	w.Fields["/properties/memory_mb"] = n.Machine.MemoryMB
	w.Fields["/properties/cpu_arch"] = n.Machine.Arch()
	if len(n.Machine.Volumes) > 0 {
		w.Fields["/properties/local_gb"] = (n.Machine.Volumes[0].CapacityBytes + 1<<29) >> 30
	}
	if n.Machine.BootMode != "" {
		w.Fields[pathCapabilities] = "boot_mode:" + string(n.Machine.BootMode)
		if n.Machine.SecureBoot {
			w.Fields[pathCapabilities] = "boot_mode:" + string(n.Machine.BootMode) + ",secure_boot:true"
		}
	}
}

// enrolment lays over what the file declares for Ironic, and remembers which
// fields those are.
func (w *want) enrolment(e *state.Enrolment) {
	if e == nil {
		return
	}
	set := func(path string, value any) {
		if path == pathCapabilities {
			value = mergeCapabilities(text(w.Fields[path]), text(value))
		}
		w.Fields[path] = value
		w.Mark.Managed = append(w.Mark.Managed, path)
	}
	for key, value := range e.Properties {
		set(pointer("properties", key), value)
	}
	for key, value := range e.Objects {
		set(pointer("properties", key), json.RawMessage(value))
	}
	for key, value := range e.Extra {
		if key != markKey {
			set(pointer("extra", key), json.RawMessage(value))
		}
	}
	if e.AutomatedClean != "" {
		set("/automated_clean", e.AutomatedClean == "true")
	}
	for kind, name := range e.Interfaces {
		set("/"+kind+"_interface", name)
	}
	for path, value := range map[string]string{"/resource_class": e.ResourceClass,
		"/conductor_group": strings.ToLower(e.ConductorGroup), "/description": e.Description,
		"/shard": e.Shard, "/owner": e.Owner, "/lessee": e.Lessee} {
		if value != "" {
			set(path, value)
		}
	}
	w.Traits = slices.Compact(slices.Sorted(slices.Values(e.Traits)))
}

// passwordCheck is 16 bits that tell one password from another. Ironic answers
// "******" for the password it holds, so a change would otherwise go unseen. More
// bits would let a reader of "extra" confirm a guessed password; these few cannot,
// and because they are the same for the same password on every node, seeing many
// nodes does not add to them. One change in 65536 is missed.
func passwordCheck(mesh string, password state.Secret) string {
	sum := sha256.Sum256([]byte("tenks bmc password\x00" + mesh + "\x00" + password.Reveal()))
	return hex.EncodeToString(sum[:2])
}
