package api

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"tenks/bmc/fault"
	"tenks/raftfsm/state"
)

// Faults is what faults do on this host and on others.
type Faults interface {
	// FaultCounts returns what each fault did here, by its ID.
	FaultCounts() map[string]FaultCount
	// PeerFaultCounts returns the same of other peers, by peer. Those that do not answer
	// are left out.
	PeerFaultCounts(ctx context.Context, peers []string) map[string]map[string]FaultCount
}

// FaultCount is what a fault did on a host.
type FaultCount struct {
	// Hypervisor is the host's name.
	Hypervisor string `json:"hypervisor,omitempty"`
	// Asked counts the requests that the fault is about, Hit those that it hit.
	Asked uint64 `json:"asked"`
	Hit   uint64 `json:"hit"`
}

// FaultRequest declares a fault of the BMCs of some nodes.
type FaultRequest struct {
	fault.Spec
	// Nodes are names or UUIDs, Clusters names, Hypervisors names or IDs.
	Nodes       []string `json:"nodes,omitempty"`
	Clusters    []string `json:"clusters,omitempty"`
	Hypervisors []string `json:"hypervisors,omitempty"`
}

// Fault is one row of "fault list -o json".
type Fault struct {
	ID          string   `json:"id"`
	Kind        string   `json:"kind"`
	Nodes       []string `json:"nodes"`
	Clusters    []string `json:"clusters"`
	Hypervisors []string `json:"hypervisors"`
	Protocol    string   `json:"protocol"`
	Call        string   `json:"call"`
	Share       float64  `json:"share"`
	Seed        uint64   `json:"seed"`
	Delay       string   `json:"delay"`
	Code        int      `json:"code"`
	Added       string   `json:"added"`
	// Ends is by the clock of the peer that added it.
	Ends string `json:"ends"`
	// Hits has an entry for each host that has such nodes and answered.
	Hits []FaultCount `json:"hits"`
}

// AuditRequest says whether every request to a node's BMC is noted.
type AuditRequest struct {
	On bool `json:"on"`
}

func (s *Server) faultRoutes() []route {
	return []route{
		{"GET", "/v1/faults", "faults of BMCs that were declared, and what they hit", s.faults},
		{"POST", "/v1/faults", "declare a fault of BMCs", s.addFault},
		{"DELETE", "/v1/faults", "end all faults", s.clearFaults},
		{"DELETE", "/v1/faults/{id}", "end a fault", s.clearFault},
		{"GET", "/v1/fault-counts", "what faults did on this host", s.faultCounts},
		{"POST", "/v1/nodes/{name}/audit", "note every request to a node's BMC in its host's audit.log, or do not", s.audit},
	}
}

func (s *Server) faults(w http.ResponseWriter, r *http.Request) error {
	if err := s.current(r); err != nil {
		return err
	}
	snap, _ := s.Source.Snapshot()
	rows := snap.Faults()
	counts := s.allFaultCounts(r.Context(), snap, rows)
	out := []Fault{}
	for _, f := range rows {
		out = append(out, faultView(snap, f, counts))
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return cmp.Compare(a.Added, b.Added) })
	writeIndexed(w, snap, out)
	return nil
}

// allFaultCounts asks the hosts that faults concern, by peer ID.
func (s *Server) allFaultCounts(ctx context.Context, snap *state.Snapshot, rows []*state.Fault) map[string]map[string]FaultCount {
	if s.Faults == nil || len(rows) == 0 {
		return nil
	}
	_, self := s.Leader()
	hosts := map[string]bool{}
	for _, n := range snap.Nodes() {
		if n.Placement != nil && n.Placement.Hypervisor != self && !n.Lost && slices.ContainsFunc(rows, func(f *state.Fault) bool { return f.Concerns(n) }) {
			hosts[n.Placement.Hypervisor] = true
		}
	}
	var others []string
	for id := range hosts {
		others = append(others, id)
	}
	out := map[string]map[string]FaultCount{}
	if len(others) > 0 {
		out = s.Faults.PeerFaultCounts(ctx, others)
	}
	out[self] = s.Faults.FaultCounts()
	return out
}

