package daemon

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"tenks/bmc"
	"tenks/bmc/redfish"
	"tenks/raftfsm/state"
)

// fleet are the nodes as the Redfish service sees them: those that this peer knows the
// account of. It implements redfish.Systems; update is called by one goroutine at a time.
type fleet struct {
	self    string
	chassis func(uuid string) bmc.Chassis

	// mu guards what follows; nothing that list and the maps have is changed.
	mu      sync.Mutex
	list    []redfish.System // by ID
	byID    map[string]redfish.System
	users   map[string]bool
	changed chan struct{}
}

var _ redfish.Systems = (*fleet)(nil)

// Lookup implements redfish.Systems.
func (f *fleet) Lookup(id string) (redfish.System, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sys, ok := f.byID[id]
	return sys, ok
}

// All implements redfish.Systems.
func (f *fleet) All() (systems []redfish.System, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list, f.changed
}

// hasUser says that a name is the user's of some node.
func (f *fleet) hasUser(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.users[name]
}

// here returns a node of this peer by a path that has its UUID in it.
func (f *fleet) here(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for segment := range strings.SplitSeq(strings.ToLower(path), "/") {
		if sys, ok := f.byID[segment]; ok && sys.Chassis != nil {
			return true
		}
	}
	return false
}

// update takes over a state.
func (f *fleet) update(snap *state.Snapshot) {
	var list []redfish.System
	names := map[string]string{}
	for _, h := range snap.Hypervisors() {
		names[h.ID] = h.Name
	}
	for _, n := range snap.Nodes() {
		if sys, ok := f.system(n, names); ok {
			list = append(list, sys)
		}
	}
	slices.SortFunc(list, func(a, b redfish.System) int { return cmp.Compare(a.ID, b.ID) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed != nil && slices.Equal(list, f.list) {
		return
	}
	f.list, f.byID, f.users = list, make(map[string]redfish.System, len(list)), map[string]bool{}
	for _, sys := range list {
		f.byID[sys.ID], f.users[sys.Account.Username] = sys, true
	}
	if f.changed != nil {
		close(f.changed)
	}
	f.changed = make(chan struct{})
}

// system is a node as the service sees it. Like its IPMI BMC, it is there from when it is
// placed until Ironic has let go.
func (f *fleet) system(n *state.Node, names map[string]string) (redfish.System, bool) {
	gone := n.Host.Phase == state.HostGone || n.TakenApart()
	if n.Placement == nil || gone || n.BMC.Username == "" {
		return redfish.System{}, false
	}
	at := n.Placement.Hypervisor
	sys := redfish.System{ID: strings.ToLower(n.UUID), Name: n.Name, Account: n.BMC, Host: cmp.Or(names[at], at), Peer: at}
	if at == f.self {
		sys.Chassis = f.chassis(n.UUID)
	}
	return sys, true
}
