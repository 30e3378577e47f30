package recovery

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cluster"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

var now = time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)

const meshID = "2c1f7f6e-5a51-4d3c-8a43-0d3f5d1c9a10"

func mesh(generation uint64) *state.Mesh {
	return &state.Mesh{ID: meshID, Name: "lab", Generation: generation}
}

func peer(id string, modified uint64) *state.Peer {
	return &state.Peer{ID: id, Name: "name-" + id, Address: "192.0.2.1:7740", Role: state.RoleVoter, CreateIndex: 1, ModifyIndex: modified}
}

func hypervisor(id string) *state.Hypervisor {
	return &state.Hypervisor{ID: id, Name: "name-" + id, CreateIndex: 2, ModifyIndex: 2}
}

// node is one that is placed on a hypervisor, with all that its host knows.
func node(name, on string, epoch uint64) *state.Node {
	n := &state.Node{UUID: "uuid-" + name, Name: name, Cluster: "demo", Type: "small", Spec: "small/n/0", LinkName: name,
		Machine: state.Machine{Driver: "fake", MemoryMB: 64}, Ports: []state.Port{{MAC: "52:54:00:00:00:" + name}}, CreateIndex: 3, ModifyIndex: epoch}
	if on != "" {
		n.Placement = &state.Placement{Hypervisor: on, Epoch: epoch, BMC: state.Endpoint{Address: on, Port: int(epoch)}}
	}
	return n
}

// stub is what other hosts know of a node.
func stub(n *state.Node) *state.Node {
	return &state.Node{UUID: n.UUID, Name: n.Name, Cluster: n.Cluster, Type: n.Type, LinkName: n.LinkName, Placement: n.Placement,
		Past: []string{"a"}, CreateIndex: n.CreateIndex, ModifyIndex: n.ModifyIndex}
}

func part(of string, index uint64, nodes ...*state.Node) raftfsm.Part {
	return raftfsm.Part{Index: index, Full: true, Mesh: mesh(2), Peers: []*state.Peer{peer("a", 1), peer("b", 1)},
		Hypervisors: []*state.Hypervisor{hypervisor(of)}, Nodes: nodes}
}

func TestMergingParts(t *testing.T) {
	old := state.Dump{Index: 50, Mesh: mesh(1), Peers: []*state.Peer{peer("a", 1)}, Clusters: []*state.Cluster{{Name: "demo", Source: "file"}},
		Nodes: []*state.Node{node("n1", "a", 10), node("n2", "", 11)}}
	moved := node("n1", "b", 60)
	for _, tt := range []struct {
		name  string
		base  state.Dump
		parts []raftfsm.Part
		// where is each node with its host.
		where   []string
		notes   []string
		missing map[string][]string
		remade  []string
		err     string
	}{
		{name: "each host's own", parts: []raftfsm.Part{part("a", 70, node("n1", "a", 10)), part("b", 71, node("n2", "b", 11))},
			where: []string{"n1 a 10", "n2 b 11"}, remade: []string{"demo"}},
		{name: "a base has what waits", base: old, parts: []raftfsm.Part{part("a", 70, node("n1", "a", 10))}, where: []string{"n1 a 10", "n2"}},
		{name: "what a host no longer has", base: old, parts: []raftfsm.Part{part("a", 70)},
			where: []string{"n2"}, notes: []string{"node n1 is gone since: its host no longer has it"}},
		{name: "a part that is older than the base proves nothing", base: old, parts: []raftfsm.Part{part("a", 40)}, where: []string{"n1 a 10", "n2"}},
		{name: "a base knows a host that gives no part", base: old, parts: []raftfsm.Part{part("b", 70)}, where: []string{"n1 a 10", "n2"}},
		{name: "both claim a node", parts: []raftfsm.Part{part("a", 70, node("n1", "a", 10)), part("b", 71, moved)}, where: []string{"n1 b 60"},
			notes:  []string{"node n1 is claimed by name-a (epoch 10) and name-b (epoch 60): it is the latter's, which is newer"},
			remade: []string{"demo"}},
		{name: "a host knows that a node went elsewhere", parts: []raftfsm.Part{part("a", 70, stub(moved)), part("b", 71, moved)},
			where: []string{"n1 b 60"}, remade: []string{"demo"}},
		{name: "the part of the host is missing", parts: []raftfsm.Part{part("a", 70, stub(moved))},
			missing: map[string][]string{"name-b": {"n1"}}},
		{name: "the base makes up for a missing part", base: old, parts: []raftfsm.Part{part("a", 70, stub(moved))}, where: []string{"n1 b 60", "n2"}},
		{name: "two meshes", parts: []raftfsm.Part{part("a", 70), {Mesh: &state.Mesh{ID: "other"}}}, err: "parts are of two meshes"},
		{name: "a part of no mesh", parts: []raftfsm.Part{{}}, err: "a part names no mesh"},
		{name: "nothing", err: "there is no part"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := mergeParts(tt.base, tt.parts)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var where []string
			for _, n := range m.dump.Nodes {
				s := n.Name
				if n.Placement != nil {
					s += fmt.Sprintf(" %s %d", n.Placement.Hypervisor, n.Placement.Epoch)
				}
				where = append(where, s)
			}
			if tt.missing == nil {
				tt.missing = map[string][]string{}
			}
			for what, pair := range map[string][2]any{"nodes": {tt.where, where}, "notes": {tt.notes, m.notes}, "missing": {tt.missing, m.missing}, "clusters made": {tt.remade, m.remade}} {
				if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			slices.Reverse(tt.parts)
			again, err := mergeParts(tt.base, tt.parts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m.dump.Nodes, again.dump.Nodes, cmp.Comparer(func(a, b state.Secret) bool { return a.Reveal() == b.Reveal() })); diff != "" {
				t.Errorf("the order of the parts counts:\n%s", diff)
			}
			if _, err := snapshotOf(m.dump); err != nil {
				t.Errorf("the state cannot be loaded: %v", err)
			}
		})
	}
}

