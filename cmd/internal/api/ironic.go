package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"tenks/cmd/internal/declare"
	"tenks/raftfsm/state"
)

func (s *Server) ironicRoutes() []route {
	return []route{
		{"POST", "/v1/nodes/{name}/recover", "take a node out of a failed state in Ironic, once more", s.recoverNode},
	}
}

func (s *Server) recoverNode(w http.ResponseWriter, r *http.Request) error {
	_, n, err := s.findNode(r)
	if err != nil {
		return err
	}
	if n.Enrol == nil || n.Ironic.Phase == "" {
		return fail(http.StatusConflict, fmt.Errorf("node %q: is not in Ironic", n.Name))
	}
	if _, err := s.Propose(r.Context(), "", state.RecoverNodes{Nodes: []string{n.UUID}}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// checkImages says which images that a plan has Ironic boot Glance does not have. Where Glance
// gives no answer, the nodes' statuses say so later.
func (s *Server) checkImages(ctx context.Context, p *declare.Plan) []string {
	c := p.Command.Cluster
	if s.Images == nil || c.Ironic == nil {
		return nil
	}
	var out []string
	for _, image := range slices.Compact([]string{c.DeployKernel, c.DeployRamdisk}) {
		why, err := s.Images(ctx, *c.Ironic, image)
		if err != nil {
			s.Log.WarnContext(ctx, "glance does not say whether it has an image", "cluster", c.Name, "image", image, "err", err)
		}
		if why != "" {
			out = append(out, fmt.Sprintf("cluster %s: deploy_kernel, deploy_ramdisk: %s", c.Name, why))
		}
	}
	return out
}
