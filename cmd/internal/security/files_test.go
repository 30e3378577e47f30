package security

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tenks/cluster/transport"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/daemon"
)

const twoNodes = `cluster: demo
node_types: {small: {memory_mb: 512, vcpus: 1, driver: fake}}
specs: [{type: small, count: 2}]
`

// entered are folders of a data directory that others may go through: the disks and
// sockets below are QEMU's, which runs as somebody else.
var entered = []string{".", "console", "fake"}

func TestSecurityFilesOfAnAgentAreItsOwn(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.offered(1)
	if _, err := m.Apply(t.Context(), api.ApplyRequest{File: twoNodes}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the nodes are there", func() bool {
		nodes, _, err := m.Nodes(t.Context(), client.NodeQuery{})
		return err == nil && len(nodes) == 2 && nodes[0].Phase == "ready" && nodes[1].Phase == "ready"
	})
	p := daemon.PathsOf(m.config.DataDir)
	eventually(t, "its part of the state is written", func() bool { _, err := os.Stat(p.Part); return err == nil })
	modes := map[string]string{}
	err := filepath.WalkDir(p.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(p.Dir, path)
		if err != nil {
			return err
		}
		modes[name] = info.Mode().String()
		allowed := fs.FileMode(0)
		if slices.Contains(entered, name) {
			allowed = 0o011
		}
		// What is in a folder that nobody else enters may be of any mode.
		if slices.Contains(entered, filepath.Dir(name)) && info.Mode().Perm()&0o077&^allowed != 0 {
			t.Errorf("%s is of mode %s", name, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		t.Logf("%s %s", modes[name], name)
	}
	for _, path := range []string{p.Socket, p.Part, p.HostDB, p.Lock, filepath.Join(p.Mesh, "peer.key"), filepath.Join(p.Mesh, "mesh.json"),
		filepath.Join(p.Mesh, "raft", "raft.db")} {
		name, err := filepath.Rel(p.Dir, path)
		if err != nil || modes[name] == "" {
			t.Errorf("%s is not there: the test looks in the wrong place", path)
		}
	}
	dir, err := os.Stat(filepath.Dir(p.Socket))
	if err != nil || dir.Mode().Perm()&0o022 != 0 {
		t.Errorf("the directory of the socket is %v, %v", dir.Mode(), err)
	}
}

// offered waits until so many peers offer the driver.
func (m *mesh) offered(count int) {
	m.t.Helper()
	eventually(m.t, "the driver is offered", func() bool {
		peers, err := m.Peers(m.t.Context())
		return err == nil && count == len(slices.DeleteFunc(peers, func(p api.Peer) bool { return !slices.Contains(p.Drivers, "fake") }))
	})
}

// TestSecurityForwardingHeadersGiveNothing: they say that a request was sent on by a peer;
// whoever sends them himself gets no more than without.
func TestSecurityForwardingHeadersGiveNothing(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	c := agentConfig(t, "hv2")
	c.Drivers = map[string]map[string]string{}
	if err := join(t, m.token(api.TokenRequest{}), c, freshAddress()); err != nil {
		t.Fatal(err)
	}
	second := startAgent(t, c)
	good, removed := m.member("hv3"), m.member("hv4")
	m.removed(removed)
	m.offered(1)
	if _, err := m.Apply(t.Context(), api.ApplyRequest{File: twoNodes}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is there", func() bool {
		nodes, _, err := second.Nodes(t.Context(), client.NodeQuery{})
		return err == nil && len(nodes) == 2 && nodes[0].Phase == "ready" && nodes[0].Power != "unknown"
	})
	headers := []http.Header{{"Tenks-Forwarded": {m.id}}, {"Tenks-Whole": {m.id}}, {"Tenks-Forwarded": {good.id}, "Tenks-Whole": {good.id}}}
	for _, at := range []*mesh{m, second} {
		for _, path := range routes(t, at) {
			without, _, err := at.request(t.Context(), good.as(transport.API), http.MethodGet, path, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, header := range headers {
				with, body, err := at.request(t.Context(), good.as(transport.API), http.MethodGet, path, header, nil)
				if err != nil || with < http.StatusBadRequest && without >= http.StatusBadRequest {
					t.Errorf("%s: GET %s: %d, with %v: %d %s, %v", at.config.Name, path, without, header, with, body, err)
				}
				if _, _, err := at.request(t.Context(), removed.as(transport.API), http.MethodGet, path, header, nil); err == nil {
					t.Errorf("%s: a removed peer gets %s with %v", at.config.Name, path, header)
				}
			}
		}
	}
	// Where a node is not, it cannot be changed.
	for _, header := range headers {
		status, body, err := second.request(t.Context(), good.as(transport.API), http.MethodPost, "/v1/nodes/tk0/power", header, strings.NewReader(`{"action": "on"}`))
		if header.Get("Tenks-Forwarded") != "" && (err != nil || status < http.StatusBadRequest) {
			t.Errorf("power where the node is not, with %v: %d %s, %v", header, status, body, err)
		}
	}
}

// routes are those of an agent that can be asked for with GET, by its own description.
func routes(t *testing.T, m *mesh) (out []string) {
	t.Helper()
	status, body, err := m.request(t.Context(), m.member("asks"+m.config.Name).as(transport.API), http.MethodGet, "/v1/openapi.json", nil, nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.NewDecoder(bytes.NewBufferString(body)).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		if methods["get"] != nil {
			name := "demo"
			if strings.Contains(path, "/nodes/") {
				name = "tk0"
			}
			out = append(out, strings.NewReplacer("{name}", name, "{id}", "x").Replace(path))
		}
	}
	if len(out) < 10 {
		t.Fatalf("routes %q", out)
	}
	return out
}
