package security

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/cluster/gossip"
)

// gossipKeys are those that a member was given.
func (p *member) gossipKeys(t *testing.T) [][]byte {
	t.Helper()
	var files struct{ Gossip [][]byte }
	b, err := os.ReadFile(filepath.Join(p.dir, "mesh.json"))
	if err == nil {
		err = json.Unmarshal(b, &files)
	}
	if err != nil || len(files.Gossip) == 0 {
		t.Fatalf("no gossip keys: %v", err)
	}
	return files.Gossip
}

// brief are times that suit a test.
var brief = gossip.Timing{Probe: 200 * time.Millisecond, ProbeTimeout: 100 * time.Millisecond, Gossip: 50 * time.Millisecond,
	PushPull: 300 * time.Millisecond, Dead: time.Second, Reclaim: 300 * time.Millisecond, Rejoin: 300 * time.Millisecond}

// gossiper talks to agents as a peer of some ID.
func (m *mesh) gossiper(c gossip.Config) *gossip.Gossip {
	m.t.Helper()
	c.Known, c.Timing, c.Log = func() []string { return []string{m.gossipAddress()} }, brief, slog.New(slog.DiscardHandler)
	if c.Mesh == "" {
		c.Mesh = m.id
	}
	c.Facts = gossip.Facts{Name: "ghost", Zone: "ghosts", APIAddress: "127.0.0.1:1", Generation: 1}
	g, err := gossip.Open(c)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := g.Close(); err != nil {
			m.t.Error(err)
		}
	})
	return g
}

// watcher is a good peer, by which a test sees who is listed.
func (m *mesh) watcher(p *member) *gossip.Gossip {
	m.t.Helper()
	g := m.gossiper(gossip.Config{ID: p.id, Bind: freshAddress() + ":0", Keys: p.gossipKeys(m.t)})
	eventually(m.t, "the agent gossips with a good peer", func() bool { return listed(g, "", 2) })
	return g
}

// listed says whether a peer is; with an empty ID, whether n are alive.
func listed(g *gossip.Gossip, id string, n int) bool {
	alive := 0
	for _, p := range g.Peers() {
		if p.ID == id {
			return true
		}
		if p.State == gossip.Alive {
			alive++
		}
	}
	return id == "" && alive == n
}

func TestSecurityGossipWithoutTheKeyIsNotHeard(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	good := m.member("hv2")
	watch := m.watcher(good)
	wrong := make([]byte, 32)
	_, _ = rand.Read(wrong)
	m.gossiper(gossip.Config{ID: "wrong-key", Bind: freshAddress() + ":0", Keys: [][]byte{wrong}})
	m.gossiper(gossip.Config{ID: "other-mesh", Mesh: "00000000-8b86-4d01-b42d-00cf4fc964ff", Bind: freshAddress() + ":0", Keys: [][]byte{wrong}})
	for _, words := range [][]string{{"part=gossip", "no installed keys could decrypt"}, {"part=gossip", "unacceptable label"}} {
		eventually(t, fmt.Sprintf("the log has %q", words), func() bool { return len(m.log.lines(words...)) > 0 })
		t.Log(m.log.lines(words...)[0])
	}
	// What is no gossip at all, by both protocols; each packet another, or with another
	// label, so that the log could be filled.
	source := freshAddress()
	udp, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(source)}}).DialContext(t.Context(), "udp", m.gossipAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	noise := make([]byte, 1400)
	for i := range 3000 {
		_, _ = rand.Read(noise)
		packet := noise[:1+i%1400]
		switch i % 3 {
		case 0: // of this mesh, by its label, which is no secret
			packet = slices.Concat([]byte{244, byte(len(m.id))}, []byte(m.id), packet)
		case 1:
			packet = slices.Concat([]byte{244, 8}, fmt.Appendf(nil, "%08d", i), packet)
		}
		_, _ = udp.Write(packet) // what the kernel drops is as good
	}
	for i := range 40 {
		conn, err := from(source).Dial(t.Context(), m.gossipAddress())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = rand.Read(noise)
		if i%2 == 0 {
			_, _ = conn.Write(slices.Concat([]byte{244, byte(len(m.id))}, []byte(m.id), []byte{10, 0xff, 0xff, 0xff, 0xff}))
		}
		_, _ = conn.Write(noise)
		_ = conn.Close()
	}
	eventually(t, "the log has where it came from", func() bool { return len(m.log.lines("part=gossip", "from="+source)) > 0 })
	t.Log(m.log.lines("part=gossip", "from="+source)[0])
	if lines := m.log.lines("part=gossip"); len(lines) > 100 {
		t.Errorf("%d lines, such as %s", len(lines), lines[50])
	}
	if !listed(watch, "", 2) || listed(watch, "wrong-key", 0) || listed(watch, "other-mesh", 0) {
		t.Errorf("listed are %+v", watch.Peers())
	}
	m.answers(t, good)
}

