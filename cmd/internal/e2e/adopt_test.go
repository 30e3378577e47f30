package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/e2e/ironiclab"
)

// ansibleDomain is a domain as the role of the Ansible tool defines it.
func ansibleDomain(name, uuid, mac, firmware string) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%[1]s</name>
  <uuid>%[2]s</uuid>
  <memory>131072</memory>
  <vcpu>1</vcpu>
  <clock sync="localtime"/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <os>
    <type arch='x86_64'>hvm</type>
    <bootmenu enable='no'/>
    <boot dev='hd'/>
    <boot dev='cdrom'/>
    <boot dev='network'/>
    <bios useserial='yes'/>
    %[4]s
  </os>
  <features><acpi/><apic/><pae/></features>
  <devices>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source pool='tenks' volume='%[1]svol0'/>
      <target dev='vda'/>
    </disk>
    <interface type='direct'>
      <source dev='p-%[1]s-0-tap' mode='passthrough'/>
      <mac address='%[3]s'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
  </devices>
</domain>
`, name, uuid, mac, firmware)
}

const ansibleUEFI = `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>`

// adopted are the nodes of the Ansible tool in these tests: name, UUID, firmware.
var adopted = []struct{ name, uuid, firmware string }{
	{"tk0", "5c7d0c0c-7f0e-4a44-9d0c-2f7a3b5f5e10", ""},
	{"efi0", "5c7d0c0c-7f0e-4a44-9d0c-2f7a3b5f5e11", ansibleUEFI},
	{"tk1", "5c7d0c0c-7f0e-4a44-9d0c-2f7a3b5f5e12", ""},
}

const ansibleOverride = `
node_types:
  small: &small {memory_mb: 128, vcpus: 1, volumes: [{capacity: 1GiB}], physical_networks: [physnet1]}
  efi: *small
specs:
  - {type: small, count: 2, ironic_config: &rc {resource_class: small, network_interface: noop, properties: {capabilities: "boot_mode:bios"}}}
  - {type: efi, count: 1, node_name_prefix: efi}
physnet_mappings: {physnet1: braio}
bridge_type: linuxbridge
ipmi_address: 127.0.0.1
ipmi_password: swordfish
`

const ansibleState = `
localhost:
  physnet_indices: {physnet1: 0}
  nodes:
  - {name: tk0, uuid: 5c7d0c0c-7f0e-4a44-9d0c-2f7a3b5f5e10, type: small, ipmi_port: 6230, ironic_config: {resource_class: small, network_interface: noop, properties: {capabilities: "boot_mode:bios"}}}
  - {name: efi0, type: efi, ipmi_port: 6231}
  - {name: tk1, uuid: 5c7d0c0c-7f0e-4a44-9d0c-2f7a3b5f5e12, type: small, ipmi_port: 6232, ironic_config: {resource_class: small, network_interface: noop, properties: {capabilities: "boot_mode:bios"}}}
`

// ansible makes what the Ansible tool makes: a bridge for the physnet that is joined to
// another, a veth pair, a volume and a domain for each node; the last one stays off.
func (h *host) ansible() {
	h.t.Helper()
	script := `set -e
ip link add braio type bridge; ip link set braio up
ip link add brtenks0 type bridge; ip link set brtenks0 up
ip link add p-brtenks0-br type veth peer name p-brtenks0-phy
ip link set p-brtenks0-br master brtenks0 up; ip link set p-brtenks0-phy master braio up
virsh -q pool-define-as tenks dir --target /var/lib/libvirt/tenks_pool
virsh -q pool-build tenks; virsh -q pool-start tenks
`
	for _, n := range adopted {
		script += strings.ReplaceAll(`ip link add p-NODE-0-br type veth peer name p-NODE-0-tap
