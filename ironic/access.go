package ironic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/httpbasic"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"go.yaml.in/yaml/v3"

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

// transport is one Ironic's HTTP connections.
func transport(parallel int) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:   parallel,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		ExpectContinueTimeout: time.Second,
	}
}

// repeatable tells net/http that every request of ours may be sent again on a new
// connection when a server closed the idle one it was sent on: all of them may be
// repeated, because objects carry our UUIDs and states are asked for by name.
type repeatable struct{ http.RoundTripper }

func (t repeatable) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header["Idempotency-Key"] = []string{} // not sent: see http.Transport
	return t.RoundTripper.RoundTrip(r)
}

// connect makes an API client. It talks to Keystone if there is one.
func connect(ctx context.Context, a state.IronicAccess, tr *http.Transport, timeout time.Duration) (*gophercloud.ServiceClient, error) {
	hc := http.Client{Transport: repeatable{tr}, Timeout: timeout}
	switch a.Auth {
	case "none", "":
		return plain(a.Endpoint, hc)
	case "http_basic":
		return basic(a.Endpoint, a.Username, a.Password.Reveal(), hc)
	case "cloud":
		return cloud(ctx, a, tr, hc)
	}
	return nil, fmt.Errorf("auth %q: is none of none, http_basic, cloud", a.Auth)
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

func cloud(ctx context.Context, a state.IronicAccess, tr *http.Transport, hc http.Client) (*gophercloud.ServiceClient, error) {
	var doc struct {
		Clouds map[string]standalone `yaml:"clouds"`
	}
	if err := yaml.Unmarshal([]byte(a.CloudYAML.Reveal()), &doc); err != nil {
		// yaml's message quotes the document, which holds secrets.
		return nil, errors.New("clouds.yaml: is not what it should be")
	}
	entry, ok := doc.Clouds[a.Cloud]
	if !ok {
		return nil, errors.New("clouds.yaml: has no such entry")
	}
	endpoint := entry.Endpoint
	if endpoint == "" {
		endpoint = entry.Auth.Endpoint
	}
	switch entry.AuthType {
	case "none":
		return plain(endpoint, hc)
	case "http_basic":
		return basic(endpoint, entry.Auth.Username, entry.Auth.Password, hc)
	}
	return keystone(ctx, a, entry.Endpoint, tr, hc)
}

func keystone(ctx context.Context, a state.IronicAccess, override string, tr *http.Transport, hc http.Client) (*gophercloud.ServiceClient, error) {
	// What is left empty here would come from this process' environment or disk; the
	// document alone counts, so that every peer reads it the same.
	auth, endpoint, tlsConfig, err := clouds.Parse(
		clouds.WithCloudName(a.Cloud),
		clouds.WithCloudsYAML(strings.NewReader(a.CloudYAML.Reveal())),
		clouds.WithCloudsPublicYAML(strings.NewReader("public-clouds: {}\n")),
		clouds.WithRegion(""), clouds.WithEndpointType(""),
	)
	if err != nil {
		return nil, fmt.Errorf("clouds.yaml: %w", err)
	}
	auth.AllowReauth = true
	if tlsConfig != nil {
		tr.TLSClientConfig = tlsConfig.Clone()
		tr.TLSClientConfig.MinVersion = max(tr.TLSClientConfig.MinVersion, tls.VersionTLS12)
	}
	provider, err := openstack.NewClient(auth.IdentityEndpoint)
	if err != nil {
		return nil, fmt.Errorf("keystone: %w", err)
	}
	provider.HTTPClient = hc
	if err := openstack.Authenticate(ctx, provider, auth); err != nil {
		return nil, fmt.Errorf("keystone: %w", err)
	}
	if override != "" {
		return &gophercloud.ServiceClient{ProviderClient: provider, Type: "baremetal",
			Endpoint: gophercloud.NormalizeURL(versioned(override))}, nil
	}
	sc, err := openstack.NewBareMetalV1(provider, endpoint)
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	return sc, nil
}
