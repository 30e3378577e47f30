package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is an FSM that counts the entries it was given, one by one or with a
// snapshot. An entry that says "block" waits for gate.
type counter struct {
	mu              sync.Mutex
	total, restored int
	last            string
	gate            chan struct{}
}

func (c *counter) Apply(l *raft.Log) any {
	if string(l.Data) == "block" {
		<-c.gate
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	c.last = string(l.Data)
	return c.total
}

func (c *counter) state() (total, restored int, last string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total, c.restored, c.last
}

func (c *counter) Snapshot() (raft.FSMSnapshot, error) {
	total, _, _ := c.state()
	return count(total), nil
}

func (c *counter) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total, err = strconv.Atoi(string(b))
	c.restored = c.total
	return err
}

type count int

func (n count) Persist(sink raft.SnapshotSink) error {
	_, err := io.WriteString(sink, strconv.Itoa(int(n)))
	return errors.Join(err, sink.Close())
}
func (count) Release() {}

func open(t testing.TB, c Config) *Log {
	t.Helper()
	if c.ID == "" {
		c.ID = "p0"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

// solo opens a log with one voter and waits until it leads.
func solo(t testing.TB, dir string, fsm raft.FSM) *Log {
	t.Helper()
	l := open(t, Config{Dir: dir, FSM: fsm})
	eventually(t, "a leader with the whole state", func() bool { return l.Barrier(t.Context()) == nil })
	return l
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func propose(t testing.TB, l *Log, command string) {
	t.Helper()
	if _, err := l.Propose(t.Context(), []byte(command)); err != nil {
		t.Fatal(err)
	}
}

// TestAMeshOfOneIsSoonThere measures a start with an empty log and with 10,000
// entries, as a crash before the first snapshot may leave them. A host that is busy
// with other things gets three tries.
func TestAMeshOfOneIsSoonThere(t *testing.T) {
	for _, entries := range []int{0, 10000} {
		t.Run(strconv.Itoa(entries), func(t *testing.T) {
			var took time.Duration
			for range 3 {
				t.Run("start", func(t *testing.T) { took = timeStart(t, entries) })
				if took <= 5*time.Second {
					return
				}
			}
			t.Errorf("%d entries took %v", entries, took)
		})
	}
}

func timeStart(t *testing.T, entries int) time.Duration {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := Bootstrap(dir, "p0", []byte("first")); err != nil {
		t.Fatal(err)
	}
	fill(t, dir, entries)
	fsm := &counter{}
	begun := time.Now()
	solo(t, dir, fsm)
	took := time.Since(begun)
	if total, _, _ := fsm.state(); total != entries+1 {
		t.Errorf("%d entries applied, want %d", total, entries+1)
	}
	t.Logf("%d entries: leads with the whole state after %v", entries, took.Round(time.Millisecond))
	return took
}

// fill adds entries to a log that Bootstrap made.
func fill(t *testing.T, dir string, entries int) {
	t.Helper()
	s, err := openStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 500)
	var logs []*raft.Log
	for i := range entries {
		logs = append(logs, &raft.Log{Index: uint64(i + 3), Term: 1, Type: raft.LogCommand, Data: body})
	}
	if err := errors.Join(s.bolt.StoreLogs(logs), s.bolt.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAStartUsesTheSnapshotAndTheEntriesAfterIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := Bootstrap(dir, "p0", []byte("first")); err != nil {
		t.Fatal(err)
	}
	t.Run("before", func(t *testing.T) {
		l := solo(t, dir, &counter{})
		for i := range 50 {
			propose(t, l, fmt.Sprint(i))
		}
		if err := l.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		propose(t, l, "after the snapshot")
	})
	t.Run("after", func(t *testing.T) {
		fsm := &counter{}
		solo(t, dir, fsm)
		if total, restored, last := fsm.state(); total != 52 || restored != 51 || last != "after the snapshot" {
			t.Errorf("%d entries, %d from the snapshot, last %q; want 52, 51", total, restored, last)
		}
	})
}

func TestASecondProcessIsRefusedAndDoesNotHang(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := Bootstrap(dir, "p0", nil); err != nil {
		t.Fatal(err)
	}
	solo(t, dir, &counter{})
	if l, err := Open(Config{Dir: dir, ID: "p0", FSM: &counter{}, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Errorf("opened twice; close: %v", l.Close())
	}
}

func TestAProposalWhoseCallerLeavesMayStillBeMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := Bootstrap(dir, "p0", nil); err != nil {
		t.Fatal(err)
	}
	fsm := &counter{gate: make(chan struct{})}
	l := solo(t, dir, fsm)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Propose(ctx, []byte("block")); !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want ErrUnknown and the deadline", err)
	}
	if _, err := l.Propose(ctx, []byte("late")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnknown) {
		t.Errorf("error %v: what was not begun is known not to be made", err)
	}
	close(fsm.gate)
	if err := l.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, last := fsm.state(); last != "block" {
		t.Errorf("last entry %q", last)
	}
}

func TestACloseWaitsForProposalsAndRefusesNewOnes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := Bootstrap(dir, "p0", nil); err != nil {
		t.Fatal(err)
	}
	fsm := &counter{}
	l := solo(t, dir, fsm)
	results := make(chan error, 100)
	for range cap(results) {
		go func() {
			_, err := l.Propose(context.Background(), []byte("x"))
			results <- err
		}()
	}
	eventually(t, "a proposal under way", func() bool { total, _, _ := fsm.state(); return total > 1 })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	made := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			made++
		case !errors.Is(err, ErrNotLeader):
			t.Errorf("error %v, want none or ErrNotLeader", err)
		}
	}
	if total, _, _ := fsm.state(); total != made+1 {
		t.Errorf("%d proposals were acknowledged, %d applied", made, total-1)
	}
	if _, err := l.Propose(t.Context(), nil); !errors.Is(err, ErrNotLeader) {
		t.Errorf("after Close: %v", err)
	}
	if leads, _ := l.Leading(); leads {
		t.Error("leads after Close")
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestTimingOfOneAndOfSeveralPeers(t *testing.T) {
	server := func(id string, s raft.ServerSuffrage) raft.Server {
		return raft.Server{ID: raft.ServerID(id), Suffrage: s}
	}
	alone, several := timing{leaderLease, leaderLease, leaderLease}, timing{time.Second, time.Second, leaderLease}
	for _, c := range []struct {
		name    string
		servers []raft.Server
		want    timing
	}{
		{"one voter", []raft.Server{server("p0", raft.Voter)}, alone},
		{"three", []raft.Server{server("p0", raft.Voter), server("p1", raft.Nonvoter), server("p2", raft.Voter)}, several},
		{"a log that waits for its first entries", nil, several},
		{"one that knows another voter only", []raft.Server{server("p1", raft.Voter)}, several},
	} {
		if got := timingFor(raft.Configuration{Servers: c.servers}, "p0"); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// trio is three voters that reach each other in memory.
type trio struct {
	logs       []*Log
	transports []*raft.InmemTransport
}

func newTrio(t *testing.T) *trio {
	t.Helper()
	ids := []string{"p0", "p1", "p2"}
	m := &trio{}
	for _, id := range ids {
		_, tr := raft.NewInmemTransportWithTimeout(raft.ServerAddress(id), 500*time.Millisecond)
		m.transports = append(m.transports, tr)
	}
	for i, id := range ids {
		for j, other := range m.transports {
			if i != j {
				m.transports[i].Connect(raft.ServerAddress(ids[j]), other)
			}
		}
		dir := filepath.Join(t.TempDir(), "raft")
		if err := bootstrap(dir, ids, []byte("first")); err != nil {
			t.Fatal(err)
		}
		m.logs = append(m.logs, open(t, Config{Dir: dir, ID: id, FSM: &counter{}, transport: m.transports[i]}))
	}
	return m
}

func (m *trio) leader(but int) int {
	for i, l := range m.logs {
		if leads, _ := l.Leading(); leads && i != but {
			return i
		}
	}
	return -1
}

func (m *trio) cut(i int) {
	m.transports[i].DisconnectAll()
	for _, tr := range m.transports {
		tr.Disconnect(raft.ServerAddress("p" + strconv.Itoa(i)))
	}
}

func TestALeaderThatIsCutOffStopsItsWorkBeforeAnotherBegins(t *testing.T) {
	m := newTrio(t)
	ctx, cancel := context.WithCancel(t.Context())
	var (
		mu      sync.Mutex
		working = map[int]bool{}
		begun   []int
		overlap bool
		wg      sync.WaitGroup
	)
	for i, l := range m.logs {
		wg.Go(func() {
			_ = l.WhileLeader(ctx, func(ctx context.Context) error {
				mu.Lock()
				overlap = overlap || len(working) > 0
				working[i] = true
				begun = append(begun, i)
				mu.Unlock()
				<-ctx.Done()
				mu.Lock()
				delete(working, i)
				mu.Unlock()
				return nil
			})
		})
	}
	defer func() { cancel(); wg.Wait() }()
	leads := func() int { mu.Lock(); defer mu.Unlock(); return len(begun) }
	eventually(t, "work on a leader", func() bool { return leads() == 1 })
	first := m.leader(-1)
	follower := (first + 1) % 3
	if _, err := m.logs[follower].Propose(t.Context(), []byte("x")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("at a follower: %v, want ErrNotLeader", err)
	}
	if id, ok := m.logs[follower].Leader(); !ok || id != "p"+strconv.Itoa(first) {
		t.Errorf("the follower takes %q for the leader, want p%d", id, first)
	}
	m.cut(first)
	if _, err := m.logs[first].Propose(t.Context(), []byte("lost?")); !errors.Is(err, ErrUnknown) {
		t.Errorf("in flight when leadership was lost: %v, want ErrUnknown", err)
	}
	eventually(t, "work on another leader", func() bool { return leads() == 2 })
	mu.Lock()
	defer mu.Unlock()
	if overlap || begun[0] != first || begun[1] == first {
		t.Errorf("work began on %v, overlapping: %t", begun, overlap)
	}
}

func TestRaftsLogBecomesOursAtItsLevel(t *testing.T) {
	var b strings.Builder
	out := leveled(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	out.Error("disk is gone", "error", "EIO")
	out.Warn("peer is slow", "peer", "p1")
	out.Warn("heartbeat timeout reached, starting election")
	out.Info("entering leader state")
	out.Debug("asking for vote")
	for _, want := range []string{
		`level=ERROR msg="disk is gone" part=raft error=EIO`, `level=WARN msg="peer is slow" part=raft peer=p1`,
		`level=DEBUG msg="heartbeat timeout reached, starting election"`, `level=DEBUG msg="entering leader state"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "asking for vote") {
		t.Error("Raft's debugging is in the log")
	}
}
