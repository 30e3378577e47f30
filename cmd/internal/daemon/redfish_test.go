package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/bmc/fault"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
)

const systemsPath = "/redfish/v1/Systems"

// redfishOf asks a peer's Redfish service; token or user and password.
func (r *running) redfishOf(method, path, user, password, body string) (int, map[string]any) {
	r.t.Helper()
	status, answer, err := r.tryRedfish(method, path, user, password, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return status, answer
}

func (r *running) tryRedfish(method, path, user, password, body string) (int, map[string]any, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("https://%s:8000%s", r.config.BMC.Address, path), strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if user == "" {
		req.Header.Set("X-Auth-Token", password)
	} else {
		req.SetBasicAuth(user, password)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // TestThe…Certificate looks at it
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if n := len(resp.Header.Values(odataVersion)); n != 1 {
		r.t.Errorf("%s %s: %d headers OData-Version", method, path, n)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || len(text) == 0 {
		return resp.StatusCode, map[string]any{"token": resp.Header.Get("X-Auth-Token")}, err
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, nil, fmt.Errorf("%s: %w", text, err)
	}
	answer["token"] = resp.Header.Get("X-Auth-Token")
	return resp.StatusCode, answer, nil
}

// members are the UUIDs that an account sees at a peer.
func (r *running) members(user, password string) (int, []string) {
	r.t.Helper()
	status, answer := r.redfishOf(http.MethodGet, systemsPath, user, password, "")
	list, _ := answer["Members"].([]any)
	var out []string
	for _, m := range list {
		out = append(out, strings.TrimPrefix(m.(map[string]any)["@odata.id"].(string), systemsPath+"/"))
	}
	return status, out
}

// reset asks for a power change.
func (r *running) reset(n api.Node, kind string) int {
	r.t.Helper()
	status, _ := r.redfishOf(http.MethodPost, systemsPath+"/"+n.UUID+"/Actions/ComputerSystem.Reset", n.BMC.Username, n.BMC.Password,
		`{"ResetType":"`+kind+`"}`)
	return status
}

// redfishNodes are a node on each of three peers, in a cluster.
func redfishNodes(cluster, account string) string {
	return fmt.Sprintf(`cluster: %s
node_types: {small: {memory_mb: 512, vcpus: 1, driver: fake, ironic_driver: redfish}}
specs: [{type: small, count: 3, placement: {spread: zone}}]
%s`, cluster, account)
}

const sharedAccount = "bmc: {username: ops, password_file: /bmc}\n"

func uuids(nodes []api.Node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.UUID)
	}
	slices.Sort(out)
	return out
}

func of(nodes []api.Node, cluster string) []api.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n api.Node) bool { return n.Cluster != cluster })
}

