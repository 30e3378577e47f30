package ironic

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// removableTimeout bounds each request of Removable: somebody waits for it.
const removableTimeout = 10 * time.Second

// Removable asks Ironic which of these nodes are in use, so that an apply or
// destroy can be refused before it begins. The map holds a reason for each that is,
// by UUID, such as "node tk0 is active in Ironic: undeploy it or use --force".
// Nodes that never got to Ironic are not asked for; without any other, there is no
// request at all. It changes nothing.
func Removable(ctx context.Context, access state.IronicAccess, nodes []*state.Node) (map[string]string, error) {
	return held(ctx, access, nodes, keptProblem)
}

// Protected is Removable for a removal by force: its map holds nodes that Ironic does not let
// go even so.
func Protected(ctx context.Context, access state.IronicAccess, nodes []*state.Node) (map[string]string, error) {
	return held(ctx, access, nodes, func(r *record) string {
		if !r.Protected {
			return ""
		}
		return keptProblem(r)
	})
}

func held(ctx context.Context, access state.IronicAccess, nodes []*state.Node, problem func(*record) string) (map[string]string, error) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n *state.Node) bool {
		return n.Ironic.Phase == "" || n.Ironic.Phase == state.IronicGone
	})
	if len(nodes) == 0 {
		return nil, nil
	}
	tr := cloud.Transport(1)
	defer tr.CloseIdleConnections()
	inv, err := listOnce(ctx, access, tr)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", label(access), cloud.Scrub(cloud.Describe(err), cloud.SecretsOf(access)...))
	}
	refused := map[string]string{}
	for _, n := range nodes {
		r := inv.record(n)
		if r == nil || r.Mark == nil {
			continue
		}
		if why := problem(r); why != "" {
			refused[n.UUID] = why
		}
	}
	return refused, nil
}

func listOnce(ctx context.Context, access state.IronicAccess, tr *http.Transport) (*inventory, error) {
	sc, _, err := connect(ctx, access, tr, removableTimeout)
	if err != nil {
		return nil, err
	}
	return (&client{sc: sc, pace: &pace{}}).inventory(ctx, usualMinor, "", false)
}