// Peers that do not know the mesh's level would read a state that has none, and pass over fields.
func TestARebuiltMeshKeepsItsLevel(t *testing.T) {
	risen, newer := &state.Level{Number: 1, Index: 60}, &state.Level{Number: 2, Index: 70}
	at := func(p raftfsm.Part, l *state.Level) raftfsm.Part { p.Level = l; return p }
	for name, c := range map[string]struct {
		base  state.Dump
		parts []raftfsm.Part
		want  *state.Level
	}{
		"never raised":      {state.Dump{}, []raftfsm.Part{part("a", 70), part("b", 71)}, nil},
		"of the parts":      {state.Dump{}, []raftfsm.Part{part("a", 50), at(part("b", 71), risen)}, risen},
		"the highest":       {state.Dump{}, []raftfsm.Part{at(part("a", 80), newer), at(part("b", 71), risen)}, newer},
		"of an older state": {state.Dump{Index: 50, Mesh: mesh(1)}, []raftfsm.Part{at(part("a", 70), risen)}, risen},
		"of the state":      {state.Dump{Index: 65, Mesh: mesh(1), Level: risen}, []raftfsm.Part{part("a", 40)}, risen},
	} {
		m, err := mergeParts(c.base, c.parts)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, m.dump.Level); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTheLoserOfANodeIsToldThatItHasIt(t *testing.T) {
	m, err := mergeParts(state.Dump{}, []raftfsm.Part{part("a", 70, node("n1", "a", 10)), part("b", 71, node("n1", "b", 60))})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.dump.Nodes[0].Past; !slices.Equal(got, []string{"a"}) {
		t.Errorf("past hosts %v", got)
	}
	snap, err := snapshotOf(m.dump)
	if err != nil {
		t.Fatal(err)
	}
	if p := raftfsm.PartOf(snap, "a", 0); len(p.Nodes) != 1 || p.Nodes[0].Placement.Hypervisor != "b" {
		t.Errorf("its part has %+v", p.Nodes)
	}
}

func TestARebuildWithoutSomeHostsIsRefused(t *testing.T) {
	moved := node("n1", "b", 60)
	for _, tt := range []struct {
		name  string
		parts []raftfsm.Part
		want  string
	}{
		{"all are there", []raftfsm.Part{part("a", 70), part("b", 71, moved)}, ""},
		{"one is missing", []raftfsm.Part{part("a", 70)}, "missing: name-b: copy"},
		{"one that is known to have a node", []raftfsm.Part{part("a", 70, stub(moved))}, "missing: name-b (it has n1): copy"},
	} {
		m, err := mergeParts(state.Dump{}, tt.parts)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.complete(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestARemadeClusterDeclaresItsNodes(t *testing.T) {
	going := node("n3", "a", 12)
	going.Removing = true
	m, err := mergeParts(state.Dump{}, []raftfsm.Part{part("a", 70, node("n1", "a", 10), node("n2", "a", 11), going)})
	if err != nil {
		t.Fatal(err)
	}
	c := m.dump.Clusters[0]
	if c.Name != "demo" || c.Removing || len(c.Specs) != 1 || c.Specs[0].Count != 2 || c.Specs[0].Prefix != "n" || c.Types["small"].MemoryMB != 64 {
		t.Errorf("cluster %+v", c)
	}
}

// whole is a state with all that a backup may hold.
func whole() state.Dump {
	return state.Dump{Index: 50, Mesh: mesh(1), Peers: []*state.Peer{peer("a", 1), peer("b", 1)}, Hypervisors: []*state.Hypervisor{hypervisor("a")},
		Clusters: []*state.Cluster{{Name: "demo", ModifyIndex: 3}}, Nodes: []*state.Node{node("n1", "a", 10)},
		Keys:       &state.Keys{CreateIndex: 2, ModifyIndex: 2},
		Departures: []*state.Departure{{Serial: 1, Hypervisor: "a", UUID: "gone", Index: 49}},
		Events:     []*state.EventRow{{Serial: 4, Event: state.Event{Index: 49, UnixMilli: now.UnixMilli(), Type: state.EventKeys}}}}
}

func snapshot(t *testing.T) *state.Snapshot {
	t.Helper()
	snap, err := snapshotOf(whole())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestNextGeneration(t *testing.T) {
	g := cluster.Generation{Number: 2, Recovery: "aa", Since: 1000}
	for _, tt := range []struct {
		name  string
		local cluster.Local
		edit  func(*state.Dump)
		err   string
	}{
		{name: "good", local: cluster.Local{ID: "a", Mesh: meshID}},
		{name: "another mesh", local: cluster.Local{ID: "a", Mesh: "other"}, err: "the state is another mesh's"},
		{name: "not a peer of it", local: cluster.Local{ID: "z", Mesh: meshID}, err: "this host is no peer of the mesh in that state"},
		{name: "removed", local: cluster.Local{ID: "a", Mesh: meshID}, edit: func(d *state.Dump) { d.Peers[0].Removed = true }, err: "was removed from the mesh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := whole()
			if tt.edit != nil {
				tt.edit(&d)
			}
			snap, err := loaded{dump: d}.next(tt.local, g, "reset", now)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			after := snap.Dump()
			if snap.Index() != 1000 || snap.Mesh().Generation != 2 || len(after.Departures) != 0 || after.Departed.Since != 1000 {
				t.Errorf("index %d, generation %d, departures %v since %d", snap.Index(), snap.Mesh().Generation, after.Departures, after.Departed.Since)
			}
			if a, b := after.Peers[0], after.Peers[1]; a.Role != state.RoleVoter || b.Role != state.RoleClient || a.Generation != 2 {
				t.Errorf("peers %+v, %+v", a, b)
			}
			if last := after.Events[1]; last.Serial != 5 || last.Event.Type != state.EventGeneration || !strings.Contains(last.Event.Message, "generation 2, by reset on name-a") {
				t.Errorf("event %+v", last)
			}
			if p := raftfsm.PartOf(snap, "a", 0); p.Keys == nil || p.Keys.ModifyIndex != 1000 {
				t.Errorf("keys %+v", p.Keys)
			}
			if d.Mesh.Generation != 1 || d.Keys.ModifyIndex != 2 || d.Peers[1].Role != state.RoleVoter || len(d.Events) != 1 {
				t.Error("the state from before was changed")
			}
			// Who knew the first generation is told all of the second.
			if p := raftfsm.PartOf(snap, "a", 49); !p.Full {
				t.Error("a difference to another generation")
			}
		})
	}
}

func TestBackupsThatAreNotGoodAreRefused(t *testing.T) {
	var b bytes.Buffer
	if err := raftfsm.WriteSnapshot(&b, snapshot(t)); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	edited := func(edit func([]byte) []byte) []byte { return edit(bytes.Clone(good)) }
	for _, tt := range []struct {
		name string
		data []byte
		want string
		is   error
	}{
		{name: "good", data: good},
		{name: "empty", want: "damaged"},
		{name: "another program's", data: []byte(strings.Repeat("PK\x03\x04", 100)), want: "not a snapshot of tenks"},
		{name: "of a later version", data: edited(func(b []byte) []byte { b[7] = 9; return b }), is: state.ErrNewer},
		{name: "cut off", data: good[:len(good)-1], want: "ends early"},
		{name: "cut off early", data: good[:40], want: "damaged"},
		{name: "a bit flipped", data: edited(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), want: "damaged"},
		{name: "its sum wrong", data: edited(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), want: "checksum"},
		{name: "followed by something", data: append(bytes.Clone(good), 'x'), want: "something follows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "b.tnk")
			if err := os.WriteFile(file, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, info, err := ReadBackup(file)
			if tt.want == "" && tt.is == nil {
				if err != nil || info.Nodes != 1 || info.Peers != 2 || info.Index != 50 || info.Time != "2026-11-27T09:00:00Z" {
					t.Errorf("%+v, %v", info, err)
				}
				return
			}
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			out := filepath.Join(t.TempDir(), "out.tnk")
			if _, err := Save(out, bytes.NewReader(tt.data), Never); err == nil {
				t.Error("it was saved")
			}
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file is left: %v", err)
			}
		})
	}
}

func TestSaveReplacesNothingUnasked(t *testing.T) {
	var b bytes.Buffer
	if err := raftfsm.WriteSnapshot(&b, snapshot(t)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b.tnk")
	if _, err := Save(file, bytes.NewReader(b.Bytes()), Never); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := Save(file, bytes.NewReader(b.Bytes()), Never); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second save: %v", err)
	}
	if _, err := Save(file, bytes.NewReader(b.Bytes()), Replace); err != nil {
		t.Error(err)
	}
}

func TestKeptBackupsReachBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backups")
	snap := snapshot(t)
	if list, err := List(dir); err != nil || len(list) != 0 {
		t.Errorf("before the first: %v, %v", list, err)
	}
	if _, err := keepAs(dir, snap, now.Add(time.Hour), beforeRecovery); err != nil {
		t.Fatal(err)
	}
	// Four days, with five backups a day.
	for i := range 20 {
		if _, err := Keep(dir, snap, now.Add(time.Duration(i)*24*time.Hour/5)); err != nil {
			t.Fatal(err)
		}
		if err := Prune(dir, 24*time.Hour, 3); err != nil {
			t.Fatal(err)
		}
	}
	list, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, filepath.Base(e.File))
	}
	want := []string{"20261201T041200Z-50.tnk", "20261130T090000Z-50.tnk", "20261129T090000Z-50.tnk", "20261127T100000Z-50-before-recovery.tnk"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("backups (-want +got):\n%s", diff)
	}
}

