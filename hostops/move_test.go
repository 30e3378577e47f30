package hostops

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tenks/hostops/driver"
	"tenks/hostops/fake"
	"tenks/raftfsm/state"
)

// withMover is a host whose driver can move nodes.
func withMover(t *testing.T, test func(t *testing.T, e *env, d *fake.Driver)) {
	t.Helper()
	simulate(t, func(t *testing.T, e *env) {
		d, err := fake.Open(driver.Config{Mesh: mesh, DataDir: t.TempDir(), Options: map[string]string{"delay": "0s"}})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		e.config.Drivers["test"] = d
		e.config.Discarded = func(_ context.Context, nodes []string) error {
			e.apply(state.ReportDiscarded{Hypervisor: self, Nodes: nodes})
			return nil
		}
		e.restart()
		test(t, e, d)
		e.close()
	})
}

func withDisk(uuid string) state.Node {
	n := node(uuid, "p1")
	n.Machine.Volumes = []state.Volume{{CapacityBytes: 1 << 20}}
	return n
}

func (e *env) startMove(uuid, to string) uint64 {
	e.t.Helper()
	e.apply(state.StartMoves{Moves: []state.NodeMove{{UUID: uuid, Epoch: e.node(uuid).Placement.Epoch, To: to, BMC: state.Endpoint{Address: "127.0.0.1", Port: 9}}}})
	n := e.node(uuid)
	if !n.Moving() {
		e.t.Fatalf("node %s does not move: %+v", uuid, n)
	}
	return n.Move.Start
}

func names(t *testing.T, d driver.Driver) (out []string) {
	t.Helper()
	all, err := d.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		out = append(out, i.Name)
	}
	return out
}

func TestANodeThatMovesAwayStandsStillAndGoesOnceItIsThere(t *testing.T) {
	withMover(t, func(t *testing.T, e *env, d *fake.Driver) {
		e.place(withDisk("a"), withDisk("b"))
		e.mustPass()
		e.phase("a", state.HostReady)
		if _, err := e.host.Outgoing(t.Context(), "a", "peer-2"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("luggage of a node that does not move: %v", err)
		}
		e.power("a", state.ActionOn)
		start := e.startMove("a", "peer-2")
		if _, err := e.host.Outgoing(t.Context(), "a", "peer-2"); !errors.Is(err, state.ErrWrongState) {
			t.Errorf("luggage of a node that is on: %v", err)
		}
		e.power("a", state.ActionOff)
		if _, err := e.host.Outgoing(t.Context(), "a", "peer-3"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("luggage for another host: %v", err)
		}
		out, err := e.host.Outgoing(t.Context(), "a", "peer-2")
		if err != nil || out.Start != start || len(out.Files) != 1 {
			t.Fatalf("luggage %+v, %v", out, err)
		}
		if err := e.chassis("a").Power(t.Context(), state.ActionOn); !errors.Is(err, state.ErrBusy) {
			t.Errorf("power on while it moves: %v", err)
		}
		e.change("a", 1024, false)
		e.mustPass()
		if i, err := d.Instances(t.Context()); err != nil || i[0].Digest == specOf(e.node("a"), state.Boot{}, driver.Setup{}).Digest() {
			t.Errorf("it was changed while it moved: %+v, %v", i, err)
		}
		e.apply(state.FinishMove{UUID: "a", Start: start})
		e.mustPass()
		if q := e.host.Quarantine(); len(q) > 0 {
			t.Errorf("what moved away is in quarantine: %+v", q)
		}
		e.mustPass()
		if got := names(t, d); !slices.Equal(got, []string{"b"}) {
			t.Errorf("nodes %v are here, want b", got)
		}
		if _, err := os.Stat(out.Files[0].Path); err == nil {
			t.Error("its disk is left")
		}
		if n := e.node("a"); len(n.Past)+len(n.Discard) > 0 {
			t.Errorf("it is deleted and still to be: %v %v", n.Past, n.Discard)
		}
		if _, known := e.host.known("a"); known {
			t.Error("its chassis is left")
		}
	})
}

