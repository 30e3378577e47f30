//go:build cgo && libvirt_dlopen

package libvirt

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/raftfsm/state"
)

func TestIntegrationLibvirtHundredNodes(t *testing.T) {
	const nodes, parallel, running = 100, 16, 10
	b := newBench(t)
	each := func(what string, do func(i int) error) {
		t.Helper()
		began := time.Now()
		var g errgroup.Group
		g.SetLimit(parallel)
		for i := range nodes {
			g.Go(func() error { return do(i) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d nodes, %d at a time: %s", what, nodes, parallel, time.Since(began).Round(time.Millisecond))
	}
	each("create", func(i int) error { return b.Ensure(t.Context(), node(i, 1)) })
	each("ensure again", func(i int) error { return b.Ensure(t.Context(), node(i, 1)) })
	list := func(what string) {
		t.Helper()
		began := time.Now()
		all, err := b.Instances(t.Context())
		took := time.Since(began)
		if err != nil || len(all) != nodes {
			t.Fatalf("%d instances, %v", len(all), err)
		}
		for _, i := range all {
			if i.Digest == "" {
				t.Errorf("%s: %+v", what, i)
			}
		}
		t.Logf("list, %s: %s", what, took.Round(100*time.Microsecond))
		// The reconciler lists every two seconds.
		if took > time.Second {
			t.Errorf("list, %s: %s", what, took)
		}
	}
	list("first time")
	list("again")
	for i := range running {
		plug(t, i, 0)
		b.power(node(i, 1), state.ActionOn, "")
	}
	list("some run")
	list("some run, again")
	each("remove", func(i int) error { return b.Remove(t.Context(), node(i, 1).UUID) })
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
