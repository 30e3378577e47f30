package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"tenks/cluster/transport"
)

// pathGeneration is the one question that peers of every generation answer each other.
const pathGeneration = "/generation"

// generationHeader is in every request and answer between peers.
const generationHeader = "Tenks-Generation"

// How a peer looks for another generation than its own.
const (
	// askTime bounds one question, and the look around when an agent starts.
	askTime   = 2 * time.Second
	lookEvery = 5 * time.Second
	fencePoll = 200 * time.Millisecond
	// lookStart and lookSome are how many peers are asked when an agent starts, or gossip
	// says that there is a newer generation; and otherwise.
	lookStart = 16
	lookSome  = 2
)

// Standing is what a peer says of the log that it is in.
type Standing struct {
	Generation
	// Leader is the ID of who leads, as far as the peer knows; empty: nobody.
	Leader string `json:"leader,omitempty"`
	// Index is its newest log entry.
	Index uint64 `json:"index"`
	// Membership is what a peer needs that comes over.
	Membership membership `json:"membership"`
}

// fence keeps peers of other generations out, and this one out of an old one. Its zero
// value is ready.
type fence struct {
	mu sync.Mutex // guards what follows
	// shut says that a newer generation was heard of: nothing is proposed any more.
	shut bool
	// who said so last.
	who string
	// over is closed once this peer can go over; made on first use.
	over chan struct{}
	// rival says why a peer of the same generation is refused.
	rival error
	// told are the recoveries that were complained of.
	told map[string]bool
}

func (f *fence) done() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over == nil {
		f.over = make(chan struct{})
	}
	return f.over
}

func (f *fence) isShut() bool {
	_, shut := f.by()
	return shut
}

// by is who said that there is a newer generation.
func (f *fence) by() (peer string, shut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.who, f.shut
}

// first reports whether something happens for the first time.
func (f *fence) first(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told == nil {
		f.told = map[string]bool{}
	}
	if f.told[what] || len(f.told) > 64 {
		return false
	}
	f.told[what] = true
	return true
}

// Generation is the one that this peer is in.
func (m *Mesh) Generation() Generation { return m.files.Generation }

// Superseded is closed once the mesh was recovered without this peer and all is ready
// for it to come over: close the Mesh, and open it again.
func (m *Mesh) Superseded() <-chan struct{} { return m.fence.done() }

// Rival says that the mesh was recovered twice, if this peer met one of the other
// recovery; nil: it did not.
func (m *Mesh) Rival() error {
	m.fence.mu.Lock()
	defer m.fence.mu.Unlock()
	return m.fence.rival
}

// hear takes in what generation another peer is in; the error is that it must not be
// heard. If it is in a newer one, this peer stops voting, leading and proposing at once.
func (m *Mesh) hear(peer string, theirs Generation) error {
	ours := m.files.Generation
	err := ours.refusal(theirs)
	if err == nil {
		return nil
	}
	switch ours.of(theirs) {
	case newer:
		m.leaveLog(peer, theirs)
	case rival:
		m.fence.mu.Lock()
		m.fence.rival = err
		m.fence.mu.Unlock()
		if m.fence.first(theirs.String()) {
			m.cfg.Log.Error("another peer is not heard", "peer", peer, "err", err)
		}
	case older:
		if m.fence.first(peer + theirs.String()) {
			m.cfg.Log.Warn("a peer of an earlier generation is refused until it comes over", "peer", peer, "theirs", theirs.Number, "ours", ours.Number)
		}
	case same:
	}
	return err
}

// leaveLog ends this peer's part in a log that was given up, and prepares it for the
// new one.
func (m *Mesh) leaveLog(peer string, theirs Generation) {
	m.fence.mu.Lock()
	again := m.fence.shut
	m.fence.shut, m.fence.who = true, peer
	m.fence.mu.Unlock()
	if again {
		return
	}
	m.transport.Cut()
	m.cfg.Log.Warn("the mesh was recovered without this peer: it leaves its log and comes over", "peer", peer,
		"ours", m.files.Generation.Number, "theirs", theirs.Number)
}

// keepGeneration looks for other generations than this peer's until ctx ends, and
// prepares it to come over to a newer one.
func (m *Mesh) keepGeneration(ctx context.Context) {
	looked := time.Now()
	for ctx.Err() == nil {
		pause(ctx, fencePoll)
		peer, shut := m.fence.by()
		switch {
		case shut:
			if m.comeOver(ctx, peer) {
				return
			}
		case time.Since(looked) > lookEvery:
			m.lookOut(ctx)
			looked = time.Now().Add(-rand.N(lookEvery / 2))
		}
	}
}

// comeOver writes down what a peer of a newer generation says, that one or another.
func (m *Mesh) comeOver(ctx context.Context, peer string) bool {
	var errs error
	for _, id := range append([]string{peer}, m.others(lookStart, func(Peer) bool { return true })...) {
		st, err := m.rpc.standing(ctx, id)
		if err == nil {
			err = m.prepare(id, st)
		}
		if err == nil {
			close(m.fence.done())
			return true
		}
		errs = errors.Join(errs, err)
	}
	if ctx.Err() == nil && m.fence.first("not over") {
		m.cfg.Log.WarnContext(ctx, "not come over yet; will retry", "err", errs)
	}
	return false
}

