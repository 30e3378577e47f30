package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
)

// movedData is how much a guest has written to the disk that moves, in bytes.
const movedData = 384 << 20

const fourDisks = `cluster: demo
node_types:
  small:
    driver: libvirt
    memory_mb: 128
    vcpus: 1
    volumes: [{capacity: 1GiB}]
    physical_networks: [physnet1, physnet2]
    boot_mode: bios
specs: [{type: small, count: 4, node_name_prefix: tk, placement: {spread: zone}}]
`

const poolDir = "/var/lib/tenks/pool"

func (h *host) volume(node string) string { return h.Path(poolDir + "/" + node + "vol0") }

// fill writes what a guest could have into a volume, and returns the volume's sum.
func (h *host) fill(node string) string {
	h.t.Helper()
	f, err := os.OpenFile(h.volume(node), os.O_WRONLY, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{1})
	if _, err := f.Seek(100<<20, io.SeekStart); err != nil {
		h.t.Fatal(err)
	}
	if _, err := io.CopyN(f, random, movedData); err != nil {
		h.t.Fatal(err)
	}
	return h.sum(node)
}

func (h *host) sum(node string) string {
	h.t.Helper()
	f, err := os.Open(h.volume(node))
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		h.t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// sent is how many bytes of files of moved nodes the host's agent has handed out.
func (h *host) sent() (bytes float64) {
	h.t.Helper()
	var name string
	if _, err := fmt.Sscan(h.metric("tenks_move_sent_bytes_total"), &name, &bytes); err != nil {
		h.t.Fatal(err)
	}
	return bytes
}

func named(hosts []*host, name string) *host {
	i := slices.IndexFunc(hosts, func(h *host) bool { return h.Name() == name })
	if i < 0 {
		return nil
	}
	return hosts[i]
}

func TestIntegrationADrainedHostsNodesMoveWithTheirDisksThoughTheTargetsAgentIsKilled(t *testing.T) {
	besideOthers(t)
	_, hosts := newMesh(t, 3)
	before := map[string]traces{}
	for _, h := range hosts {
		before[h.Name()] = h.traces()
	}
	t.Logf("%s", hosts[0].tenks("apply", "-f", hosts[0].write("demo.yml", fourDisks), "--wait=2m"))
	on := map[string][]api.Node{}
	var from *host
	for _, n := range hosts[0].nodes() {
		on[n.Hypervisor] = append(on[n.Hypervisor], n)
		if len(on[n.Hypervisor]) == 2 {
			from = named(hosts, n.Hypervisor)
		}
	}
	off, running := on[from.Name()][0], on[from.Name()][1]
	sum := from.fill(off.Name)
	hosts[0].tenks("node", "boot", off.Name, "pxe", "--persistent")
	hosts[0].tenks("node", "power", "on", running.Name)
	// The command runs on a host that is not killed below.
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	began := time.Now()
	go func() { // received below
		out, err := from.tryTenks("peer", "drain", from.Name(), "--stop", "--stop-timeout=3s", "--wait=3m")
		done <- result{out, err}
	}()
	var to *host
	// After a line that says what there is to come, there is one for each chunk that did.
	came := func() int {
		b, err := os.ReadFile(to.Path(poolDir + "/." + off.Name + ".move/.progress"))
		if err != nil {
			return 0
		}
		return max(0, bytes.Count(b, []byte{'\n'})-1)
	}
	from.wait(30*time.Second, "the move to begin", func() bool {
		p, err := from.api.Peer(t.Context(), from.Name())
		if err != nil {
			return false
		}
		for _, m := range p.Moves {
			if m.Node == off.Name && m.To != "" {
				to = named(hosts, m.To)
			}
		}
		return to != nil
	})
	from.wait(30*time.Second, "a third of the disk", func() bool { return came()*api.MoveChunk > movedData/3 })
	to.signalAgent(syscall.SIGKILL)
	t.Logf("agent of %s killed %s after the drain began: %.0f MiB were sent, %d MiB of them safe", to.Name(),
		time.Since(began).Round(time.Millisecond), from.sent()/(1<<20), came()*api.MoveChunk>>20)
	if _, err := from.tryTenks("node", "power", "on", off.Name); err == nil {
		t.Error("a node was switched on while it moves")
	}
	to.startAgent()
	r := <-done
	t.Logf("drain took %s:\n%s", time.Since(began).Round(time.Millisecond), r.out)
	if r.err != nil {
		t.Fatalf("drain: %v", r.err)
	}
	hosts[0].waitReady(4, time.Minute)
	sent := from.sent()
	if limit := float64(movedData + 64<<20); sent < movedData || sent > limit {
		t.Errorf("%.0f MiB were sent for %d MiB of data", sent/(1<<20), movedData>>20)
	}
	t.Logf("%.1f MiB were sent for %d MiB of data", sent/(1<<20), movedData>>20)

	moved := to.node(off.Name)
	if moved.Hypervisor != to.Name() || moved.UUID != off.UUID || moved.BMC.Address == off.BMC.Address || moved.BMC.Password != off.BMC.Password {
		t.Errorf("it is now %+v, was %+v", moved, off)
	}
	macs := func(n api.Node) (out []string) {
		for _, p := range n.Ports {
			out = append(out, p.MAC+" "+p.Physnet)
		}
		return out
	}
	if diff := cmp.Diff(macs(off), macs(moved)); diff != "" {
		t.Errorf("ports: -before +after\n%s", diff)
	}
	if got := to.sum(off.Name); got != sum {
		t.Errorf("sum of the disk is %s, was %s", got, sum)
	}
	if _, err := os.Stat(to.Path(poolDir + "/." + off.Name + ".move")); err == nil {
		t.Error("the stage is left")
	}
	from.wait(20*time.Second, "nothing to be left where they were", func() bool {
		now, was := from.traces(), before[from.Name()]
		return slices.Equal(now.Domains, was.Domains) && slices.Equal(now.Links, was.Links) && slices.Equal(now.Pools, was.Pools)
	})
	if left, err := filepath.Glob(from.Path(poolDir) + "/*"); err != nil || len(left) > 0 {
		t.Errorf("%s still has %v, %v", from.Name(), left, err)
	}
	for _, n := range []api.Node{off, running} {
		n = hosts[0].node(n.Name)
		hosts[0].tenks("node", "power", "on", n.Name)
		hosts[0].wait(30*time.Second, "power on of "+n.Name, func() bool {
			out, err := hosts[0].ipmi(n, "power", "status")
			return err == nil && out == "Chassis Power is on\n"
		})
	}
	if c, err := to.api.Chassis(t.Context(), off.Name); err != nil || c.BootDevice != "pxe" || !c.Persistent {
		t.Errorf("its chassis is %+v, %v", c, err)
	}
	t.Logf("events:\n%s", from.tenks("events"))
	t.Logf("%s", from.tenks("peer", "list"))
}
