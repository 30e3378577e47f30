package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/e2e/ironiclab"
	"tenks/cmd/internal/e2e/ironiclab/gpt"
)

// deployed is a cluster file of nodes that Ironic deploys images to: some by IPMI and iPXE with
// BIOS, others by Redfish's virtual media with UEFI. Both kinds boot the agent for that.
func (r *rack) deployed(lan, media int) string {
	return fmt.Sprintf(`cluster: demo
node_types:
  lan: {memory_mb: 512, vcpus: 1, volumes: [{capacity: 1GiB}], physical_networks: [physnet1], boot_mode: bios}
  media: {memory_mb: 512, vcpus: 1, volumes: [{capacity: 1GiB}], physical_networks: [physnet1], boot_mode: uefi, ironic_driver: redfish}
specs:
  - type: lan
    count: %d
    node_name_prefix: lan
    ironic_config: {resource_class: lan, network_interface: noop, boot_interface: ipxe, deploy_interface: direct}
  - type: media
    count: %d
    node_name_prefix: media
    ironic_config: {resource_class: media, network_interface: noop, boot_interface: redfish-virtual-media, deploy_interface: direct}
ironic: {endpoint: %q, auth: none}
deploy_kernel: %s
deploy_ramdisk: %s
`, lan, media, r.ironic.URL, r.ironic.FilesURL("agent.kernel"), r.ironic.FilesURL("agent.initramfs"))
}

// The life of a bare-metal node, with the conductor's automated cleaning: enrolled, cleaned, an
// image written to its disk by an agent, booted from that disk, undeployed and cleaned again. The
// nodes are on two hosts, and live at the same time. TENKS_DEPLOYS says how many there are.
func TestIntegrationIronicDeploysImagesToNodesDisksAndCleansThem(t *testing.T) {
	besideOthers(t)
	count := 2
	if _, err := fmt.Sscan(os.Getenv("TENKS_DEPLOYS"), &count); err != nil {
		count = 2
	}
	r := newRack(t, 2, true)
	began := time.Now()
	file := r.hosts[0].write("demo.yml", r.deployed(count/2, count-count/2))
	t.Logf("%s", r.hosts[0].tenks("apply", "-f", file, "--wait=5m"))
	t.Logf("%d nodes are enrolled, cleaned and available after %s", count, since(began))
	on := map[string]int{}
	for _, n := range r.hosts[0].nodes() {
		on[n.Hypervisor]++
	}
	if t.Logf("nodes by host: %v", on); len(on) != 2 {
		t.Errorf("the nodes are not on two hosts: %v", on)
	}
	changed := r.changeMeanwhile(t)
	r.each(t, func(t *testing.T, n api.Node) {
		if r.lines(n, ironiclab.AgentMarker+n.UUID) == 0 || r.lines(n, "erase_devices_metadata") == 0 {
			t.Errorf("%s was not cleaned by the agent", n.Name)
		}
		if n.Name == "media0" {
			r.deployWrong(t, n)
		}
		r.deploy(t, n)
		r.undeploy(t, n)
	})
	t.Logf("%d nodes: all of it took %s", count, since(began))
	changed()
	t.Logf("%s", r.hosts[1].tenks("destroy", "demo", "--yes", "--wait=3m"))
	for _, h := range r.hosts {
		if d := h.domains(); len(d) > 0 {
			t.Errorf("%s is left with %v", h.Name(), d)
		}
	}
}