func (m *Mesh) prepare(peer string, st Standing) error {
	if m.files.Generation.of(st.Generation) != newer || st.Membership.Generation != st.Generation {
		return fmt.Errorf("peer %s is in generation %d", peer, st.Number)
	}
	if st.Membership.Mesh != m.files.Mesh || len(st.Membership.Gossip) == 0 || st.Membership.Roots == "" {
		return fmt.Errorf("peer %s does not know enough of generation %d yet", peer, st.Number)
	}
	return next{Membership: st.Membership}.write(m.cfg.Dir)
}

// lookAround asks others, before this peer has any part in its log, whether that is
// still the mesh's. It reports whether it is not, and the next start goes over.
func (m *Mesh) lookAround(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	peers := m.others(lookStart, func(Peer) bool { return true })
	found := make(chan bool, len(peers))
	for _, id := range peers {
		go func() { // received below
			st, err := m.rpc.standing(ctx, id)
			if err == nil && m.files.Generation.of(st.Generation) == newer {
				err = m.prepare(id, st)
				found <- err == nil
				return
			}
			found <- false
		}()
	}
	over := false
	for range peers {
		if <-found {
			over = true
			cancel() // one is enough
		}
	}
	return over
}

// lookOut asks peers that are not heard of, now and then, which generation they are in:
// those of another one do not gossip with this peer.
func (m *Mesh) lookOut(ctx context.Context) {
	alive := m.alive()
	limit, ask := lookSome, func(p Peer) bool { return !alive[p.ID] }
	if m.gossip.Stats().Generation > m.files.Generation.Number {
		limit, ask = lookStart, func(Peer) bool { return true }
	}
	for _, id := range m.others(limit, ask) {
		_, _ = m.rpc.standing(ctx, id) // what it says is heard there
	}
}

// others returns some peers, those of the log first.
func (m *Mesh) others(most int, ask func(Peer) bool) []string {
	var follow, rest []string
	for _, p := range m.peers() {
		switch {
		case p.ID == m.id || p.Removed || !ask(p):
		case p.Role == Client:
			rest = append(rest, p.ID)
		default:
			follow = append(follow, p.ID)
		}
	}
	for _, s := range [][]string{follow, rest} {
		rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	all := slices.Concat(follow, rest)
	return all[:min(len(all), most)]
}

// standing asks one peer.
func (c rpcClient) standing(ctx context.Context, peer string) (Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	b, err := c.call(ctx, peer, http.MethodGet, pathGeneration, nil)
	if err != nil {
		return Standing{}, err
	}
	var st Standing
	if err := json.Unmarshal(b, &st); err != nil {
		return Standing{}, fmt.Errorf("peer %s: %w", peer, err)
	}
	return st, nil
}

// fenced lets requests through that are of this peer's generation.
func (s rpcServer) fenced(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(generationHeader, s.m.files.Generation.String())
		theirs, err := parseGeneration(r.Header.Get(generationHeader))
		if err == nil && (theirs.Number > 0 || r.URL.Path != pathGeneration) {
			err = s.m.hear(transport.PeerOf(r.Context()), theirs)
		}
		if err == nil && s.m.fence.isShut() {
			err = fmt.Errorf("%w: this peer comes over from an earlier one", ErrGeneration)
		}
		if err != nil && r.URL.Path != pathGeneration {
			http.Error(w, err.Error(), http.StatusPreconditionFailed)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (s rpcServer) generation(w http.ResponseWriter, _ *http.Request) {
	leader, _ := s.m.log.Leader()
	writeJSON(w, Standing{Generation: s.m.files.Generation, Leader: leader, Index: s.m.log.LastIndex(), Membership: s.m.membership()})
}

// fenced is what a peer of another generation answered, or nil. Nothing was done there.
func (c rpcClient) fenced(peer string, resp *http.Response, answer []byte) error {
	if theirs, err := parseGeneration(resp.Header.Get(generationHeader)); err == nil && theirs.Number > 0 && c.hear != nil {
		_ = c.hear(peer, theirs) // a question about it may go on; the rest was refused there
	}
	if resp.StatusCode != http.StatusPreconditionFailed {
		return nil
	}
	return fmt.Errorf("peer %s: %w: %s", peer, ErrNotLeader, strings.TrimSpace(string(answer)))
}

// fencedConn is a connection of Raft, which begins with the generation of who dialed.
type fencedConn struct {
	net.Conn
	m    *Mesh
	read *bufio.Reader
	// heard is used by the one goroutine that reads.
	heard bool
}

// dialed says which generation this peer is in.
func (m *Mesh) dialed(conn net.Conn) (net.Conn, error) {
	err := conn.SetWriteDeadline(time.Now().Add(askTime))
	if err == nil {
		_, err = io.WriteString(conn, m.files.Generation.String()+"\n")
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, conn.SetWriteDeadline(time.Time{})
}

// accepted is what Raft gets of a connection: the first read finds out whose it is.
func (m *Mesh) accepted(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return &fencedConn{Conn: conn, m: m, read: bufio.NewReaderSize(conn, 4<<10)}, nil
}

// Read implements net.Conn.
func (c *fencedConn) Read(b []byte) (int, error) {
	if !c.heard {
		if err := c.hear(); err != nil {
			return 0, errors.Join(err, c.Close())
		}
		c.heard = true
	}
	return c.read.Read(b)
}

func (c *fencedConn) hear() error {
	line, err := c.read.ReadSlice('\n')
	if err != nil {
		return err
	}
	theirs, err := parseGeneration(strings.TrimSuffix(string(line), "\n"))
	if err != nil {
		return err
	}
	peer := ""
	if p, ok := c.Conn.(interface{ Peer() string }); ok {
		peer = p.Peer()
	}
	return c.m.hear(peer, theirs)
}
