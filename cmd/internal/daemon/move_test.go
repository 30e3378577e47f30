package daemon

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/raftfsm/state"
)

const threeDisks = `cluster: demo
node_types: {small: {memory_mb: 512, vcpus: 1, driver: fake, volumes: [{capacity: 64MiB}], physical_networks: []}}
specs: [{type: small, count: 3, placement: {spread: zone}}]
`

// diskOf is the file of a fake node's disk on a host.
func (r *running) diskOf(node string) string {
	return filepath.Join(r.config.DataDir, "fake", "disks", node+"vol0")
}

// writeDisk makes a disk with data between holes and returns its sum.
func writeDisk(t *testing.T, path string) [32]byte {
	t.Helper()
	data := make([]byte, 10<<20)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same data each time
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	clear(data[5<<20 : 9<<20]) // allocated, and nothing in it
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, 21<<20); err != nil {
		t.Fatal(err)
	}
	return sumFile(t, path)
}

func sumFile(t *testing.T, path string) [32]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return [32]byte(sum.Sum(nil))
}

func byName(t *testing.T, peers []*running, name string) *running {
	t.Helper()
	i := slices.IndexFunc(peers, func(p *running) bool { return p.config.Name == name })
	if i < 0 {
		t.Fatalf("no peer %s", name)
	}
	return peers[i]
}