// changeMeanwhile has tenks change a property of all nodes once one of them is being deployed,
// which Ironic refuses while it works on a node. What is returned looks that all have it.
func (r *rack) changeMeanwhile(t *testing.T) func() {
	t.Helper()
	nodes := r.hosts[0].nodes()
	text := r.deployed(len(nodes)/2, len(nodes)-len(nodes)/2)
	file := r.hosts[0].write("changed.yml", strings.ReplaceAll(text, "network_interface: noop", "properties: {rack: r7}, network_interface: noop"))
	applied := make(chan string, 1)
	go func() { // received below
		for t.Context().Err() == nil && !r.any("wait call-back") {
			pause(t.Context(), 100*time.Millisecond)
		}
		if t.Context().Err() != nil {
			return // nobody asks any more
		}
		out, err := r.hosts[0].tryTenks("apply", "-f", file)
		applied <- fmt.Sprintf("%s: %v: %s", since(r.began), err, out)
	}()
	return func() {
		t.Helper()
		t.Logf("a change while nodes were deployed: %s", <-applied)
		r.wait(t, time.Minute, "all nodes to have the property", func() bool {
			for _, n := range nodes {
				var is struct {
					Properties  map[string]any
					Maintenance bool
				}
				if err := r.ironic.Call(t.Context(), "GET", "/v1/nodes/"+n.UUID, nil, &is); err != nil || is.Maintenance || is.Properties["rack"] != "r7" {
					return false
				}
			}
			return true
		})
		for _, n := range r.hosts[0].nodes() {
			if n.Ironic.Error != "" {
				t.Errorf("%s: after the change: %s", n.Name, n.Ironic.Error)
			}
		}
	}
}

// any says whether Ironic has a node in a state.
func (r *rack) any(state string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.seen {
		if s.Provision == state {
			return true
		}
	}
	return false
}

// image is the disk image as instance_info says it.
func (r *rack) image(sha256 string) map[string]any {
	return map[string]any{"image_source": r.ironic.FilesURL("disk.raw"), "image_disk_format": "raw",
		"image_os_hash_algo": "sha256", "image_os_hash_value": sha256}
}

// deploy has an image written to the node's disk, from which the node then boots.
func (r *rack) deploy(t *testing.T, n api.Node) {
	t.Helper()
	r.instance(t, n, r.image(r.images.SHA256))
	began := time.Now()
	r.provision(t, n, "active", "active", map[string]any{"configdrive": map[string]any{"meta_data": map[string]any{"hostname": "host-of-" + n.Name}}})
	r.printed(t, n, 1, ironiclab.CmdlineMarker, ironiclab.DiskMarker)
	t.Logf("%s: it runs from its disk %s after the deployment began", n.Name, since(began))
	r.wait(t, time.Minute, "tenks to know that "+n.Name+" is active", func() bool { return r.hosts[0].node(n.Name).Ironic.ProvisionState == "active" })
	if c, err := r.host(n).api.Chassis(t.Context(), n.Name); err != nil || c.Power != "on" || c.BootDevice != "disk" || !c.Persistent {
		t.Errorf("%s: the chassis of a deployed node is %+v, %v", n.Name, c, err)
	}
	if n.BootMode == "uefi" {
		var media struct{ Inserted bool }
		w := works{r.host(n), r.ironic}
		if w.redfish(n, "/Managers/"+n.UUID+"/VirtualMedia/Cd", &media); media.Inserted {
			t.Errorf("%s: the agent's medium is still in", n.Name)
		}
	}
	// The image's partitions are there, and one with the config drive behind them.
	f, err := os.Open(r.disk(n))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := gpt.Read(f)
	if err != nil || len(table.Partitions) != 3 || table.Partitions[2].Name != "config-2" {
		t.Fatalf("%s: its disk has %+v, %v", n.Name, table, err)
	}
	drive := make([]byte, 1<<20)
	if _, err := f.ReadAt(drive, table.Partitions[2].Offset()); err != nil || !bytes.Contains(drive, []byte("host-of-"+n.Name)) {
		t.Errorf("%s: the config drive is not there: %v", n.Name, err)
	}
}

// undeploy has the node cleaned: what was on its disk cannot be found.
func (r *rack) undeploy(t *testing.T, n api.Node) {
	t.Helper()
	r.provision(t, n, "deleted", "available", nil)
	f, err := os.Open(r.disk(n))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, end - 1<<20} {
		part := make([]byte, 1<<20)
		if _, err := f.ReadAt(part, at); err != nil || !bytes.Equal(part, make([]byte, 1<<20)) {
			t.Errorf("%s: its disk was not wiped at %d: %v", n.Name, at, err)
		}
	}
}

