package raftfsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func apply(t testing.TB, f *FSM, index uint64, c state.Command) Result {
	t.Helper()
	return f.Apply(&raft.Log{Index: index, Data: encode(t, state.Envelope{Command: c})}).(Result)
}

func digest(f *FSM) string {
	s, _ := f.Source().Snapshot()
	return s.Digest()
}

// written is a state as a snapshot.
func written(t testing.TB, d state.Dump) []byte {
	t.Helper()
	s := state.New()
	if err := s.Load(d); err != nil {
		t.Fatal(err)
	}
	snap, _ := s.Snapshot()
	var b bytes.Buffer
	if err := WriteSnapshot(&b, snap); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restore(f *FSM, b []byte) error { return f.Restore(io.NopCloser(bytes.NewReader(b))) }

func TestApplyAnswersWithIndexAndRefusal(t *testing.T) {
	f := New()
	if r := apply(t, f, 2, state.SetMesh{Mesh: state.Mesh{ID: "m1"}}); r != (Result{Index: 2}) {
		t.Errorf("result %+v", r)
	}
	r := apply(t, f, 5, state.RemoveCluster{Name: "none"})
	if r.Index != 5 || !errors.Is(r.Err, state.ErrNotFound) {
		t.Errorf("result %+v, want ErrNotFound at 5", r)
	}
	snap, _ := f.Source().Snapshot()
	if snap.Index() != 5 || snap.Mesh().ID != "m1" || f.Err() != nil {
		t.Errorf("at %d, mesh %q, error %v", snap.Index(), snap.Mesh().ID, f.Err())
	}
}

func TestAnEntryThatIsNotUnderstoodStopsTheState(t *testing.T) {
	for name, tt := range map[string]struct {
		entry []byte
		newer bool
	}{"newer": {[]byte{9}, true}, "damaged": {[]byte{entryFormat, 0xff}, false}} {
		f := New()
		apply(t, f, 2, state.SetMesh{Mesh: state.Mesh{ID: "m1"}})
		before := digest(f)
		r := f.Apply(&raft.Log{Index: 3, Data: tt.entry}).(Result)
		if r.Err == nil || errors.Is(r.Err, state.ErrNewer) != tt.newer || !strings.Contains(r.Err.Error(), "log entry 3") {
			t.Errorf("%s: %v", name, r.Err)
		}
		after := apply(t, f, 4, state.PutHypervisor{Hypervisor: hypervisorV1()})
		if !errors.Is(after.Err, r.Err) || !errors.Is(f.Err(), r.Err) || digest(f) != before {
			t.Errorf("%s: the state went on: %v, %v", name, after.Err, f.Err())
		}
		if _, err := f.Snapshot(); err == nil {
			t.Errorf("%s: Raft was given a snapshot of a state that lacks entries", name)
		}
		if err := restore(f, written(t, state.Dump{Index: 9, Mesh: &state.Mesh{ID: "m1"}})); err != nil {
			t.Errorf("%s: restore: %v", name, err)
		}
		if r := apply(t, f, 10, state.PutHypervisor{Hypervisor: hypervisorV1()}); r.Err != nil || f.Err() != nil {
			t.Errorf("%s: after a restore: %v, %v", name, r.Err, f.Err())
		}
	}
}

func TestSnapshotsOfEveryVersionAreReadForEver(t *testing.T) {
	for _, v := range versions {
		want := v.dump()
		b := golden(t, v.name, "state.snapshot", func() []byte { return written(t, want) })
		got, err := ReadSnapshot(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, revealed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", v.name, diff)
		}
		f := New()
		if err := restore(f, b); err != nil {
			t.Fatal(err)
		}
		if snap, _ := f.Source().Snapshot(); snap.Index() != 42 {
			t.Errorf("%s: index %d", v.name, snap.Index())
		}
	}
}

// sealed gives a damaged snapshot the right checksum: what is wrong is the content.
func sealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(bytes.Clone(b), sum[:]...)
}

func record(number byte, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{number}, uint32(len(b))), b...)
}

