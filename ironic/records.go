package ironic

import (
	"context"
	"fmt"
	"slices"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// Records returns the UUIDs of Ironic's nodes with these names, for nodes that are to be
// taken over. It changes nothing. One that carries the mark of a mesh is that mesh's and an
// error.
func Records(ctx context.Context, access state.IronicAccess, names []string) (map[string]string, error) {
	tr := cloud.Transport(1)
	defer tr.CloseIdleConnections()
	inv, err := listOnce(ctx, access, tr)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", label(access), cloud.Scrub(cloud.Describe(err), cloud.SecretsOf(access)...))
	}
	out := map[string]string{}
	for _, r := range inv.nodes {
		if !slices.Contains(names, r.Name) {
			continue
		}
		if r.Mark != nil {
			return nil, fmt.Errorf("%s: node %s (%s) belongs to a mesh already", label(access), r.Name, r.UUID)
		}
		out[r.Name] = r.UUID
	}
	return out, nil
}
