package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"tenks/raftfsm/state"
)

// PDUs are the outlets that nodes are plugged into.
type PDUs interface {
	// Outlets says which of those of the nodes here are on, by the nodes' UUIDs.
	Outlets() map[string]bool
	// AllOutlets says the same of nodes anywhere. Those that nobody knows of are left out.
	AllOutlets(ctx context.Context, uuids []string) map[string]bool
	// TurnOutlet switches that of a node here: on, off or reboot.
	TurnOutlet(ctx context.Context, uuid, command string) error
}

// PDU is one row of "pdu list -o json".
type PDU struct {
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	// Community says that SNMPv1 and SNMPv2c are answered; User is that of SNMPv3.
	Community bool     `json:"community"`
	User      string   `json:"user"`
	Outlets   []Outlet `json:"outlets"`
}

// Outlet is one that has a node.
type Outlet struct {
	Number     int    `json:"number"`
	Node       string `json:"node"`
	UUID       string `json:"uuid"`
	Hypervisor string `json:"hypervisor"`
	// Peer is the hypervisor's ID.
	Peer string `json:"peer"`
	// State is on, off or unknown.
	State string `json:"state"`
	// Address and Port are where it is switched by SNMP.
	Address string `json:"address"`
	Port    int    `json:"port"`
}

// Plug says where a node is plugged in.
type Plug struct {
	PDU    string `json:"pdu"`
	Outlet int    `json:"outlet"`
}

// OutletRequest asks for an outlet to be switched: on, off, reboot.
type OutletRequest struct {
	Command string `json:"command"`
}

func (s *Server) pduRoutes() []route {
	return []route{
		{"GET", "/v1/outlets", "which outlets of the nodes on this host are on", s.outlets},
		{"GET", "/v1/pdus", "the PDUs and their outlets", s.allPDUs},
		{"POST", "/v1/nodes/{name}/outlet", "switch a node's outlet: on, off, reboot", s.there(s.turnOutlet)},
	}
}

func (s *Server) outlets(w http.ResponseWriter, _ *http.Request) error {
	out := map[string]bool{}
	if s.PDUs != nil {
		out = s.PDUs.Outlets()
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) allPDUs(w http.ResponseWriter, r *http.Request) error {
	snap, _ := s.Source.Snapshot()
	out := []PDU{}
	at := map[string]int{}
	for _, c := range snap.Clusters() {
		for _, p := range c.PDUs {
			at[p.Name] = len(out)
			out = append(out, PDU{Name: p.Name, Cluster: c.Name, Community: !p.Community.IsZero(), User: p.User, Outlets: []Outlet{}})
		}
	}
	var uuids []string
	for _, n := range snap.Nodes() {
		if n.Outlet == nil {
			continue
		}
		i, ok := at[n.Outlet.PDU.Name]
		if !ok { // a part of the state has no clusters; a cluster may go before its nodes
			i, at[n.Outlet.PDU.Name] = len(out), len(out)
			out = append(out, PDU{Name: n.Outlet.PDU.Name, Cluster: n.Cluster, Community: !n.Outlet.PDU.Community.IsZero(), User: n.Outlet.PDU.User})
		}
		out[i].Outlets = append(out[i].Outlets, outletView(snap, n))
		uuids = append(uuids, n.UUID)
	}
	states := map[string]bool{}
	if s.PDUs != nil && r.Header.Get(forwardedHeader) == "" {
		states = s.PDUs.AllOutlets(r.Context(), uuids)
	}
	for i := range out {
		slices.SortFunc(out[i].Outlets, func(a, b Outlet) int { return a.Number - b.Number })
		for j := range out[i].Outlets {
			o := &out[i].Outlets[j]
			if on, known := states[o.UUID]; known {
				o.State = map[bool]string{true: "on", false: "off"}[on]
			}
		}
	}
	writeIndexed(w, snap, out)
	return nil
}

func outletView(snap *state.Snapshot, n *state.Node) Outlet {
	o := Outlet{Number: n.Outlet.Number, Node: n.Name, UUID: n.UUID, State: "unknown"}
	if n.Placement == nil {
		return o
	}
	o.Peer, o.Hypervisor = n.Placement.Hypervisor, hypervisorName(snap, n.Placement.Hypervisor)
	if h, ok := snap.Hypervisor(o.Peer); ok && h.SNMP != 0 {
		o.Address, o.Port = h.BMC.Address, h.SNMP
	}
	return o
}

func (s *Server) turnOutlet(w http.ResponseWriter, r *http.Request) error {
	var req OutletRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	if !slices.Contains([]string{"on", "off", "reboot"}, req.Command) {
		return fail(http.StatusBadRequest, fmt.Errorf("outlet command %q: not one of on, off, reboot", req.Command))
	}
	_, n, err := s.findNode(r)
	if err != nil {
		return err
	}
	if n.Outlet == nil || s.PDUs == nil {
		return fail(http.StatusConflict, fmt.Errorf("node %s is plugged into no PDU: name one of pdus in its spec", n.Name))
	}
	if err := s.PDUs.TurnOutlet(r.Context(), n.UUID, req.Command); err != nil {
		return fmt.Errorf("node %s: outlet %s: %w", n.Name, req.Command, err)
	}
	return s.chassis(w, r)
}
