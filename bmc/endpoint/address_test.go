package endpoint

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"tenks/bmc/address"
	"tenks/raftfsm/state"
)

// fakeAddresses are addresses of loopback, which the host has anyway.
type fakeAddresses struct {
	want []address.Want
	errs map[string]error
	err  error
}

func (f *fakeAddresses) Keep(_ context.Context, want []address.Want) (map[netip.Addr]error, error) {
	f.want = want
	out := map[netip.Addr]error{}
	for at, err := range f.errs {
		out[netip.MustParseAddr(at)] = err
	}
	return out, f.err
}

func (f *fakeAddresses) said() (out []string) {
	for _, w := range f.want {
		text := w.Address.String()
		if w.Wait != nil {
			text += " waits: " + w.Wait.Error()
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

func expect(t *testing.T, f *fakeAddresses, want ...string) {
	t.Helper()
	if got := f.said(); !slices.Equal(got, want) {
		t.Errorf("wanted are %q, want %q", got, want)
	}
}

// pooledMesh has tk0 (IPMI) and tk1 (Redfish) with addresses of loopback on hv1.
func pooledMesh(t *testing.T) *mesh {
	t.Helper()
	m := newMesh(t)
	var nodes []state.Node
	for i := range 2 {
		n := node(i)
		n.BMCPool = state.AddressPool{{First: "127.7.0.0", Last: "127.7.0.9"}}
		nodes = append(nodes, n)
	}
	nodes[1].Machine.IronicDriver = state.ProtocolRedfish
	m.declare(nodes...)
	m.placeAt(0, hypervisor, "127.7.0.0")
	m.placeAt(1, hypervisor, "127.7.0.1")
	return m
}

func (m *mesh) placeAt(i int, on, at string) {
	m.t.Helper()
	m.apply(state.PlaceNodes{Placements: []state.NodePlacement{{UUID: uuidOf(i), Hypervisor: on, BMC: state.NoEndpoint(uuidOf(i)), BMCAddress: at}}})
}

func (m *mesh) unplace(i int) {
	m.t.Helper()
	m.apply(state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: uuidOf(i), Epoch: m.node(i).Placement.Epoch, Reason: "test"}}})
}

// answers reports what a service of a node's own says.
func answers(t *testing.T, at string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+":443/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := c.Do(r)
	if err != nil {
		return "nobody"
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	return string(b)
}

func udpListens(at string) bool {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(at), Port: state.PortIPMI})
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

// serveUUID answers with the UUID of the node that a request is for.
func serveUUID(ctx context.Context, uuid string, l net.Listener) error {
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: ForNode(uuid, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		of, _ := r.Context().Value(nodeKey).(string)
		_, _ = io.WriteString(w, of)
	}))}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	return server.Serve(l)
}

func TestIntegrationANodesBMCIsAtItsOwnAddressAndTheStandardPorts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: ports 623 and 443")
	}
	mesh, f := pooledMesh(t), &fakeAddresses{errs: map[string]error{}}
	lapsed, assured := false, error(nil)
	m := New(Config{Hypervisor: hypervisor, Chassis: oneChassis, Log: slog.New(slog.DiscardHandler), Addresses: f, ServeRedfish: serveUUID,
		Lapsed:  func(n *state.Node) bool { return lapsed && n.UUID == uuidOf(0) },
		Assured: func(*state.Node) error { return assured }})
	t.Cleanup(m.Close)
	serves := func(what string, ipmi, redfish bool) {
		t.Helper()
		if got := udpListens("127.7.0.0"); got != ipmi {
			t.Errorf("%s: IPMI of tk0 %t", what, got)
		}
		if got := answers(t, "127.7.0.0"); (got == uuidOf(0)) != ipmi {
			t.Errorf("%s: Redfish of tk0 is answered by %s", what, got)
		}
		if got := answers(t, "127.7.0.1"); (got == uuidOf(1)) != redfish || udpListens("127.7.0.1") {
			t.Errorf("%s: Redfish of tk1 is answered by %s", what, got)
		}
		if (m.Err(mesh.node(0)) == nil) != ipmi || (m.Err(mesh.node(1)) == nil) != redfish {
			t.Errorf("%s: %v, %v", what, m.Err(mesh.node(0)), m.Err(mesh.node(1)))
		}
	}

	if m.Err(mesh.node(0)) == nil || m.Err(mesh.node(1)) == nil {
		t.Error("before the first pass they are there")
	}
	assured = errors.New("no lease")
	do(t, m, mesh.snapshot())
	expect(t, f, "127.7.0.0 waits: no lease", "127.7.0.1 waits: no lease")
	assured = nil
	do(t, m, mesh.snapshot())
	expect(t, f, "127.7.0.0", "127.7.0.1")
	serves("both", true, true)

	f.err = errors.New("netlink")
	if err := m.Do(t.Context(), mesh.snapshot()); err == nil {
		t.Error("no error")
	}
	serves("when nothing could be looked at", true, true)
	f.err = nil

	inUse := errors.New("127.7.0.1 is in use by 52:54:00:00:00:01")
	f.errs["127.7.0.1"] = inUse
	if err := m.Do(t.Context(), mesh.snapshot()); !errors.Is(err, inUse) || !errors.Is(m.Err(mesh.node(1)), inUse) {
		t.Errorf("do: %v, node: %v", err, m.Err(mesh.node(1)))
	}
	eventually(t, "the service to end", func() bool { return answers(t, "127.7.0.1") == "nobody" })
	serves("one in use elsewhere", true, false)
	delete(f.errs, "127.7.0.1")
	do(t, m, mesh.snapshot())
	serves("it is free again", true, true)

	lapsed = true
	do(t, m, mesh.snapshot())
	expect(t, f, "127.7.0.1")
	eventually(t, "the service to end", func() bool { return answers(t, "127.7.0.0") == "nobody" })
	if udpListens("127.7.0.0") {
		t.Error("a host without a lease has the BMC")
	}
	lapsed = false
	do(t, m, mesh.snapshot())
	serves("with a lease again", true, true)

	mesh.unplace(1)
	mesh.placeAt(1, "hv2", "127.7.0.1")
	do(t, m, mesh.snapshot())
	expect(t, f, "127.7.0.0")
	eventually(t, "the service to end", func() bool { return answers(t, "127.7.0.1") == "nobody" })
}

func TestWithoutAddressesANodeOfAPoolSaysSo(t *testing.T) {
	mesh := pooledMesh(t)
	m := newManager(t, oneChassis)
	if err := m.Do(t.Context(), mesh.snapshot()); !errors.Is(err, errNoAddresses) || !errors.Is(m.Err(mesh.node(0)), errNoAddresses) {
		t.Errorf("do: %v, node: %v", err, m.Err(mesh.node(0)))
	}
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not after 5 s: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}
