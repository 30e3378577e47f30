package fake_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenks/hostops/driver"
	"tenks/hostops/driver/drivertest"
	"tenks/hostops/fake"
	"tenks/raftfsm/state"
)

func open(t *testing.T, c driver.Config) *fake.Driver {
	t.Helper()
	d, err := fake.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func config(t *testing.T, delay string) driver.Config {
	return driver.Config{Mesh: "m1", DataDir: t.TempDir(), Options: map[string]string{"delay": delay}}
}

func node(i int) driver.Spec {
	return driver.Spec{UUID: fmt.Sprintf("6ba7b810-9dad-11d1-80b4-%012d", i), Name: fmt.Sprintf("node-%d", i), Epoch: 7,
		Machine: state.Machine{Driver: fake.Name, MemoryMB: 512, VCPUs: 1, BootMode: state.BootBIOS,
			Volumes: []state.Volume{{CapacityBytes: 1 << 30}}},
		Ports: []driver.Port{{MAC: fmt.Sprintf("52:54:00:00:00:%02x", i), Physnet: "physnet1", Link: fmt.Sprintf("p-node-%d-0-tap", i)}}}
}

func on(b state.Boot) driver.PowerRequest {
	return driver.PowerRequest{Action: state.ActionOn, Boot: b}
}

func TestConform(t *testing.T) {
	drivertest.Conform(t, func(t *testing.T) drivertest.Setup {
		return drivertest.Setup{Driver: open(t, config(t, "1ms")), Node: node, GuestObeys: true}
	})
}

func TestNodesOutliveTheDriver(t *testing.T) {
	c := config(t, "0s")
	d := open(t, c)
	if err := d.Ensure(t.Context(), node(0)); err != nil {
		t.Fatal(err)
	}
	if err := d.Power(t.Context(), node(0).UUID, on(state.Boot{Device: state.BootPXE})); err != nil {
		t.Fatal(err)
	}
	more := node(0)
	more.Machine.MemoryMB, more.Machine.VCPUs = 1024, 2
	if err := d.Ensure(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	before, err := d.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.Close()

	after, err := open(t, c).Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"memory 512 MiB → 1024 MiB", "vcpus 1 → 2"}; len(after) != 1 || !slices.Equal(after[0].Pending, want) {
		t.Errorf("got %+v, want one node with pending %q", after, want)
	}
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("got %+v, want what it was before: %+v", after, before)
	}
}

func TestNodesOfAnotherMeshAreNeitherSeenNorTouched(t *testing.T) {
	c := config(t, "0s")
	other := open(t, c)
	if err := other.Ensure(t.Context(), node(0)); err != nil {
		t.Fatal(err)
	}
	other.Close()
	c.Mesh = "m2"
	d := open(t, c)

	if all, err := d.Instances(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("got instances %v, %v; want none", all, err)
	}
	if err := d.Remove(t.Context(), node(0).UUID); err != nil {
		t.Errorf("remove: got %v, want nil as for a node that is not there", err)
	}
	if err := d.Power(t.Context(), node(0).UUID, on(state.Boot{})); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("power: got %v, want %v", err, state.ErrNotFound)
	}
	sameName := node(1)
	sameName.Name = node(0).Name
	for _, spec := range []driver.Spec{node(0), sameName} {
		if err := d.Ensure(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "mesh m1") {
			t.Errorf("ensure of %s, %s: got %v, want an error that names mesh m1", spec.UUID, spec.Name, err)
		}
	}
	d.Close()
	c.Mesh = "m1"
	if all, err := open(t, c).Instances(t.Context()); err != nil || len(all) != 1 || all[0].Power != state.PowerOff {
		t.Errorf("got %+v, %v; want the node as it was", all, err)
	}
}