func TestAResetIsRefusedWhileItIsNotNeeded(t *testing.T) {
	local := cluster.Local{ID: "a", Generation: cluster.Generation{Number: 2, Recovery: "aa"}}
	voters := []string{"a", "b", "c"}
	up := func(g cluster.Generation, index uint64) cluster.Answer {
		return cluster.Answer{Standing: cluster.Standing{Generation: g, Index: index}}
	}
	down := cluster.Answer{Err: errors.New("connection refused")}
	for _, tt := range []struct {
		name    string
		voters  []string
		answers map[string]cluster.Answer
		want    string
	}{
		{"alone", voters, map[string]cluster.Answer{"b": down, "c": down}, ""},
		{"one other answers", voters, map[string]cluster.Answer{"b": up(local.Generation, 5), "c": down}, "a majority of the voters can work: with this host, b"},
		{"the other two answer", voters, map[string]cluster.Answer{"b": up(local.Generation, 5), "c": up(local.Generation, 5)}, "with this host, b, c"},
		{"two of five", []string{"a", "b", "c", "d", "e"}, map[string]cluster.Answer{"b": up(local.Generation, 5)}, ""},
		{"two of five, one ahead", []string{"a", "b", "c", "d", "e"}, map[string]cluster.Answer{"b": up(local.Generation, 99)}, "b has log index 99, this host 10: run it there"},
		{"a standby's reset while the voter is up", []string{"b"}, map[string]cluster.Answer{"b": up(local.Generation, 5)}, "can work"},
		{"a standby's reset", []string{"b"}, map[string]cluster.Answer{"b": down}, ""},
		{"a client answers", voters, map[string]cluster.Answer{"b": down, "c": down, "x": up(local.Generation, 5)}, ""},
		{"recovered elsewhere", voters, map[string]cluster.Answer{"b": up(cluster.Generation{Number: 3}, 5)}, "the mesh was recovered already: b is in generation 3"},
		{"recovered twice", voters, map[string]cluster.Answer{"b": up(cluster.Generation{Number: 2, Recovery: "bb"}, 5), "c": down}, ""},
		{"one that is to come over", voters, map[string]cluster.Answer{"b": up(cluster.Generation{Number: 1}, 5), "c": up(cluster.Generation{Number: 1}, 5)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := alive(local, tt.voters, 10, nil, tt.answers)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
