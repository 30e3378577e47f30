package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"tenks/cluster/transport"
)

// A feed is a connection on which a peer that does not follow the log gets its part of
// the state. Frames are a length of 4 bytes, big endian, and so many bytes. Who asks
// sends one, a Position in JSON; the other first answers with one that is empty, or says
// in words why it does not, and then sends parts. An empty one later says only that it
// is still there.
const (
	feedBeat  = 10 * time.Second
	feedQuiet = 3 * feedBeat
	// feedWrite bounds how long a peer may take to accept a frame.
	feedWrite = 20 * time.Second
	maxFrame  = 80 << 20
	maxHello  = 4 << 10
	feedPause = 200 * time.Millisecond
	feedMax   = 5 * time.Second
	// followPoll is how often a peer looks whether the log leaves it out.
	followPoll = 500 * time.Millisecond
)

// Position says what a peer knows of the state.
type Position struct {
	Generation uint64 `json:"generation"`
	Index      uint64 `json:"index"`
}

// feedHello is what a peer sends that asks for a feed.
type feedHello struct {
	Position
	// In is the generation of the mesh that it is in.
	In string `json:"in"`
}

// Feeder sends a peer its part of the state: what changed since a position, at once
// (also if that is nothing), and whenever something changed, until ctx ends or send
// fails.
type Feeder func(ctx context.Context, peer string, at Position, send func(part []byte) error) error

// serveFeeds answers peers that ask for a feed until ctx ends.
func (m *Mesh) serveFeeds(ctx context.Context) {
	listener := m.transport.Listener(transport.Feed)
	var feeds sync.WaitGroup
	defer feeds.Wait()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // it was closed
		}
		feeds.Go(func() {
			err := m.serveFeed(ctx, conn.(*transport.Conn))
			if err != nil && ctx.Err() == nil {
				m.cfg.Log.DebugContext(ctx, "feed ended", "peer", conn.(*transport.Conn).Peer(), "err", err)
			}
		})
	}
}

func (m *Mesh) serveFeed(ctx context.Context, conn *transport.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(feedWrite)); err != nil {
		return err
	}
	hello, err := readFrame(conn, maxHello)
	if err != nil {
		return err
	}
	var ask feedHello
	if err := json.Unmarshal(hello, &ask); err != nil {
		return fmt.Errorf("peer %s: asks for a feed: %w", conn.Peer(), err)
	}
	out, at := &feedWriter{conn: conn}, ask.Position
	theirs, err := parseGeneration(ask.In)
	if err == nil {
		err = m.hear(conn.Peer(), theirs)
	}
	if err != nil {
		return out.send([]byte(err.Error()))
	}
	if !m.log.Following() {
		return out.send([]byte("this peer does not follow the log now"))
	}
	if err := out.send(nil); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	var beats sync.WaitGroup
	defer beats.Wait()
	defer cancel()
	beats.Go(func() {
		// Nothing more is said: what ends is the connection.
		_, _ = conn.Read(make([]byte, 1))
		cancel()
	})
	beats.Go(func() {
		for ctx.Err() == nil {
			pause(ctx, feedBeat)
			if !m.log.Following() || out.send(nil) != nil {
				cancel()
			}
		}
	})
	return m.cfg.Feed(ctx, conn.Peer(), at, out.send)
}

// feedWriter writes frames, each whole. It is safe for concurrent use.
type feedWriter struct {
	mu   sync.Mutex // one frame at a time
	conn net.Conn
}

func (w *feedWriter) send(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.conn.SetWriteDeadline(time.Now().Add(feedWrite)); err != nil {
		return err
	}
	return writeFrame(w.conn, b)
}

func writeFrame(w io.Writer, b []byte) error {
	if len(b) > maxFrame {
		return fmt.Errorf("frame of %d bytes, at most %d are allowed", len(b), maxFrame)
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...)) //nolint:gosec // bounded above
	return err
}

