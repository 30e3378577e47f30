package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

// writerEnv makes the test binary a process that writes to the mesh in the named
// directory until it is killed.
const writerEnv = "TENKS_TEST_WRITER"

// memberlist's last probe ends an interval after its list: nobody can wait for it.
func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).triggerFunc"))
}

// words is an FSM that remembers every word it was given, in order.
type words struct {
	mu   sync.Mutex
	list []string
}

func (w *words) Apply(l *raft.Log) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, string(l.Data))
	return len(w.list)
}

func (w *words) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{}, w.list...)
}

func (w *words) Snapshot() (raft.FSMSnapshot, error) { return kept(strings.Join(w.all(), "\n")), nil }

func (w *words) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = strings.Split(string(b), "\n")
	return err
}

type kept string

func (k kept) Persist(sink raft.SnapshotSink) error {
	_, err := io.WriteString(sink, string(k))
	return errors.Join(err, sink.Close())
}
func (kept) Release() {}

func open(t *testing.T, dir string) (*Mesh, *words) {
	t.Helper()
	fsm := &words{}
	m, err := Open(t.Context(), testConfig(dir, fsm))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := current(ctx, m); err != nil {
		t.Fatal(err)
	}
	return m, fsm
}

const testMesh = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"

// entries are what a mesh begins with.
func entries(words ...string) func(Founding) ([][]byte, error) {
	return func(Founding) ([][]byte, error) {
		var out [][]byte
		for _, w := range words {
			out = append(out, []byte(w))
		}
		return out, nil
	}
}

func testConfig(dir string, fsm raft.FSM) Config {
	return Config{Dir: dir, FSM: fsm, View: func() View { return View{} }, Listen: "127.0.0.1:0", Gossip: "127.0.0.1:0",
		Advertise: "127.0.0.1", Log: slog.New(slog.DiscardHandler)}
}

// current waits until the mesh has a leader and all that was acknowledged.
func current(ctx context.Context, m *Mesh) error {
	for {
		err := m.Barrier(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func TestInitMakesAMeshOfOneThatLeadsAndKeepsWhatItWasTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mesh")
	if Exists(dir) {
		t.Fatal("a mesh where nothing is")
	}
	if err := Init(dir, testMesh, entries("first")); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir, testMesh, entries()); !errors.Is(err, ErrExists) {
		t.Errorf("second Init: %v, want ErrExists", err)
	}
	var id string
	t.Run("first run", func(t *testing.T) {
		m, fsm := open(t, dir)
		id = m.ID()
		if leader, ok := m.Leader(); !ok || leader != id || !m.IsLeader() {
			t.Errorf("leader %q %t, want %q", leader, ok, id)
		}
		answer, err := m.Propose(t.Context(), []byte("second"))
		if err != nil || answer != 2 {
			t.Fatalf("answer %v, error %v, want 2", answer, err)
		}
		if got := strings.Join(fsm.all(), " "); got != "first second" {
			t.Errorf("state %q", got)
		}
	})
	t.Run("second run", func(t *testing.T) {
		m, fsm := open(t, dir)
		if m.ID() != id {
			t.Errorf("ID %s became %s", id, m.ID())
		}
		if got := strings.Join(fsm.all(), " "); got != "first second" {
			t.Errorf("state %q", got)
		}
	})
}

func TestInitMayBeRepeatedAfterACrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mesh")
	if err := Init(dir, testMesh, entries("lost")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, doneFile)); err != nil { // the crash came before
		t.Fatal(err)
	}
	if err := Init(dir, testMesh, entries("kept")); err != nil {
		t.Fatal(err)
	}
	_, fsm := open(t, dir)
	if got := strings.Join(fsm.all(), " "); got != "kept" {
		t.Errorf("state %q, want kept", got)
	}
}

func TestInitKeepsTheKeyOfAnEarlierTry(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mesh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	want, err := makeIdentity(dir) // the crash came after
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), testConfig(dir, &words{})); err == nil {
		t.Error("a half-made mesh was opened")
	}
	if err := Init(dir, testMesh, entries()); err != nil {
		t.Fatal(err)
	}
	if m, _ := open(t, dir); m.ID() != want {
		t.Errorf("ID %s, want %s", m.ID(), want)
	}
}

func TestADamagedKeyIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mesh")
	if err := Init(dir, testMesh, entries()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "no PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(filepath.Join(dir, keyFile), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), testConfig(dir, &words{})); err == nil || !strings.Contains(err.Error(), "peer key") {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

func TestKeyIsReadableByItsOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mesh")
	if err := Init(dir, testMesh, entries()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keyFile, "raft/raft.db"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
	}
}

func TestWhileLeaderRunsWorkAgainAndReturnsAfterItEnded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mesh")
	if err := Init(dir, testMesh, entries()); err != nil {
		t.Fatal(err)
	}
	m, _ := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	runs, ended := make(chan int, 4), false
	done := make(chan error, 1)
	go func() {
		n := 0
		done <- m.WhileLeader(ctx, func(ctx context.Context) error {
			n++
			runs <- n
			if n == 1 {
				return errors.New("first try fails")
			}
			<-ctx.Done()
			ended = true
			return nil
		})
	}()
	for want := 1; want <= 2; want++ {
		select {
		case got := <-runs:
			if got != want {
				t.Fatalf("run %d, want %d", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("run %d did not begin", want)
		}
	}
	cancel()
	if err := <-done; err != nil || !ended {
		t.Errorf("error %v, work ended %t", err, ended)
	}
}

// writeForEver proposes w0, w1, … and prints each once it is acknowledged.
func writeForEver(dir string) error {
	ctx := context.Background()
	fsm := &words{}
	m, err := Open(ctx, testConfig(dir, fsm))
	if err != nil {
		return err
	}
	if err := current(ctx, m); err != nil {
		return err
	}
	for i := len(fsm.all()); ; i++ {
		if _, err := m.Propose(ctx, []byte("w"+strconv.Itoa(i))); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func TestKillLosesNothingThatWasAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mesh")
	if err := Init(dir, testMesh, entries("w0")); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for range 20 {
		acknowledged = max(acknowledged, writeUntilKilled(t, dir))
	}
	_, fsm := open(t, dir)
	got := fsm.all()
	if len(got) <= acknowledged {
		t.Fatalf("%d words, but w%d was acknowledged", len(got), acknowledged)
	}
	for i, w := range got {
		if w != "w"+strconv.Itoa(i) {
			t.Fatalf("word %d is %q: lost or applied twice", i, w)
		}
	}
	t.Logf("%d words after 20 kills, %d acknowledged", len(got), acknowledged+1)
}

// writeUntilKilled runs a writer, kills it at a random moment and returns the last
// word that it acknowledged.
func writeUntilKilled(t *testing.T, dir string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), writerEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last, left := 0, 1+rand.IntN(60)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("writer said %q", lines.Text())
		}
		last = n
		if left--; left == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if left > 0 {
		t.Fatal("the writer ended by itself")
	}
	return last
}

func BenchmarkPropose(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "mesh")
	if err := Init(dir, testMesh, entries()); err != nil {
		b.Fatal(err)
	}
	m, err := Open(context.Background(), testConfig(dir, &words{}))
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	if err := current(b.Context(), m); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := m.Propose(b.Context(), []byte("word")); err != nil {
			b.Fatal(err)
		}
	}
}
