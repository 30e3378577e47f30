package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tenks/bmc/redfish/clients"
	"tenks/cmd/internal/api"
)

// called is a cluster file of one node that is in no Ironic.
const called = `cluster: called
node_types:
  plain:
    memory_mb: 1024
    vcpus: 1
    volumes: [{capacity: 1GiB}, {capacity: 1GiB}]
    physical_networks: [physnet1]
    boot_mode: uefi
    ironic_driver: redfish
specs: [{type: plain, count: 1, node_name_prefix: call}]
`

// https is a client of Redfish services from the host's network.
func (h *host) https() *http.Client {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // who reads the certificate are other tests
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			inside := h.InNetns(func() error {
				c, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return c, inside
		},
	}
	h.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// serve answers on the host's address until the test ends; it returns the URL.
func (h *host) serve(handler http.Handler) string {
	h.t.Helper()
	var l net.Listener
	err := h.InNetns(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(h.t.Context(), "tcp", h.Address()+":0")
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	h.t.Cleanup(func() { _ = s.Close(); <-done })
	return "http://" + l.Addr().String()
}

// everyCall has both clients make every call that Ironic makes, of a real guest.
func (h *host) everyCall(t *testing.T) {
	t.Helper()
	h.tenks("apply", "-f", h.write("called.yml", called), "--wait=2m")
	n := h.node("call0")
	url := h.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // an event
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write(make([]byte, 64<<10))
	}))
	target := clients.Target{URL: n.BMC.RedfishURL, System: "/redfish/v1/Systems/" + n.UUID, User: n.BMC.Username, Password: n.BMC.Password,
		Image: url + "/boot.iso", Firmware: url, Sink: url + "/events", MemoryGiB: 1, CPUs: 1, Disks: []uint64{1 << 30, 1 << 30}, Guest: true, Auth: "auto"}
	target.MACs = macs(n)
	target.SecureBoot = h.hasSecureBoot(target)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	began := time.Now()
	sushy, err := clients.Sushy(ctx, h.Command, target)
	if err != nil {
		t.Fatalf("%v\nfailed: %s", err, strings.Join(clients.Failed(sushy), "\n"))
	}
	// The settings that were changed are those of a new node again.
	h.tenks("destroy", "called", "--yes", "--wait=1m")
	h.tenks("apply", "-f", h.write("called.yml", called), "--wait=2m")
	n = h.node("call0")
	target.System, target.Password, target.MACs = "/redfish/v1/Systems/"+n.UUID, n.BMC.Password, macs(n)
	gofish := clients.Gofish(ctx, h.https(), target)
	t.Logf("in %s:\n%s", time.Since(began).Round(time.Second),
		clients.Table([]string{"sushy", "gofish"}, map[string][]clients.Outcome{"sushy": sushy, "gofish": gofish}))
	applies := func(c clients.Call) bool { return !c.NeedsSecureBoot || target.SecureBoot }
	for _, problem := range append(clients.Failed(sushy), clients.Missing(sushy, applies)...) {
		t.Errorf("sushy: %s", problem)
	}
	for _, problem := range append(clients.Failed(gofish), clients.Missing(gofish, func(c clients.Call) bool { return c.Gofish() && applies(c) })...) {
		t.Errorf("gofish: %s", problem)
	}
	h.tenks("destroy", "called", "--yes", "--wait=1m")
}

// macs are a node's.
func macs(n api.Node) (out []string) {
	for _, p := range n.Ports {
		out = append(out, strings.ToLower(p.MAC))
	}
	return out
}

// hasSecureBoot says whether the node's firmware can do Secure Boot.
func (h *host) hasSecureBoot(target clients.Target) bool {
	h.t.Helper()
	var resource struct{ Actions map[string]any }
	out := h.run("curl", "-sk", "-u", target.User+":"+target.Password, fmt.Sprintf("%s%s/SecureBoot", target.URL, target.System))
	if err := json.Unmarshal([]byte(out), &resource); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	return len(resource.Actions) > 0
}