func TestSecurityARemovedPeerIsNotListed(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	leaver, good := m.member("hv2"), m.member("hv3")
	m.removed(leaver)
	watch := m.watcher(good)
	// It reaches the agent only: what others hear of it, they hear from there.
	tape := m.taped(freshAddress())
	m.gossiper(gossip.Config{ID: leaver.id, Keys: leaver.gossipKeys(t), Transport: tape.transport()})
	eventually(t, "the log says so", func() bool { return len(m.log.lines("part=gossip", leaver.id, "it was removed from the mesh")) > 0 })
	t.Log(m.log.lines("part=gossip", leaver.id)[0])
	<-time.After(10 * brief.Gossip) // what the agent would pass on would be here
	if listed(watch, leaver.id, 0) {
		t.Errorf("listed are %+v", watch.Peers())
	}
}

// recorder is a network of one peer that reaches an agent only, and keeps the packets.
type recorder struct {
	net.PacketConn
	streams  net.Listener
	to, from string

	mu   sync.Mutex // guards sent
	sent [][]byte
}

// taped makes one with an address of its own.
func (m *mesh) taped(at string) *recorder {
	m.t.Helper()
	var lc net.ListenConfig
	streams, err := lc.Listen(m.t.Context(), "tcp", at+":0")
	if err != nil {
		m.t.Fatal(err)
	}
	packets, err := lc.ListenPacket(m.t.Context(), "udp", streams.Addr().String())
	if err != nil {
		m.t.Fatal(err)
	}
	return &recorder{PacketConn: packets, streams: streams, to: m.gossipAddress(), from: at}
}

func (r *recorder) transport() gossip.Transport {
	return gossip.Transport{Packets: r, Streams: r.streams, Dial: func(ctx context.Context, address string) (net.Conn, error) {
		if address != r.to {
			return nil, errors.ErrUnsupported
		}
		return from(r.from).Dial(ctx, address)
	}}
}

// WriteTo implements net.PacketConn.
func (r *recorder) WriteTo(b []byte, to net.Addr) (int, error) {
	if to.String() != r.to {
		return len(b), nil
	}
	r.mu.Lock()
	r.sent = append(r.sent, slices.Clone(b))
	r.mu.Unlock()
	return r.PacketConn.WriteTo(b, to)
}

// TestSecurityGossipThatWasRecordedDoesNotBringAPeerBack: packets have no time and can be
// sent again; what is in them is older than what is known.
func TestSecurityGossipThatWasRecordedDoesNotBringAPeerBack(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ghost, good := m.member("hv2"), m.member("hv3")
	watch := m.watcher(good)
	at := freshAddress()
	tape := m.taped(at)
	g := m.gossiper(gossip.Config{ID: ghost.id, Keys: ghost.gossipKeys(t), Transport: tape.transport()})
	eventually(t, "all see it", func() bool { return listed(watch, "", 3) })
	if err := g.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	gone := func() bool { return listed(watch, "", 2) }
	eventually(t, "it is gone", gone)
	again, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(at)}}).DialContext(t.Context(), "udp", m.gossipAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	tape.mu.Lock()
	defer tape.mu.Unlock()
	if len(tape.sent) == 0 {
		t.Fatal("nothing was recorded")
	}
	for round := range 20 {
		if round == 10 {
			m.removed(ghost)
		}
		for _, b := range tape.sent {
			_, _ = again.Write(b)
		}
		<-time.After(brief.Gossip)
		if !gone() {
			t.Fatalf("it is listed again: %+v", watch.Peers())
		}
	}
	t.Logf("%d packets, sent again 20 times, changed nothing", len(tape.sent))
	if strings.Contains(m.log.String(), "panic") {
		t.Error("the log has a panic")
	}
}
