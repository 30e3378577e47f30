package consensus

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// book says who is where, and who cannot reach whom.
type book struct {
	mu        sync.Mutex // guards what follows
	addresses map[string]string
	cut       map[[2]string]bool
}

func (b *book) find(from, to string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut[pair(from, to)] {
		return "", errors.New("no route to host")
	}
	return b.addresses[to], nil
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// wire is a Network over TCP on loopback. The first line of a connection says who
// dialled it.
type wire struct {
	id       string
	book     *book
	accepted chan net.Conn
	closed   chan struct{}
	work     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	listener net.Listener
	live     map[net.Conn]string
}

func newWire(t testing.TB, id string, b *book) *wire {
	t.Helper()
	w := &wire{id: id, book: b, accepted: make(chan net.Conn), closed: make(chan struct{}), live: map[net.Conn]string{}}
	w.move(t)
	t.Cleanup(w.close)
	return w
}

// move listens elsewhere and breaks every connection, as a new lease of an address does.
func (w *wire) move(t testing.TB) {
	t.Helper()
	// The old address is taken until the new one is known: it is another one.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	old := w.listener
	w.listener = l
	w.mu.Unlock()
	w.book.mu.Lock()
	w.book.addresses[w.id] = l.Addr().String()
	w.book.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	w.drop("")
	w.work.Go(func() { w.serve(l) })
}

func (w *wire) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		w.work.Go(func() { w.greet(c) })
	}
}

// greet hands a connection on once it is known whose it is.
func (w *wire) greet(c net.Conn) {
	r := bufio.NewReader(c)
	w.keep(c, "?")
	peer, err := r.ReadString('\n')
	if err != nil {
		w.forget(c)
		return
	}
	peer = strings.TrimSuffix(peer, "\n")
	if _, err := w.book.find(w.id, peer); err != nil {
		w.forget(c)
		return
	}
	w.keep(c, peer)
	select {
	case w.accepted <- &wireConn{c, r, w}:
	case <-w.closed:
		w.forget(c)
	}
}

func (w *wire) keep(c net.Conn, peer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live[c] = peer
}

func (w *wire) forget(c net.Conn) {
	w.mu.Lock()
	delete(w.live, c)
	w.mu.Unlock()
	_ = c.Close()
}

// drop breaks the connections with one peer, or with all.
func (w *wire) drop(peer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, p := range w.live {
		if peer == "" || p == peer || p == "?" {
			_ = c.Close()
		}
	}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.accepted:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Dial(ctx context.Context, peer string) (net.Conn, error) {
	address, err := w.book.find(w.id, peer)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w.keep(c, peer)
	if _, err := fmt.Fprintln(c, w.id); err != nil {
		w.forget(c)
		return nil, err
	}
	return &wireConn{c, bufio.NewReader(c), w}, nil
}

func (w *wire) close() {
	close(w.closed)
	w.mu.Lock()
	_ = w.listener.Close()
	w.mu.Unlock()
	w.drop("")
	w.work.Wait()
}

type wireConn struct {
	net.Conn
	r *bufio.Reader
	w *wire
}

func (c *wireConn) Read(b []byte) (int, error) { return c.r.Read(b) }
func (c *wireConn) Close() error {
	c.w.forget(c.Conn)
	return nil
}

// journal is an FSM that keeps what it was given, and knows how far it is.
type journal struct {
	mu sync.Mutex // guards what follows
	journalState
	have map[string]bool
}

type journalState struct {
	Entries []string
	At      uint64
}

func (j *journal) Apply(l *raft.Log) any {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.Entries = append(j.Entries, string(l.Data))
	j.have[string(l.Data)] = true
	j.At = l.Index
	return len(j.Entries)
}

// Index is what ReadIndex speaks of.
func (j *journal) Index() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.At
}

func (j *journal) has(command string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.have[command]
}

func (j *journal) Snapshot() (raft.FSMSnapshot, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, err := json.Marshal(j.journalState)
	return page(b), err
}

func (j *journal) Restore(r io.ReadCloser) error {
	defer r.Close()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.journalState, j.have = journalState{}, map[string]bool{}
	err := json.NewDecoder(r).Decode(&j.journalState)
	for _, e := range j.Entries {
		j.have[e] = true
	}
	return err
}

type page []byte

func (p page) Persist(sink raft.SnapshotSink) error {
	_, err := sink.Write(p)
	return errors.Join(err, sink.Close())
}
func (page) Release() {}

// mesh is logs that reach each other by wire.
type mesh struct {
	book  *book
	ids   []string
	wires map[string]*wire
	logs  map[string]*Log
	fsms  map[string]*journal
}

func newMesh() *mesh {
	return &mesh{book: &book{addresses: map[string]string{}, cut: map[[2]string]bool{}},
		wires: map[string]*wire{}, logs: map[string]*Log{}, fsms: map[string]*journal{}}
}

// start opens the log of a peer: one of these voters, or empty if there are none.
func (m *mesh) start(t testing.TB, id string, voters []string, change func(*Config)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "raft")
	err := Prepare(dir)
	if len(voters) > 0 {
		err = bootstrap(dir, voters, []byte("first"))
	}
	if err != nil {
		t.Fatal(err)
	}
	m.ids = append(m.ids, id)
	m.wires[id], m.fsms[id] = newWire(t, id, m.book), &journal{have: map[string]bool{}}
	c := Config{Dir: dir, ID: id, FSM: m.fsms[id], Network: m.wires[id], Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	m.logs[id] = open(t, c)
}

func threeVoters(t testing.TB) *mesh {
	t.Helper()
	m, ids := newMesh(), []string{"p0", "p1", "p2"}
	for _, id := range ids {
		m.start(t, id, ids, nil)
	}
	m.leader(t)
	return m
}

// leader waits for one that can write, other than those.
func (m *mesh) leader(t testing.TB, but ...string) string {
	t.Helper()
	leads := ""
	eventually(t, fmt.Sprintf("a leader other than %v", but), func() bool {
		leads = m.now(but...)
		return leads != ""
	})
	return leads
}

// now is who leads at this moment, other than those.
func (m *mesh) now(but ...string) string {
	for _, id := range m.ids {
		ok := true
		for _, b := range but {
			ok = ok && id != b
		}
		if leads, _ := m.logs[id].Leading(); ok && leads {
			return id
		}
	}
	return ""
}

// write proposes until a leader takes it, and returns who did.
func (m *mesh) write(t testing.TB, command string) string {
	t.Helper()
	by := ""
	eventually(t, "a write of "+command, func() bool {
		by = m.now()
		if by == "" {
			return false
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := m.logs[by].Propose(ctx, []byte(command))
		return err == nil
	})
	return by
}

func (m *mesh) everywhere(t testing.TB, command string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		eventually(t, command+" at "+id, func() bool { return m.fsms[id].has(command) })
	}
}

// cut parts two peers, and mend joins them again.
func (m *mesh) cut(a, b string) {
	m.book.mu.Lock()
	m.book.cut[pair(a, b)] = true
	m.book.mu.Unlock()
	m.wires[a].drop(b)
	m.wires[b].drop(a)
}

func (m *mesh) mend(a, b string) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	delete(m.book.cut, pair(a, b))
}

func (m *mesh) cutOff(id string) {
	for _, o := range m.ids {
		if o != id {
			m.cut(id, o)
		}
	}
}

func (m *mesh) rejoin(id string) {
	for _, o := range m.ids {
		m.mend(id, o)
	}
}

func (m *mesh) others(id string) []string {
	var out []string
	for _, o := range m.ids {
		if o != id {
			out = append(out, o)
		}
	}
	return out
}