func TestAnEarlierSnapshotTakesNothingBack(t *testing.T) {
	f := New()
	apply(t, f, 2, state.SetMesh{Mesh: state.Mesh{ID: "m1", Generation: 2}})
	apply(t, f, 3, state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "h1"}})
	old, before := f.store.Snapshot()
	apply(t, f, 4, state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "h2"}})
	var b bytes.Buffer
	if err := WriteSnapshot(&b, old); err != nil {
		t.Fatal(err)
	}
	<-before // h2 was seen
	want := digest(f)
	if err := restore(f, b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if snap, _ := f.Source().Snapshot(); snap.Index() != 4 || digest(f) != want {
		t.Errorf("the state went back to %d", snap.Index())
	}
	// The log goes on after the snapshot.
	if r := apply(t, f, 4, state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "h2"}}); r != (Result{Index: 4}) || digest(f) != want {
		t.Errorf("an entry was applied again: %+v", r)
	}
	apply(t, f, 5, state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "h3"}})
	snap, _ := f.Source().Snapshot()
	if _, ok := snap.Hypervisor("h3"); !ok || snap.Index() != 5 {
		t.Errorf("at %d, not what came after", snap.Index())
	}
	// A mesh that was recovered begins anew, wherever this one was.
	if err := restore(f, written(t, state.Dump{Index: 3, Mesh: &state.Mesh{ID: "m1", Generation: 3}})); err != nil {
		t.Fatal(err)
	}
	if snap, _ := f.Source().Snapshot(); snap.Index() != 3 || snap.Mesh().Generation != 3 {
		t.Errorf("at %d in generation %d", snap.Index(), snap.Mesh().Generation)
	}
}

func TestRestoreRefusesAndLeavesTheStateAlone(t *testing.T) {
	good := written(t, dumpV1())
	head, body := good[:16], good[:len(good)-sha256.Size-5] // without checksum and end
	end := record(endRecord, nil)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	// The first node of the body, which starts with its number and a short length.
	_, node, _ := bytes.Cut(body, []byte{recordNode, 0, 0})
	node = append([]byte{recordNode, 0, 0}, node...)
	tests := map[string]struct {
		snapshot []byte
		is       error
		text     string
	}{
		"nothing":              {nil, nil, "ends early"},
		"something else":       {[]byte("SQLite format 3\x00 and more"), nil, "not a snapshot of tenks"},
		"a newer version":      {join([]byte(snapshotMagic), []byte{2}, head[8:]), state.ErrNewer, "version 2"},
		"a newer record":       {sealed(join(body, record(100, nil), end)), state.ErrNewer, "type 100"},
		"another mesh's":       {written(t, state.Dump{Mesh: &state.Mesh{ID: "m9"}}), ErrForeign, "m1"},
		"no mesh's":            {written(t, state.Dump{}), ErrForeign, "m1"},
		"without its checksum": {good[:len(good)-sha256.Size], nil, "ends early"},
		"without its end":      {body, nil, "ends early"},
		"cut in a record":      {good[:100], nil, "ends early"},
		"more after it":        {append(bytes.Clone(good), 0), nil, "follows"},
		"a record too large":   {join(head, []byte{1, 0xff, 0xff, 0xff, 0xff}), nil, "4294967295 bytes"},
		"a row of no CBOR":     {sealed(join(body, record(recordNode, []byte{0xff}), end)), errDamaged, "type 3"},
		"a row twice": {sealed(join(body, node, end)), nil,
			"twice"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := New()
			apply(t, f, 2, state.SetMesh{Mesh: state.Mesh{ID: "m1"}})
			if name == "a row twice" { // a fresh peer takes any mesh's
				f = New()
			}
			before := digest(f)
			err := restore(f, tt.snapshot)
			if err == nil || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want one with %q that is %v", err, tt.text, tt.is)
			}
			if digest(f) != before || f.Err() != nil {
				t.Error("the state changed")
			}
		})
	}
}

func TestEveryDamagedByteIsNoticed(t *testing.T) {
	good := written(t, dumpV2())
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x20
		if err := restore(New(), bad); err == nil {
			t.Fatalf("byte %d of %d was damaged and nobody noticed", i, len(good))
		}
	}
}