func TestRedfishOfTheMeshAtEveryPeer(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers := trio(t)
	peers[0].offered(3)
	for _, r := range []api.ApplyRequest{{File: redfishNodes("shared", sharedAccount), BMCPassword: "secret"}, {File: redfishNodes("own", "")}} {
		if _, err := peers[0].Apply(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	nodes := peers[0].ready()
	for i, p := range peers {
		p.ready()
		p.eventually("all systems of the account", func() bool {
			status, ids := p.members("ops", "secret")
			return status == http.StatusOK && slices.Equal(ids, uuids(of(nodes, "shared")))
		})
		for _, n := range of(nodes, "own") {
			if status, ids := p.members("admin", n.BMC.Password); status != http.StatusOK || !slices.Equal(ids, []string{n.UUID}) {
				t.Errorf("peer %d: %s sees %d %v, want itself", i+1, n.Name, status, ids)
			}
			if want := fmt.Sprintf("https://%s:8000", n.BMC.Address); n.BMC.Protocol != "redfish" || n.BMC.Port != 8000 || n.BMC.RedfishURL != want {
				t.Errorf("node %s: BMC %+v, want %s", n.Name, n.BMC, want)
			}
		}
		if status, _ := p.members("ops", "wrong"); status != http.StatusUnauthorized {
			t.Errorf("peer %d: wrong password: %d", i+1, status)
		}
		if status, _ := p.redfishOf(http.MethodGet, systemsPath+"/"+of(nodes, "own")[0].UUID, "ops", "secret", ""); status != http.StatusNotFound {
			t.Errorf("peer %d: another account's node: %d", i+1, status)
		}
	}
	for i, p := range peers { // each node by each peer
		kind, want := []string{"On", "ForceOff", "On"}[i], []string{"on", "off", "on"}[i]
		for _, n := range nodes {
			if status := p.reset(n, kind); status != http.StatusNoContent {
				t.Errorf("peer %d: %s of %s: %d", i+1, kind, n.Name, status)
			}
			p.eventually("that power", func() bool {
				c, err := p.Chassis(t.Context(), n.Name)
				return err == nil && c.Power == want
			})
		}
	}
	t.Run("a session at one peer reaches every node", func(t *testing.T) {
		status, answer := peers[1].redfishOf(http.MethodPost, "/redfish/v1/SessionService/Sessions", "", "", `{"UserName":"ops","Password":"secret"}`)
		if status != http.StatusCreated {
			t.Fatalf("login: %d %v", status, answer)
		}
		for _, n := range of(nodes, "shared") {
			status, system := peers[1].redfishOf(http.MethodGet, systemsPath+"/"+n.UUID, "", answer["token"].(string), "")
			if status != http.StatusOK || system["PowerState"] != "On" {
				t.Errorf("node %s: %d, %v", n.Name, status, system["PowerState"])
			}
		}
	})
	t.Run("a list with all that its systems say", func(t *testing.T) {
		status, answer := peers[2].redfishOf(http.MethodGet, systemsPath+"?$expand=.", "ops", "secret", "")
		list, _ := answer["Members"].([]any)
		for _, m := range list {
			if m.(map[string]any)["PowerState"] != "On" {
				t.Errorf("member %v", m)
			}
		}
		if status != http.StatusOK || len(list) != 3 {
			t.Errorf("status %d, %d members, want 3", status, len(list))
		}
	})
	t.Run("a fault is where the node is", func(t *testing.T) {
		n := of(nodes, "own")[0]
		if _, err := peers[0].AddFault(t.Context(), api.FaultRequest{Spec: fault.Spec{Kind: "busy", Protocol: "redfish"}, Nodes: []string{n.Name}}); err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			p.eventually("busy", func() bool { return p.reset(n, "On") == http.StatusServiceUnavailable })
		}
		if status := peers[0].reset(of(nodes, "own")[1], "On"); status != http.StatusNoContent {
			t.Errorf("another node: %d", status)
		}
		if err := peers[0].ClearFaults(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			p.eventually("no longer busy", func() bool { return p.reset(n, "On") == http.StatusNoContent })
		}
	})
	t.Run("a reset of a BMC ends sessions at every peer", func(t *testing.T) {
		tokens := map[*running]string{}
		for _, p := range peers {
			_, answer := p.redfishOf(http.MethodPost, "/redfish/v1/SessionService/Sessions", "", "", `{"UserName":"ops","Password":"secret"}`)
			tokens[p], _ = answer["token"].(string)
		}
		reset := api.FaultRequest{Spec: fault.Spec{Kind: "bmc-reset"}, Nodes: []string{of(nodes, "shared")[0].Name}}
		if _, err := peers[0].AddFault(t.Context(), reset); err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			p.eventually("the end of its session", func() bool {
				status, _, err := p.tryRedfish(http.MethodGet, systemsPath, "", tokens[p], "")
				return err == nil && status == http.StatusUnauthorized
			})
		}
		if err := peers[0].ClearFaults(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("headers of peers mean nothing from others", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://%s:8000%s/%s", peers[0].config.BMC.Address, systemsPath, nodes[0].UUID), nil)
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range map[string]string{redfishFor: forNode, redfishUser: "admin", redfishRole: "Administrator", redfishSystem: nodes[0].UUID} {
			req.Header.Set(key, value)
		}
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // as above
		defer tr.CloseIdleConnections()
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %d, want 401", resp.StatusCode)
		}
	})
	t.Run("the certificate is signed by the mesh's authority", func(t *testing.T) {
		for _, p := range peers {
			checkRedfishCertificate(t, p)
			for _, n := range of(nodes, "own") { // those of its own peer
				path := "/redfish/v1/Managers/" + n.UUID + "/NetworkProtocol/HTTPS/Certificates"
				status, list := p.redfishOf(http.MethodGet, path, "admin", n.BMC.Password, "")
				if status != http.StatusOK || list["Members@odata.count"] != 2.0 {
					t.Errorf("node %s by %s: %d, %v", n.Name, p.config.Name, status, list)
				}
			}
		}
	})
	goesOnWithoutALeader(t, peers, nodes)
}

func checkRedfishCertificate(t *testing.T, p *running) {
	t.Helper()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", p.config.BMC.Address+":8000") //nolint:gosec // looked at here
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(chain) != 2 {
		t.Fatalf("%s shows %d certificates, want its own and the authority's", p.config.Name, len(chain))
	}
	roots := x509.NewCertPool()
	roots.AddCert(chain[1])
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: p.config.BMC.Address}); err != nil {
		t.Errorf("%s: %v", p.config.Name, err)
	}
}

