package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/e2e/ironiclab"
)

// rack is hosts whose nodes share one provisioning network, with an Ironic and a boot server
// that are on it: physnet1, wired through the lab's switch.
type rack struct {
	t      *testing.T
	hosts  []*host
	ironic *ironiclab.Ironic
	images ironiclab.DeployImages
	began  time.Time

	mu sync.Mutex // guards what follows
	// seen is what Ironic said of all nodes, asked at a time.
	seen map[string]ironiclab.States
	at   time.Time
}

// newRack makes one whose Ironic cleans nodes before they are available, or does not.
func newRack(t *testing.T, hosts int, clean bool) *rack {
	t.Helper()
	ironiclab.Require(t)
	l, dir := newLab(t)
	r := &rack{t: t, began: time.Now()}
	var err error
	if r.images, err = ironiclab.Images(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.AddNetwork(t.Context(), "physnet1"); err != nil {
		t.Fatal(err)
	}
	r.ironic = inSwitchWith(t, l, ironiclab.Options{Files: true, AutomatedClean: clean, Bootloader: r.images.Bootloader})
	r.hosts = populate(t, l, dir, hosts, host{physnets: []string{"physnet1=eth-physnet1"}})
	files := map[string]string{"agent.kernel": r.images.Agent.Kernel, "agent.initramfs": r.images.Agent.Initrd,
		"user.kernel": r.images.Guest.Kernel, "user.initramfs": r.images.Guest.Initrd, "disk.raw": r.images.Disk}
	if err := r.ironic.Serve(files); err != nil {
		t.Fatal(err)
	}
	pxe := filepath.Join(l.Dir(), "pxe")
	if err := os.MkdirAll(pxe, 0o755); err != nil {
		t.Fatal(err)
	}
	// Ironic puts its iPXE script where it serves files when it starts.
	boot := ironiclab.PXE(t.Context(), t, ironiclab.PXEOptions{Dir: pxe, Netns: l.Switch(), Bridge: "net-physnet1",
		Address: netip.MustParsePrefix(guestNet), Script: r.ironic.FilesURL("boot.ipxe")})
	t.Cleanup(func() {
		if log, err := boot.Log(); err == nil && t.Failed() {
			t.Logf("end of the boot server's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch(ctx)
	}()
	t.Cleanup(func() { cancel(); <-watched })
	t.Logf("%s: %d hosts, Ironic and images are there", since(r.began), hosts)
	return r
}

// watch asks Ironic for all nodes again and again, and logs what changes.
func (r *rack) watch(ctx context.Context) {
	names := map[string]string{}
	for ; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		at := time.Now()
		now, err := r.ironic.AllStates(ctx)
		if err != nil {
			continue // the test ends, or what waits for a state says so
		}
		r.mu.Lock()
		was := r.seen
		r.seen, r.at = now, at
		r.mu.Unlock()
		for uuid, s := range now {
			if s.Provision == was[uuid].Provision && s.LastError == was[uuid].LastError {
				continue
			}
			if names[uuid] == "" {
				if n, err := r.hosts[0].api.Node(ctx, uuid, 0); err == nil {
					names[uuid] = n.Name
				}
			}
			r.t.Logf("%s: %s: %s, %s %s", since(r.began), names[uuid], s.Provision, s.Power, s.LastError)
		}
	}
}

// state is what Ironic said of a node, asked after a time; false: it has not been asked.
func (r *rack) state(n api.Node, after time.Time) (ironiclab.States, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[n.UUID], r.at.After(after)
}

// provision has Ironic do a verb, and waits for the state that is wanted of it.
func (r *rack) provision(t *testing.T, n api.Node, verb, want string, with map[string]any) {
	t.Helper()
	body := map[string]any{"target": verb}
	for k, v := range with {
		body[k] = v
	}
	began := time.Now()
	if err := r.ironic.Call(t.Context(), "PUT", "/v1/nodes/"+n.UUID+"/states/provision", body, nil); err != nil {
		t.Fatalf("%s: %s: %v", n.Name, verb, err)
	}
	asked := time.Now()
	var s ironiclab.States
	r.wait(t, 6*time.Minute, n.Name+" to be "+want, func() bool {
		var fresh bool
		s, fresh = r.state(n, asked)
		return fresh && (s.Provision == want && s.Reservation == "" || strings.HasSuffix(s.Provision, "failed") || s.Provision == "error")
	})
	if s.Provision != want {
		t.Fatalf("%s: %s: it is %s: %s", n.Name, verb, s.Provision, s.LastError)
	}
	t.Logf("%s: %s took %s", n.Name, verb, since(began))
}

func (r *rack) wait(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	h := *r.hosts[0]
	h.t = t
	h.wait(limit, what, ok)
}

// host is the one that a node is on.
func (r *rack) host(n api.Node) *host { return named(r.hosts, n.Hypervisor) }

// console is what a node has printed since it was made.
func (r *rack) console(n api.Node) string {
	text, err := os.ReadFile(r.host(n).Path(dataDir + "/console/" + n.Name + ".log"))
	if err != nil {
		return ""
	}
	return string(text)
}

// printed waits until a node has printed a line with all of some words, so often.
func (r *rack) printed(t *testing.T, n api.Node, count int, words ...string) {
	t.Helper()
	began := time.Now()
	r.wait(t, 3*time.Minute, fmt.Sprintf("%s to print %q", n.Name, words), func() bool { return r.lines(n, words...) >= count })
	t.Logf("%s: %s: printed %q %s later", since(r.began), n.Name, words, since(began))
}

// lines are how many of a node's have all of some words.
func (r *rack) lines(n api.Node, words ...string) (count int) {
	for line := range strings.Lines(r.console(n)) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			count++
		}
	}
	return count
}

// instance says what is to run on a node (Ironic's instance_info).
func (r *rack) instance(t *testing.T, n api.Node, info map[string]any) {
	t.Helper()
	patch := []any{map[string]any{"op": "add", "path": "/instance_info", "value": info}}
	if err := r.ironic.Call(t.Context(), "PATCH", "/v1/nodes/"+n.UUID, patch, nil); err != nil {
		t.Fatal(err)
	}
}

// each does something to all nodes at once. Not by t.Parallel, which has as many at a time as
// there are processors: they mostly wait.
func (r *rack) each(t *testing.T, do func(*testing.T, api.Node)) {
	t.Helper()
	var all sync.WaitGroup
	for _, n := range r.hosts[0].nodes() {
		all.Go(func() {
			t.Run(n.Name, func(t *testing.T) {
				t.Cleanup(func() {
					if text := r.console(n); t.Failed() {
						t.Logf("end of %s's console:\n%s", n.Name, text[max(0, len(text)-3000):])
					}
				})
				do(t, n)
			})
		})
	}
	all.Wait()
}
