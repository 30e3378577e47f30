package cluster

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/cluster/consensus"
	"tenks/cluster/pki"
)

func TestGenerations(t *testing.T) {
	first := Generation{Number: 1}
	second, other := Generation{Number: 2, Recovery: "aa", Since: span}, Generation{Number: 2, Recovery: "bb", Since: span}
	third := Generation{Number: 3, Recovery: "cc", Since: 2 * span}
	for _, tt := range []struct {
		name         string
		ours, theirs Generation
		want         relation
		says         string
	}{
		{"the first", first, first, same, ""},
		{"the same recovery", second, second, same, ""},
		{"a peer from before", second, first, older, "it is in generation 2, not 1"},
		{"a peer of a version that says nothing", first, Generation{}, older, "not 0"},
		{"a recovery that this peer missed", first, third, newer, "still in 1, not 3, and will follow"},
		{"two operators", second, other, rival, "recovered twice to generation 2, by recovery aa and by recovery bb"},
		{"the way out of it", other, third, newer, "will follow"},
		{"the old mesh and a recovery of the same number", second, Generation{Number: 2}, rival, "by init"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.ours.of(tt.theirs); got != tt.want {
				t.Errorf("relation %d, want %d", got, tt.want)
			}
			err := tt.ours.refusal(tt.theirs)
			if (err == nil) != (tt.want == same) || err != nil && !errors.Is(err, ErrGeneration) {
				t.Errorf("refusal: %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("refusal %q does not say %q", err, tt.says)
			}
			back, err := parseGeneration(tt.theirs.String())
			if err != nil || back != tt.theirs {
				t.Errorf("%v is read as %v, %v", tt.theirs, back, err)
			}
		})
	}
}

func TestNextGenerationBeginsBeyondAllThatIsKnown(t *testing.T) {
	first := Generation{Number: 1}
	for _, tt := range []struct {
		name           string
		number, newest uint64
		wantNumber     uint64
		wantSince      uint64
	}{
		{"the next", 0, 57, 2, span},
		{"a number", 5, 57, 5, 4 * span},
		{"a long log", 0, 3*span + 7, 2, 4 * span},
	} {
		g, err := first.Next(tt.number, tt.newest)
		if err != nil || g.Number != tt.wantNumber || g.Since != tt.wantSince || g.Recovery == "" {
			t.Errorf("%s: %+v, %v", tt.name, g, err)
		}
		again, _ := first.Next(tt.number, tt.newest)
		if again.Recovery == g.Recovery {
			t.Errorf("%s: two recoveries have one ID", tt.name)
		}
	}
	if g, err := (Generation{Number: 3}).Next(3, 0); err == nil {
		t.Errorf("back to %+v", g)
	}
}

func FuzzParseGeneration(f *testing.F) {
	f.Add("2/aa/1000000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		g, err := parseGeneration(s)
		if err != nil || s == "" {
			return
		}
		if back, err := parseGeneration(g.String()); err != nil || back != g {
			t.Errorf("%q is %+v, which is read as %+v, %v", s, g, back, err)
		}
	})
}

// recovered makes a place, whose Mesh is closed, the only voter of the next generation.
func (b *testbed) recovered(p *place, number uint64) Generation {
	b.Helper()
	fsm := &counted{}
	r, err := Replay(p.dir, fsm)
	if err != nil {
		b.Fatal(err)
	}
	local, err := ReadLocal(p.dir)
	if err != nil {
		b.Fatal(err)
	}
	g, err := local.Next(number, r.Index)
	if err != nil {
		b.Fatal(err)
	}
	err = Recover(RecoverConfig{Dir: p.dir, Generation: g, Term: r.Term, Authority: b.authority,
		Roots: []*x509.Certificate{b.authority.Certificate()}, Peers: local.Peers, Now: time.Now(),
		Snapshot: func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Join(fsm.all(), "\n"))
			return err
		}})
	if err != nil {
		b.Fatal(err)
	}
	return g
}

// again opens a place with a new state machine.
func (b *testbed) again(p *place) {
	b.Helper()
	p.fsm = &counted{}
	p.config.FSM = p.fsm
	b.open(p)
}

func (b *testbed) closed(p *place) {
	b.Helper()
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}

// comesOver waits until a peer has noticed that the mesh was recovered without it.
func (b *testbed) comesOver(p *place) {
	b.Helper()
	select {
	case <-p.Superseded():
	case <-time.After(30 * time.Second):
		b.Fatal("the peer did not notice that the mesh was recovered")
	}
}

