package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/e2e/ironiclab"
)

// redfished is a cluster file of nodes of the redfish hardware type: one that boots from
// the network, one from virtual media.
// Ironic checks the certificate of the latter by a file, if there is one.
func redfished(endpoint, ca string) string {
	verify := ""
	if ca != "" {
		verify = ", redfish_verify_ca: " + ca
	}
	return fmt.Sprintf(`cluster: demo
node_types:
  plain:
    memory_mb: 256
    vcpus: 1
    volumes: [{capacity: 1GiB}]
    physical_networks: [physnet1]
    boot_mode: uefi
    ironic_driver: redfish
specs:
  - type: plain
    count: 1
    node_name_prefix: net
    ironic_config: {resource_class: net, network_interface: noop}
  - type: plain
    count: 1
    node_name_prefix: media
    ironic_config: {resource_class: media, network_interface: noop, boot_interface: redfish-virtual-media%s}
ironic: {endpoint: %q, auth: none}
`, verify, endpoint)
}

// ironicNode is what Ironic says of a node.
type ironicNode struct {
	Power      string         `json:"power_state"`
	Driver     string         `json:"driver"`
	Info       map[string]any `json:"driver_info"`
	Boot       string         `json:"boot_interface"`
	LastError  string         `json:"last_error"`
	Properties map[string]any `json:"properties"`
}

func TestIntegrationIronicReachesNodesByRedfish(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	ironic := h.withIronic()
	h.init(agentYAML)
	ca := h.authority()
	file := h.write("demo.yml", redfished(ironic.URL, ca))
	t.Logf("apply:\n%s", h.tenks("apply", "-f", file, "--wait=4m"))
	list, err := ironic.Nodes(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%d nodes in Ironic, %v, want 2", len(list), err)
	}
	for _, n := range list {
		if n.ProvisionState != "available" {
			t.Errorf("node %s is %s: %s", n.Name, n.ProvisionState, n.LastError)
		}
	}
	boots := map[string]string{"net0": "ipxe", "media0": "redfish-virtual-media"}
	for _, n := range h.nodes() {
		var got ironicNode
		if err := ironic.Call(t.Context(), "GET", "/v1/nodes/"+n.UUID, nil, &got); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("https://%s:8000", n.BMC.Address)
		if got.Driver != "redfish" || got.Boot != boots[n.Name] || got.Info["redfish_address"] != want || n.BMC.RedfishURL != want {
			t.Errorf("node %s in Ironic: %+v, want %s", n.Name, got, want)
		}
		if verify := got.Info["redfish_verify_ca"]; n.Name == "media0" && verify != ca || n.Name == "net0" && verify != false {
			t.Errorf("node %s: Ironic checks the certificate by %v", n.Name, verify)
		}
		h.worked(t, ironic, n)
	}
	h.curled(t)
	if out := h.tenks("apply", "-f", file, "--wait=1m"); !strings.Contains(out, "create 0, change 0, remove 0, unchanged 2") {
		t.Errorf("a second apply:\n%s", out)
	}
	h.tenks("destroy", "demo", "--wait=3m")
	if list, err = ironic.Nodes(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("Ironic still has %v, %v", list, err)
	}
	t.Run("every call of its driver", func(t *testing.T) { h.everyCall(t) })
}

// authority writes the mesh's authority, as the Redfish service shows it, to a file.
func (h *host) authority() string {
	h.t.Helper()
	var pem string
	h.wait(30*time.Second, "the Redfish service", func() bool {
		out, _ := h.try("sh", "-c", "openssl s_client -showcerts -connect 127.0.0.1:8000 </dev/null 2>/dev/null")
		if i := strings.LastIndex(out, "-----BEGIN CERTIFICATE-----"); strings.Count(out, "BEGIN CERTIFICATE") == 2 {
			pem = out[i:]
		}
		return pem != ""
	})
	pem, _, _ = strings.Cut(pem, "-----END CERTIFICATE-----")
	ca := filepath.Join(h.Dir(), "redfish-ca.pem")
	if err := os.WriteFile(ca, []byte(pem+"-----END CERTIFICATE-----\n"), 0o644); err != nil {
		h.t.Fatal(err)
	}
	if out, err := h.try("curl", "-sS", "--cacert", ca, "https://127.0.0.1:8000/redfish"); err != nil || !strings.Contains(out, "v1") {
		h.t.Errorf("checked by the mesh's authority: %s, %v", out, err)
	}
	return ca
}

