package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/e2e/ironiclab"
)

// hardware is a cluster file of one node that Ironic manages by IPMI, and two by Redfish: one
// with BIOS, on which Ironic's agent runs, and one with UEFI, on which a user's ISO does.
func hardware(endpoint string) string {
	return fmt.Sprintf(`cluster: demo
node_types:
  lan:
    memory_mb: 256
    vcpus: 1
    volumes: [{capacity: 1GiB}]
    physical_networks: [physnet1]
    boot_mode: bios
  cleaned:
    memory_mb: 1024
    vcpus: 1
    volumes: [{capacity: 5GiB}, {capacity: 5GiB}]
    physical_networks: [physnet1]
    boot_mode: bios
    ironic_driver: redfish
  booted:
    memory_mb: 1024
    vcpus: 2
    volumes: [{capacity: 5GiB}, {capacity: 6GiB}]
    physical_networks: [physnet1]
    boot_mode: uefi
    ironic_driver: redfish
specs:
  - {type: lan, count: 1, node_name_prefix: lan, ironic_config: {resource_class: lan, network_interface: noop, console_interface: ipmitool-socat}}
  - {type: cleaned, count: 1, node_name_prefix: cleaned, ironic_config: {resource_class: cleaned, network_interface: noop, boot_interface: redfish-virtual-media}}
  - {type: booted, count: 1, node_name_prefix: booted, ironic_config: {resource_class: booted, network_interface: noop, boot_interface: redfish-virtual-media, deploy_interface: ramdisk}}
ironic: {endpoint: %q, auth: none}
`, endpoint)
}

// guestNet is the network of the guests; the boot server has its first address.
const guestNet = "192.168.78.1/24"

// works is a host whose nodes Ironic works on.
type works struct {
	*host
	ironic *ironiclab.Ironic
}

// in is the host for a subtest.
func (w works) in(t *testing.T) works {
	h := *w.host
	h.t = t
	return works{&h, w.ironic}
}

// An operator's day with both hardware types. The groups are apart by node, and run at once.
func TestIntegrationIronicManagesBothHardwareTypesAsItDoesServers(t *testing.T) {
	h := newHost(t)
	ironiclab.Require(t)
	dir := filepath.Join(h.Dir(), "ironic")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w := works{h, ironiclab.Start(t.Context(), t, ironiclab.Options{Dir: dir, Netns: h.Netns(), Bind: h.Address(), Files: true, Sensors: 5 * time.Second})}
	t.Cleanup(func() {
		if log, err := os.ReadFile(w.ironic.Log); err == nil && t.Failed() && os.Getenv("TENKS_LOGS") != "" {
			keepLog(t, "ironic", log)
		}
	})
	h.init(agentYAML)
	h.tenks("apply", "-f", h.write("demo.yml", hardware(w.ironic.URL)), "--wait=2m")
	w.images()
	t.Logf("three nodes are available, and images made, after %s", since(began))
	for _, n := range h.nodes() {
		if s, err := w.ironic.States(t.Context(), n.UUID); err != nil || s.Provision != "available" {
			t.Fatalf("node %s is %+v, %v", n.Name, s, err)
		}
	}
	var groups sync.WaitGroup
	for name, group := range map[string]func(works, *testing.T, api.Node){"lan0": works.lan, "cleaned0": works.cleaned, "booted0": works.booted} {
		n := h.node(name)
		// Not by t.Parallel, which has as many at once as there are processors: they mostly wait.
		groups.Go(func() {
			t.Run(name, func(t *testing.T) {
				t.Cleanup(func() {
					if text := w.console(n); t.Failed() {
						t.Logf("end of %s's console:\n%s", name, text[max(0, len(text)-3000):])
					}
				})
				group(w.in(t), t, n)
			})
		})
	}
	groups.Wait()
	t.Run("sensors of both hardware types", func(t *testing.T) { w.in(t).sensors(t) })
	t.Logf("all of it took %s", since(began))
}

func since(began time.Time) time.Duration { return time.Since(began).Round(100 * time.Millisecond) }