func TestARecoveredMeshGoesOnAndFencesTheOldVoters(t *testing.T) {
	b := trio(t)
	first, second, third := b.places[0], b.places[1], b.places[2]
	if _, err := first.Propose(t.Context(), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	b.eventually("the command everywhere", func() bool { return len(third.fsm.all()) == 2 })
	b.closed(third)
	// The other two run on: together they are a majority of the old generation.
	g := b.recovered(third, 0)
	old := third.dir
	b.again(third)
	b.eventually("the recovered peer leading", third.IsLeader)
	if g.Number != 2 || third.Generation() != g {
		t.Errorf("generation %+v, recovered to %+v", third.Generation(), g)
	}
	if !there(filepath.Join(old, "raft.gen1", "raft.db")) || there(filepath.Join(old, nextFile)) {
		t.Error("the old log is not kept beside the new one, or the step is not finished")
	}
	b.comesOver(first)
	b.comesOver(second)
	if _, err := first.Propose(t.Context(), []byte("late")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a fenced peer accepts a command: %v", err)
	}
	if _, err := third.Propose(t.Context(), []byte("new")); err != nil {
		t.Fatal(err)
	}
	b.closed(first)
	b.closed(second)
	b.again(first)
	b.again(second)
	b.eventually("the log of the new generation everywhere", func() bool {
		return strings.HasSuffix(strings.Join(first.fsm.all(), " "), "new") && strings.HasSuffix(strings.Join(second.fsm.all(), " "), "new")
	})
	b.eventually("three voters again", func() bool { return votes(third) == 3 })
	if got := strings.Join(first.fsm.all(), " "); got != "first kept new" {
		t.Errorf("the state is %q", got)
	}
	if first.Generation() != g || second.Generation() != g {
		t.Errorf("generations %+v and %+v, want %+v", first.Generation(), second.Generation(), g)
	}
}

func TestAPeerThatStartsLooksAroundBeforeItVotes(t *testing.T) {
	b := trio(t)
	first, third := b.places[0], b.places[2]
	for _, p := range b.places {
		b.closed(p)
	}
	g := b.recovered(third, 0)
	b.again(third)
	b.eventually("the recovered peer leading", third.IsLeader)
	b.again(first)
	if first.Generation() != g {
		t.Errorf("it starts in generation %+v, want %+v", first.Generation(), g)
	}
}

func TestTwoRecoveriesOfOneNumberRefuseEachOther(t *testing.T) {
	b := trio(t)
	first, second, third := b.places[0], b.places[1], b.places[2]
	for _, p := range b.places {
		b.closed(p)
	}
	b.recovered(first, 0)
	b.recovered(second, 0)
	b.again(first)
	b.again(second)
	b.eventually("two leaders", func() bool { return first.IsLeader() && second.IsLeader() })
	_, err := first.rpc.call(t.Context(), second.ID(), "GET", pathStatus, nil)
	if err == nil || !strings.Contains(err.Error(), "recovered twice to generation 2") {
		t.Errorf("the rival is heard: %v", err)
	}
	if err := first.Rival(); !errors.Is(err, ErrGeneration) || second.Rival() == nil {
		t.Errorf("rivals: %v, %v", err, second.Rival())
	}
	if votes(first) != 1 || votes(second) != 1 {
		t.Error("rivals took each other in")
	}
	b.closed(first)
	g := b.recovered(first, 3)
	b.again(first)
	b.comesOver(second)
	b.closed(second)
	b.again(second)
	b.again(third)
	b.eventually("one mesh of the third generation", func() bool { return votes(first) == 3 && votes(third) == 3 })
	if second.Generation() != g || third.Generation() != g {
		t.Errorf("generations %+v and %+v, want %+v", second.Generation(), third.Generation(), g)
	}
}

func TestAMeshWithANewAuthorityLetsItsPeersInAgain(t *testing.T) {
	b := founded(t)
	first, second := b.places[0], b.joined()
	b.eventually("the log at the second", func() bool { return len(second.fsm.all()) == 1 })
	id := second.ID()
	b.closed(first)
	b.closed(second)
	if Estranged(second.dir, b.token()) {
		t.Error("a peer is estranged from the mesh that it is in")
	}
	// What it kept of the state is of before.
	before := b.view()
	before.Generation = 1
	second.config.View = func() View { return before }
	authority, err := pki.NewAuthority(testMesh, time.Now())
	must(t, err)
	b.mu.Lock()
	b.authority = authority
	b.mu.Unlock()
	g := b.recovered(first, 0)
	b.again(first)
	b.again(second)
	select {
	case <-second.Superseded():
		t.Error("a peer came over to an authority that it does not know")
	case <-time.After(3 * time.Second):
	}
	b.closed(second)
	if !Estranged(second.dir, b.token()) {
		t.Error("a peer does not know that its mesh has another authority")
	}
	must(t, b.join(second))
	b.again(second)
	if second.ID() != id || second.Generation() != g {
		t.Errorf("peer %s in generation %+v, want %s in %+v", second.ID(), second.Generation(), id, g)
	}
	b.eventually("the log of the new generation at the second", func() bool { return len(second.fsm.all()) > 0 })
	must(t, b.join(second)) // again, for nothing
}

func TestACrashInTheMiddleOfARecoveryIsFinished(t *testing.T) {
	b := founded(t)
	p := b.places[0]
	b.closed(p)
	g, err := Generation{Number: 1}.Next(0, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, err := readMembership(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Generation = g
	var dir string
	steps := []func(){
		func() {},
		func() { must(t, os.Rename(logDir(dir), oldLogDir(dir, Generation{Number: 1}))) },
		func() { must(t, os.Rename(newLogDir(dir), logDir(dir))) },
		func() { must(t, m.write(dir)) },
	}
	for crash := range steps {
		dir = filepath.Join(t.TempDir(), "mesh")
		must(t, os.CopyFS(dir, os.DirFS(p.dir)))
		must(t, consensus.Found(newLogDir(dir), consensus.Start{Voter: p.ID(), Index: g.Since, Term: 9,
			Snapshot: func(w io.Writer) error { _, err := w.Write([]byte("recovered")); return err }}))
		must(t, next{Membership: m, Log: true}.write(dir))
		for _, step := range steps[:crash+1] {
			step()
		}
		fsm := &counted{}
		r, err := Replay(dir, fsm)
		if err != nil || r.Index != g.Since || len(r.Voters) != 1 || strings.Join(fsm.all(), " ") != "recovered" {
			t.Errorf("crash after step %d: %+v, %v, %q", crash, r, err, fsm.all())
		}
		if local, err := ReadLocal(dir); err != nil || local.Generation != g {
			t.Errorf("crash after step %d: %+v, %v", crash, local.Generation, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, keyFile)); err != nil || !bytes.Contains(b, []byte("PRIVATE KEY")) {
			t.Errorf("crash after step %d: the key is gone: %v", crash, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