ip link set p-NODE-0-br master brtenks0 up; ip link set p-NODE-0-tap up
virsh -q vol-create-as tenks NODEvol0 1GiB --format qcow2
`, "NODE", n.name)
	}
	h.run("sh", "-c", script)
	for i, n := range adopted {
		mac := strings.TrimSpace(h.run("cat", "/sys/class/net/p-"+n.name+"-0-tap/address"))
		h.run("virsh", "-q", "define", h.write(n.name+".xml", ansibleDomain(n.name, n.uuid, mac, n.firmware)))
		if i < len(adopted)-1 {
			h.run("virsh", "-q", "start", n.name)
		}
	}
}

// interfaces are the host's links: index and address by name.
func (h *host) interfaces() map[string]string {
	h.t.Helper()
	var links []struct {
		Ifindex         int
		Ifname, Address string
	}
	if err := json.Unmarshal([]byte(h.run("ip", "-j", "link")), &links); err != nil {
		h.t.Fatal(err)
	}
	out := map[string]string{}
	for _, l := range links {
		out[l.Ifname] = fmt.Sprintf("%d %s", l.Ifindex, l.Address)
	}
	return out
}

var guestName = regexp.MustCompile(`-name guest=([a-z0-9]+)`)

// guestPIDs are the process IDs of running guests.
func (h *host) guestPIDs() map[string]string {
	h.t.Helper()
	out := map[string]string{}
	for pid, line := range h.processes() {
		if m := guestName.FindStringSubmatch(line); m != nil {
			out[m[1]] = pid
		}
	}
	return out
}

// ansibleRecord makes a node of the real Ironic as the Ansible tool does, with a UUID that is
// not the domain's.
func (h *host) ansibleRecord(ironic *ironiclab.Ironic, name, mac string) string {
	h.t.Helper()
	var node struct{ UUID string }
	ctx := h.t.Context()
	err := ironic.Call(ctx, "POST", "/v1/nodes", map[string]any{"name": name, "driver": "ipmi", "resource_class": "small", "network_interface": "noop",
		"properties":  map[string]any{"cpus": "1", "memory_mb": "128", "local_gb": "1", "capabilities": "boot_mode:bios"},
		"driver_info": map[string]any{"ipmi_address": "127.0.0.1", "ipmi_port": 6230, "ipmi_username": "username", "ipmi_password": "swordfish"}}, &node)
	if err == nil {
		err = ironic.Call(ctx, "POST", "/v1/ports", map[string]any{"node_uuid": node.UUID, "address": mac, "physical_network": "physnet1"}, nil)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return node.UUID
}

func TestIntegrationAdoptTakesOverWhatTheAnsibleToolMadeWithoutStoppingIt(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	ironic := h.withIronic()
	before := h.traces()
	h.ansible()
	record := h.ansibleRecord(ironic, "tk0", strings.TrimSpace(h.run("cat", "/sys/class/net/p-tk0-0-tap/address")))

	override, st := h.write("override.yml", ansibleOverride), h.write("state.yml", ansibleState)
	file := filepath.Join(h.Dir(), "cluster.yml")
	t.Logf("import:\n%s", h.tenks("import", override, "--state", st, "--endpoint", ironic.URL, "--localhost", "hv1", "-o", file,
		"--agent-files", filepath.Join(h.Dir(), "agents"), "--cluster", "demo"))
	h.init("name: hv1\nadvertise: 127.0.0.1\n" + h.run("cat", filepath.Join(h.Dir(), "agents", "localhost.yml")))
	links, guests, domains := h.interfaces(), h.guestPIDs(), h.domains()
	t.Logf("guests %v, domains %v", guests, domains)

	// What still answers for the nodes is named.
	vbmcd := exec.CommandContext(t.Context(), "ip", "netns", "exec", h.Netns(), "python3", "-c",
		"import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 6232)); print('bound', flush=True); s.recv(1)")
	h.hold(vbmcd)
	if out, err := h.tryTenks("adopt", "-f", file, "--plan"); err == nil || !strings.Contains(out, "UDP port 6232 is still held by") {
		t.Errorf("with another BMC at the port: %v\n%s", err, out)
	}
	if err := vbmcd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = vbmcd.Wait() // it was killed

	out := h.tenks("adopt", "-f", file, "--plan")
	t.Logf("plan:\n%s", out)
	if alias := h.run("sh", "-c", "ip link show | grep -c alias || true"); strings.TrimSpace(alias) != "0" {
		t.Errorf("a plan marked %s links", alias)
	}
	begin := time.Now()
	t.Logf("adopt:\n%s", h.tenks("adopt", "-f", file, "--wait=3m"))
	t.Logf("adopted after %s", time.Since(begin))

	for name, was := range links {
		if now := h.interfaces()[name]; now != was {
			t.Errorf("interface %s was %q and is %q", name, was, now)
		}
	}
	if diff := cmp.Diff(guests, h.guestPIDs()); diff != "" || len(guests) != 2 {
		t.Errorf("processes of guests:\n%s", diff)
	}
	if diff := cmp.Diff(domains, h.domains()); diff != "" {
		t.Errorf("domains:\n%s", diff)
	}
	for _, n := range h.currentNodes() {
		status, err := h.ipmi(n, "power", "status")
		t.Logf("%s %s at port %d: %s%v %v", n.Name, n.Phase, n.BMC.Port, status, err, n.Reason)
		if want := map[string]string{"tk0": "on", "efi0": "on", "tk1": "off"}[n.Name]; !strings.Contains(status, "is "+want) {
			t.Errorf("%s: power %q, want %s", n.Name, status, want)
		}
	}
	nodes, err := ironic.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept := false
	for _, n := range nodes {
		t.Logf("ironic: %s %s %s", n.UUID, n.Name, n.ProvisionState)
		kept = kept || n.UUID == record && n.Name == "tk0" && n.ProvisionState == "enroll" // Ironic's users own it
	}
	if !kept || len(nodes) != 2 {
		t.Errorf("Ironic's nodes: %+v", nodes)
	}
	h.applyAgain(t, ironic, file, 3)
	if diff := cmp.Diff(guests, h.guestPIDs()); diff != "" {
		t.Errorf("processes of guests after an apply:\n%s", diff)
	}

	h.tenks("destroy", "demo", "--wait=3m")
	after := h.traces()
	after.Processes, before.Processes = nil, nil // the agent goes on
	after.Files, before.Files = volumes(after.Files), volumes(before.Files)
	before.Links, before.Pools = append(before.Links, "braio"), append(before.Pools, "tenks") // the Ansible tool leaves these, too
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("destroy left something (-before +after):\n%s", diff)
	}
	if nodes, err := ironic.Nodes(t.Context()); err != nil || len(nodes) > 0 {
		t.Errorf("Ironic still has %v, %v", nodes, err)
	}
}

// hold starts a program and waits for its first line.
func (h *host) hold(c *exec.Cmd) {
	h.t.Helper()
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		h.t.Fatal(err)
	}
}