// worked has Ironic change a node's boot device and power, and looks at the node.
func (h *host) worked(t *testing.T, ironic *ironiclab.Ironic, n api.Node) {
	t.Helper()
	for _, step := range []struct{ device, power, want string }{
		{"pxe", "power on", "on"}, {"disk", "rebooting", "on"}, {"cdrom", "power off", "off"},
	} {
		if err := ironic.SetBootDevice(t.Context(), n.UUID, step.device, false); err != nil {
			t.Errorf("%s: boot device %s: %v", n.Name, step.device, err)
		}
		c, err := h.api.Chassis(t.Context(), n.Name)
		if err != nil || c.BootDevice != step.device || c.Persistent {
			t.Errorf("%s: after boot device %s it is %+v, %v", n.Name, step.device, c, err)
		}
		if err := ironic.SetPower(t.Context(), n.UUID, step.power); err != nil {
			t.Errorf("%s: %s: %v", n.Name, step.power, err)
		}
		h.wait(time.Minute, n.Name+" "+step.want, func() bool {
			c, err := h.api.Chassis(t.Context(), n.Name)
			return err == nil && c.Power == step.want
		})
	}
}

// curled runs the line that people are shown.
func (h *host) curled(t *testing.T) {
	t.Helper()
	out := h.tenks("node", "show", "net0", "--secrets")
	i := strings.Index(out, "curl ")
	if i < 0 {
		t.Fatalf("no curl line:\n%s", out)
	}
	line, _, _ := strings.Cut(out[i:], "\n")
	var system struct{ Name, PowerState, UUID string }
	text := h.run("sh", "-c", strings.Replace(line, "curl ", "curl -s ", 1))
	if err := json.Unmarshal([]byte(text), &system); err != nil || system.PowerState == "" || !slices.ContainsFunc(h.nodes(), func(n api.Node) bool {
		return strings.EqualFold(n.UUID, system.UUID)
	}) {
		t.Errorf("%s\nanswers %s, %v", line, text, err)
	}
}

func TestIntegrationIronicFollowsARedfishNodeToAnotherHost(t *testing.T) {
	besideOthers(t)
	l, hosts := newMesh(t, 3)
	ironic := inSwitch(t, l)
	file := strings.Replace(redfished(ironic.URL, ""), "physical_networks: [physnet1]", "physical_networks: []", 1)
	t.Logf("%s", hosts[0].tenks("apply", "-f", hosts[0].write("demo.yml", file), "--wait=4m"))
	moves := hosts[0].node("net0")
	from := named(hosts, moves.Hypervisor)
	address := func() (out string) {
		var got ironicNode
		if err := ironic.Call(t.Context(), "GET", "/v1/nodes/"+moves.UUID, nil, &got); err == nil {
			out, _ = got.Info["redfish_address"].(string)
		}
		return out
	}
	if want := fmt.Sprintf("https://%s:8000", from.Address()); address() != want {
		t.Fatalf("in Ironic at %s, want %s", address(), want)
	}
	for _, h := range hosts { // any host answers for it
		secret, err := h.api.Node(t.Context(), moves.Name, api.ShowSecrets)
		if err != nil {
			t.Fatal(err)
		}
		url := fmt.Sprintf("https://%s:8000/redfish/v1/Systems/%s", h.Address(), moves.UUID)
		if out := h.run("curl", "-sk", "-u", secret.BMC.Username+":"+secret.BMC.Password, url); !strings.Contains(out, `"PowerState":"Off"`) {
			t.Errorf("%s answers %s", h.Name(), out)
		}
	}
	t.Logf("%s", from.tenks("peer", "drain", from.Name(), "--wait=2m"))
	to := named(hosts, hosts[0].node(moves.Name).Hypervisor)
	want := fmt.Sprintf("https://%s:8000", to.Address())
	hosts[0].wait(time.Minute, "its new address in Ironic", func() bool { return to != from && address() == want })
	hosts[0].worked(t, ironic, hosts[0].node(moves.Name))
	from.tenks("peer", "undrain", from.Name())
	t.Run("whatever fails", func(t *testing.T) { redfishGoesOn(t, hosts) })
}