func TestANodeThatComesIsLeftAloneUntilItIsPlacedHere(t *testing.T) {
	withMover(t, func(t *testing.T, e *env, d *fake.Driver) {
		e.placeOn("peer-2", withDisk("a"))
		start := e.startMove("a", self)
		dir, err := e.host.Stage(t.Context(), e.node("a"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "vol0"), []byte("disk"), 0o600); err != nil {
			t.Fatal(err)
		}
		e.mustPass()
		if q := e.host.Quarantine(); len(q) > 0 {
			t.Errorf("what comes is in quarantine: %+v", q)
		}
		l := driver.Luggage{Files: []driver.File{{Name: "vol0"}}}
		chassis := []byte(`{"version":1,"boot":{"device":"pxe","persistent":true},"policy":"` + string(state.RestoreOn) + `"}`)
		for range 2 {
			if err := e.host.Import(t.Context(), e.node("a"), l, chassis); err != nil {
				t.Fatal(err)
			}
			e.mustPass()
			e.restart()
		}
		if _, ok := e.host.Chassis("a"); ok {
			t.Error("it has a chassis before it is placed here")
		}
		e.apply(state.FinishMove{UUID: "a", Start: start})
		e.mustPass()
		e.phase("a", state.HostReady)
		if s := e.chassis("a").Status(); s.Boot.Device != state.BootPXE || s.Policy != state.RestoreOn || s.Power != state.PowerOff {
			t.Errorf("chassis %+v", s)
		}
		if err := e.host.Import(t.Context(), e.node("a"), l, []byte(`{"version":99}`)); !errors.Is(err, state.ErrNewer) {
			t.Errorf("chassis of a newer version: %v", err)
		}
	})
}

func TestWhatCameOfACancelledMoveIsDeleted(t *testing.T) {
	withMover(t, func(t *testing.T, e *env, d *fake.Driver) {
		e.placeOn("peer-2", withDisk("a"))
		start := e.startMove("a", self)
		if _, err := e.host.Stage(t.Context(), e.node("a")); err != nil {
			t.Fatal(err)
		}
		e.apply(state.CancelMoves{Moves: []state.MoveCancel{{UUID: "a", Start: start, Reason: "enough"}}})
		e.mustPass()
		e.mustPass()
		if got := names(t, d); len(got) > 0 {
			t.Errorf("nodes %v are here", got)
		}
		moving := *e.node("a")
		moving.Move = &state.Move{To: self}
		if _, err := e.host.Stage(t.Context(), &moving); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("stage of what does not come any longer: %v", err)
		}
		if got := names(t, d); len(got) > 0 {
			t.Errorf("nodes %v are here", got)
		}
		if n := e.node("a"); len(n.Past)+len(n.Discard) > 0 || n.Placement.Hypervisor != "peer-2" {
			t.Errorf("after the cancel: %+v", n)
		}
	})
}

func TestADriverThatCannotMoveNodesSaysSo(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.mustPass()
		e.startMove("a", "peer-2")
		if _, err := e.host.Outgoing(t.Context(), "a", "peer-2"); !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
	})
}

// What was taken over where it was found is made as any other where it moves to.
func TestANodeThatWasTakenOverComesWithoutWhatItHadWhereItWas(t *testing.T) {
	withMover(t, func(t *testing.T, e *env, d *fake.Driver) {
		n := withDisk("a")
		n.Origin = &state.Origin{Hypervisor: "peer-2", Volumes: []state.OriginVolume{{Path: "/old/a", Format: "qcow2"}},
			Links: []state.OriginLink{{Tap: "p-old-0-tap", Peer: "p-old-0-br", PeerMAC: "7a:00:00:00:00:01", Bridge: "brtenks7", BridgeMAC: "7a:00:00:00:00:99"}}}
		e.placeOn("peer-2", n)
		start := e.startMove("a", self)
		dir, err := e.host.Stage(t.Context(), e.node("a"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "vol0"), []byte("disk"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := e.host.Import(t.Context(), e.node("a"), driver.Luggage{Files: []driver.File{{Name: "vol0"}}}, []byte(`{"version":1}`)); err != nil {
			t.Fatal(err)
		}
		was, err := d.Instances(t.Context())
		if err != nil || len(was) != 1 {
			t.Fatalf("instances %+v, %v", was, err)
		}
		e.apply(state.FinishMove{UUID: "a", Start: start})
		want := specOf(e.node("a"), state.Boot{}, driver.Setup{})
		if !want.Origin.IsZero() || want.Ports[0].Link == "p-old-0-tap" || was[0].Digest != want.Digest() {
			t.Errorf("it came as %s, want %s of %+v", was[0].Digest, want.Digest(), want)
		}
		e.mustPass()
		e.phase("a", state.HostReady)
	})
}
