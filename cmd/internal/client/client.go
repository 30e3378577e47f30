// Package client calls an agent's HTTP API: over its local socket, or over TCP. A
// Client is safe for concurrent use and starts nothing.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"tenks/cmd/internal/api"
)

// Client is a connection to one agent.
type Client struct {
	http   *http.Client
	base   string
	target string
	// Warn is told why an answer may not be all, or out of date; nil: nobody is. It is
	// set before the first call.
	Warn func(text string)
	// Consistent makes every read see all that was acknowledged before it, which needs a
	// leader. It is set before the first call.
	Consistent bool
}

// ErrNoAgent says that nothing listens there.
var ErrNoAgent = errors.New("no agent answers")

// New returns a client of target: the path of a unix socket, or an http(s) URL.
func New(target string) *Client {
	if strings.HasPrefix(target, "http://") || strings.HasPrefix(target, "https://") {
		return &Client{http: &http.Client{}, base: strings.TrimSuffix(target, "/"), target: target}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", target)
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://tenks", target: target}
}

// StatusError is an answer of 400 or more.
type StatusError struct {
	Status  int
	Message string
}

func (e *StatusError) Error() string { return e.Message }

// do sends one request. in is sent as JSON unless nil, out is decoded into unless
// nil. It returns the log index that the answer is true for.
func (c *Client) do(ctx context.Context, method, path string, in, out any) (uint64, error) {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	index, _ := strconv.ParseUint(resp.Header.Get(api.IndexHeader), 10, 64) // 0 where there is none
	if out == nil {
		return index, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return 0, fmt.Errorf("answer of %s: %w", c.target, err)
	}
	return index, nil
}

func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if c.Consistent && method == http.MethodGet {
		q := req.URL.Query()
		q.Set("consistent", "true")
		req.URL.RawQuery = q.Encode()
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode < http.StatusBadRequest {
		if text := resp.Header.Get(api.WarningHeader); text != "" && c.Warn != nil {
			c.Warn(text)
		}
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// refusal reads an answer of 400 or more.
func refusal(resp *http.Response) error {
	var e api.ErrorBody
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Error == "" {
		e.Error = resp.Status
	}
	return &StatusError{Status: resp.StatusCode, Message: e.Error}
}

// explain says what to do when nothing listens at the target.
func (c *Client) explain(err error) error {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w at %s: start one with tenks up, tenks init or tenks agent", ErrNoAgent, c.target)
	}
	return err
}

// Ready returns nil once the agent has a leader.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodGet, "/readyz", nil, nil)
	return err
}

// Version returns the agent's version.
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct{ Version string }
	_, err := c.do(ctx, http.MethodGet, "/v1/version", nil, &v)
	return v.Version, err
}

// Status returns the mesh at a glance.
func (c *Client) Status(ctx context.Context) (v api.Status, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/status", nil, &v)
	return v, err
}

// Doctor returns what is wrong.
func (c *Client) Doctor(ctx context.Context) (v []api.Check, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/doctor", nil, &v)
	return v, err
}

// Peers returns the peers.
func (c *Client) Peers(ctx context.Context) (v []api.Peer, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/peers", nil, &v)
	return v, err
}

// Plan returns what an apply would do.
func (c *Client) Plan(ctx context.Context, r api.ApplyRequest) (v api.Plan, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/plan", r, &v)
	return v, err
}

// Apply declares a cluster.
func (c *Client) Apply(ctx context.Context, r api.ApplyRequest) (v api.Plan, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/apply", r, &v)
	return v, err
}

// Destroy asks for a cluster to go.
func (c *Client) Destroy(ctx context.Context, cluster string, r api.DestroyRequest) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/clusters/"+url.PathEscape(cluster), r, nil)
	return err
}

// SetQuota changes the limits of a cluster.
func (c *Client) SetQuota(ctx context.Context, cluster string, r api.QuotaRequest) (v api.Quota, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/clusters/"+url.PathEscape(cluster)+"/quota", r, &v)
	return v, err
}

// Clusters returns all clusters.
func (c *Client) Clusters(ctx context.Context) (v []api.Cluster, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/clusters", nil, &v)
	return v, err
}

// Cluster returns one cluster.
func (c *Client) Cluster(ctx context.Context, name string) (v api.Cluster, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/clusters/"+url.PathEscape(name), nil, &v)
	return v, err
}