// images makes what nodes boot, where Ironic and BMCs find it.
func (w works) images() {
	w.t.Helper()
	images, err := ironiclab.Images(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for name, boots := range map[string]struct {
		guest ironiclab.Guest
		more  string
	}{"user.iso": {images.Guest, "tenks.iso=user"}, "agent.iso": {images.Agent, "ipa-api-url=" + w.ironic.URL}} {
		if err := ironiclab.ISO(w.t.Context(), filepath.Join(w.ironic.FilesDir(), name), boots.guest, boots.more); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.ironic.FilesDir(), "bios-9.1.bin"), []byte("firmware"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(w.Dir(), "pxe")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	ironiclab.PXE(w.t.Context(), w.t, ironiclab.PXEOptions{Dir: dir, Netns: w.Netns(), Bridge: w.node("lan0").Ports[0].Bridge,
		Address: netip.MustParsePrefix(guestNet), Guest: images.Guest})
}

// console is what a node has printed since it was made.
func (w works) console(n api.Node) string {
	text, err := os.ReadFile(w.Path(dataDir + "/console/" + n.Name + ".log"))
	if err != nil {
		return ""
	}
	return string(text)
}

// printed waits until a node has printed a text so often.
func (w works) printed(n api.Node, what string, count int) {
	w.t.Helper()
	w.wait(2*time.Minute, fmt.Sprintf("%s to print %q %d times", n.Name, what, count), func() bool {
		return strings.Count(w.console(n), what) >= count
	})
}

// provision has Ironic do a verb.
func (w works) provision(n api.Node, verb, want string, with map[string]any) {
	w.t.Helper()
	began := time.Now()
	if err := w.ironic.Provision(w.t.Context(), n.UUID, verb, want, with); err != nil {
		w.t.Fatalf("%s: %s: %v", n.Name, verb, err)
	}
	w.t.Logf("%s: %s: %s after %s", n.Name, verb, want, since(began))
}

// patch changes the node in Ironic.
func (w works) patch(n api.Node, path string, value any) {
	w.t.Helper()
	if err := w.ironic.Call(w.t.Context(), "PATCH", "/v1/nodes/"+n.UUID, []any{map[string]any{"op": "add", "path": path, "value": value}}, nil); err != nil {
		w.t.Fatal(err)
	}
}

// power has Ironic change a node's power, and looks at the node.
func (w works) power(n api.Node, target, want string) {
	w.t.Helper()
	began := time.Now()
	if err := w.ironic.SetPower(w.t.Context(), n.UUID, target); err != nil {
		w.t.Fatalf("%s: %s: %v", n.Name, target, err)
	}
	w.wait(time.Minute, n.Name+" to be "+want, func() bool {
		c, err := w.api.Chassis(w.t.Context(), n.Name)
		return err == nil && c.Power == want
	})
	w.t.Logf("%s: %s took %s", n.Name, target, since(began))
}

// bootDevices has Ironic set each boot device, for once and for good, and read it back.
func (w works) bootDevices(n api.Node, devices ...string) {
	w.t.Helper()
	for _, device := range devices {
		for _, persistent := range []bool{true, false} {
			if err := w.ironic.SetBootDevice(w.t.Context(), n.UUID, device, persistent); err != nil {
				w.t.Errorf("%s: boot device %s: %v", n.Name, device, err)
				continue
			}
			want := ironiclab.BootDevice{Device: device, Persistent: persistent}
			if got, err := w.ironic.BootDevice(w.t.Context(), n.UUID); err != nil || got != want {
				w.t.Errorf("%s: Ironic reads %+v, %v, want %+v", n.Name, got, err, want)
			}
			if c, err := w.api.Chassis(w.t.Context(), n.Name); err != nil || c.BootDevice != device || c.Persistent != persistent {
				w.t.Errorf("%s: it is %+v, %v, want %+v", n.Name, c, err, want)
			}
		}
	}
}

// refused checks that Ironic refuses a verb, and why.
func (w works) refused(n api.Node, verb, why string, with map[string]any) {
	w.t.Helper()
	err := w.ironic.Provision(w.t.Context(), n.UUID, verb, "never", with)
	if err == nil || !strings.Contains(err.Error(), why) {
		w.t.Errorf("%s: %s: %v, want a refusal with %q", n.Name, verb, err, why)
		return
	}
	w.t.Logf("%s: %s is refused: %v", n.Name, verb, err)
}

// redfish reads a resource of the Redfish service as the node's account.
func (w works) redfish(n api.Node, path string, out any) {
	w.t.Helper()
	text := w.run("curl", "-sk", "-u", n.BMC.Username+":"+n.BMC.Password, n.BMC.RedfishURL+"/redfish/v1"+path)
	if err := json.Unmarshal([]byte(text), out); err != nil {
		w.t.Fatalf("%s: %s: %v", n.Name, path, err)
	}
}