func faultView(snap *state.Snapshot, f *state.Fault, counts map[string]map[string]FaultCount) Fault {
	v := Fault{ID: f.ID, Kind: string(f.Kind), Nodes: []string{}, Clusters: append([]string{}, f.Clusters...), Hypervisors: []string{},
		Protocol: f.Protocol, Call: f.Call, Share: float64(f.SharePPM) / 1e6, Seed: f.Seed, Code: f.Code,
		Added: stamp(f.AddedMilli), Ends: stamp(f.EndsMilli()), Hits: []FaultCount{}}
	if f.DelayMilli > 0 {
		v.Delay = (time.Duration(f.DelayMilli) * time.Millisecond).String()
	}
	for _, uuid := range f.Nodes {
		name := uuid
		if n, ok := snap.Node(uuid); ok {
			name = n.Name
		}
		v.Nodes = append(v.Nodes, name)
	}
	for _, id := range f.Hypervisors {
		v.Hypervisors = append(v.Hypervisors, hypervisorName(snap, id))
	}
	for peer, byID := range counts {
		if c, ok := byID[f.ID]; ok && c.Asked > 0 {
			c.Hypervisor = hypervisorName(snap, peer)
			v.Hits = append(v.Hits, c)
		}
	}
	slices.SortFunc(v.Hits, func(a, b FaultCount) int { return cmp.Compare(a.Hypervisor, b.Hypervisor) })
	return v
}

func (s *Server) addFault(w http.ResponseWriter, r *http.Request) error {
	var req FaultRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	// A seed that is easy to type again.
	f, err := fault.Parse(req.Spec, uint64(rand.Uint32()))
	if err != nil {
		return fail(http.StatusBadRequest, oneLine("fault", err))
	}
	snap, _ := s.Source.Snapshot()
	if err := setTargets(snap, &f, req); err != nil {
		return err
	}
	f.ID = hex.EncodeToString(binary.BigEndian.AppendUint32(nil, rand.Uint32()))
	if _, err := s.Propose(r.Context(), "", state.AddFault{Fault: f}); err != nil {
		return err
	}
	snap, _ = s.Source.Snapshot()
	row, ok := snap.Fault(f.ID)
	if !ok { // not seen here yet
		f.AddedMilli = time.Now().UnixMilli()
		row = &f
	}
	writeJSON(w, http.StatusCreated, faultView(snap, row, nil))
	return nil
}

// oneLine joins errors, of which each has a line, to one line.
func oneLine(noun string, err error) error {
	return errors.New(noun + ": " + strings.ReplaceAll(err.Error(), "\n", "; "))
}

// setTargets finds whose BMCs a fault is about.
func setTargets(snap *state.Snapshot, f *state.Fault, req FaultRequest) error {
	if len(req.Nodes)+len(req.Clusters)+len(req.Hypervisors) == 0 {
		return fail(http.StatusBadRequest, errors.New("fault: say whose: a node, a cluster or a hypervisor"))
	}
	for _, name := range req.Nodes {
		n, ok := snap.NodeByName(name)
		if !ok {
			n, ok = snap.Node(name)
		}
		if !ok {
			return fail(http.StatusNotFound, fmt.Errorf("node %q: not found; see tenks node list", name))
		}
		f.Nodes = append(f.Nodes, n.UUID)
	}
	for _, name := range req.Clusters {
		if _, ok := snap.Cluster(name); !ok {
			return fail(http.StatusNotFound, fmt.Errorf("cluster %q: not found; see tenks cluster list", name))
		}
		f.Clusters = append(f.Clusters, name)
	}
	for _, name := range req.Hypervisors {
		i := slices.IndexFunc(snap.Hypervisors(), func(h *state.Hypervisor) bool { return h.Name == name || h.ID == name })
		if i < 0 {
			return fail(http.StatusNotFound, fmt.Errorf("hypervisor %q: not found; see tenks peer list", name))
		}
		f.Hypervisors = append(f.Hypervisors, snap.Hypervisors()[i].ID)
	}
	return nil
}

func (s *Server) clearFaults(w http.ResponseWriter, r *http.Request) error {
	snap, _ := s.Source.Snapshot()
	var ids []string
	for _, f := range snap.Faults() {
		ids = append(ids, f.ID)
	}
	return s.endFaults(w, r, ids)
}

func (s *Server) clearFault(w http.ResponseWriter, r *http.Request) error {
	snap, _ := s.Source.Snapshot()
	id := r.PathValue("id")
	if _, ok := snap.Fault(id); !ok {
		return fail(http.StatusNotFound, fmt.Errorf("fault %q: not found; see tenks fault list", id))
	}
	return s.endFaults(w, r, []string{id})
}

func (s *Server) endFaults(w http.ResponseWriter, r *http.Request, ids []string) error {
	if len(ids) > 0 {
		if _, err := s.Propose(r.Context(), "", state.EndFaults{IDs: ids}); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, map[string]int{"ended": len(ids)})
	return nil
}

func (s *Server) faultCounts(w http.ResponseWriter, _ *http.Request) error {
	out := map[string]FaultCount{}
	if s.Faults != nil {
		out = s.Faults.FaultCounts()
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) audit(w http.ResponseWriter, r *http.Request) error {
	var req AuditRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	_, n, err := s.findNode(r)
	if err != nil {
		return err
	}
	if _, err := s.Propose(r.Context(), "", state.SetAudit{Nodes: []string{n.UUID}, On: req.On}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
