package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"tenks/raftfsm/state"
)

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			return fail(http.StatusServiceUnavailable, err)
		}
	}
	if leader, _ := s.Leader(); leader == "" {
		return fail(http.StatusServiceUnavailable, errors.New("no leader is known"))
	}
	return s.healthz(w, nil)
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"version": s.Version})
	return nil
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	snap, _ := s.Source.Snapshot()
	mesh := snap.Mesh()
	leader, self := s.Leader()
	v := Status{Mesh: mesh.Name, MeshID: mesh.ID, Leader: hypervisorName(snap, leader),
		Voters: voters(snap, self), Peers: len(allPeers(snap)), Problems: []string{},
		Clusters: len(snap.Clusters()), Nodes: NodeSummary{ByPhase: map[string]int{}},
		Index: snap.Index(), Version: s.Version}
	for _, n := range snap.Nodes() {
		phase, _ := n.Phase()
		v.Nodes.Total++
		v.Nodes.ByPhase[string(phase)]++
	}
	for _, c := range s.Checks(r.Context()) {
		if c.State == "error" {
			v.Problems = append(v.Problems, c.Name+": "+c.Detail)
		}
	}
	if leader == "" {
		v.Problems = append(v.Problems, "no leader is known")
	}
	v.Healthy = len(v.Problems) == 0
	writeIndexed(w, snap, v)
	return nil
}

// voters names who votes; in a mesh that an older version made it is this peer.
func voters(snap *state.Snapshot, self string) []string {
	out := []string{}
	for _, p := range snap.Peers() {
		if p.Role == state.RoleVoter && !p.Removed {
			out = append(out, p.Name)
		}
	}
	if len(out) == 0 {
		out = append(out, hypervisorName(snap, self))
	}
	slices.Sort(out)
	return out
}

func (s *Server) doctor(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, http.StatusOK, s.Checks(r.Context()))
	return nil
}

// Peer is one row of "peer list -o json".
type Peer struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	Address  string            `json:"address"`
	Role     string            `json:"role"`
	State    string            `json:"state"`
	Zone     string            `json:"zone"`
	Labels   map[string]string `json:"labels"`
	Version  string            `json:"version"`
	Capacity Resources         `json:"capacity"`
	Used     Resources         `json:"used"`
	Nodes    int               `json:"nodes"`
	Leader   bool              `json:"leader"`
	Physnets []string          `json:"physnets"`
	Drivers  []string          `json:"drivers"`
	// Moves are nodes that move away from the peer, or wait to.
	Moves []NodeMove `json:"moves,omitempty"`
}

// Resources is an amount of what nodes need.
type Resources struct {
	VCPUs    int    `json:"vcpus"`
	MemoryMB uint64 `json:"memory_mb"`
	DiskGB   uint64 `json:"disk_gb"`
}

func (s *Server) peers(w http.ResponseWriter, _ *http.Request) error {
	snap, _ := s.Source.Snapshot()
	leader, _ := s.Leader()
	out := []Peer{}
	for _, p := range allPeers(snap) {
		out = append(out, peerView(snap, p, leader))
	}
	slices.SortStableFunc(out, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	writeIndexed(w, snap, out)
	return nil
}

// allPeers are the peers that are not removed. A mesh that an older version made has
// hypervisors only.
func allPeers(snap *state.Snapshot) []*state.Peer {
	var out []*state.Peer
	known := map[string]bool{}
	for _, p := range snap.Peers() {
		known[p.ID] = true
		if !p.Removed {
			out = append(out, p)
		}
	}
	for _, h := range snap.Hypervisors() {
		if !known[h.ID] {
			out = append(out, &state.Peer{ID: h.ID, Name: h.Name, Address: h.Address, Zone: h.Zone, Version: h.Version, Role: state.RoleVoter})
		}
	}
	return out
}

// peerView turns a peer and its hypervisor into what scripts see.
func peerView(snap *state.Snapshot, row *state.Peer, leader string) Peer {
	p := Peer{Name: row.Name, ID: row.ID, Address: row.Address, Role: string(row.Role), State: peerState(row), Zone: row.Zone,
		Labels: map[string]string{}, Version: row.Version, Leader: row.ID == leader, Physnets: []string{}, Drivers: []string{}}
	if h, ok := snap.Hypervisor(row.ID); ok {
		p.Physnets, p.Drivers = append(p.Physnets, h.Physnets...), append(p.Drivers, h.Drivers...)
		p.Capacity = Resources{h.Capacity.VCPUs, h.Capacity.MemoryMB, h.Capacity.DiskGB}
		maps.Copy(p.Labels, h.Labels)
	}
	p.Moves = movesOf(snap, row.ID)
	for _, n := range snap.NodesOn(row.ID) {
		p.Nodes++
		p.Used.VCPUs += n.Machine.VCPUs
		p.Used.MemoryMB += n.Machine.MemoryMB
		p.Used.DiskGB += n.Machine.DiskBytes() >> 30
	}
	return p
}

func peerState(p *state.Peer) string {
	switch {
	case p.Removed:
		return "removed"
	case p.Lost:
		return "lost"
	case p.Leaving:
		return "leaving"
	case p.Draining:
		return "draining"
	}
	return "alive"
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	var after uint64
	if text := r.URL.Query().Get("after"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fail(http.StatusBadRequest, fmt.Errorf("after %q: not a log index", text))
		}
		after = n
	}
	snap, changed := s.Source.Snapshot()
	if r.URL.Query().Get("follow") != "true" {
		out := []Event{}
		for _, e := range snap.Events(after) {
			out = append(out, eventView(e))
		}
		writeIndexed(w, snap, out)
		return nil
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	stream := json.NewEncoder(w)
	for {
		for _, e := range snap.Events(after) {
			if err := stream.Encode(eventView(e)); err != nil {
				return nil //nolint:nilerr // the client has gone
			}
			after = e.Index
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return nil //nolint:nilerr // the client has gone
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-changed:
		}
		snap, changed = s.Source.Snapshot()
	}
}

func eventView(e state.Event) Event {
	return Event{Index: e.Index, Time: stamp(e.UnixMilli), Type: e.Type, Cluster: e.Cluster, Node: e.Node, Message: e.Message}
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	paths := map[string]map[string]any{}
	for _, r := range s.routes() {
		if paths[r.path] == nil {
			paths[r.path] = map[string]any{}
		}
		paths[r.path][lower(r.method)] = map[string]any{
			"summary":   r.summary,
			"responses": map[string]any{"default": map[string]string{"description": "JSON; errors as {\"error\": TEXT}"}},
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]string{"title": "Tenks", "version": s.Version},
		"paths":   paths,
	})
	return nil
}

func lower(method string) string {
	b := []byte(method)
	for i := range b {
		b[i] |= 0x20
	}
	return string(b)
}

// bridge hijacks a request's connection and copies both ways until either side, or
// ctx, ends: a server that shuts down does not end what was hijacked.
func bridge(ctx context.Context, w http.ResponseWriter, other io.ReadWriteCloser) error {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+ConsoleProtocol+"\r\n\r\n"); err != nil {
		return nil // the client has gone
	}
	done := make(chan struct{}, 2)
	copyTo := func(dst io.Writer, src io.Reader) {
		_, _ = io.Copy(dst, src) // either end may go at any time
		done <- struct{}{}
	}
	go copyTo(conn, other)
	go copyTo(other, buffered)
	running := 2
	select {
	case <-ctx.Done():
	case <-done:
		running--
	}
	_ = conn.Close()
	_ = other.Close()
	for range running {
		<-done // both copies have ended
	}
	return nil
}
