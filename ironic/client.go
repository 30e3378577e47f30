package ironic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"
)

// client is the calls that enrolment makes. It is safe for concurrent use, but for what
// inventory learns.
type client struct {
	sc   *gophercloud.ServiceClient
	pace *pace
	// minor is the API version in use, most the newest that Ironic has; 0: not known yet.
	minor, most int
	// glance finds the image service; nil: there is no catalogue to find it in.
	glance func() (*gophercloud.ServiceClient, error)
}

// use asks in an API version from now on, or in the newest there is.
func (c *client) use(minor int) {
	if c.most > 0 {
		minor = min(minor, c.most)
	}
	c.minor, c.sc.Microversion = minor, fmt.Sprintf("1.%d", minor)
}

// inventory lists all nodes and ports, in an API version that has at least all that was
// written before: two requests per thousand of each, and one for port groups where there are.
func (c *client) inventory(ctx context.Context, minor int, mesh string, groups bool) (*inventory, error) {
	c.use(minor)
	inv, err := c.list(ctx)
	if most, refused := refusedVersion(err); refused {
		if c.most = most; most < leastMinor {
			return nil, fmt.Errorf("its API goes up to version 1.%d, and 1.%d is needed: upgrade it", most, leastMinor)
		}
		c.use(minor)
		inv, err = c.list(ctx)
	}
	if err != nil {
		return nil, err
	}
	if more := neededBy(inv, mesh); more > c.minor && c.most > c.minor {
		c.use(more)
		if inv, err = c.list(ctx); err != nil {
			return nil, err
		}
	}
	for _, r := range inv.nodes {
		groups = groups || r.marked(mesh) && slices.Contains(r.Mark.Managed, managedGroups)
	}
	if groups {
		err = c.listGroups(ctx, inv)
	}
	return inv, err
}

// list lists all nodes and ports.
func (c *client) list(ctx context.Context) (*inventory, error) {
	var nodes []*record
	err := c.pages(ctx, "nodes", nodeFields(c.minor), func(raw []byte) (string, error) {
		var page []*record
		err := json.Unmarshal(raw, &page)
		if err != nil || len(page) == 0 {
			return "", err
		}
		nodes = append(nodes, page...)
		return page[len(page)-1].UUID, nil
	})
	if err != nil {
		return nil, fmt.Errorf("nodes: list: %w", err)
	}
	var all []portRecord
	err = c.pages(ctx, "ports", portFields, func(raw []byte) (string, error) {
		var page []apiPort
		err := json.Unmarshal(raw, &page)
		for _, p := range page {
			all = append(all, p.record())
		}
		if err != nil || len(page) == 0 {
			return "", err
		}
		return page[len(page)-1].UUID, nil
	})
	if err != nil {
		return nil, fmt.Errorf("ports: list: %w", err)
	}
	return newInventory(nodes, all), nil
}

func (c *client) listGroups(ctx context.Context, inv *inventory) error {
	var all []groupRecord
	err := c.pages(ctx, "portgroups", groupFields, func(raw []byte) (string, error) {
		var page []apiGroup
		err := json.Unmarshal(raw, &page)
		for _, g := range page {
			all = append(all, g.record())
		}
		if err != nil || len(page) == 0 {
			return "", err
		}
		return page[len(page)-1].UUID, nil
	})
	if err != nil {
		return fmt.Errorf("port groups: list: %w", err)
	}
	inv.addGroups(all)
	return nil
}

// pages lists a collection. gophercloud's pager looks for the next page in a form
// that Ironic does not use, and Ironic's own link names its public endpoint, which
// need not be the one we reach: so the marker is set here.
func (c *client) pages(ctx context.Context, collection, fields string, page func(raw []byte) (last string, err error)) error {
	marker := ""
	for {
		query := url.Values{"fields": {fields}}
		if marker != "" {
			query.Set("marker", marker)
		}
		var body map[string]json.RawMessage
		header, err := c.get(ctx, collection, query, &body)
		if err != nil {
			return err
		}
		c.most = max(mostOf(header), c.minor)
		last, err := page(body[collection])
		if err != nil || last == "" || body["next"] == nil {
			return err
		}
		marker = last
	}
}

// get reads a collection; gophercloud closes the body that it decodes.
func (c *client) get(ctx context.Context, collection string, query url.Values, out any) (http.Header, error) {
	if err := c.pace.wait(ctx); err != nil {
		return nil, err
	}
	resp, err := c.sc.Get(ctx, c.sc.ServiceURL(collection)+"?"+query.Encode(), out, ok(http.StatusOK)) //nolint:bodyclose // closed there
	if err != nil {
		return nil, err
	}
	return resp.Header, nil
}

func ok(codes ...int) *gophercloud.RequestOpts { return &gophercloud.RequestOpts{OkCodes: codes} }

// rawBody is a body that is already in the API's form.
type rawBody map[string]any

func (b rawBody) ToNodeCreateMap() (map[string]any, error) { return b, nil }

func (c *client) create(ctx context.Context, w want) (*record, error) {
	var r record
	if err := nodes.Create(ctx, c.sc, rawBody(createBody(w))).ExtractInto(&r); err != nil {
		return nil, err
	}
	return &r, nil
}

func (p patch) body() map[string]any {
	m := map[string]any{"op": p.Op, "path": p.Path}
	if p.Op != "remove" {
		m["value"] = p.Value
	}
	return m
}

// ToNodeUpdateMap implements nodes.Patch.
func (p patch) ToNodeUpdateMap() (map[string]any, error) { return p.body(), nil }

