package ironictest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const headerVersion = "X-Openstack-Ironic-Api-Version"

// minorOf is the API version that a request asks for, 1.N; 0: none of 1.
func minorOf(r *http.Request) int {
	major, minor, _ := strings.Cut(r.Header.Get(headerVersion), ".")
	v, err := strconv.Atoi(minor)
	if major != "1" || err != nil {
		return 0
	}
	return v
}

// versionedFields came with these versions (ironic.api.controllers.v1.utils, VERSIONED_FIELDS).
var versionedFields = map[string]int{"fault": 42, "automated_clean": 47, "protected": 48, "protected_reason": 48, "owner": 50,
	"description": 51, "retired": 61, "retired_reason": 61, "lessee": 65, "network_data": 66, "shard": 82, "firmware_interface": 86}

// tooNew refuses fields that a version does not have.
func tooNew(fields []string, minor int) *refusal {
	for _, f := range fields {
		if versionedFields[f] > minor {
			return refuse(http.StatusNotAcceptable, "Request not acceptable.")
		}
	}
	return nil
}

func (i *Ironic) listGroups(r *http.Request, _ any) (int, any, *refusal) {
	var docs []map[string]any
	for _, uuid := range slices.Sorted(maps.Keys(i.groups)) {
		docs = append(docs, i.groups[uuid])
	}
	return i.page(r, "portgroups", docs)
}

func (i *Ironic) createGroup(r *http.Request, body any) (int, any, *refusal) {
	doc := map[string]any{"name": nil, "address": nil, "mode": "active-backup", "standalone_ports_supported": true,
		"properties": map[string]any{}, "extra": map[string]any{}}
	maps.Copy(doc, body.(map[string]any))
	n := i.nodes[fmt.Sprint(doc["node_uuid"])]
	if n == nil {
		return 0, nil, refuse(http.StatusBadRequest, "Node %v could not be found.", doc["node_uuid"])
	}
	if why := i.lock(n.text("uuid"), r); why != nil {
		return 0, nil, why
	}
	if i.groups[fmt.Sprint(doc["uuid"])] != nil {
		return 0, nil, refuse(http.StatusConflict, "A portgroup with UUID %v already exists.", doc["uuid"])
	}
	if why := i.checkGroup(doc); why != nil {
		return 0, nil, why
	}
	i.groups[fmt.Sprint(doc["uuid"])] = doc
	return 201, doc, nil
}

// checkGroup is what the database refuses.
func (i *Ironic) checkGroup(doc map[string]any) *refusal {
	for uuid, other := range i.groups {
		switch {
		case uuid == doc["uuid"]:
		case doc["name"] != nil && other["name"] == doc["name"]:
			return refuse(http.StatusConflict, "A portgroup with name %v already exists.", doc["name"])
		case doc["address"] != nil && other["address"] == doc["address"]:
			return refuse(http.StatusConflict, "A portgroup with MAC address %v already exists.", doc["address"])
		}
	}
	return nil
}

func (i *Ironic) patchGroup(r *http.Request, body any) (int, any, *refusal) {
	g := i.groups[r.PathValue("id")]
	if g == nil {
		return 0, nil, refuse(http.StatusNotFound, "Portgroup %s could not be found.", r.PathValue("id"))
	}
	if why := i.lock(fmt.Sprint(g["node_uuid"]), r); why != nil {
		return 0, nil, why
	}
	changed := cloneDoc(g)
	for _, op := range operations(body) {
		if op["op"] == "remove" && op["path"] == "/mode" {
			return 0, nil, refuse(http.StatusBadRequest, "'mode' is a mandatory attribute and can not be removed")
		}
		if why := applyPatch(changed, op); why != nil {
			return 0, nil, why
		}
	}
	if why := i.checkGroup(changed); why != nil {
		return 0, nil, why
	}
	// ironic.drivers.modules.network.common, portgroup_changed.
	for _, p := range i.ports {
		if p.doc["portgroup_uuid"] == g["uuid"] && p.doc["pxe_enabled"] == true && changed["standalone_ports_supported"] == false {
			return 0, nil, refuse(http.StatusConflict, "standalone_ports_supported can not be set to False, because the port group %v contains port with 'pxe_enabled' is set to True", g["uuid"])
		}
	}
	i.groups[fmt.Sprint(g["uuid"])] = changed
	return 200, changed, nil
}

func (i *Ironic) deleteGroup(r *http.Request, _ any) (int, any, *refusal) {
	id := r.PathValue("id")
	if i.groups[id] == nil {
		return 0, nil, refuse(http.StatusNotFound, "Portgroup %s could not be found.", id)
	}
	for _, p := range i.ports {
		if p.doc["portgroup_uuid"] == id {
			return 0, nil, refuse(http.StatusBadRequest, "Cannot complete the requested action because portgroup %s contains ports.", id)
		}
	}
	delete(i.groups, id)
	return 204, nil, nil
}

// checkMember is validate_port_physnet and port_changed.
func (i *Ironic) checkMember(port map[string]any) *refusal {
	id := port["portgroup_uuid"]
	if id == nil {
		return nil
	}
	g := i.groups[fmt.Sprint(id)]
	if g == nil {
		return refuse(http.StatusBadRequest, "Portgroup %v could not be found.", id)
	}
	if g["standalone_ports_supported"] == false && port["pxe_enabled"] == true {
		return refuse(http.StatusConflict, "Port group %v doesn't support standalone ports. This port %v cannot be  a member of that port group because of: 'pxe_enabled' was set to True", id, port["uuid"])
	}
	for _, p := range i.ports {
		if p.doc["portgroup_uuid"] == id && p.doc["uuid"] != port["uuid"] && p.doc["physical_network"] != port["physical_network"] {
			return refuse(http.StatusConflict, "Port with physical network %v cannot become a member of port group %v which has ports in physical network %v.",
				port["physical_network"], id, p.doc["physical_network"])
		}
	}
	return nil
}
