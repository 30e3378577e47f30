package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/lab"
)

const pooledNodes = `cluster: demo
node_types:
  modern: {memory_mb: 128, vcpus: 1, driver: fake, ironic_driver: redfish}
  small: {memory_mb: 128, vcpus: 1, driver: fake}
specs:
  - {type: modern, count: 1, node_name_prefix: rf}
  - {type: small, count: 2, node_name_prefix: tk}
bmc: {addresses: 10.77.0.150-10.77.0.153}
`

// fakeMesh makes a mesh of lab hosts that have the fake driver only.
func fakeMesh(t *testing.T, n int) (*lab.Lab, []*host) {
	t.Helper()
	return fakeMeshWith(t, n, "")
}

// fakeMeshWith is fakeMesh with more in each agent.yml.
func fakeMeshWith(t *testing.T, n int, more string) (*lab.Lab, []*host) {
	t.Helper()
	l, dir := newLab(t)
	var hosts []*host
	for i := range n {
		lh, err := l.AddHost(t.Context(), fmt.Sprintf("hv%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		h := &host{Host: lh, t: t, api: client.New(lh.Path(dataDir + "/api.sock")), log: filepath.Join(dir, lh.Name()+".log")}
		t.Cleanup(h.tellLog)
		h.enterFake(hosts, i+1, more)
		hosts = append(hosts, h)
	}
	return l, hosts
}

// enterFake makes the host, which has the fake driver only, a peer: the first one makes the mesh.
func (h *host) enterFake(mesh []*host, zone int, more string) {
	h.t.Helper()
	yml := fmt.Sprintf("name: %s\nadvertise: %s\nzone: z%d\ndrivers: {fake: {}}\n%s", h.Name(), h.Address(), zone, more)
	if err := os.WriteFile(h.Path(dataDir+"/agent.yml"), []byte(yml), 0o600); err != nil {
		h.t.Fatal(err)
	}
	args := []string{"init"}
	if len(mesh) > 0 {
		args = []string{"join", strings.Split(mesh[0].tenks("token", "create"), "\n")[0]}
	}
	h.tenks(args...)
}

// client is a place that is no host of the mesh.
type place struct {
	t     *testing.T
	netns string
}

func (p place) try(args ...string) (string, error) {
	p.t.Helper()
	out, err := exec.CommandContext(p.t.Context(), "ip", append([]string{"netns", "exec", p.netns}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (p place) run(args ...string) string {
	p.t.Helper()
	out, err := p.try(args...)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// power asks a BMC by its address alone.
func (p place) power(n api.Node) (string, error) {
	p.t.Helper()
	return p.try("ipmitool", "-I", "lanplus", "-N", "1", "-R", "2", "-H", n.BMC.Address, "-U", n.BMC.Username, "-P", n.BMC.Password, "power", "status")
}

// neighbour is who has an address, as the place believes.
func (p place) neighbour(address string) string {
	p.t.Helper()
	if f := strings.Fields(p.run("ip", "neigh", "show", address)); len(f) > 4 {
		return f[4]
	}
	return ""
}

// poolAddresses are those of the pool that a host has.
func (h *host) poolAddresses() (out []string) {
	h.t.Helper()
	for _, f := range strings.Fields(h.run("ip", "-4", "addr", "show")) {
		if strings.HasPrefix(f, "10.77.0.15") {
			out = append(out, f)
		}
	}
	return out
}

func (h *host) mac() string {
	h.t.Helper()
	return strings.TrimSpace(h.run("cat", "/sys/class/net/eth0/address"))
}

func TestIntegrationABMCHasItsAddressWhereverItsNodeIs(t *testing.T) {
	besideOthers(t)
	l, hosts := fakeMesh(t, 2)
	outside := place{t, l.Switch()}
	// Somebody has an address of the pool.
	outside.run("ip", "addr", "add", "10.77.0.151/32", "dev", "lab")
	foreign := outside.run("cat", "/sys/class/net/lab/address")
	file := hosts[0].write("demo.yml", pooledNodes)
	began := time.Now()
	hosts[0].wait(30*time.Second, "both hosts to offer what they have", func() bool {
		peers, err := hosts[0].api.Peers(t.Context())
		return err == nil && len(peers) == 2 && len(peers[0].Drivers)+len(peers[1].Drivers) == 2
	})
	t.Logf("%s", hosts[0].tenks("apply", "-f", file))
	taken := "10.77.0.151 is in use by " + foreign
	hosts[0].wait(30*time.Second, "who has the address already", func() bool {
		n, err := hosts[0].api.Node(t.Context(), "tk0", api.ShowSecrets)
		return err == nil && strings.Contains(n.Reason, taken)
	})
	tk0 := hosts[0].node("tk0")
	t.Logf("after %s: tk0 is %s: %s", time.Since(began).Round(time.Millisecond), tk0.Phase, tk0.Reason)
	for _, h := range hosts {
		if h.Name() == tk0.Hypervisor {
			out, _ := h.tryTenks("doctor")
			if !strings.Contains(out, taken) {
				t.Errorf("doctor does not say so:\n%s", out)
			}
		}
	}
	outside.run("ip", "addr", "del", "10.77.0.151/32", "dev", "lab")
	hosts[0].waitReady(3, 30*time.Second)
	t.Logf("%s", hosts[0].tenks("node", "list"))

	for name, want := range map[string]string{"rf0": "10.77.0.150:443", "tk0": "10.77.0.151:623", "tk1": "10.77.0.152:623"} {
		n := hosts[0].node(name)
		if got := fmt.Sprintf("%s:%d", n.BMC.Address, n.BMC.Port); got != want {
			t.Errorf("%s is at %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"tk0", "tk1"} {
		if out, err := outside.power(hosts[0].node(name)); err != nil || out != "Chassis Power is off" {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	rf0 := hosts[0].node("rf0")
	ca := outside.authority(hosts[0], rf0)
	systems := func() string {
		out, err := outside.try("curl", "-sS", "--max-time", "5", "--cacert", ca, "-u", rf0.BMC.Username+":"+rf0.BMC.Password, rf0.BMC.RedfishURL+"/redfish/v1/Systems")
		if err != nil {
			t.Errorf("Redfish at its own address: %s, %v", out, err)
		}
		return out
	}
	if out := systems(); rf0.BMC.RedfishURL != "https://10.77.0.150" || !strings.Contains(out, rf0.UUID) || !strings.Contains(out, `"Members@odata.count": 1`) && !strings.Contains(out, `"Members@odata.count":1`) {
		t.Errorf("at %s: %s", rf0.BMC.RedfishURL, out)
	}

	from, to := named(hosts, tk0.Hypervisor), hosts[0]
	if to == from {
		to = hosts[1]
	}
	if got := outside.neighbour(tk0.BMC.Address); got != from.mac() {
		t.Errorf("%s is at %s, want %s", tk0.BMC.Address, got, from.mac())
	}
	began = time.Now()
	t.Logf("%s", from.tenks("peer", "drain", from.Name(), "--wait=1m"))
	to.wait(20*time.Second, "the BMC to answer where its node is now", func() bool {
		out, err := outside.power(tk0)
		return err == nil && out == "Chassis Power is off" && outside.neighbour(tk0.BMC.Address) == to.mac()
	})
	t.Logf("its BMC answers at the same address %s after the drain began", time.Since(began).Round(time.Millisecond))
	to.waitReady(3, 20*time.Second)
	if n := to.node("tk0"); n.Hypervisor != to.Name() || n.BMC != tk0.BMC {
		t.Errorf("tk0 is now %+v, was %+v", n.BMC, tk0.BMC)
	}
	systems()
	if left := from.poolAddresses(); len(left) > 0 {
		t.Errorf("%s still has %v", from.Name(), left)
	}
	if has := to.poolAddresses(); len(has) != 3 {
		t.Errorf("%s has %v, want 3", to.Name(), has)
	}

	to.tenks("destroy", "demo", "--yes", "--wait=30s")
	for _, h := range hosts {
		h.wait(10*time.Second, "no address to be left", func() bool { return len(h.poolAddresses()) == 0 })
		if _, err := os.Stat(h.Path(dataDir + "/addresses.json")); err == nil {
			t.Errorf("%s keeps a list of them", h.Name())
		}
	}
}

// authority writes the mesh's authority, as a node's own Redfish service shows it, to a file.
func (p place) authority(h *host, n api.Node) string {
	p.t.Helper()
	out := p.run("sh", "-c", "openssl s_client -showcerts -connect "+n.BMC.Address+":443 </dev/null 2>/dev/null")
	i := strings.LastIndex(out, "-----BEGIN CERTIFICATE-----")
	if i < 0 || strings.Count(out, "BEGIN CERTIFICATE") != 2 {
		p.t.Fatalf("certificates: %s", out)
	}
	pem, _, _ := strings.Cut(out[i:], "-----END CERTIFICATE-----")
	return h.write("ca.pem", pem+"-----END CERTIFICATE-----\n")
}
