package api

import (
	"errors"
	"net/http"

	"tenks/raftfsm/state"
)

// Placement says whether Placement offers the nodes of a cluster that Ironic is to have
// available.
type Placement struct {
	Nodes []PlacementNode `json:"nodes"`
}

// PlacementNode is one node of a Placement.
type PlacementNode struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
	// Lacks says what Placement does not have; empty: it offers the node.
	Lacks []string `json:"lacks"`
}

func (s *Server) placement(w http.ResponseWriter, r *http.Request) error {
	snap, c, err := s.findCluster(r)
	if err != nil {
		return err
	}
	var nodes []*state.Node
	for _, n := range snap.NodesOf(c.Name) {
		if n.Enrol != nil && !n.Removing && (n.Enrol.State == "" || n.Enrol.State == state.TargetAvailable) {
			nodes = append(nodes, n)
		}
	}
	if c.Ironic == nil || s.Placement == nil {
		return fail(http.StatusConflict, errors.New("the cluster says no ironic.cloud, and so there is no Placement to ask"))
	}
	lacks, err := s.Placement(r.Context(), *c.Ironic, nodes)
	if err != nil {
		return fail(http.StatusBadGateway, err)
	}
	v := Placement{Nodes: []PlacementNode{}}
	for _, n := range nodes {
		v.Nodes = append(v.Nodes, PlacementNode{Name: n.Name, UUID: n.UUID, Lacks: append([]string{}, lacks[n.UUID]...)})
	}
	writeIndexed(w, snap, v)
	return nil
}
