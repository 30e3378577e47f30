package e2e

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/client"
	"tenks/cmd/internal/lab"
	"tenks/hostops/ovs/ovstest"
)

// remains is everything that there is on a host, of whatever kind: more than traces, which
// looks where something was once left.
type remains struct{ Domains, Pools, Volumes, Links, Addresses, Routes, Rules, Neighbours, Records, Files, Processes []string }

// others are files of libvirt's and Open vSwitch's own doing, among them libvirt's log of each
// guest, which its package rotates, and folders that it makes when it first needs them.
var (
	others  = regexp.MustCompile(`^disk/var/cache/libvirt/|^disk/var/log/libvirt/qemu/.*\.log$|^run/libvirt/(lockd|common)|/[^/]*\.pid$|^run/udev|\.~lock~$`)
	folders = regexp.MustCompile(`^(disk/etc|disk/var/lib|run)/libvirt/`)
)

// remains looks at all of the host. What an agent itself has is left out where it goes on.
func (h *host) remains(sw *ovstest.Switch, agent bool) remains {
	h.t.Helper()
	var r remains
	lines := func(name string, args ...string) []string {
		out := strings.Split(h.run(name, args...), "\n")
		for i, line := range out {
			out[i] = strings.Join(strings.Fields(line), " ")
		}
		slices.Sort(out)
		return slices.DeleteFunc(out, func(s string) bool { return s == "" })
	}
	r.Domains = lines("virsh", "-q", "list", "--all", "--name")
	r.Pools = lines("virsh", "-q", "pool-list", "--all", "--name")
	for _, pool := range r.Pools {
		r.Volumes = append(r.Volumes, lines("virsh", "-q", "vol-list", pool)...)
	}
	r.Links = lines("ip", "-br", "link")
	r.Addresses = lines("ip", "-br", "address")
	r.Routes = lines("ip", "route", "show", "table", "all")
	r.Rules = append(lines("ip", "rule"), lines("nft", "list", "ruleset")...)
	r.Neighbours = lines("bridge", "fdb")
	for _, table := range []string{"Bridge", "Port", "Interface", "Mirror", "QoS", "Queue"} {
		names := "name"
		if table == "QoS" || table == "Queue" {
			names = "external_ids"
		}
		out, err := sw.Vsctl(h.t.Context(), "--bare", "--columns="+names, "list", table)
		if err != nil {
			h.t.Fatal(err)
		}
		for name := range strings.FieldsSeq(out) {
			r.Records = append(r.Records, table+" "+name)
		}
	}
	slices.Sort(r.Records)
	err := filepath.WalkDir(h.Dir(), func(path string, e fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, h.Dir()+"/")
		ofAgent := strings.HasPrefix(name, "disk"+dataDir+"/") && !strings.Contains(name, "/pool/") && !strings.Contains(name, "/console/")
		if err == nil && !others.MatchString(name) && !(e.IsDir() && folders.MatchString(name)) && !(agent && ofAgent) {
			r.Files = append(r.Files, name)
		}
		return nil // what went in between is not there
	})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, line := range h.processes() {
		program, _, _ := strings.Cut(line, " ")
		if program = filepath.Base(program); !agent || !strings.HasPrefix(program, "tenks") {
			r.Processes = append(r.Processes, program)
		}
	}
	slices.Sort(r.Processes)
	return r
}

// goes waits until there is nothing but what there was.
func (h *host) goes(sw *ovstest.Switch, before remains, agent bool, how string) {
	h.t.Helper()
	var diff string
	for deadline := time.Now().Add(20 * time.Second); ; {
		if diff = cmp.Diff(before, h.remains(sw, agent)); diff == "" {
			return
		}
		if time.Now().After(deadline) {
			h.t.Errorf("%s left something (-before +after):\n%s", how, diff)
			return
		}
		<-time.After(200 * time.Millisecond)
	}
}

// wholeAgent is an agent.yml with a physnet of each kind.
const wholeAgent = `name: hv1
advertise: %s
bridge_type: %s
ovs: {datapath: netdev}
physnets:
  physnet1: {device: br-ex}
  plain: {device: eth9}
  tenant: {vxlan: 5000}
  alone: {}
`

