package histories

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenks/cluster"
	"tenks/cluster/transport/memnet"
)

// How long faults go on, how long a mesh may take to be made, and to be whole again.
const (
	unrest  = 60 * time.Second
	making  = 3 * time.Minute
	healing = 5 * time.Minute
	clients = 8
	// lastProbe is how long memberlist's probes take at most: eight times their interval.
	lastProbe = 10 * time.Second
)

// world is five hosts and what happens to them.
type world struct {
	t       *testing.T
	plan    plan
	log     *slog.Logger
	net     *memnet.Network
	hosts   []*host
	history *history
	watch   *watch
	secrets io.Reader

	// wires guards the network's faults, and moves: how often all changed their address.
	wires sync.Mutex
	moves int

	placed, faults atomic.Int64

	mu sync.Mutex // guards what follows
	// strange are errors of which clients cannot say what they mean, and how many.
	strange map[string]int
}

func newWorld(t *testing.T, p plan, dir string, log *slog.Logger) *world {
	w := &world{t: t, plan: p, log: log, net: memnet.New(p.seed), history: &history{}, watch: newWatch(),
		secrets: crand.Reader, strange: map[string]int{}}
	for i := range size {
		w.hosts = append(w.hosts, &host{world: w, name: fmt.Sprintf("hv%d", i+1), zone: fmt.Sprintf("z%d", i%p.zones),
			dir: filepath.Join(dir, fmt.Sprintf("hv%d", i+1)), address: address(i), disk: &disk{}})
	}
	w.delays()
	return w
}

func (w *world) odd(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.strange[err.Error()]++
}

// eventually waits, in the bubble's time.
func (w *world) eventually(limit time.Duration, what string, is func(ctx context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		if err = is(ctx); err == nil {
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
	w.t.Errorf("never in %v: %s: %v", limit, what, err)
}

// make makes the mesh, of all hosts.
func (w *world) make() {
	first := w.hosts[0]
	if err := first.found(); err != nil {
		w.t.Fatal(err)
	}
	w.start(first)
	w.eventually(making, "a mesh of one", func(ctx context.Context) error {
		_, err := first.up().current(ctx)
		return err
	})
	for _, h := range w.hosts[1:] {
		w.eventually(making, h.name+" joins", func(ctx context.Context) error { return h.join(ctx, first.up()) })
		w.start(h)
	}
	want := 3
	if w.plan.zones == size {
		want = 5
	}
	w.eventually(making, "all have their part in the log", func(context.Context) error {
		votes := 0
		members := first.up().mesh.Members()
		for _, m := range members {
			if m.Role == cluster.Voter {
				votes++
			}
		}
		if votes != want || len(members) != size {
			return fmt.Errorf("%d voters of %d members", votes, len(members))
		}
		return nil
	})
}

// unrest lets things fail while clients go on.
func (w *world) unrest() {
	ctx, cancel := context.WithTimeout(w.t.Context(), unrest)
	defer cancel()
	var work, nemeses sync.WaitGroup
	for i := range clients {
		c := &client{world: w, id: i, random: rand.New(rand.NewPCG(w.plan.seed, uint64(100+i)))}
		work.Go(func() { c.run(ctx) })
	}
	for _, steps := range w.plan.steps {
		nemeses.Go(func() { w.nemesis(ctx, steps) })
	}
	w.watch.led = time.Now() // or it will be seen soon
	for ctx.Err() == nil {
		pause(ctx, 50*time.Millisecond)
		w.watch.leads(w.leading(), time.Now())
	}
	nemeses.Wait()
	work.Wait()
}

func (w *world) leading() string {
	for _, h := range w.hosts {
		if p := h.up(); p != nil && p.mesh.IsLeader() {
			return h.name
		}
	}
	return ""
}

// heal mends everything, and waits until all peers have all of the state.
func (w *world) heal() {
	w.net.HealAll()
	w.calm()
	for _, h := range w.hosts {
		h.disk.slow(0)
		h.disk.goOn(false)
		w.start(h)
	}
	w.eventually(healing, "all peers have the same state", func(ctx context.Context) error {
		index, digest := uint64(0), ""
		for _, h := range w.hosts {
			bounded, cancel := context.WithTimeout(ctx, patience)
			snap, err := h.up().current(bounded)
			cancel()
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			if digest != "" && snap.Index() == index && snap.Digest() != digest {
				w.t.Fatalf("%s: another state than others at index %d", h.name, index)
			}
			if snap.Index() != index && index != 0 {
				return fmt.Errorf("%s: at %d, want %d", h.name, snap.Index(), index)
			}
			index, digest = snap.Index(), snap.Digest()
		}
		return nil
	})
	for _, h := range w.hosts {
		if p := h.up(); p != nil && p.fsm.Err() != nil {
			w.t.Errorf("%s: %v", h.name, p.fsm.Err())
		}
	}
	// What was written is read once more by everybody.
	for i, h := range w.hosts {
		for _, key := range append(append([]string{}, clusterKeys...), registerKeys...) {
			op := w.history.begin(clients+i, input{op: opRead, key: key})
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
			snap, err := h.up().current(ctx)
			cancel()
			if err != nil {
				w.t.Errorf("%s: the last read: %v", h.name, err)
				continue
			}
			op.end(done, get(snap, key), snap.Index())
		}
	}
}

// close ends all peers.
func (w *world) close() {
	for _, h := range w.hosts {
		h.disk.goOn(false)
		if err := h.stop(); err != nil {
			w.t.Errorf("%s: stop: %v", h.name, err)
		}
	}
	// memberlist's last probes end by themselves, and time goes on only until the test ends.
	<-time.After(lastProbe)
}
