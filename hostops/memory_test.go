package hostops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"tenks/hostops/driver"
	"tenks/hostops/fake"
	"tenks/raftfsm/state"
)

func keep(t *testing.T, c *Chassis, key, value string) {
	t.Helper()
	if err := c.Keep(t.Context(), key, []byte(value)); err != nil {
		t.Fatalf("keep %s: %v", key, err)
	}
}

func TestMemoryOutlivesTheAgentAndGoesWithItsNode(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"), node("ab"))
		e.mustPass()
		for _, c := range []*Chassis{e.chassis("a"), e.chassis("ab")} {
			keep(t, c, "ipmi/sel", "events of "+c.uuid)
			keep(t, c, "ipmi/empty", "")
			keep(t, c, "ipmi/old", "x")
			if err := c.Keep(t.Context(), "ipmi/old", nil); err != nil {
				t.Fatal(err)
			}
		}
		e.restart()
		for _, uuid := range []string{"a", "ab"} {
			c := e.chassis(uuid)
			if got, empty := c.Recall("ipmi/sel"), c.Recall("ipmi/empty"); string(got) != "events of "+uuid || empty == nil || c.Recall("ipmi/old") != nil {
				t.Errorf("node %s: recalled %q, %v, %q", uuid, got, empty, c.Recall("ipmi/old"))
			}
		}
		old := e.chassis("a")
		e.removeNode("a")
		e.mustPass()
		e.mustPass()
		if err := old.Keep(t.Context(), "ipmi/sel", []byte("late")); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("keep for a node that is gone: %v", err)
		}
		all, err := e.host.store.memories()
		if err != nil || all["a"] != nil || len(all["ab"]) != 2 {
			t.Errorf("after its node went the file has %q, %v", all, err)
		}
	})
}

func TestKeepRefusesWhatIsTooLarge(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.mustPass()
		c := e.chassis("a")
		keep(t, c, "k", string(make([]byte, MaxKept)))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for _, test := range []struct {
			name string
			ctx  context.Context
			key  string
			size int
			want error
		}{
			{"a value too large", t.Context(), "k", MaxKept + 1, state.ErrUnsupported},
			{"no key", t.Context(), "", 1, state.ErrUnsupported},
			{"a long key", t.Context(), string(make([]byte, maxKey+1)), 1, state.ErrUnsupported},
			{"an ended context", ended, "k", 1, context.Canceled},
		} {
			if err := c.Keep(test.ctx, test.key, make([]byte, test.size)); !errors.Is(err, test.want) {
				t.Errorf("%s: got %v, want %v", test.name, err, test.want)
			}
		}
		if got := c.Recall("k"); len(got) != MaxKept {
			t.Errorf("what is kept has %d bytes", len(got))
		}
	})
}

func TestManyWritersOfMemoryShareASync(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		var nodes []state.Node
		for i := range 50 {
			nodes = append(nodes, node(fmt.Sprintf("n%02d", i)))
		}
		e.place(nodes...)
		e.mustPass()
		before := e.host.store.db.Stats()
		var all sync.WaitGroup
		for _, n := range nodes {
			all.Go(func() { keep(t, e.chassis(n.UUID), "k", n.UUID) })
		}
		all.Wait()
		after := e.host.store.db.Stats()
		writes := after.TxStats.GetWrite() - before.TxStats.GetWrite()
		if writes > 50 { // each transaction has several
			t.Errorf("%d writes for 50 values that came together", writes)
		}
		for _, n := range nodes {
			if got := e.chassis(n.UUID).Recall("k"); string(got) != n.UUID {
				t.Errorf("node %s recalls %q", n.UUID, got)
			}
		}
	})
}

func TestMemoryMovesWithItsNode(t *testing.T) {
	withMover(t, func(t *testing.T, e *env, _ *fake.Driver) {
		e.place(withDisk("a"))
		e.mustPass()
		keep(t, e.chassis("a"), "ipmi/sel", "\x00events")
		if err := e.chassis("a").save(func(r *row) { r.Media, r.Stick = &savedMedia{File: "/media/a.iso"}, &savedMedia{File: "/media/a.img"} }); err != nil {
			t.Fatal(err)
		}
		e.startMove("a", "peer-2")
		out, err := e.host.Outgoing(t.Context(), "a", "peer-2")
		if err != nil {
			t.Fatal(err)
		}
		var old row // what a Tenks without memory reads
		if err := json.Unmarshal(out.Chassis, &old); err != nil || old.Policy != state.RestorePrevious {
			t.Errorf("as it was read before: %+v, %v", old, err)
		}

		if old.Media != nil || old.Stick != nil {
			t.Errorf("an image that stays behind goes along: %+v", old.Media)
		}

		e.placeOn("peer-2", withDisk("b"))
		start := e.startMove("b", self)
		if _, err := e.host.Stage(t.Context(), e.node("b")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := e.host.Import(t.Context(), e.node("b"), driver.Luggage{}, out.Chassis); err != nil {
				t.Fatal(err)
			}
		}
		e.restart()
		e.apply(state.FinishMove{UUID: "b", Start: start})
		e.mustPass()
		if got := e.chassis("b").Recall("ipmi/sel"); !bytes.Equal(got, []byte("\x00events")) {
			t.Errorf("recalled %q on the other host", got)
		}
	})
}
