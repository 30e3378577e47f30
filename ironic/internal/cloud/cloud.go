// Package cloud is how an OpenStack cloud is reached, whichever of its services is meant:
// connections, authentication by Keystone, what a failed request says, and how attempts are
// spaced. It starts nothing.
package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"go.yaml.in/yaml/v3"

	"tenks/raftfsm/state"
)

// Transport is the HTTP connections to one cloud, of which so many stay open.
func Transport(parallel int) *http.Transport {
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

// Client makes requests over a transport; each may take so long.
func Client(tr *http.Transport, timeout time.Duration) http.Client {
	return http.Client{Transport: repeatable{tr}, Timeout: timeout}
}

// Session is an account of a cloud that Keystone let in. It renews its token by itself, and
// is safe for concurrent use.
type Session struct {
	provider *gophercloud.ProviderClient
	endpoint gophercloud.EndpointOpts
}

// Keystone logs in by the entry of clouds.yaml, and looks at nothing but that. The
// transport's TLS follows it.
func Keystone(ctx context.Context, a state.IronicAccess, tr *http.Transport, hc http.Client) (*Session, error) {
	if err := checkEntry(a); err != nil {
		return nil, err
	}
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
	return &Session{provider, endpoint}, nil
}

// checkEntry wants an entry that gophercloud can read: its own messages may quote the document,
// which holds secrets.
func checkEntry(a state.IronicAccess) error {
	var doc struct {
		Clouds map[string]struct {
			AuthType string `yaml:"auth_type"`
		} `yaml:"clouds"`
	}
	if yaml.Unmarshal([]byte(a.CloudYAML.Reveal()), &doc) != nil {
		return errors.New("clouds.yaml: is not what it should be")
	}
	entry, ok := doc.Clouds[a.Cloud]
	switch {
	case !ok:
		return errors.New("clouds.yaml: has no such entry")
	case entry.AuthType == "none" || entry.AuthType == "http_basic":
		return fmt.Errorf("clouds.yaml: an Ironic with auth_type %s has no Keystone, and so neither Nova nor Placement", entry.AuthType)
	}
	return nil
}

// BareMetal is Ironic, as in the catalogue or at an endpoint of its own.
func (s *Session) BareMetal(endpoint string) (*gophercloud.ServiceClient, error) {
	if endpoint != "" {
		return &gophercloud.ServiceClient{ProviderClient: s.provider, Type: "baremetal",
			Endpoint: gophercloud.NormalizeURL(endpoint)}, nil
	}
	return service(openstack.NewBareMetalV1(s.provider, s.endpoint))
}

// Image is Glance.
func (s *Session) Image() (*gophercloud.ServiceClient, error) {
	return service(openstack.NewImageV2(s.provider, s.endpoint))
}

// Compute is Nova.
func (s *Session) Compute() (*gophercloud.ServiceClient, error) {
	return service(openstack.NewComputeV2(s.provider, s.endpoint))
}

// Placement is Placement.
func (s *Session) Placement() (*gophercloud.ServiceClient, error) {
	return service(openstack.NewPlacementV1(s.provider, s.endpoint))
}

func service(sc *gophercloud.ServiceClient, err error) (*gophercloud.ServiceClient, error) {
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	return sc, nil
}
