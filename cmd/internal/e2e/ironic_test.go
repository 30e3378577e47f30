package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/e2e/ironiclab"
)

// enrolled is a cluster file of two types, enrolled in the Ironic at an endpoint:
// small nodes with BIOS, large ones with UEFI.
func enrolled(endpoint string, small, large int) string {
	return fmt.Sprintf(`cluster: demo
node_types:
  small:
    memory_mb: 256
    vcpus: 1
    volumes: [{capacity: 1GiB}]
    physical_networks: [physnet1]
    boot_mode: bios
  large:
    memory_mb: 512
    vcpus: 1
    volumes: [{capacity: 2GiB}, {capacity: 1GiB}]
    physical_networks: [physnet1, physnet2]
    boot_mode: uefi
specs:
  - type: small
    count: %d
    node_name_prefix: small
    ironic_config: {resource_class: small, network_interface: noop}
  - type: large
    count: %d
    node_name_prefix: large
    ironic_config:
      resource_class: large
      traits: [CUSTOM_LARGE]
      properties: {rack: r1}
      network_interface: noop
ironic: {endpoint: %q, auth: none}
`, small, large, endpoint)
}

// withIronic starts a real Ironic in the host.
func (h *host) withIronic() *ironiclab.Ironic {
	h.t.Helper()
	ironiclab.Require(h.t)
	dir := filepath.Join(h.Dir(), "ironic")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	return ironiclab.Start(h.t.Context(), h.t, ironiclab.Options{Dir: dir, Netns: h.Netns()})
}

func TestIntegrationIronicDeploysOnWhatTheClusterFileDeclares(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	ironic := h.withIronic()
	before := h.traces()
	h.init(agentYAML)
	file := h.write("demo.yml", enrolled(ironic.URL, 4, 2))

	t.Logf("apply:\n%s", h.tenks("apply", "-f", file, "--wait=4m"))
	nodes, err := ironic.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		t.Logf("ironic: %s %s %s %v", n.Name, n.ProvisionState, n.ResourceClass, n.Traits)
		if n.ProvisionState != "available" {
			t.Errorf("node %s is %s: %s", n.Name, n.ProvisionState, n.LastError)
		}
	}
	if len(nodes) != 6 {
		t.Fatalf("%d nodes in Ironic, want 6", len(nodes))
	}
	h.checkPorts(ironic)
	t.Run("a guest boots from the network", func(t *testing.T) { h.bootFromNetwork(t, ironic) })
	t.Run("a second apply writes nothing", func(t *testing.T) { h.applyAgain(t, ironic, file, 6) })
	t.Run("scale", func(t *testing.T) {
		for _, count := range []int{6, 3} {
			h.write("demo.yml", enrolled(ironic.URL, count, 2))
			h.tenks("apply", "-f", file, "--wait=4m")
			h.wait(2*time.Minute, "Ironic to have as many", func() bool {
				nodes, err := ironic.Nodes(t.Context())
				return err == nil && len(nodes) == count+2
			})
			h.waitReady(count+2, time.Minute)
		}
	})
	h.tenks("destroy", "demo", "--wait=3m")
	if nodes, err = ironic.Nodes(t.Context()); err != nil || len(nodes) > 0 {
		t.Errorf("Ironic still has %v, %v", nodes, err)
	}
	if ports, err := ironic.Ports(t.Context()); err != nil || len(ports) > 0 {
		t.Errorf("Ironic still has ports %v, %v", ports, err)
	}
	after := h.traces()
	after.Processes, before.Processes = nil, nil // the agent goes on
	after.Files, before.Files = volumes(after.Files), volumes(before.Files)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("destroy left something (-before +after):\n%s", diff)
	}
}

// volumes keeps the files that nodes consist of.
func volumes(files []string) []string {
	return slices.DeleteFunc(files, func(f string) bool {
		return !strings.Contains(f, "/pool/") && !strings.Contains(f, "nvram") && !strings.Contains(f, "/qemu/")
	})
}

