package conform_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/bmc/redfish"
	"tenks/bmc/redfish/conform"
	"tenks/raftfsm/state"
)

// nodes is a redfish.Systems that does not change.
type nodes []redfish.System

// Lookup implements redfish.Systems.
func (n nodes) Lookup(id string) (redfish.System, bool) {
	i := slices.IndexFunc(n, func(s redfish.System) bool { return s.ID == id })
	if i < 0 {
		return redfish.System{}, false
	}
	return n[i], true
}

// All implements redfish.Systems.
func (n nodes) All() ([]redfish.System, <-chan struct{}) { return n, nil }

const password = "a long password of tests"

// twoNodes are a running node and one that is off.
func twoNodes() nodes {
	var out nodes
	for i, id := range []string{"6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10", "7b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b11"} {
		secure := bmctest.NewSecureChassis()
		c := secure.Chassis
		h := c.Hardware()
		var chassis bmc.Chassis = c
		h.UUID, h.Name = id, "node"+string(rune('0'+i))
		h.NICs[0].Switch = bmc.SwitchPort{Name: "bridge0", MAC: "02:00:00:00:00:01", Port: "port0"}
		c.SetHardware(h)
		if i == 0 {
			chassis = secure
			c.SetPower(state.PowerOn)
			c.SetLoad(bmc.Load{At: time.Now(), CPU: 0.25})
		}
		out = append(out, redfish.System{ID: id, Name: h.Name, Host: "hypervisor0", Chassis: chassis,
			Account: state.Account{Username: "admin", Password: state.NewSecret(password)}})
	}
	return out
}

// TestService needs the schemas and profiles, which are not part of this repository:
// DSP8010 has schemas, and Ironic the profiles.
func TestService(t *testing.T) {
	dir := os.Getenv("TENKS_REDFISH")
	if dir == "" {
		t.Skip("set TENKS_REDFISH to a folder with schemas/ (CSDL of DSP8010) and profiles/ (OpenStackIronicProfile*.json)")
	}
	profiles, err := filepath.Glob(filepath.Join(dir, "profiles", "OpenStackIronicProfile*.json"))
	if err != nil || len(profiles) == 0 {
		t.Fatalf("TENKS_REDFISH=%s: no profiles: %v", dir, err)
	}
	nodes := twoNodes()
	var server *httptest.Server
	service, err := redfish.New(t.Context(), redfish.Config{Systems: nodes, Name: "mesh", UUID: "8b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b12",
		Version: "1.0.0", AllowLocal: true, Chain: func(string) [][]byte { return server.TLS.Certificates[0].Certificate }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	server = httptest.NewTLSServer(service)
	t.Cleanup(server.Close)
	// The connections are closed before the server waits for them.
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	furnish(t, client, server.URL, nodes, server.Certificate())
	r, err := conform.Crawl(t.Context(), client, conform.Options{Base: server.URL, User: "admin",
		Password: password, Schemas: filepath.Join(dir, "schemas"), Profiles: profiles, Accept: accepted, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Failures)+len(r.Warnings)+len(r.Stale) > 0 {
		t.Error(r)
	} else {
		t.Log(r)
	}
}

// furnish makes what a new service does not have: log entries, a subscription, a certificate.
func furnish(t *testing.T, client *http.Client, base string, nodes nodes, cert *x509.Certificate) {
	t.Helper()
	call := func(method, uri, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, base+uri, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("admin", password)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	status, answer := call(http.MethodPost, "/redfish/v1/EventService/Subscriptions",
		`{"Destination":"https://127.0.0.1:1/","Protocol":"Redfish","Context":"conform"}`)
	if status != http.StatusCreated {
		t.Fatalf("subscription: %d %s", status, answer)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	body, err := json.Marshal(map[string]string{"CertificateString": string(text), "CertificateType": "PEM"})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer = call(http.MethodPost, "/redfish/v1/Systems/"+nodes[0].ID+"/VirtualMedia/Cd/Certificates", string(body)); status != http.StatusCreated {
		t.Fatalf("certificate: %d %s", status, answer)
	}
	// The service may not listen to its chassis yet.
	uri := "/redfish/v1/Systems/" + nodes[0].ID
	for deadline := time.Now().Add(5 * time.Second); ; {
		if _, answer = call(http.MethodGet, uri+"/LogServices/EventLog/Entries", ""); strings.Contains(answer, "LogEntry.v1_") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no log entries: %s", answer)
		}
		if status, answer = call(http.MethodPost, uri+"/Actions/ComputerSystem.Reset", `{"ResetType":"PowerCycle"}`); status >= 300 {
			t.Fatalf("reset: %d %s", status, answer)
		}
	}
}
