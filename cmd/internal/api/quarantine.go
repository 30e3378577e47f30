package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"tenks/raftfsm/state"
)

// Quarantine is what this host has of nodes that the mesh made anew elsewhere.
type Quarantine interface {
	// Quarantine returns it, by name.
	Quarantine() []Quarantined
	// DeleteQuarantined deletes one node's part of it, with its disks. Errors:
	// state.ErrNotFound, state.ErrBusy.
	DeleteQuarantined(ctx context.Context, uuid string) error
	// Clear removes everything of the mesh's that is on this host, if that is the peer with
	// this ID: otherwise state.ErrRefused. Unless force says that disks may go, it is refused
	// where there are any. The error says what is left.
	Clear(ctx context.Context, peer string, force bool) error
}

// Quarantined is a node that a host has, with its disks, and that the mesh has elsewhere.
type Quarantined struct {
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Driver string `json:"driver"`
	// Epoch is that of the placement which it is from.
	Epoch uint64 `json:"epoch"`
	Power string `json:"power"`
	// Hypervisor is where the mesh has the node now; empty: nowhere.
	Hypervisor string `json:"hypervisor,omitempty"`
}

func (s *Server) quarantineRoutes() []route {
	return []route{
		{"GET", "/v1/quarantine", "nodes whose disks this host keeps although the mesh has them elsewhere", s.quarantine},
		{"DELETE", "/v1/quarantine/{name}", "delete such a node's disks on this host", s.deleteQuarantined},
		{"POST", "/v1/clear", "remove all nodes and links that are on this host, before it leaves the mesh", s.clear},
	}
}

func (s *Server) quarantine(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, s.quarantined())
	return nil
}

func (s *Server) quarantined() []Quarantined {
	out := []Quarantined{}
	if s.Quarantine == nil {
		return out
	}
	snap, _ := s.Source.Snapshot()
	for _, q := range s.Quarantine.Quarantine() {
		if n, ok := snap.Node(q.UUID); ok && n.Placement != nil {
			q.Hypervisor = n.Placement.Hypervisor
			if p, ok := snap.Peer(q.Hypervisor); ok {
				q.Hypervisor = p.Name
			}
		}
		out = append(out, q)
	}
	return out
}

// ClearRequest asks a host to remove all of the mesh's that is on it.
type ClearRequest struct {
	// Peer is the ID of who is meant: no other host is cleared.
	Peer string `json:"peer"`
	// Force has nodes deleted that are there, with their disks.
	Force bool `json:"force,omitempty"`
}

// clearTime bounds how long a host is cleared for by one request.
const clearTime = 5 * time.Minute

func (s *Server) clear(w http.ResponseWriter, r *http.Request) error {
	if s.Quarantine == nil {
		return fmt.Errorf("clear: %w: this peer is no hypervisor", state.ErrUnsupported)
	}
	var req ClearRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), clearTime)
	defer cancel()
	if err := s.Quarantine.Clear(ctx, req.Peer, req.Force); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) deleteQuarantined(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	for _, q := range s.quarantined() {
		if q.Name != name && q.UUID != name {
			continue
		}
		if err := s.Quarantine.DeleteQuarantined(r.Context(), q.UUID); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return fmt.Errorf("node %s: %w in quarantine on this host", name, state.ErrNotFound)
}