// readFrame reads a frame of at most limit bytes.
func readFrame(r io.Reader, limit uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > limit {
		return nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", size, limit)
	}
	// What was announced need not come: memory grows with what did.
	b, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err == nil && len(b) < int(size) {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// Following reports whether this peer gets the whole state by the log now.
func (m *Mesh) Following() bool { return m.log.Following() }

// Follow keeps a peer told of its part of the state by another peer, for as long as
// the log leaves it out: at says what it knows, and take is given what comes. An error
// of take makes it ask another peer, by what at says then. It blocks until ctx ends,
// and returns nil then.
func (m *Mesh) Follow(ctx context.Context, at func() Position, take func(part []byte) error) error {
	if m.transport == nil {
		<-ctx.Done()
		return nil
	}
	last, wait, failing := "", feedPause, false
	for ctx.Err() == nil {
		if m.log.Following() {
			pause(ctx, followPoll)
			continue
		}
		began := time.Now()
		peer, err := m.followOne(ctx, last, at(), take)
		last = peer
		if ctx.Err() != nil || m.log.Following() {
			continue
		}
		if time.Since(began) > feedBeat {
			wait, failing = feedPause, false
		}
		if !failing && peer != "" {
			failing = true
			m.cfg.Log.WarnContext(ctx, "no part of the state comes; will ask another peer", "peer", peer, "err", err)
		}
		pause(ctx, wait+rand.N(wait))
		wait = min(2*wait, feedMax)
	}
	return nil
}

// followOne takes one feed until it ends, and says whose it was.
func (m *Mesh) followOne(ctx context.Context, avoid string, at Position, take func([]byte) error) (peer string, err error) {
	peer = m.feeder(avoid)
	if peer == "" {
		return "", errors.New("no peer is known that follows the log")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bounded, done := context.WithTimeout(ctx, dialTime)
	conn, err := m.transport.Dial(bounded, peer, transport.Feed)
	done()
	if err != nil {
		return peer, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	return peer, TakeFeed(conn, m.files.Generation, at, func(b []byte) error {
		if m.log.Following() {
			return errFollowing
		}
		if len(b) == 0 {
			return nil
		}
		return take(b)
	})
}

// errFollowing ends a feed that is no longer needed.
var errFollowing = errors.New("this peer follows the log")

// TakeFeed asks for a feed on a connection that speaks transport.Feed, as a peer that is
// in a generation, and gives take each part that comes, and nothing whenever the other
// end says only that it is still there. It returns why the feed ended: take's error, or
// the connection's, which the caller closes.
func TakeFeed(conn net.Conn, in Generation, at Position, take func(part []byte) error) error {
	hello, err := json.Marshal(feedHello{at, in.String()})
	if err != nil {
		return err
	}
	if err := (&feedWriter{conn: conn}).send(hello); err != nil {
		return err
	}
	for answered := false; ; answered = true {
		if err := conn.SetReadDeadline(time.Now().Add(feedQuiet)); err != nil {
			return err
		}
		b, err := readFrame(conn, maxFrame)
		if err == nil && !answered && len(b) > 0 {
			err = errors.New(string(b[:min(len(b), 200)]))
		}
		if err == nil {
			err = take(b)
		}
		if err != nil {
			return err
		}
	}
}

// feeder is a peer that may follow the log; another than avoid if there is one.
func (m *Mesh) feeder(avoid string) string {
	alive := m.alive()
	var some, dead []string
	for _, p := range m.peers() {
		switch {
		case p.ID == m.id || p.Removed || p.Role == Client:
		case alive[p.ID]:
			some = append(some, p.ID)
		default:
			dead = append(dead, p.ID)
		}
	}
	if len(some) == 0 {
		some = dead // gossip need not know better
	}
	if others := slices.DeleteFunc(slices.Clone(some), func(id string) bool { return id == avoid }); len(others) > 0 {
		some = others
	}
	if len(some) == 0 {
		return ""
	}
	return some[rand.N(len(some))]
}
