package flavor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/placement/v1/traits"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// microversion is that of extra specs in lists of flavors (Nova 18, Rocky). Descriptions came
// with 2.55. From 2.86 on Nova checks extra specs against a list of its own.
const microversion = "2.61"

// placementVersion is that of traits (Pike).
const placementVersion = "1.6"

// nova is the calls that a Keeper makes.
type nova struct{ sc, placement *gophercloud.ServiceClient }

func connect(ctx context.Context, a state.IronicAccess, tr *http.Transport, timeout time.Duration) (*nova, error) {
	if a.Auth != "cloud" {
		return nil, errors.New("flavors need ironic.cloud: an Ironic without Keystone has no Nova")
	}
	session, err := cloud.Keystone(ctx, a, tr, cloud.Client(tr, timeout))
	if err != nil {
		return nil, err
	}
	sc, err := session.Compute()
	if err != nil {
		return nil, err
	}
	placement, err := session.Placement()
	if err != nil {
		return nil, err
	}
	sc.Microversion, placement.Microversion = microversion, placementVersion
	return &nova{sc, placement}, nil
}

// list returns all flavors, also those that are not public. Nova's links to further pages name
// its public endpoint, which need not be the one we reach: so the marker is set here.
func (n *nova) list(ctx context.Context) ([]record, error) {
	var out []record
	query := url.Values{"is_public": {"None"}}
	for {
		var page struct {
			Flavors []flavors.Flavor       `json:"flavors"`
			Links   []struct{ Rel string } `json:"flavors_links"`
		}
		_, err := n.sc.Get(ctx, n.sc.ServiceURL("flavors", "detail")+"?"+query.Encode(), &page, nil) //nolint:bodyclose // closed there
		if err != nil {
			return nil, err
		}
		for _, f := range page.Flavors {
			out = append(out, record{ID: f.ID, Name: f.Name, MemoryMB: f.RAM, VCPUs: f.VCPUs, DiskGB: f.Disk, EphemeralGB: f.Ephemeral,
				SwapMB: f.Swap, Public: f.IsPublic, Description: f.Description, Specs: f.ExtraSpecs})
		}
		if len(page.Links) == 0 || len(page.Flavors) == 0 {
			return out, nil
		}
		query.Set("marker", page.Flavors[len(page.Flavors)-1].ID)
	}
}

// know makes the custom traits that Placement does not know: it refuses every question with
// such a trait in it, also where that is a forbidden one, so that no server of the flavor could
// be made.
func (n *nova) know(ctx context.Context, names []string) error {
	for some := range slices.Chunk(names, traitsAtOnce) {
		if err := n.knowSome(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// traitsAtOnce keeps the URL of a question short.
const traitsAtOnce = 30

func (n *nova) knowSome(ctx context.Context, names []string) error {
	var known struct {
		Traits []string `json:"traits"`
	}
	query := url.Values{"name": {"in:" + strings.Join(names, ",")}}
	_, err := n.placement.Get(ctx, n.placement.ServiceURL("traits")+"?"+query.Encode(), &known, nil) //nolint:bodyclose // closed there
	if err != nil {
		return fmt.Errorf("traits: %w", err)
	}
	for _, name := range names {
		if slices.Contains(known.Traits, name) {
			continue
		}
		if err := traits.Create(ctx, n.placement, name).ExtractErr(); err != nil {
			return fmt.Errorf("trait %s: %w", name, err)
		}
	}
	return nil
}

// do takes a step and returns the ID of the flavor after it; empty: it is gone. id is that of
// the flavor which the steps before have made.
func (n *nova) do(ctx context.Context, st step, o owner, w work, id string) (string, error) {
	switch st.Kind {
	case create:
		return n.create(ctx, *w.Want, o)
	case remove:
		return "", unlessAbsent(flavors.Delete(ctx, n.sc, st.ID).ExtractErr())
	case set:
		return id, flavors.CreateExtraSpecs(ctx, n.sc, id, flavors.ExtraSpecsOpts(st.Specs)).Err
	case unset:
		return id, unlessAbsent(flavors.DeleteExtraSpec(ctx, n.sc, id, url.PathEscape(st.Key)).ExtractErr())
	}
	return id, nil
}

func (n *nova) create(ctx context.Context, f state.Flavor, o owner) (string, error) {
	public := true
	made, err := flavors.Create(ctx, n.sc, flavors.CreateOpts{Name: f.Name, RAM: f.MemoryMB, VCPUs: f.VCPUs, Disk: &f.DiskGB,
		Ephemeral: &f.EphemeralGB, Swap: &f.SwapMB, IsPublic: &public, Description: o.description()}).Extract()
	if err != nil {
		return "", err
	}
	return made.ID, nil
}

func unlessAbsent(err error) error {
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil
	}
	return err
}