// Placement returns what Placement has of a cluster's nodes.
func (c *Client) Placement(ctx context.Context, name string) (v api.Placement, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/clusters/"+url.PathEscape(name)+"/placement", nil, &v)
	return v, err
}

// ClusterFile returns a cluster file as it was applied.
func (c *Client) ClusterFile(ctx context.Context, name string) (string, error) {
	resp, err := c.send(ctx, http.MethodGet, "/v1/clusters/"+url.PathEscape(name)+"/file", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// NodeQuery narrows Nodes.
type NodeQuery struct {
	// Cluster empty: all.
	Cluster string
	Secrets api.Secrets
	// After waits a while for a state newer than this index; 0: does not wait.
	After uint64
}

func (q NodeQuery) encode() string {
	v := url.Values{}
	if q.Cluster != "" {
		v.Set("cluster", q.Cluster)
	}
	if q.Secrets == api.ShowSecrets {
		v.Set("secrets", "true")
	}
	if q.After > 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	return v.Encode()
}

// Nodes returns nodes and the log index that they are true for.
func (c *Client) Nodes(ctx context.Context, q NodeQuery) (v []api.Node, index uint64, err error) {
	index, err = c.do(ctx, http.MethodGet, "/v1/nodes?"+q.encode(), nil, &v)
	return v, index, err
}

// Node returns one node, by name or UUID.
func (c *Client) Node(ctx context.Context, name string, secrets api.Secrets) (v api.Node, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/nodes/"+url.PathEscape(name)+"?"+NodeQuery{Secrets: secrets}.encode(), nil, &v)
	return v, err
}

// RemoveNode asks for one node to go.
func (c *Client) RemoveNode(ctx context.Context, name string, r api.DestroyRequest) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/nodes/"+url.PathEscape(name), r, nil)
	return err
}

// Chassis returns power, boot override and restore policy of a node.
func (c *Client) Chassis(ctx context.Context, node string) (v api.Chassis, err error) {
	_, err = c.do(ctx, http.MethodGet, "/v1/nodes/"+url.PathEscape(node)+"/chassis", nil, &v)
	return v, err
}

// Power changes a node's power: on, off, soft, cycle, reset, nmi.
func (c *Client) Power(ctx context.Context, node, action string) (v api.Chassis, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/power", api.PowerRequest{Action: action}, &v)
	return v, err
}

// Boot sets a node's boot override.
func (c *Client) Boot(ctx context.Context, node string, r api.BootRequest) (v api.Chassis, err error) {
	_, err = c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/boot", r, &v)
	return v, err
}

// Events calls on for each event after an index, oldest first. With follow it goes
// on until ctx ends.
func (c *Client) Events(ctx context.Context, after uint64, follow Follow, on func(api.Event)) error {
	if follow == Once {
		var all []api.Event
		if _, err := c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/events?after=%d", after), nil, &all); err != nil {
			return err
		}
		for _, e := range all {
			on(e)
		}
		return nil
	}
	resp, err := c.send(ctx, http.MethodGet, fmt.Sprintf("/v1/events?after=%d&follow=true", after), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var e api.Event
		if err := lines.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("events: the agent closed the stream: %w", err)
		}
		on(e)
	}
}

// Follow says whether Events goes on.
type Follow int

// The choices.
const (
	Once Follow = iota
	Following
)

// Console attaches to a node's serial console. Closing the result detaches.
func (c *Client) Console(ctx context.Context, node string) (io.ReadWriteCloser, error) {
	network, address := "unix", c.target
	if u, err := url.Parse(c.target); err == nil && u.Host != "" {
		network, address = "tcp", u.Host
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("console: %w", c.explain(err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/nodes/"+url.PathEscape(node)+"/console", nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", api.ConsoleProtocol)
	if err := req.Write(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("console: %w", err), conn.Close())
	}
	buffered := bufio.NewReader(conn)
	resp, err := http.ReadResponse(buffered, req)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("console: %w", err), conn.Close())
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer conn.Close()
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return &console{Conn: conn, buffered: buffered}, nil
}

// console reads what came behind the response's header first.
type console struct {
	net.Conn
	buffered *bufio.Reader
}

func (c *console) Read(b []byte) (int, error) { return c.buffered.Read(b) }
