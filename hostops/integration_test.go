package hostops

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/hostops/fake"
	"tenks/hostops/link"
	"tenks/hostops/nettest"
	"tenks/raftfsm/state"
)

// realEnv is a host with real links, in a network namespace of its own, and the
// fake driver.
func realEnv(t *testing.T) (*env, *fake.Driver, *link.Host) {
	t.Helper()
	nettest.Namespace(t)
	links, err := link.Open(link.Config{Mesh: mesh, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := links.Close(); err != nil {
			t.Error(err)
		}
	})
	nodes, err := fake.Open(driver.Config{Mesh: mesh, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nodes.Close)
	e := newEnv(t)
	e.close()
	e.config.Links, e.config.Drivers = links, map[string]driver.Driver{"test": nodes}
	e.config.Health = nil
	e.config.DB = filepath.Join(t.TempDir(), "host.db")
	e.restart()
	return e, nodes, links
}

// eventually polls until ok holds, at most for limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(began)
}

func (e *env) allReady(n int) bool {
	snap, _ := e.state.Snapshot()
	ready := 0
	for _, n := range snap.NodesOn(self) {
		if n.Host.Phase == state.HostReady {
			ready++
		}
	}
	return ready == n
}

func TestIntegrationAHostWithRealLinksConvergesMendsAndGoesAway(t *testing.T) {
	e, nodes, links := realEnv(t)
	var all []state.Node
	for i := range 30 {
		all = append(all, node(fmt.Sprintf("n%d", i), "p1", "p2"))
	}
	e.run()
	e.place(all...)
	took := eventually(t, 30*time.Second, "30 nodes ready", func() bool { return e.allReady(30) })
	t.Logf("30 nodes with 60 ports ready after %v", took.Round(time.Millisecond))

	quiet := e.host.Stats()
	eventually(t, 20*time.Second, "two more passes", func() bool { return e.host.Stats().Passes >= quiet.Passes+2 })
	if now := e.host.Stats(); now.DriverWrites != quiet.DriverWrites || now.LinkWrites != quiet.LinkWrites {
		t.Errorf("passes without a change wrote: %+v after %+v", now, quiet)
	}

	has := func(name string) bool {
		have, err := links.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, ok := have.Links[name]
		return ok
	}
	for _, name := range []string{"p-n7-1-tap", "brtenks0"} {
		step := link.Step{Op: link.OpDelete, Link: name}
		if err := links.Apply(t.Context(), step); err != nil {
			t.Fatal(err)
		}
		took := eventually(t, 5*time.Second, name+" back", func() bool { return has(name) && has("p-n7-0-tap") })
		t.Logf("%s deleted: back after %v", name, took.Round(time.Millisecond))
	}
	if err := nodes.Remove(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	took = eventually(t, 5*time.Second, "n3 back", func() bool {
		all, err := nodes.Instances(t.Context())
		return err == nil && len(all) == 30
	})
	t.Logf("node undefined: back after %v", took.Round(time.Millisecond))

	began := time.Now()
	var wg sync.WaitGroup
	for _, n := range all {
		wg.Go(func() {
			if err := e.chassis(n.UUID).Power(t.Context(), state.ActionOn); err != nil {
				t.Errorf("power on %s: %v", n.UUID, err)
			}
		})
	}
	wg.Wait()
	t.Logf("30 nodes powered on in %v", time.Since(began).Round(time.Millisecond))

	for _, n := range all {
		e.removeNode(n.UUID)
	}
	took = eventually(t, 30*time.Second, "all gone", func() bool {
		snap, _ := e.state.Snapshot()
		return len(snap.Nodes()) == 0
	})
	t.Logf("30 nodes removed after %v", took.Round(time.Millisecond))
	have, err := links.Observe(context.WithoutCancel(t.Context()))
	if err != nil || len(have.Ours()) != 0 {
		t.Errorf("links left: %v, %v", have.Ours(), err)
	}
	e.close()
}

func TestIntegrationOneShotBootWithTheFakeDriver(t *testing.T) {
	e, nodes, _ := realEnv(t)
	e.run()
	e.place(node("a", "p1"))
	eventually(t, 10*time.Second, "ready", func() bool { return e.allReady(1) })
	c := e.chassis("a")
	for _, a := range []state.PowerAction{state.ActionOn, state.ActionCycle, state.ActionReset} {
		e.boot("a", state.Boot{Device: state.BootPXE})
		e.power("a", a)
		eventually(t, 5*time.Second, "override used by "+string(a), func() bool {
			s := c.Status()
			return s.Power == state.PowerOn && s.Boot.Device == state.BootNone
		})
	}
	e.power("a", state.ActionSoft)
	eventually(t, 5*time.Second, "off after a soft shutdown", func() bool { return c.Status().Power == state.PowerOff })
	eventually(t, 5*time.Second, "off remembered", func() bool { return c.remembered().Power == state.PowerOff })
	all, err := nodes.Instances(t.Context())
	if err != nil || len(all) != 1 || all[0].Power != state.PowerOff {
		t.Errorf("driver says %+v, %v", all, err)
	}
	e.close()
}
