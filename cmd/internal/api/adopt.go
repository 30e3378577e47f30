package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tenks/cmd/internal/declare"
	"tenks/raftfsm/state"
)

// AdoptRequest asks for the named nodes of a cluster file to be taken over as they are.
type AdoptRequest struct {
	ApplyRequest
	// Partial takes over what can be, and leaves the rest as it is.
	Partial bool `json:"partial,omitempty"`
	// Look only says what would be done.
	Look bool `json:"look,omitempty"`
}

// Foreign is what a host has under the names of nodes and is not the mesh's.
type Foreign struct {
	Nodes []declare.Found `json:"nodes"`
	// Names of the nodes, in the same order.
	Names []string `json:"names"`
	// Ports are BMC ports that a program of the host's listens on, and which one.
	Ports map[int]string `json:"ports"`
}

// Adopter looks for what another tool made.
type Adopter interface {
	// Foreign returns what a peer has under these names, and who has these UDP ports there;
	// it changes nothing.
	Foreign(ctx context.Context, peer string, names []string, ports []int) (Foreign, error)
	// IronicRecords returns the UUIDs of Ironic's nodes with these names.
	IronicRecords(ctx context.Context, access state.IronicAccess, names []string) (map[string]string, error)
}

func (s *Server) adoptRoutes() []route {
	return []route{
		{"POST", "/v1/adopt", "take over nodes that another tool made, running", s.adopt},
		{"GET", "/v1/foreign", "what this host has under ?node=NAME and is not ours; ?port=PORT: who listens there", s.foreign},
	}
}

func (s *Server) foreign(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	var ports []int
	for _, text := range q["port"] {
		port, err := strconv.Atoi(text)
		if err != nil {
			return fail(http.StatusBadRequest, fmt.Errorf("port %q: not a number", text))
		}
		ports = append(ports, port)
	}
	if s.Adopter == nil {
		return fail(http.StatusNotImplemented, errors.New("this agent takes nothing over"))
	}
	_, self := s.Leader()
	f, err := s.Adopter.Foreign(r.Context(), self, q["node"], ports)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, f)
	return nil
}

func (s *Server) adopt(w http.ResponseWriter, r *http.Request) error {
	var req AdoptRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	want, err := s.Parse(&req.ApplyRequest)
	if err != nil {
		return fail(http.StatusBadRequest, err)
	}
	if s.Adopter == nil {
		return fail(http.StatusNotImplemented, errors.New("this agent takes nothing over"))
	}
	snap, _ := s.Source.Snapshot()
	found, err := s.lookFor(r.Context(), snap, want)
	if err != nil {
		return err
	}
	found.Partial = req.Partial
	plan, err := s.Plan(snap, want, declare.Options{AllowUnplaced: req.AllowUnplaced, Random: rand.Reader, Adopt: found})
	if err != nil {
		return fail(http.StatusConflict, err)
	}
	view := planView(snap, plan)
	if !req.Look && view.Changed {
		if view.Index, err = s.Propose(r.Context(), req.Request, plan.Command); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, view)
	return nil
}

// lookFor asks the hosts of named nodes what they have of them, and Ironic for its records.
func (s *Server) lookFor(ctx context.Context, snap *state.Snapshot, want state.Cluster) (*declare.Adoption, error) {
	out := &declare.Adoption{Found: map[string]declare.Found{}, Ironic: map[string]string{}}
	byHost := map[string][]state.NamedNode{}
	var enrolled []string
	for _, spec := range want.Specs {
		for _, n := range spec.Nodes {
			if _, known := snap.NodeByName(n.Name); known {
				continue
			}
			id, err := hostOf(snap, n)
			if err != nil {
				return nil, fail(http.StatusConflict, err)
			}
			byHost[id] = append(byHost[id], n)
			if spec.Enrol != nil {
				enrolled = append(enrolled, n.Name)
			}
		}
	}
	for id, nodes := range byHost {
		if err := s.lookOn(ctx, id, nodes, out.Found); err != nil {
			return nil, fail(http.StatusConflict, fmt.Errorf("peer %s: %w", hypervisorName(snap, id), err))
		}
	}
	if want.Ironic != nil && len(enrolled) > 0 {
		records, err := s.Adopter.IronicRecords(ctx, *want.Ironic, enrolled)
		if err != nil {
			return nil, fail(http.StatusConflict, fmt.Errorf("ironic: %w", err))
		}
		out.Ironic = records
	}
	return out, nil
}

func (s *Server) lookOn(ctx context.Context, id string, nodes []state.NamedNode, into map[string]declare.Found) error {
	var names []string
	var ports []int
	for _, n := range nodes {
		names = append(names, n.Name)
		if n.BMCPort > 0 {
			ports = append(ports, n.BMCPort)
		}
	}
	f, err := s.Adopter.Foreign(ctx, id, names, ports)
	if err != nil {
		return err
	}
	for i, one := range f.Nodes {
		if i >= len(f.Names) {
			break
		}
		one.Hypervisor = id
		at := slices.IndexFunc(nodes, func(n state.NamedNode) bool { return n.Name == f.Names[i] })
		if at < 0 {
			continue
		}
		if holder, held := f.Ports[nodes[at].BMCPort]; held && one.Problem == "" {
			one.Problem = fmt.Sprintf("UDP port %d is still held by %s: stop it (%s), or take bmc_port out of the file", nodes[at].BMCPort, holder, stopping(holder))
		}
		into[f.Names[i]] = one
	}
	return nil
}

// stopping is how the programs of the Ansible tool are stopped.
func stopping(holder string) string {
	switch {
	case strings.Contains(holder, "vbmc"):
		return "systemctl disable --now vbmcd"
	case strings.Contains(holder, "sushy"):
		return "systemctl disable --now sushy_emulator"
	}
	return "kill it"
}

// hostOf is the ID of the peer that a named node is on: the only one, where none is named.
func hostOf(snap *state.Snapshot, n state.NamedNode) (string, error) {
	all := snap.Hypervisors()
	for _, h := range all {
		if h.Name == n.Hypervisor || n.Hypervisor == "" && len(all) == 1 {
			return h.ID, nil
		}
	}
	if n.Hypervisor == "" {
		return "", fmt.Errorf("node %q: which host has it? Say specs.nodes.hypervisor", n.Name)
	}
	return "", fmt.Errorf("node %q: no peer named %q offers to run nodes: mend specs.nodes.hypervisor, or have that host join", n.Name, n.Hypervisor)
}
