package raftfsm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"tenks/raftfsm/state"
)

// format lists the kinds of commands and the fields of all types in commands, snapshots and
// parts, each with the level that the tables give it.
func format() map[string]int {
	out := map[string]int{}
	for kind := range commands {
		out["kind "+kind] = newKinds[kind].level
		if kind == "raise-level" {
			out["kind "+kind] = 1
		}
	}
	seen := map[reflect.Type]bool{}
	var look func(t reflect.Type)
	look = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			look(t.Elem())
		case reflect.Struct:
			if seen[t] {
				return
			}
			seen[t] = true
			for i := range t.NumField() {
				f := t.Field(i)
				if !f.IsExported() {
					continue
				}
				name := t.Name() + "." + f.Name
				out[name+" "+f.Type.String()] = max(newFields[name].level, newTypes[t.Name()])
				look(f.Type)
			}
		}
	}
	for _, e := range samples() {
		look(reflect.TypeOf(e.Command))
	}
	// What holds the rows is no row: records that are not known are refused.
	d := reflect.TypeFor[state.Dump]()
	for i := range d.NumField() {
		look(d.Field(i).Type)
	}
	return out
}

// formatOf is the lines of format of one level, sorted.
func formatOf(level int) []byte {
	var lines []string
	for line, at := range format() {
		if at == level {
			lines = append(lines, line+"\n")
		}
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

// TestFieldsAndKindsHaveALevel fails when a field or kind is added without a place in the
// tables of level.go: it would be passed over by peers that do not know it.
func TestFieldsAndKindsHaveALevel(t *testing.T) {
	for level := range Level { // those before the newest are closed
		path := filepath.Join("testdata", "levels", strconv.Itoa(level)+".txt")
		got := formatOf(level)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && os.Getenv("UPDATE") != "" {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, got, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
			t.Errorf("level %d is closed: what is new belongs to level %d, into the tables of level.go (DESIGN.md, Levels); nothing may go (-want +got):\n%s", level, Level, diff)
		}
	}
}

func TestTablesOfLevelsHaveNothingElse(t *testing.T) {
	there, types := map[string]bool{}, map[string]bool{}
	for line := range format() {
		name, _, _ := strings.Cut(line, " ")
		typ, _, _ := strings.Cut(name, ".")
		there[name], types[typ] = true, true
	}
	for name, of := range newFields {
		if !there[name] || of.level < 1 || of.level > Level || of.what == "" {
			t.Errorf("newFields: %s: %+v: no such field, or no level or words", name, of)
		}
	}
	for name, level := range newTypes {
		if !types[name] || level < 1 || level > Level {
			t.Errorf("newTypes: %s: %d: no such type, or no level", name, level)
		}
	}
	for kind, of := range newKinds {
		if commands[kind] == nil || of.level < 1 || of.level > Level || of.what == "" {
			t.Errorf("newKinds: %s: %+v: no such kind, or no level or words", kind, of)
		}
	}
}

// levelOfVersion is the level that a version of the format is of: levels came with v22, and
// peers that follow none know no more than v12.
func levelOfVersion(name string) int {
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "v")); err != nil || n <= 12 {
		return 0
	}
	return 1
}

// TestWhatAPeerOfALevelDoesNotReadNeedsMore holds the tables against the samples: those of
// before levels need none, those that came later do.
func TestWhatAPeerOfALevelDoesNotReadNeedsMore(t *testing.T) {
	for _, v := range versions {
		highest := 0
		for _, e := range v.samples() {
			level, _ := Needs(e.Command)
			highest = max(highest, level)
		}
		// What came with levels is read where the mesh has one.
		if want := levelOfVersion(v.name); highest != want && v.name != "v22" {
			t.Errorf("%s: needs level %d, want %d", v.name, highest, want)
		}
	}
}

