package daemon

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"tenks/cluster/pki"
	"tenks/raftfsm/state"
)

func TestEachNodesAddressHasACertificate(t *testing.T) {
	s, store := certified(t)
	putAuthority(t, store)
	shown := func(address string) *x509.Certificate {
		t.Helper()
		c, err := s.of(t.Context(), netip.MustParseAddr(address))
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf
	}
	first, second := shown("192.0.2.100"), shown("2001:db8::100")
	for address, leaf := range map[string]*x509.Certificate{"192.0.2.100": first, "2001:db8::100": second} {
		if leaf.VerifyHostname(address) != nil || len(leaf.IPAddresses) != 1 || leaf.CheckSignatureFrom(s.a.views.view().Roots[0]) != nil {
			t.Errorf("%s: for %v by %s", address, leaf.IPAddresses, leaf.Issuer)
		}
	}
	if !shown("192.0.2.100").Equal(first) {
		t.Error("made anew though nothing has changed")
	}
	putAuthority(t, store)
	if again := shown("192.0.2.100"); again.Equal(first) || again.CheckSignatureFrom(s.a.views.view().Roots[0]) != nil {
		t.Error("not by the new authority")
	}
	s.a.opt.Config.BMC.TLSCert = "/nowhere"
	if _, err := s.of(t.Context(), netip.MustParseAddr("192.0.2.100")); err == nil || !strings.Contains(err.Error(), "bmc.tls_cert") {
		t.Errorf("with a file that is not there: %v", err)
	}
}

func TestAPeerGetsCertificatesForTheAddressesOfItsNodesOnly(t *testing.T) {
	s, store := certified(t)
	putAuthority(t, store)
	s.a.source = store
	pool := state.AddressPool{{First: "192.0.2.100", Last: "192.0.2.109"}}
	apply := func(c state.Command) {
		t.Helper()
		snap, _ := store.Snapshot()
		if err := store.Apply(snap.Index()+1, state.Envelope{Command: c}); err != nil {
			t.Fatal(err)
		}
	}
	create := state.ApplyCluster{Cluster: state.Cluster{Name: "demo", BMCPool: pool}}
	for _, id := range []string{"h1", "h2"} {
		apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: id, Name: id, BMC: state.PortRange{Address: "198.51.100.1"}}})
		create.Create = append(create.Create, state.Node{UUID: "u" + id, Name: "n" + id, LinkName: "l" + id, Cluster: "demo", BMCPool: pool})
	}
	apply(create)
	apply(state.PlaceNodes{Placements: []state.NodePlacement{
		{UUID: "uh1", Hypervisor: "h1", BMC: state.NoEndpoint("uh1"), BMCAddress: "192.0.2.101"},
		{UUID: "uh2", Hypervisor: "h2", BMC: state.NoEndpoint("uh2"), BMCAddress: "192.0.2.102"}}})

	key, _, err := s.key()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewServiceRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	m := &meshRedfish{a: s.a}
	for address, want := range map[string]string{"": "198.51.100.1", "192.0.2.101": "192.0.2.101", "192.0.2.102": "", "192.0.2.103": "", "hv1": ""} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(csr))
		if address != "" {
			r.Header.Set(redfishAddress, address)
		}
		w := httptest.NewRecorder()
		m.sign(w, r, "h1")
		got := ""
		if block, _ := pem.Decode(w.Body.Bytes()); block != nil {
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			got = leaf.IPAddresses[0].String()
		}
		if got != want || (w.Code == http.StatusOK) != (want != "") {
			t.Errorf("for %q: %d, one for %q, want %q", address, w.Code, got, want)
		}
	}
}

func TestWhatDoctorSaysOfBMCAddresses(t *testing.T) {
	c := newMesh(t)
	a := part(t, c)
	defer a.mesh.Close()
	defer a.closeDrivers()
	if got := a.checkAddresses(); len(got) > 0 {
		t.Errorf("without a pool: %+v", got)
	}
	for _, cmd := range []state.Command{
		state.PutHypervisor{Hypervisor: state.Hypervisor{ID: a.mesh.ID(), Name: "hv1", Networks: []string{"192.0.2.1/24"}}},
		state.ApplyCluster{Cluster: state.Cluster{Name: "served", BMCPool: state.AddressPool{{First: "192.0.2.100", Last: "192.0.2.109"}}}},
	} {
		if _, err := a.propose(t.Context(), "", cmd); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.checkAddresses(); len(got) != 1 || got[0].State != "ok" || got[0].Detail != "0 here" {
		t.Errorf("a pool that can be served: %+v", got)
	}
	elsewhere := state.ApplyCluster{Cluster: state.Cluster{Name: "elsewhere", BMCPool: state.AddressPool{{First: "203.0.113.1", Last: "203.0.113.9"}}}}
	if _, err := a.propose(t.Context(), "", elsewhere); err != nil {
		t.Fatal(err)
	}
	if got := a.checkAddresses(); len(got) != 1 || got[0].State != "warning" || got[0].Detail != "no link in the BMC network of 203.0.113.1-203.0.113.9 of cluster elsewhere" {
		t.Errorf("one that cannot: %+v", got)
	}
}