// deployWrong has an image written that is not the one that was meant. The node is left as that
// leaves it: it can be deployed at once.
func (r *rack) deployWrong(t *testing.T, n api.Node) {
	t.Helper()
	r.instance(t, n, r.image(strings.Repeat("0", 64)))
	r.provision(t, n, "active", "deploy failed", nil)
	if s, _ := r.state(n, time.Time{}); !strings.Contains(s.LastError, "its sha256 is "+r.images.SHA256) {
		t.Errorf("%s: Ironic says %q", n.Name, s.LastError)
	}
	r.wait(t, time.Minute, "tenks to say so", func() bool {
		i := r.hosts[0].node(n.Name).Ironic
		return i.ProvisionState == "deploy failed" && strings.Contains(i.Error, "sha256")
	})
	t.Logf("tenks node list:\n%s", r.hosts[0].tenks("node", "list"))
}

// disk is the file of a node's first volume.
func (r *rack) disk(n api.Node) string {
	return r.host(n).Path(filepath.Join(poolDir, n.Name+"vol0"))
}

// ramdisks is a cluster file of nodes that run a user's ramdisk: with each firmware, once booted
// by iPXE and once from virtual media.
func (r *rack) ramdisks() string {
	return fmt.Sprintf(`cluster: demo
node_types:
  lan: {memory_mb: 256, vcpus: 1, volumes: [{capacity: 1GiB}], physical_networks: [physnet1], boot_mode: bios}
  bios: {memory_mb: 256, vcpus: 1, volumes: [{capacity: 1GiB}], physical_networks: [physnet1], boot_mode: bios, ironic_driver: redfish}
  uefi: {memory_mb: 512, vcpus: 1, volumes: [{capacity: 1GiB}], physical_networks: [physnet1], boot_mode: uefi, ironic_driver: redfish}
specs:
  - {type: lan, count: 1, node_name_prefix: ipxe-bios, ironic_config: &ipxe {resource_class: r, network_interface: noop, boot_interface: ipxe, deploy_interface: ramdisk}}
  - {type: uefi, count: 1, node_name_prefix: ipxe-uefi, ironic_config: *ipxe}
  - {type: bios, count: 1, node_name_prefix: media-bios, ironic_config: &media {resource_class: r, network_interface: noop, boot_interface: redfish-virtual-media, deploy_interface: ramdisk}}
  - {type: uefi, count: 1, node_name_prefix: media-uefi, ironic_config: *media}
ironic: {endpoint: %q, auth: none}
`, r.ironic.URL)
}

func TestIntegrationIronicRunsRamdisksByIPXEAndVirtualMediaWithBothFirmwares(t *testing.T) {
	besideOthers(t)
	r := newRack(t, 1, false)
	t.Logf("%s", r.hosts[0].tenks("apply", "-f", r.hosts[0].write("demo.yml", r.ramdisks()), "--wait=2m"))
	r.each(t, func(t *testing.T, n api.Node) {
		// For nodes without an agent, Ironic 21.4 looks for the boot loader of its ISO here only.
		r.instance(t, n, map[string]any{"kernel": r.ironic.FilesURL("user.kernel"), "ramdisk": r.ironic.FilesURL("user.initramfs"),
			"ramdisk_kernel_arguments": "console=ttyS0,115200 quiet tenks.user=" + n.Name, "bootloader": "file://" + r.images.Bootloader})
		began := time.Now()
		r.provision(t, n, "active", "active", nil)
		r.printed(t, n, 1, ironiclab.CmdlineMarker, "tenks.user="+n.Name)
		r.printed(t, n, 1, ironiclab.Marker)
		t.Logf("%s: the ramdisk runs %s after the deployment began", n.Name, since(began))
		// It is there again after a reset: the boot device is for good.
		w := works{r.host(n), r.ironic}.in(t)
		w.power(n, "rebooting", "on")
		r.printed(t, n, 2, ironiclab.Marker)
		w.power(n, "power off", "off")
		r.provision(t, n, "deleted", "available", nil)
	})
}