// goesOnWithoutALeader stops the leader, then another peer: what the others have is
// reached through any of them, and what they have not is busy.
func goesOnWithoutALeader(t *testing.T, peers []*running, nodes []api.Node) {
	st, err := peers[0].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(peers, func(p *running) bool { return p.config.Name == st.Leader })
	gone, rest := peers[i], slices.Delete(slices.Clone(peers), i, i+1)
	gone.stopped()
	answered := func(when string, by *running, on ...*running) {
		t.Helper()
		for _, host := range on {
			for _, n := range nodes {
				if n.Hypervisor != host.config.Name {
					continue
				}
				if status := by.reset(n, "ForceRestart"); status != http.StatusNoContent {
					t.Errorf("%s: %s by %s: %d", when, n.Name, by.config.Name, status)
				}
			}
		}
	}
	answered("without the leader", rest[0], rest...)
	answered("without the leader", rest[1], rest...)
	for _, n := range of(nodes, "own") {
		if n.Hypervisor == gone.config.Name {
			if status := rest[0].reset(n, "On"); status != http.StatusServiceUnavailable {
				t.Errorf("a node of the peer that is gone: %d, want 503", status)
			}
		}
	}
	rest[1].stopped()
	answered("without a quorum", rest[0], rest[0])
	if status, ids := rest[0].members("ops", "secret"); status != http.StatusOK || len(ids) != 3 {
		t.Errorf("without a quorum: %d %v", status, ids)
	}
	back := start(t, rest[1].config) // there is a leader again
	answered("with a quorum again", back, rest[0])
}

func TestRedfishPortThatIsTaken(t *testing.T) {
	c := newMesh(t)
	c.BMC.Address = freshAddress()
	hold := listenTCP(t, c.BMC.Address+":8000")
	r := start(t, c)
	r.eventually("the driver offered", func() bool {
		peers, err := r.Peers(t.Context())
		return err == nil && slices.Contains(peers[0].Drivers, "fake")
	})
	if _, err := r.Apply(t.Context(), api.ApplyRequest{File: strings.Replace(redfishNodes("demo", ""), "count: 3", "count: 1", 1)}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the node says why it is not ready", func() bool {
		nodes, _, err := r.Nodes(t.Context(), client.NodeQuery{})
		return err == nil && len(nodes) == 1 && strings.Contains(nodes[0].Reason, "Redfish")
	})
	checks, err := r.Doctor(t.Context())
	if err != nil || !slices.ContainsFunc(checks, func(c api.Check) bool { return c.Name == "redfish" && c.State == "warning" }) {
		t.Errorf("doctor says %v, %v", checks, err)
	}
	_ = hold.Close()
	r.eventually("listening", func() bool {
		checks, err := r.Doctor(t.Context())
		return err == nil && slices.ContainsFunc(checks, func(c api.Check) bool { return c.Name == "redfish" && c.State == "ok" })
	})
}

func TestAHostWithoutRedfishTakesNoSuchNodes(t *testing.T) {
	c := newMesh(t)
	c.BMC.RedfishPort = 0
	r := start(t, c)
	r.eventually("the driver offered", func() bool {
		peers, err := r.Peers(t.Context())
		return err == nil && slices.Contains(peers[0].Drivers, "fake")
	})
	_, err := r.Apply(t.Context(), api.ApplyRequest{File: redfishNodes("demo", "")})
	if err == nil || !strings.Contains(err.Error(), "has no Redfish service") {
		t.Errorf("apply: %v", err)
	}
}

func listenTCP(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