func TestFailuresAreInjectedOnceAndInOrder(t *testing.T) {
	d := open(t, config(t, "0s"))
	first, second := errors.New("disk full"), fmt.Errorf("migrating: %w", state.ErrBusy)
	d.FailNext(first)
	d.FailNext(second)
	for _, want := range []error{first, second, nil} {
		if err := d.Ensure(t.Context(), node(0)); !errors.Is(err, want) {
			t.Errorf("ensure: got %v, want %v", err, want)
		}
	}
	d.FailNext(first)
	if err := d.Ensure(t.Context(), node(0)); err != nil {
		t.Errorf("ensure that changes nothing: got %v, want nil", err)
	}
	if err := d.Power(t.Context(), node(0).UUID, on(state.Boot{})); !errors.Is(err, first) {
		t.Errorf("power: got %v, want %v", err, first)
	}
}

func TestOperationsTakeTheDelayAndGuestsThreeToShutDown(t *testing.T) {
	c := config(t, "2s")
	synctest.Test(t, func(t *testing.T) {
		d, err := fake.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		began := time.Now()
		took := func(what string, want time.Duration) {
			t.Helper()
			if got := time.Since(began); got != want {
				t.Errorf("%s: took %s, want %s", what, got, want)
			}
			began = time.Now()
		}
		for _, step := range []struct {
			what string
			do   func() error
			want time.Duration
		}{
			{"making", func() error { return d.Ensure(t.Context(), node(0)) }, 2 * time.Second},
			{"making again", func() error { return d.Ensure(t.Context(), node(0)) }, 0},
			{"switching on", func() error { return d.Power(t.Context(), node(0).UUID, on(state.Boot{})) }, 2 * time.Second},
			{"asking to shut down", func() error {
				return d.Power(t.Context(), node(0).UUID, driver.PowerRequest{Action: state.ActionSoft})
			}, 2 * time.Second},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
			took(step.what, step.want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = d.Watch(ctx, func(e driver.Event) {
			if e.Type == driver.EventPower {
				took("shutting down", 6*time.Second)
				cancel()
			}
		})
		if err != nil {
			t.Errorf("watch: %v", err)
		}
	})
}

func TestWatchThatLagsTooFarBehindEndsWithAnError(t *testing.T) {
	d := open(t, config(t, "0s"))
	if err := d.Ensure(t.Context(), node(0)); err != nil {
		t.Fatal(err)
	}
	if err := d.Power(t.Context(), node(0).UUID, on(state.Boot{})); err != nil {
		t.Fatal(err)
	}
	ready, proceed := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1) // one result
	go func() {
		var once sync.Once
		ended <- d.Watch(t.Context(), func(driver.Event) {
			once.Do(func() { close(ready); <-proceed })
		})
	}()
	<-ready
	var all sync.WaitGroup
	for range 2049 { // each is an off and an on; those at the same time share a write of the file
		all.Go(func() {
			if err := d.Power(t.Context(), node(0).UUID, driver.PowerRequest{Action: state.ActionCycle}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	close(proceed)
	if err := <-ended; err == nil {
		t.Error("watch ended without an error although it missed events")
	}
}

func TestConsoleEchoes(t *testing.T) {
	d := open(t, config(t, "0s"))
	if err := errors.Join(d.Ensure(t.Context(), node(0)), d.Power(t.Context(), node(0).UUID, on(state.Boot{}))); err != nil {
		t.Fatal(err)
	}
	c, err := d.Console(t.Context(), node(0).UUID)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("login: ")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "login: " {
		t.Errorf("got %q, %v; want what was typed", b[:n], err)
	}
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	c := config(t, "fast")
	if _, err := fake.Open(c); err == nil || !strings.Contains(err.Error(), `delay "fast"`) {
		t.Errorf("got %v, want an error about the delay", err)
	}
	c = config(t, "0s")
	if err := os.WriteFile(filepath.Join(c.DataDir, "nodes.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fake.Open(c); err == nil || !strings.Contains(err.Error(), "nodes.json") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// BenchmarkEnsure makes a thousand nodes at a time, as an Ironic scale test does.
func BenchmarkEnsure(b *testing.B) {
	for range b.N {
		d, err := fake.Open(driver.Config{Mesh: "m1", DataDir: b.TempDir(), Options: map[string]string{"delay": "0s"}})
		if err != nil {
			b.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				if err := d.Ensure(b.Context(), node(i)); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		d.Close()
	}
}
