package ironic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	glanceimages "github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// How long an image that was found, and one that was not, is not looked for again.
const (
	imageKept    = 10 * time.Minute
	imageMissing = 30 * time.Second
)

// MissingImage says why a deploy kernel or ramdisk is not in Glance, so that an apply can be
// refused before it begins; empty where it is, or where Ironic finds it by itself. The error
// says that Glance gave no answer.
func MissingImage(ctx context.Context, access state.IronicAccess, image string) (string, error) {
	if !inGlance(image) {
		return "", nil
	}
	tr := cloud.Transport(1)
	defer tr.CloseIdleConnections()
	_, session, err := connect(ctx, access, tr, removableTimeout)
	if err != nil {
		return "", fmt.Errorf("%s: %s", label(access), cloud.Scrub(cloud.Describe(err), cloud.SecretsOf(access)...))
	}
	glance := session.Image
	if session == nil {
		glance = nil
	}
	found := lookUp(ctx, image, glance)
	if found.unsure {
		return "", errors.New(found.problem)
	}
	return found.problem, nil
}

// images is what is known of images in Glance, by the name or UUID that is declared.
type images map[string]imageFound

type imageFound struct {
	// id is empty where there is none, and problem says why.
	id, problem string
	until       time.Time
}

// inGlance reports whether a deploy kernel or ramdisk is an image in Glance, and not where
// Ironic finds it by itself.
func inGlance(image string) bool { return image != "" && !strings.Contains(image, "://") }

// resolve returns the nodes with UUIDs in place of the names of images. What is not known is
// looked for, by each name once for all nodes.
func (im images) resolve(ctx context.Context, nodes []*state.Node, glance func() (*gophercloud.ServiceClient, error)) []*state.Node {
	out := make([]*state.Node, len(nodes))
	for i, n := range nodes {
		out[i] = n
		if n.Removing || n.Enrol == nil || !inGlance(n.DeployKernel) && !inGlance(n.DeployRamdisk) {
			continue
		}
		changed := *n
		changed.DeployKernel, changed.DeployRamdisk = im.find(ctx, n.DeployKernel, glance), im.find(ctx, n.DeployRamdisk, glance)
		out[i] = &changed
	}
	return out
}

// find returns the UUID of an image, or what was given if there is none.
func (im images) find(ctx context.Context, image string, glance func() (*gophercloud.ServiceClient, error)) string {
	if !inGlance(image) {
		return image
	}
	have, known := im[image]
	if !known || !time.Now().Before(have.until) {
		found := lookUp(ctx, image, glance)
		if found.id == "" && have.id != "" && found.unsure {
			// Glance does not answer: what was so will do.
			found.imageFound.id, found.problem = have.id, ""
		}
		im[image] = found.imageFound
		have = found.imageFound
	}
	if have.id == "" {
		return image
	}
	return have.id
}

// problem says why a resolved node's images are not there; empty: they are.
func (im images) problem(n *state.Node) string {
	for _, image := range []struct{ key, name string }{{"deploy_kernel", n.DeployKernel}, {"deploy_ramdisk", n.DeployRamdisk}} {
		if found, known := im[image.name]; known && inGlance(image.name) && found.problem != "" {
			return fmt.Sprintf("node %s: %s: %s", n.Name, image.key, found.problem)
		}
	}
	return ""
}

// lookedUp is an image, or why there is none: unsure where that was not Glance's word.
type lookedUp struct {
	imageFound
	unsure bool
}

func lookUp(ctx context.Context, image string, glance func() (*gophercloud.ServiceClient, error)) lookedUp {
	missing := func(unsure bool, format string, args ...any) lookedUp {
		return lookedUp{imageFound{problem: fmt.Sprintf(format, args...), until: time.Now().Add(imageMissing)}, unsure}
	}
	if glance == nil {
		return missing(false, "image %q would be one in Glance, and this cloud has no Keystone: give a URL or a path", image)
	}
	sc, err := glance()
	if err != nil {
		return missing(true, "image %q: %s", image, cloud.Describe(err))
	}
	ids, err := imageIDs(ctx, sc, image)
	switch {
	case err != nil:
		return missing(true, "image %q: Glance: %s; will retry", image, cloud.Describe(err))
	case len(ids) == 0:
		return missing(false, "image %q: Glance has no active image of that name or UUID: upload it, or correct the name", image)
	case len(ids) > 1:
		return missing(false, "image %q: Glance has %d active images of that name: give the UUID of one", image, len(ids))
	}
	return lookedUp{imageFound{id: ids[0], until: time.Now().Add(imageKept)}, false}
}

// imageIDs are the active images of that name, or the one of that UUID.
func imageIDs(ctx context.Context, sc *gophercloud.ServiceClient, image string) ([]string, error) {
	if uuid.Validate(image) == nil {
		got, err := glanceimages.Get(ctx, sc, image).Extract()
		switch {
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			return nil, nil
		case err != nil || got.Status != glanceimages.ImageStatusActive:
			return nil, err
		}
		return []string{got.ID}, nil
	}
	pages, err := glanceimages.List(sc, glanceimages.ListOpts{Name: image, Status: glanceimages.ImageStatusActive}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	all, err := glanceimages.ExtractImages(pages)
	var ids []string
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	return ids, err
}