// ToPortUpdateMap implements ports.Patch.
func (p patch) ToPortUpdateMap() map[string]any { return p.body() }

func (c *client) patchNode(ctx context.Context, uuid string, patches []patch) (*record, error) {
	opts := make(nodes.UpdateOpts, len(patches))
	for i, p := range patches {
		opts[i] = p
	}
	var r record
	if err := nodes.Update(ctx, c.sc, uuid, opts).ExtractInto(&r); err != nil {
		return nil, err
	}
	return &r, nil
}

// node reads a record again, without its ports.
func (c *client) node(ctx context.Context, r *record) (*record, error) {
	if err := c.pace.wait(ctx); err != nil {
		return nil, err
	}
	var now record
	if err := nodes.Get(ctx, c.sc, r.UUID).ExtractInto(&now); err != nil {
		return nil, err
	}
	now.Ports, now.Groups = r.Ports, r.Groups
	return &now, nil
}

// setTraits makes the node's traits exactly these.
func (c *client) setTraits(ctx context.Context, uuid string, traits []string) error {
	if traits == nil {
		traits = []string{}
	}
	resp, err := c.sc.Put(ctx, c.sc.ServiceURL("nodes", uuid, "traits"), map[string]any{"traits": traits}, nil, ok(http.StatusNoContent)) //nolint:bodyclose // ParseResponse does
	_, _, err = gophercloud.ParseResponse(resp, err)
	return err
}

func (c *client) createPort(ctx context.Context, node string, w wantPort) (portRecord, error) {
	var p apiPort
	err := ports.Create(ctx, c.sc, ports.CreateOpts{
		NodeUUID: node, PortGroupUUID: w.Group, Address: w.MAC, PhysicalNetwork: w.Physnet, LocalLinkConnection: w.Link,
		PXEEnabled: w.PXE, Extra: map[string]any{markKey: w.Mark},
	}).ExtractInto(&p)
	return p.record(), err
}

// createGroup, patchGroup and deleteGroup go through raw requests: gophercloud has no calls
// for port groups.
func (c *client) createGroup(ctx context.Context, node string, w wantGroup) (groupRecord, error) {
	var g apiGroup
	_, err := c.sc.Post(ctx, c.sc.ServiceURL("portgroups"), w.body(node), &g, ok(http.StatusCreated)) //nolint:bodyclose // closed there
	return g.record(), err
}

func (c *client) patchGroup(ctx context.Context, uuid string, patches []patch) (groupRecord, error) {
	body := make([]map[string]any, len(patches))
	for i, p := range patches {
		body[i] = p.body()
	}
	var g apiGroup
	_, err := c.sc.Patch(ctx, c.sc.ServiceURL("portgroups", uuid), body, &g, ok(http.StatusOK)) //nolint:bodyclose // closed there
	return g.record(), err
}

func (c *client) deleteGroup(ctx context.Context, uuid string) error {
	resp, err := c.sc.Delete(ctx, c.sc.ServiceURL("portgroups", uuid), ok(http.StatusNoContent)) //nolint:bodyclose // ParseResponse does
	_, _, err = gophercloud.ParseResponse(resp, err)
	return unlessAbsent(err)
}

func (c *client) patchPort(ctx context.Context, uuid string, patches []patch) (portRecord, error) {
	opts := make(ports.UpdateOpts, len(patches))
	for i, p := range patches {
		opts[i] = p
	}
	var p apiPort
	err := ports.Update(ctx, c.sc, uuid, opts).ExtractInto(&p)
	return p.record(), err
}

// deletePort and deleteNode take an absent object for a deleted one.
func (c *client) deletePort(ctx context.Context, uuid string) error {
	return unlessAbsent(ports.Delete(ctx, c.sc, uuid).ExtractErr())
}

func (c *client) deleteNode(ctx context.Context, uuid string) error {
	return unlessAbsent(nodes.Delete(ctx, c.sc, uuid).ExtractErr())
}

func unlessAbsent(err error) error {
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil
	}
	return err
}

func (c *client) provision(ctx context.Context, uuid, verb string) error {
	return nodes.ChangeProvisionState(ctx, c.sc, uuid, nodes.ProvisionStateOpts{Target: nodes.TargetProvisionState(verb)}).ExtractErr()
}

func (c *client) maintain(ctx context.Context, uuid, reason string) error {
	return nodes.SetMaintenance(ctx, c.sc, uuid, nodes.MaintenanceOpts{Reason: reason}).ExtractErr()
}

func (c *client) unmaintain(ctx context.Context, uuid string) error {
	return nodes.UnsetMaintenance(ctx, c.sc, uuid).ExtractErr()
}

// hidden looks for what the list did not show but a create ran into: a node with
// that UUID or name, or a port with that MAC. Each may be nil or empty.
func (c *client) hidden(ctx context.Context, w want) (*inventory, error) {
	var found []*record
	for _, id := range []string{w.UUID, w.Name} {
		var r record
		if err := c.pace.wait(ctx); err != nil {
			return nil, err
		}
		err := nodes.Get(ctx, c.sc, id).ExtractInto(&r)
		if err == nil {
			found = append(found, &r)
		} else if !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
			return nil, err
		}
	}
	var all []portRecord
	for _, p := range w.Ports {
		var body struct {
			Ports []apiPort `json:"ports"`
		}
		query := url.Values{"address": {p.MAC}, "fields": {portFields}}
		if _, err := c.get(ctx, "ports", query, &body); err != nil {
			return nil, err
		}
		for _, have := range body.Ports {
			all = append(all, have.record())
		}
	}
	return newInventory(found, all), nil
}
