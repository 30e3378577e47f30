package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/e2e/ironiclab"
)

type node = api.Node

// kills is how often the agent is killed; TENKS_KILLS overrides it.
const kills = 30

func TestIntegrationKillsOfTheAgentLoseAndLeaveNothing(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	ironic := h.withIronic()
	h.init(agentYAML)
	// Guests that must not notice anything.
	h.tenks("apply", "-f", h.write("keep.yml", strings.NewReplacer("cluster: demo", "cluster: keep",
		"{type: small, count: 2}", "{type: small, count: 2, node_name_prefix: keep}").Replace(demo(2))), "--wait=2m")
	for _, name := range []string{"keep0", "keep1"} {
		h.tenks("node", "power", "on", name)
	}
	running, kept := h.domains(), h.traces()
	rounds := kills
	if text := os.Getenv("TENKS_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a moment to kill at needs no secrecy
	t.Logf("seed %d, %d kills", seed, rounds)
	for round := range rounds {
		if round%2 == 0 {
			h.killDuringApply(random, ironic, 1+random.IntN(3))
		} else {
			h.killDuringDestroy(random, ironic, kept)
		}
		for name, id := range running {
			if got := h.domains()[name]; got != id {
				t.Fatalf("kill %d: domain ID of running guest %s: %s became %s", round, name, id, got)
			}
		}
	}
	if rounds%2 == 1 {
		h.killDuringDestroy(random, ironic, kept)
	}
	t.Logf("after %d kills: domains %v, Ironic and host as before", rounds, h.domains())
}

// killAfter kills the agent a random while into a task, and starts it again.
func (h *host) killAfter(random *rand.Rand, most time.Duration, task func()) {
	h.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		task()
	}()
	pause(h.t.Context(), time.Duration(random.Int64N(int64(most))))
	h.killAgent()
	<-done
	h.startAgent()
}

func (h *host) killDuringApply(random *rand.Rand, ironic *ironiclab.Ironic, count int) {
	h.t.Helper()
	file := h.write("demo.yml", enrolled(ironic.URL, count, 1))
	h.killAfter(random, 5*time.Second, func() {
		_, _ = h.tryTenks("apply", "-f", file, "--wait=1m") // the agent dies under it
	})
	// It was acknowledged, or it was not: a repeat brings both to the same end.
	h.tenks("apply", "-f", file, "--wait=3m")
	nodes, err := ironic.Nodes(h.t.Context())
	if err != nil || len(nodes) != count+1 {
		h.t.Fatalf("Ironic has %d nodes, %v; want %d", len(nodes), err, count+1)
	}
	want := []string{"keep0", "keep1", "large0"}
	for i := range count {
		want = append(want, fmt.Sprintf("small%d", i))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, h.traces().Domains); diff != "" {
		h.t.Fatalf("domains after apply:\n%s", diff)
	}
}

func (h *host) killDuringDestroy(random *rand.Rand, ironic *ironiclab.Ironic, kept traces) {
	h.t.Helper()
	h.killAfter(random, 3*time.Second, func() {
		_, _ = h.tryTenks("destroy", "demo", "--wait=1m")
	})
	if out, err := h.tryTenks("destroy", "demo", "--wait=3m"); err != nil && !strings.Contains(out, "not found") {
		h.t.Fatalf("destroy: %v: %s", err, out)
	}
	nodes, err := ironic.Nodes(h.t.Context())
	if err != nil || len(nodes) > 0 {
		h.t.Fatalf("Ironic still has %+v, %v", nodes, err)
	}
	got := h.traces()
	got.Processes, kept.Processes = nil, nil
	got.Files, kept.Files = volumes(slices.Clone(got.Files)), volumes(slices.Clone(kept.Files))
	if diff := cmp.Diff(kept, got); diff != "" {
		h.t.Fatalf("something is left (-before +after):\n%s", diff)
	}
}
