package config

import (
	"regexp"
	"slices"
	"strconv"
)

// PortAddress is how network_data names the MAC address of a node's port: "port0". Submatch 1
// is the port, from 0.
var PortAddress = regexp.MustCompile(`^port([0-9]{1,3})$`)

// networkDataLists are the keys of network_data (Nova's network_data.json), and the keys that
// each of the items of those must have.
var networkDataLists = map[string][]string{"links": {"id", "type"}, "networks": {"id", "type", "link"}, "services": {"address", "type"}}

// networkData reads network_data, as JSON. Ironic checks what is in the items by its own schema,
// and wants all three lists.
func networkData() shape[string] {
	whole := jsonValue()
	read := func(r *reader, n *node) (string, bool) {
		if n.kind != mapping {
			r.fault(n, "want a mapping, found %s", n.describe())
			return "", false
		}
		for _, key := range []string{"links", "networks"} {
			if _, given := n.get(key); !given {
				r.fault(n, "%s is missing", key)
			}
		}
		for _, item := range n.items {
			r.networkDataList(item)
		}
		if n.bad {
			return "", false
		}
		if _, ok := whole.read(r, n); !ok {
			return "", false
		}
		v, _ := r.jsonOf(n)
		lists := v.(map[string]any) //nolint:forcetypeassert // n is a mapping
		if lists["services"] == nil {
			lists["services"] = []any{}
		}
		return marshal(lists), true
	}
	lists := schema{}
	for key, needs := range networkDataLists {
		lists[key] = schema{"type": "array", "items": schema{"type": "object", "required": needs}}
	}
	return shape[string]{read, schema{"type": "object", "required": []string{"links", "networks"}, "properties": lists, "additionalProperties": false}}
}

func (r *reader) networkDataList(n *node) {
	needs, known := networkDataLists[n.name]
	switch {
	case !known:
		r.fault(n, "unknown key: want links, networks or services")
		return
	case n.kind != list:
		r.fault(n, "want a list, found %s", n.describe())
		return
	}
	for _, item := range n.items {
		if item.kind != mapping {
			r.fault(item, "want a mapping, found %s", item.describe())
			continue
		}
		for _, key := range needs {
			if _, given := item.get(key); !given {
				r.fault(item, "%s is missing", key)
			}
		}
	}
}

// checkNetworkData wants the links of networks to be there, and MAC addresses that are each
// node's own.
func (r *reader) checkNetworkData(s Spec, ports int, where *node) {
	at, given := where.get("network_data")
	if !given || s.IronicConfig.NetworkData == "" {
		return
	}
	var ids []string
	for _, link := range at.at("links").items {
		ids = append(ids, link.at("id").text)
		for _, key := range []string{"ethernet_mac_address", "vlan_mac_address"} {
			if address, given := link.get(key); given {
				r.checkAddress(address, s.Count, ports)
			}
		}
	}
	for _, network := range at.at("networks").items {
		if link := network.at("link"); !slices.Contains(ids, link.text) {
			r.fault(link, "no link has the id %s", quote(link.text))
		}
	}
}

func (r *reader) checkAddress(at *node, count, ports int) {
	m := PortAddress.FindStringSubmatch(at.text)
	if m == nil {
		if count > 1 {
			r.fault(at, "is one address for %d nodes: want port0, port1, …", count)
		}
		return
	}
	if port, err := strconv.Atoi(m[1]); err != nil || ports >= 0 && port >= ports {
		r.fault(at, "the node type has no port %s: it has %d, from 0", m[1], ports)
	}
}