func TestNeeds(t *testing.T) {
	apply := func(change func(*state.ApplyCluster)) state.Command {
		c := samplesV12()["apply-cluster"].Command.(state.ApplyCluster)
		change(&c)
		return c
	}
	tests := map[string]struct {
		command state.Command
		level   int
		what    string
	}{
		"what was always there": {apply(func(*state.ApplyCluster) {}), 0, ""},
		"an empty list": {apply(func(c *state.ApplyCluster) {
			c.Cluster.Flavors, c.Change[0].Enrol.PXE, c.Change[0].Enrol.Extra = []state.Flavor{}, []bool{}, map[string]string{}
		}), 0, ""},
		"a node's type": {apply(func(c *state.ApplyCluster) { c.Create[0].Machine.Hardware.VNC = true }), 1, "enable_vnc"},
		"a declared type": {apply(func(c *state.ApplyCluster) {
			c.Cluster.Types = map[string]state.Machine{"a": {}, "b": {Trunks: []string{"all"}}}
		}), 1, "a trunk port"},
		"a change":           {apply(func(c *state.ApplyCluster) { c.Change[0].Anew = true }), 1, "a node that is made anew"},
		"a volume":           {apply(func(c *state.ApplyCluster) { c.Change[0].Machine.Volumes[1].Cache = "none" }), 1, "volumes.cache"},
		"a spec's enrolment": {apply(func(c *state.ApplyCluster) { c.Cluster.Specs[0].Enrol = &state.Enrolment{Owner: "me"} }), 1, "ironic_config.owner"},
		"a kind":             {state.SetQuota{Cluster: "demo"}, 1, "a quota"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if level, what := Needs(tt.command); level != tt.level || what != tt.what {
				t.Errorf("level %d for %q, want %d for %q", level, what, tt.level, tt.what)
			}
		})
	}
}

func TestWithholdLeavesWhatIsGivenAsItIs(t *testing.T) {
	c := samplesV14()["report-host"].Command.(state.ReportHost)
	before := c.Nodes[0].Status.Display
	got := Withhold(c, 0)
	if got.Nodes[0].Status.Display != "" || before == "" || c.Nodes[0].Status.Display != before {
		t.Errorf("withheld %+v of %+v", got, c)
	}
	if level, what := Needs(got); level != 0 {
		t.Errorf("what is left needs level %d for %s", level, what)
	}
	h := Withhold(samplesV13()["put-hypervisor"].Command.(state.PutHypervisor), 0)
	full := samplesV13()["put-hypervisor"].Command.(state.PutHypervisor)
	full.Hypervisor.PhysnetLinks, full.Hypervisor.VXLAN = nil, state.Endpoint{}
	if diff := cmp.Diff(full, h); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(c, Withhold(c, Level)); diff != "" {
		t.Errorf("nothing was to be withheld (-want +got):\n%s", diff)
	}
	whole := samplesV15()["apply-cluster"].Command.(state.ApplyCluster)
	if level, what := Needs(Withhold(whole, 0)); level != 0 {
		t.Errorf("what is left needs level %d for %s", level, what)
	}
	if level, _ := Needs(whole); level == 0 {
		t.Error("something was withheld from what was given")
	}
}

// older is a peer of before there were levels: it knows neither the kind nor the fields.
func older(t *testing.T) {
	t.Helper()
	read := commands["raise-level"]
	delete(commands, "raise-level")
	t.Cleanup(func() { commands["raise-level"] = read })
}

func TestAPeerWithoutLevelsStopsWhereTheyBegin(t *testing.T) {
	raise := encode(t, samplesV22()["raise-level"])
	uses := encode(t, samplesV14()["apply-cluster"])
	older(t)
	f := New()
	apply(t, f, 1, state.SetMesh{Mesh: state.Mesh{ID: "m1", Name: "lab", Generation: 1}})
	if r := f.Apply(&raft.Log{Index: 2, Data: raise}).(Result); !errors.Is(r.Err, state.ErrNewer) {
		t.Fatalf("error %v, want one that says to upgrade", r.Err)
	}
	if r := f.Apply(&raft.Log{Index: 3, Data: uses}).(Result); !errors.Is(r.Err, state.ErrNewer) || f.Index() != 1 {
		t.Errorf("error %v at index %d: it went on", r.Err, f.Index())
	}
}

