package ovs

import (
	"fmt"
	"maps"
	"slices"
)

// HasBridge is a bridge as it is.
type HasBridge struct {
	Name string
	// MAC is what other_config:hwaddr says; empty: nothing.
	MAC string
	// Datapath is DatapathSystem or DatapathNetdev.
	Datapath string
	// MTU is what mtu_request of its own interface says; 0: nothing.
	MTU  int
	Mark Mark
}

// HasPort is a port as it is.
type HasPort struct {
	Name, Bridge string
	// Peer is that of a patch port.
	Peer string
	// Kind is the interface's type: "" for one of the host, "patch", "internal", …;
	// "bond" if the port has several interfaces.
	Kind string
	// Tag is the VLAN of an access port; 0: none.
	Tag  int
	Mark Mark
	// Open says that Open vSwitch has the interface in its datapath; Error why not.
	Open  bool
	Error string
}

// Have is what is in a host's Open vSwitch at one moment. Its zero value is a host that
// has none.
type Have struct {
	Mesh string
	// Down says why nothing is known; nil: all of it is.
	Down    error
	Bridges map[string]HasBridge
	Ports   map[string]HasPort
}

// Ours reports whether this mesh made the bridge.
func (b HasBridge) Ours() bool { return b.Mark.Role != "" }

// Ours reports whether this mesh made the port.
func (p HasPort) Ours() bool { return p.Mark.Role != "" }

// Any reports whether there is anything of ours.
func (h Have) Any() bool {
	for _, b := range h.Bridges {
		if b.Ours() {
			return true
		}
	}
	for _, p := range h.Ports {
		if p.Ours() {
			return true
		}
	}
	return false
}

// Nodes returns the nodes that have a port here, sorted.
func (h Have) Nodes() []string {
	nodes := map[string]bool{}
	for _, p := range h.Ports {
		if p.Mark.Role == RolePort {
			nodes[p.Mark.Node] = true
		}
	}
	return slices.Sorted(maps.Keys(nodes))
}

// Others returns the ports in a bridge that are not ours, sorted, but for the bridge's own:
// guests and networks of somebody else, which go with a bridge that is deleted.
func (h Have) Others(bridge string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(h.Ports)) {
		if p := h.Ports[name]; p.Bridge == bridge && name != bridge && !p.Ours() {
			out = append(out, name)
		}
	}
	return out
}

// Fault says why a wanted port does not carry frames although it is there as it should
// be, or nil. A patch port carries them if both ends do.
func (h Have) Fault(port string) error {
	p, ok := h.Ports[port]
	switch {
	case !ok:
		return fmt.Errorf("Open vSwitch has no port %s", port)
	case p.Error != "":
		return fmt.Errorf("Open vSwitch cannot open %s: %s", port, p.Error)
	case !p.Open:
		return fmt.Errorf("Open vSwitch has not opened %s: look whether ovs-vswitchd runs", port)
	}
	return nil
}