func (r *running) nodeNamed(name string) api.Node {
	r.t.Helper()
	n, err := r.Node(r.t.Context(), name, api.HideSecrets)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func TestADrainedPeersNodesMoveWithTheirDisks(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers := trio(t)
	peers[0].offered(3)
	if _, err := peers[0].Apply(t.Context(), api.ApplyRequest{File: threeDisks}); err != nil {
		t.Fatal(err)
	}
	nodes := peers[0].ready()
	before := nodes[0]
	from := byName(t, peers, before.Hypervisor)
	sum := writeDisk(t, from.diskOf(before.Name))
	if _, err := from.Boot(t.Context(), before.Name, api.BootRequest{Device: "pxe", Persistent: true}); err != nil {
		t.Fatal(err)
	}
	// One that is on waits, and says so.
	on := before.Name
	if _, err := from.Power(t.Context(), on, "on"); err != nil {
		t.Fatal(err)
	}
	from.eventually("on", func() bool { return from.nodeNamed(on).Power == "on" })
	if err := from.ChangePeer(t.Context(), from.config.Name, "drain"); err != nil {
		t.Fatal(err)
	}
	from.eventually("waiting", func() bool { return strings.Contains(from.nodeNamed(on).Reason, "it is on") })
	if p, err := from.Peer(t.Context(), from.config.Name); err != nil || len(p.Moves) != 1 || p.Moves[0].Node != on || p.Moves[0].To != "" {
		t.Errorf("peer %+v, %v", p, err)
	}
	if err := from.DrainPeer(t.Context(), from.config.Name, api.DrainRequest{StopMilli: 60_000}); err != nil {
		t.Fatal(err)
	}
	from.eventuallyIn(60*time.Second, "moved", func() bool {
		n, err := peers[0].Node(t.Context(), on, api.HideSecrets)
		return err == nil && n.Hypervisor != from.config.Name && n.Phase == "ready" && n.Power == "off"
	})
	after := peers[0].nodeNamed(on)
	to := byName(t, peers, after.Hypervisor)
	if got := sumFile(t, to.diskOf(on)); got != sum {
		t.Error("the disk is another one")
	}
	if i, err := os.Stat(to.diskOf(on)); err != nil || i.Size() != 64<<20 {
		t.Errorf("disk: %v, %v", i, err)
	}
	if after.UUID != before.UUID || after.Epoch == before.Epoch || after.BMC.Address == before.BMC.Address {
		t.Errorf("moved node %+v, was %+v", after, before)
	}
	if diff := cmp.Diff(before.Ports, after.Ports); diff != "" {
		t.Errorf("ports: -before +after\n%s", diff)
	}
	if c, err := to.Chassis(t.Context(), on); err != nil || c.BootDevice != "pxe" || !c.Persistent {
		t.Errorf("chassis %+v, %v", c, err)
	}
	from.eventually("deleted where it was", func() bool {
		left, err := filepath.Glob(filepath.Join(from.config.DataDir, "fake", "disks", "*"))
		return err == nil && len(left) == 0
	})
	left, err := os.ReadFile(filepath.Join(from.config.DataDir, "fake", "nodes.json"))
	if err != nil || strings.Contains(string(left), on) {
		t.Errorf("%s still has %s: %v", from.config.Name, left, err)
	}
	if _, err := from.Power(t.Context(), on, "on"); err != nil {
		t.Errorf("power on of what moved: %v", err)
	}
	var events []string
	if err := peers[0].Events(t.Context(), 0, client.Once, func(e api.Event) {
		if e.Node == on && strings.Contains(e.Type, "move") {
			events = append(events, e.Type)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(events, "node-move-started") || events[len(events)-1] != "node-moved" {
		t.Errorf("events %v", events)
	}
}

func TestUndrainEndsWhatWaits(t *testing.T) {
	c := newMesh(t)
	r := start(t, c)
	r.apply(twoNodes)
	if err := r.ChangePeer(t.Context(), "hv1", "drain"); err != nil {
		t.Fatal(err)
	}
	r.eventually("nowhere to go", func() bool {
		return strings.Contains(r.nodeNamed("tk0").Reason, "no other hypervisor can take node tk0: there is no other")
	})
	if err := r.ChangePeer(t.Context(), "hv1", "undrain"); err != nil {
		t.Fatal(err)
	}
	if n := r.nodeNamed("tk0"); n.Reason != "" || n.Phase != "ready" {
		t.Errorf("node %+v", n)
	}
}

const oneDisk = `cluster: demo
node_types: {large: {memory_mb: 512, vcpus: 1, driver: fake, volumes: [{capacity: 512MiB}], physical_networks: []}}
specs: [{type: large, count: 1}]
`

func TestAMoveCanBeCancelledAndGoesOnOnceItsSourceIsBack(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := newMesh(t)
	first := start(t, c)
	first.apply(oneDisk)
	disk := first.diskOf("tk0")
	if err := os.MkdirAll(filepath.Dir(disk), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(disk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), 256<<20); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(512<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sumFile(t, disk)
	second := first.joined("hv2", nil)
	first.offered(2)
	change := func(what string) {
		t.Helper()
		if err := first.ChangePeer(t.Context(), "hv1", what); err != nil {
			t.Fatal(err)
		}
	}
	stage := filepath.Join(second.config.DataDir, "fake", "disks", "tk0.move")
	came := func() int {
		b, err := os.ReadFile(filepath.Join(stage, progressName))
		if err != nil {
			return 0
		}
		return bytes.Count(b, []byte{'\n'})
	}
	change("drain")
	second.eventually("begun", func() bool { return came() > moveBatch })
	if _, err := first.Power(t.Context(), "tk0", "on"); err == nil || !strings.Contains(err.Error(), "moving to hv2") {
		t.Errorf("power on while it moves: %v", err)
	}
	change("undrain")
	second.eventually("deleted where it was coming", func() bool {
		left, err := os.ReadFile(filepath.Join(second.config.DataDir, "fake", "nodes.json"))
		_, there := os.Stat(stage)
		return err == nil && !strings.Contains(string(left), "tk0") && there != nil
	})
	for _, action := range []string{"on", "off"} {
		if _, err := first.Power(t.Context(), "tk0", action); err != nil {
			t.Errorf("power %s after the move was cancelled: %v", action, err)
		}
		first.eventually(action, func() bool { return first.nodeNamed("tk0").Power == action })
	}

	change("drain")
	second.eventually("begun again", func() bool { return came() > moveBatch })
	first.stopped()
	had := came()
	if had >= 64 {
		t.Fatal("the move was over before its source stopped")
	}
	first = start(t, c)
	first.eventuallyIn(60*time.Second, "moved", func() bool {
		n, err := first.Node(t.Context(), "tk0", api.HideSecrets)
		return err == nil && n.Hypervisor == "hv2" && n.Phase == "ready"
	})
	if got := sumFile(t, second.diskOf("tk0")); got != sum {
		t.Error("the disk is another one")
	}
	first.eventually("deleted where it was", func() bool {
		_, err := os.Stat(disk)
		return err != nil
	})
	t.Logf("%d of 64 chunks had come before", had)
}

func TestImagesMustBeTheSameOnBothHosts(t *testing.T) {
	image := filepath.Join(t.TempDir(), "base.img")
	tr, n := &transfer{in: &incoming{}}, &state.Node{Name: "tk0"}
	l := api.Luggage{Files: []api.LuggageFile{{Name: "vol0"}, {Name: "vol1", Image: image, ImageSum: sumOf([]byte("base"))}}}
	if err := tr.checkImages(n, l); err == nil || !strings.Contains(err.Error(), "is not on this host: copy it here") {
		t.Errorf("no image: %v", err)
	}
	for text, want := range map[string]string{"base": "", "bass": "is another one on this host"} {
		if err := os.WriteFile(image, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tr.in = &incoming{}
		switch err := tr.checkImages(n, l); {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("image %q: %v, want %q", text, err, want)
		}
	}
}