func TestALevelThatIsNotKnownStops(t *testing.T) {
	b, err := encoder.Marshal(state.RaiseLevel{Level: Level + 1})
	if err != nil {
		t.Fatal(err)
	}
	b, err = encoder.Marshal(entry{Kind: "raise-level", Body: b})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(append([]byte{entryFormat}, b...)); !errors.Is(err, state.ErrNewer) || !strings.Contains(err.Error(), "level 2, this version knows 1") {
		t.Errorf("entry: %v", err)
	}
	d := dumpV1()
	d.Level = &state.Level{Number: Level + 1, Index: 1}
	if _, err := ReadSnapshot(bytes.NewReader(written(t, d))); !errors.Is(err, state.ErrNewer) || errors.Is(err, errDamaged) {
		t.Errorf("snapshot: %v", err)
	}
	p := partV1()
	p.Level = d.Level
	part, err := EncodePart(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodePart(part); !errors.Is(err, state.ErrNewer) {
		t.Errorf("part: %v", err)
	}
}

// TestWhoKnowsNoLevelsReadsNoMoreThanItKnows is about files: what a peer without levels knows
// is written as ever, and all else has what such a peer refuses.
func TestWhoKnowsNoLevelsReadsNoMoreThanItKnows(t *testing.T) {
	if recordLevel&skippable != 0 {
		t.Error("a peer without levels passes over the record")
	}
	marked := func(d state.Dump) bool { return levelRecord(d) != nil }
	for _, v := range versions {
		if got := marked(v.dump()); got != (levelOfVersion(v.name) > 0) {
			t.Errorf("%s: a level is in the snapshot: %t", v.name, got)
		}
	}
	f := New()
	if err := restore(f, written(t, dumpV21())); err != nil {
		t.Fatal(err)
	}
	if snap, _ := f.Source().Snapshot(); snap.Level().Number != 0 {
		t.Errorf("level %v: nobody raised it", snap.Level())
	}
	if err := restore(f, written(t, dumpV22())); err != nil {
		t.Fatal(err)
	}
	snap, _ := f.Source().Snapshot()
	if want := (state.Level{Number: 1, Index: 42}); snap.Level() != want {
		t.Errorf("level %v, want %v", snap.Level(), want)
	}
	for level, want := range map[*state.Level]byte{nil: 1, {Number: 1, Index: 5}: 2} {
		p := partV1()
		p.Level = level
		b, err := EncodePart(p)
		if err != nil || b[0] != want {
			t.Errorf("level %v: format %d, error %v, want %d", level, b[0], err, want)
		}
	}
}

func TestReplicasHaveTheLevel(t *testing.T) {
	f := newFeed(t)
	r := NewReplica()
	if err := r.Apply(PartOf(f.snap(), "h1", 0)); err != nil {
		t.Fatal(err)
	}
	watch := f.snap().WatchPeers()
	f.apply(state.RaiseLevel{Level: 1})
	raised := f.index
	select {
	case <-watch:
	default:
		t.Error("who follows peers was not woken")
	}
	since, _ := r.Snapshot()
	b, err := EncodePart(PartOf(f.snap(), "h1", since.Index()))
	if err != nil {
		t.Fatal(err)
	}
	p, err := DecodePart(b)
	if err != nil {
		t.Fatal(err)
	}
	if p.Empty() {
		t.Error("the part says nothing, and is not sent")
	}
	if err := r.Apply(p); err != nil {
		t.Fatal(err)
	}
	if snap, _ := r.Snapshot(); snap.Level() != (state.Level{Number: 1, Index: raised}) {
		t.Errorf("the replica is at level %+v, want 1 since %d", snap.Level(), raised)
	}
	f.apply(state.RaiseLevel{Level: 1}, state.RaiseLevel{Level: 0})
	if f.snap().Level().Index != raised {
		t.Errorf("level %+v: it was raised again", f.snap().Level())
	}
}