func TestRestorePassesOverRecordsThatMayBeSkipped(t *testing.T) {
	good := written(t, dumpV1())
	body := good[:len(good)-sha256.Size-5]
	b := sealed(bytes.Join([][]byte{body, record(skippable|7, []byte("anything")), record(endRecord, nil)}, nil))
	f := New()
	if err := restore(f, b); err != nil {
		t.Fatal(err)
	}
	if snap, _ := f.Source().Snapshot(); len(snap.Nodes()) != 1 {
		t.Errorf("%d nodes", len(snap.Nodes()))
	}
}

func TestRestoreWakesWatchersAndLeavesOldSnapshots(t *testing.T) {
	f := New()
	apply(t, f, 2, state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "old"}})
	old, changed := f.Source().Snapshot()
	if err := restore(f, written(t, dumpV1())); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("not woken")
	}
	now, _ := f.Source().Snapshot()
	if _, ok := old.Hypervisor("old"); !ok || old.Index() != 2 || now.Index() != 42 {
		t.Errorf("old snapshot at %d, new at %d", old.Index(), now.Index())
	}
	if _, ok := now.Hypervisor("old"); ok {
		t.Error("a row of the old state is in the new one")
	}
}

func TestWaitIndexReturnsTheStateThatItWaitedFor(t *testing.T) {
	f := New()
	done := make(chan uint64, 1)
	go func() {
		snap, err := WaitIndex(t.Context(), f.Source(), 3)
		if err != nil {
			t.Error(err)
		}
		done <- snap.Index()
	}()
	for i := uint64(1); i <= 4; i++ {
		apply(t, f, i, state.RemoveNodes{})
	}
	if got := <-done; got < 3 {
		t.Errorf("index %d", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := WaitIndex(ctx, f.Source(), 99); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "at 4") {
		t.Errorf("error %v", err)
	}
}

// oneVoter runs Raft over f on stores that outlive it.
func oneVoter(t *testing.T, f *FSM, logs *raft.InmemStore, snaps raft.SnapshotStore) *raft.Raft {
	t.Helper()
	c := raft.DefaultConfig()
	c.LocalID, c.Logger, c.TrailingLogs = "p1", hclog.NewNullLogger(), 1
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	address, transport := raft.NewInmemTransport("")
	voters := raft.Configuration{Servers: []raft.Server{{ID: "p1", Address: address}}}
	if err := raft.BootstrapCluster(c, logs, logs, snaps, transport, voters); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(c, f, logs, logs, snaps, transport)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.LeaderCh():
	case <-time.After(10 * time.Second):
		t.Fatal("no leader")
	}
	return r
}

func TestRaftSnapshotsAndRestoresTheState(t *testing.T) {
	logs, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	before := New()
	r := oneVoter(t, before, logs, snaps)
	for _, kind := range []string{"set-mesh", "put-hypervisor", "place-nodes", "report-host", "remove-nodes"} {
		if err := r.Apply(encode(t, samplesV1()[kind]), 0).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	late := r.Apply(encode(t, state.Envelope{Command: state.ApplyCluster{Cluster: state.Cluster{Name: "late"}}}), 0)
	if err := late.Error(); err != nil || late.Response().(Result).Err != nil {
		t.Fatal(err, late.Response())
	}
	if err := r.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	after := New()
	r = oneVoter(t, after, logs, snaps)
	if err := r.Barrier(0).Error(); err != nil {
		t.Fatal(err)
	}
	if digest(before) != digest(after) {
		t.Error("the state after the restart is another")
	}
	if err := r.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
}

func FuzzRestore(f *testing.F) {
	good := written(f, dumpV1())
	f.Add(good[:len(good)-sha256.Size])
	f.Add([]byte(snapshotMagic))
	f.Add(append(good[:16:16], record(endRecord, nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, sealed(b)} { // only with the right sum is there more to read
			fsm := New()
			before := digest(fsm)
			if err := restore(fsm, b); err != nil {
				if digest(fsm) != before {
					t.Fatal("refused, and the state changed")
				}
				continue
			}
			snap, _ := fsm.Source().Snapshot()
			other := New()
			if err := restore(other, written(t, snap.Dump())); err != nil || digest(other) != digest(fsm) {
				t.Fatalf("written and read again: %v", err)
			}
		}
	})
}