// checkPorts compares Ironic's ports with the links that there are.
func (h *host) checkPorts(ironic *ironiclab.Ironic) {
	h.t.Helper()
	ports, err := ironic.Ports(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	byMAC := map[string]ironiclab.Port{}
	for _, p := range ports {
		byMAC[p.Address] = p
	}
	want := 0
	for _, n := range h.nodes() {
		for _, p := range n.Ports {
			want++
			got := byMAC[p.MAC]
			bridge := strings.TrimSpace(h.run("cat", "/sys/class/net/"+p.Bridge+"/address"))
			link := map[string]string{"switch_id": bridge, "switch_info": p.Bridge, "port_id": p.Link}
			if got.NodeUUID != n.UUID || got.PhysicalNetwork != p.Physnet || !cmp.Equal(got.LocalLinkConnection, link) {
				h.t.Errorf("port %s of %s: %+v, want %s %v", p.MAC, n.Name, got, p.Physnet, link)
			}
		}
	}
	if len(ports) != want {
		h.t.Errorf("%d ports in Ironic, want %d", len(ports), want)
	}
}

// bootFromNetwork has Ironic boot one node of each firmware by PXE.
func (h *host) bootFromNetwork(t *testing.T, ironic *ironiclab.Ironic) {
	guest, err := ironiclab.Tiny(t.Context(), filepath.Join(h.Dir(), "tiny"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(h.Dir(), "pxe")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	server := ironiclab.PXE(t.Context(), t, ironiclab.PXEOptions{Dir: dir, Netns: h.Netns(), Bridge: h.node("small0").Ports[0].Bridge,
		Address: netip.MustParsePrefix("192.168.78.1/24"), Guest: guest})
	defer server.Stop()
	for _, name := range []string{"small0", "large0"} {
		n := h.node(name)
		if err := ironic.SetBootDevice(t.Context(), n.UUID, "pxe", false); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := ironic.SetPower(t.Context(), n.UUID, "power on"); err != nil {
			t.Fatal(err)
		}
		log := h.Path(dataDir + "/console/" + name + ".log")
		h.wait(3*time.Minute, name+" to print its marker", func() bool {
			text, err := os.ReadFile(log)
			return err == nil && strings.Contains(string(text), ironiclab.Marker)
		})
		text, err := os.ReadFile(log)
		if err != nil || !strings.Contains(strings.ToLower(string(text)), ironiclab.MACMarker+n.Ports[0].MAC) &&
			!strings.Contains(strings.ToLower(string(text)), n.Ports[0].MAC) {
			t.Errorf("%s: its console does not show MAC %s: %v", name, n.Ports[0].MAC, err)
		}
		t.Logf("%s (%s firmware): marker after %s", name, n.BootMode, time.Since(began).Round(100*time.Millisecond))
		for _, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "TENKS-BOOT") {
				t.Logf("%s console: %s", name, strings.TrimSpace(line))
			}
		}
	}
}

// applyAgain applies what is there, so many nodes: nothing may be written anywhere.
func (h *host) applyAgain(t *testing.T, ironic *ironiclab.Ironic, file string, count int) {
	domains := h.domains()
	status, err := h.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writes, err := ironic.Writes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host := h.metric("tenks_host_writes_total")
	for range 3 {
		out := h.tenks("apply", "-f", file, "--wait=1m")
		if !strings.Contains(out, fmt.Sprintf("create 0, change 0, remove 0, unchanged %d", count)) {
			t.Errorf("a second apply:\n%s", out)
		}
	}
	after, err := ironic.Writes(t.Context())
	if err != nil || !slices.Equal(writes, after) {
		t.Errorf("Ironic was written to: %v, %v", after[min(len(writes), len(after)):], err)
	}
	if got := h.metric("tenks_host_writes_total"); got != host {
		t.Errorf("writes of this host: %s became %s", host, got)
	}
	if diff := cmp.Diff(domains, h.domains()); diff != "" {
		t.Errorf("domains changed:\n%s", diff)
	}
	if s, err := h.api.Status(t.Context()); err != nil || s.Index != status.Index {
		t.Errorf("log index %d became %d, %v; events:\n%s", status.Index, s.Index, err, h.tenks("events"))
	}
}

// metric returns the lines of a metric.
func (h *host) metric(name string) string {
	h.t.Helper()
	text := h.run("curl", "-s", "--unix-socket", dataDir+"/api.sock", "http://tenks/metrics")
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, name) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

func TestIntegrationIronicDownLeavesNodesReadyAndIsCaughtUpWith(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	h.init(agentYAML)
	file := h.write("demo.yml", enrolled("http://127.0.0.1:6385", 2, 0))
	h.tenks("apply", "-f", file)
	h.wait(time.Minute, "nodes to be ready, with Ironic's absence as the reason", func() bool {
		nodes := h.nodes()
		return len(nodes) == 2 && !slices.ContainsFunc(nodes, func(n node) bool {
			return n.Phase != "ready" || !strings.Contains(n.Reason, "127.0.0.1:6385")
		})
	})
	t.Logf("without Ironic:\n%s", h.tenks("node", "list"))
	if out, err := h.ipmi(h.node("small0"), "power", "status"); err != nil {
		t.Errorf("the BMC without Ironic: %s, %v", out, err)
	}
	ironic := h.withIronic()
	h.waitReady(2, 2*time.Minute)
	t.Logf("with Ironic:\n%s", h.tenks("node", "list"))

	// A foreign record named as ours would be is left alone.
	foreign := map[string]any{"driver": "fake-hardware", "name": "small2", "uuid": "11111111-2222-3333-4444-555555555555"}
	if err := ironic.Call(t.Context(), "POST", "/v1/nodes", foreign, nil); err != nil {
		t.Fatal(err)
	}
	h.write("demo.yml", enrolled(ironic.URL, 3, 0))
	h.tenks("apply", "-f", file)
	h.wait(time.Minute, "small2 to be refused", func() bool {
		n := h.node("small2")
		return n.Phase == "ready" && strings.Contains(n.Ironic.Error, "small2")
	})
	t.Logf("small2: %s", h.node("small2").Ironic.Error)

	t.Run("an active node is not removed unless forced", func(t *testing.T) { h.removeActive(t, ironic) })
	h.tenks("destroy", "demo", "--wait=2m")
	left, err := ironic.Nodes(t.Context())
	if err != nil || len(left) != 1 || left[0].UUID != foreign["uuid"] {
		t.Errorf("after destroy Ironic has %+v, %v; want the foreign node alone", left, err)
	}
}

// removeActive deploys a node, by Ironic's ramdisk interface, and tries to remove it.
func (h *host) removeActive(t *testing.T, ironic *ironiclab.Ironic) {
	n := h.node("small0")
	base := "/v1/nodes/" + n.UUID
	// An instance without a deployment: what adoption makes (Ironic API, "adopt").
	for _, step := range []struct{ target, state string }{{"manage", "manageable"}, {"adopt", "active"}} {
		if step.target == "adopt" {
			patch := []map[string]any{
				{"op": "add", "path": "/instance_info/image_source", "value": "http://127.0.0.1/image"},
				{"op": "add", "path": "/instance_info/kernel", "value": "http://127.0.0.1/kernel"},
				{"op": "add", "path": "/instance_info/ramdisk", "value": "http://127.0.0.1/ramdisk"},
				{"op": "add", "path": "/instance_uuid", "value": "99999999-2222-3333-4444-555555555555"},
				{"op": "replace", "path": "/deploy_interface", "value": "ramdisk"},
			}
			if err := ironic.Call(t.Context(), "PATCH", base, patch, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := ironic.Call(t.Context(), "PUT", base+"/states/provision", map[string]string{"target": step.target}, nil); err != nil {
			t.Fatal(err)
		}
		var got struct {
			State string `json:"provision_state"`
			Error string `json:"last_error"`
		}
		h.wait(time.Minute, step.target, func() bool {
			err := ironic.Call(t.Context(), "GET", base, nil, &got)
			return err == nil && (got.State == step.state || strings.HasSuffix(got.State, "failed"))
		})
		if got.State != step.state {
			t.Fatalf("%s: %s %s", step.target, got.State, got.Error)
		}
	}
	out, err := h.tryTenks("destroy", "demo")
	t.Logf("destroy: %s", strings.TrimSpace(out))
	if err == nil || !strings.Contains(out, "small0") || !strings.Contains(out, "active") {
		t.Errorf("destroy with an active node: %v, %s", err, out)
	}
	if n := h.node("small0"); n.Phase == "removing" {
		t.Error("the node is being removed")
	}
	h.tenks("node", "remove", "small0", "--force")
	h.wait(2*time.Minute, "the forced removal", func() bool {
		_, err := h.api.Node(context.WithoutCancel(t.Context()), "small0", 0)
		return err != nil
	})
}
