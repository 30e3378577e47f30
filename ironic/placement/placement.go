// Package placement asks Placement whether it offers the nodes that Ironic has: nova-compute
// makes a resource provider of each, with the node's UUID, some time after it is available. It
// changes nothing, and starts no goroutine that outlives a call.
package placement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/placement/v1/resourceproviders"
	"golang.org/x/sync/errgroup"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

const (
	// microversion is that of traits (Placement API 1.6, Pike).
	microversion = "1.6"
	// timeout bounds each request: somebody waits for it.
	timeout = 20 * time.Second
	// parallel bounds the requests at a time.
	parallel = 8
)

// Lacks says what Placement lacks of each node, by UUID; a node that it offers is not in the
// map. It takes one or two requests per node, whatever else is in the cloud. The error says
// that Placement did not answer.
func Lacks(ctx context.Context, access state.IronicAccess, nodes []*state.Node) (map[string][]string, error) {
	if len(nodes) == 0 {
		return map[string][]string{}, nil
	}
	tr := cloud.Transport(parallel)
	defer tr.CloseIdleConnections()
	out, err := lacks(ctx, access, tr, nodes)
	if err != nil {
		return nil, errors.New(cloud.Scrub(fmt.Sprintf("placement of cloud %s: %s", access.Cloud, cloud.Describe(err)), cloud.SecretsOf(access)...)) //nolint:err113 // for people
	}
	return out, nil
}

func lacks(ctx context.Context, access state.IronicAccess, tr *http.Transport, nodes []*state.Node) (map[string][]string, error) {
	if access.Auth != "cloud" {
		return nil, errors.New("needs ironic.cloud: an Ironic without Keystone has no Placement")
	}
	session, err := cloud.Keystone(ctx, access, tr, cloud.Client(tr, timeout))
	if err != nil {
		return nil, err
	}
	sc, err := session.Placement()
	if err != nil {
		return nil, err
	}
	sc.Microversion = microversion
	missing := make([][]string, len(nodes))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, n := range nodes {
		g.Go(func() error {
			var err error
			missing[i], err = missingOf(ctx, sc, n)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for i, n := range nodes {
		if len(missing[i]) > 0 {
			out[n.UUID] = missing[i]
		}
	}
	return out, nil
}

// missingOf asks about one node.
func missingOf(ctx context.Context, sc *gophercloud.ServiceClient, n *state.Node) ([]string, error) {
	inventories, err := resourceproviders.GetInventories(ctx, sc, recordOf(n)).Extract()
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return []string{"a resource provider (nova-compute makes it when it next looks at Ironic)"}, nil
	}
	if err != nil {
		return nil, err
	}
	out := missingInventory(n, inventories.Inventories)
	if len(n.Enrol.Traits) == 0 {
		return out, nil
	}
	traits, err := resourceproviders.GetTraits(ctx, sc, recordOf(n)).Extract()
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return []string{"a resource provider"}, nil // gone since
	}
	if err != nil {
		return nil, err
	}
	for _, t := range slices.Compact(slices.Sorted(slices.Values(n.Enrol.Traits))) {
		if !slices.Contains(traits.Traits, t) {
			out = append(out, "trait "+t)
		}
	}
	return out, nil
}

// missingInventory wants one unit of the node's resource class. Nova has it reserved while it
// cannot give the node out; one that has an instance stays so, and lacks nothing.
func missingInventory(n *state.Node, have map[string]resourceproviders.Inventory) []string {
	class := cloud.Resource(n.Enrol.ResourceClass)
	inventory, ok := have[class]
	switch {
	case !ok && len(have) > 0:
		return []string{fmt.Sprintf("%s (it has %s)", class, strings.Join(slices.Sorted(maps.Keys(have)), ", "))}
	case !ok:
		return []string{class}
	case inventory.Total != 1:
		return []string{fmt.Sprintf("%s with a total of 1 (it has %d)", class, inventory.Total)}
	case inventory.Reserved > 0 && n.Ironic.ProvisionState == "available":
		return []string{class + " that is not reserved (Nova reserves a node without a power state, or in maintenance)"}
	}
	return nil
}

// recordOf is the UUID of a node's record in Ironic, and so of its resource provider.
func recordOf(n *state.Node) string { return cmp.Or(n.Ironic.Record, n.UUID) }