// wholeCluster has nodes of all that leaves something on a host.
const wholeCluster = `cluster: whole
node_types:
  secure: {memory_mb: 128, vcpus: 1, boot_mode: uefi, secure_boot: true, tpm: "2.0", physical_networks: [physnet1, tenant],
    volumes: [{capacity: 8MiB}, {capacity: 8MiB, image: %[1]s}, {capacity: 8MiB, image: %[1]s, copy: true, format: raw}]}
  old: {memory_mb: 64, vcpus: 1, boot_mode: bios, physical_networks: [plain, alone], volumes: [{capacity: 8MiB}], enable_vnc: true}
specs:
  - {type: secure, count: 2, node_name_prefix: sec}
  - {type: old, count: 1, node_name_prefix: old}
`

// What there was before is what there is after, of whatever kind, whichever way it goes.
func TestIntegrationDestroyDownAndLeaveLeaveTheHostAsItWas(t *testing.T) {
	besideOthers(t)
	lab.RequireOVS(t)
	l, dir := newLab(t)
	var hosts []*host
	for _, name := range []string{"hv1", "hv2"} {
		lh, err := l.AddHost(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, &host{Host: lh, t: t, api: client.New(lh.Path(dataDir + "/api.sock")), log: filepath.Join(dir, name+".log")})
	}
	h, other := hosts[0], hosts[1]
	if err := h.StartLibvirtd(t.Context()); err != nil {
		t.Fatal(err)
	}
	sw, err := h.StartOVS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sw.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := sw.Vsctl(t.Context(), "add-br", "br-ex", "--", "set", "bridge", "br-ex", "datapath_type=netdev"); err != nil {
		t.Fatal(err)
	}
	h.run("ip", "link", "add", "eth9", "type", "veth", "peer", "name", "far")
	h.run("ip", "link", "set", "eth9", "up")
	h.run("ip", "link", "set", "far", "up")
	h.wait(20*time.Second, "their addresses", func() bool { return h.run("ip", "-6", "address", "show", "tentative") == "" })
	h.write("whole.yml", fmt.Sprintf(wholeCluster, h.write("base.raw", strings.Repeat("x", 1<<20))))
	h.run("virsh", "-q", "list") // libvirtd has made its own files
	h.goesBy(sw, "destroy", "openvswitch", nil)
	h.goesBy(sw, "down", "linux", nil)
	other.enterFake(nil, 2, "")
	h.goesBy(sw, "leave --force", "openvswitch", []*host{other})
}

// goesBy makes nodes of all kinds on the host, has them run, and takes all of it away again.
func (h *host) goesBy(sw *ovstest.Switch, how, bridges string, mesh []*host) {
	h.t.Helper()
	file, agentFile := filepath.Join(h.Dir(), "whole.yml"), h.write("agent.yml", fmt.Sprintf(wholeAgent, h.Address(), bridges))
	before, began := h.remains(sw, false), time.Now()
	h.run("mkdir", "-p", dataDir)
	h.run("cp", agentFile, dataDir+"/agent.yml")
	switch {
	case how == "down":
		h.tenks("up", "-f", file)
	case mesh == nil:
		h.tenks("init")
		h.tenks("apply", "-f", file, "--wait=1m")
	default:
		h.tenks("join", strings.Split(mesh[0].tenks("token", "create"), "\n")[0])
		h.tenks("apply", "-f", file, "--wait=1m")
	}
	for _, n := range h.nodes() {
		h.tenks("node", "power", "on", n.Name)
	}
	h.wait(20*time.Second, "three guests", func() bool { return len(h.guests()) == 3 })
	h.t.Logf("%s, with bridges of %s: %v", how, bridges, h.remains(sw, false).Processes)
	switch how {
	case "down":
		h.tenks("down")
	case "destroy":
		h.tenks("destroy", "whole", "--yes", "--wait=1m")
		h.goes(sw, before, true, how)
		h.tenks("leave")
	default:
		h.tenks(strings.Fields(how)...)
	}
	h.goes(sw, before, false, how)
	h.t.Logf("%s, with bridges of %s: nothing is left; all of it took %s", how, bridges, time.Since(began).Round(100*time.Millisecond))
}
