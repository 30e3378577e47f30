package ironic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/httpbasic"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"go.yaml.in/yaml/v3"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// label names an Ironic in messages, without any secret.
func label(a state.IronicAccess) string {
	if a.Auth == "cloud" {
		return "ironic cloud " + a.Cloud
	}
	u, err := url.Parse(a.Endpoint)
	if err != nil {
		return "ironic"
	}
	return "ironic " + u.Redacted()
}

// connect makes an API client. It talks to Keystone if there is one; the session is nil
// otherwise.
func connect(ctx context.Context, a state.IronicAccess, tr *http.Transport, timeout time.Duration) (*gophercloud.ServiceClient, *cloud.Session, error) {
	hc := cloud.Client(tr, timeout)
	switch a.Auth {
	case "none", "":
		sc, err := plain(a.Endpoint, hc)
		return sc, nil, err
	case "http_basic":
		sc, err := basic(a.Endpoint, a.Username, a.Password.Reveal(), hc)
		return sc, nil, err
	case "cloud":
		return byCloud(ctx, a, tr, hc)
	}
	return nil, nil, fmt.Errorf("auth %q: is none of none, http_basic, cloud", a.Auth)
}

func plain(endpoint string, hc http.Client) (*gophercloud.ServiceClient, error) {
	sc, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: versioned(endpoint)})
	if err != nil {
		return nil, err
	}
	sc.HTTPClient = hc
	return sc, nil
}

func basic(endpoint, user, password string, hc http.Client) (*gophercloud.ServiceClient, error) {
	sc, err := httpbasic.NewBareMetalHTTPBasic(httpbasic.EndpointOpts{
		IronicEndpoint: versioned(endpoint), IronicUser: user, IronicUserPassword: password,
	})
	if err != nil {
		return nil, err
	}
	sc.HTTPClient = hc
	return sc, nil
}

// versioned adds the API's version to an endpoint that lacks it.
func versioned(endpoint string) string {
	endpoint = strings.TrimSuffix(endpoint, "/")
	if endpoint == "" || strings.HasSuffix(endpoint, "/v1") {
		return endpoint
	}
	return endpoint + "/v1"
}

// standalone is what a clouds.yaml says of an Ironic that has no Keystone, which
// gophercloud's own reader does not know.
type standalone struct {
	AuthType string `yaml:"auth_type"`
	Endpoint string `yaml:"baremetal_endpoint_override"`
	Auth     struct {
		Endpoint string `yaml:"endpoint"`
		Username string `yaml:"username"`
		Password string `yaml:"password"`
	} `yaml:"auth"`
}

func byCloud(ctx context.Context, a state.IronicAccess, tr *http.Transport, hc http.Client) (*gophercloud.ServiceClient, *cloud.Session, error) {
	var doc struct {
		Clouds map[string]standalone `yaml:"clouds"`
	}
	if err := yaml.Unmarshal([]byte(a.CloudYAML.Reveal()), &doc); err != nil {
		// yaml's message quotes the document, which holds secrets.
		return nil, nil, errors.New("clouds.yaml: is not what it should be")
	}
	entry, ok := doc.Clouds[a.Cloud]
	if !ok {
		return nil, nil, errors.New("clouds.yaml: has no such entry")
	}
	endpoint := entry.Endpoint
	if endpoint == "" {
		endpoint = entry.Auth.Endpoint
	}
	switch entry.AuthType {
	case "none":
		sc, err := plain(endpoint, hc)
		return sc, nil, err
	case "http_basic":
		sc, err := basic(endpoint, entry.Auth.Username, entry.Auth.Password, hc)
		return sc, nil, err
	}
	session, err := cloud.Keystone(ctx, a, tr, hc)
	if err != nil {
		return nil, nil, err
	}
	sc, err := session.BareMetal(versioned(entry.Endpoint))
	return sc, session, err
}
