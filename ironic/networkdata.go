package ironic

import (
	"encoding/json"
	"strconv"
	"strings"

	"tenks/raftfsm/state"
)

// networkData is what is declared, with the MAC addresses of the node's ports in the place of
// their names.
func (w *want) networkData(n *state.Node) {
	if n.Enrol == nil || n.Enrol.NetworkData == "" {
		return
	}
	w.Fields[pathNetworkData] = json.RawMessage(addressed(n.Enrol.NetworkData, n.Ports))
	w.Mark.Managed = append(w.Mark.Managed, pathNetworkData)
}

// addressed replaces "port0" by the MAC address of port 0, in links only. Numbers stay as they
// are written.
func addressed(data string, ports []state.Port) string {
	var lists map[string]json.RawMessage
	var links []map[string]json.RawMessage
	if json.Unmarshal([]byte(data), &lists) != nil || json.Unmarshal(lists["links"], &links) != nil {
		return data
	}
	for _, link := range links {
		for _, key := range []string{"ethernet_mac_address", "vlan_mac_address"} {
			var address string
			if json.Unmarshal(link[key], &address) != nil {
				continue
			}
			number, named := strings.CutPrefix(address, "port")
			if port, err := strconv.Atoi(number); named && err == nil && port >= 0 && port < len(ports) {
				link[key] = json.RawMessage(strconv.Quote(strings.ToLower(ports[port].MAC)))
			}
		}
	}
	lists["links"] = json.RawMessage(canonical(links))
	return canonical(lists)
}
