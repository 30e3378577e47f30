package scale

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/cluster/transport"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// What a peer's Mesh does, too (cluster/lease.go, feed.go, forward.go, rpc.go).
const (
	leaseEvery = 3 * time.Second
	leaseRetry = leaseEvery / 6
	dialTime   = 1500 * time.Millisecond
	leaderHunt = 30 * time.Second
	feedPause  = 200 * time.Millisecond
	feedMax    = 5 * time.Second
)

// traffic counts bytes of TCP, as the light peers send and receive them, with what TLS
// adds.
type traffic struct{ in, out atomic.Int64 }

func (t *traffic) sum() int64 { return t.in.Load() + t.out.Load() }

// counted is TCP whose traffic is counted.
type counted struct {
	transport.Net
	traffic *traffic
}

func (c counted) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := c.Net.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{conn, c.traffic}, nil
}

type countedConn struct {
	net.Conn
	traffic *traffic
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.traffic.in.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.traffic.out.Add(int64(n))
	return n, err
}

// peer is a peer that does not follow the log, without what it would do on its host, and
// without gossip. Of other peers it keeps those that follow the log: a thousand copies of
// a thousand peers would measure this process.
type peer struct {
	m         *mesh
	id, name  string
	in        cluster.Generation
	seeds     map[string]string // addresses when it joined
	transport *transport.Transport
	http      *http.Client

	mu      sync.Mutex // guards what follows
	leader  string
	leased  time.Time // when it asked for the lease that it has
	led     string    // by whom
	replica *raftfsm.Replica
	feeding string // whose feed it has
	fed     time.Time
	// whole peers keep all that they are told.
	whole bool

	stop context.CancelFunc
	work sync.WaitGroup
	// starve ends the feed.
	starve context.CancelFunc
	meal   sync.WaitGroup
}

// newPeer joins the mesh as any peer does.
func (m *mesh) newPeer(ctx context.Context, name string) (*peer, error) {
	dir := filepath.Join(m.dir, name)
	err := cluster.Join(ctx, cluster.JoinConfig{Dir: dir, Token: m.token, Now: time.Now, Level: raftfsm.Level, Net: counted{transport.TCP(), &m.traffic},
		Peer: cluster.Peer{Name: name, Zone: "z" + name[len(name)-1:]}})
	if err != nil {
		return nil, err
	}
	p := &peer{m: m, name: name, seeds: map[string]string{}, replica: raftfsm.NewReplica()}
	if p.id, err = cluster.ID(dir); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "mesh.json"))
	if err != nil {
		return nil, err
	}
	var known struct {
		cluster.Generation
		Roots string
		Peers []cluster.Peer
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, err
	}
	p.in = known.Generation
	for _, k := range known.Peers {
		if k.Role != cluster.Client {
			p.seeds[k.ID] = k.Address
		}
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "peer.crt"), filepath.Join(dir, "peer.key"))
	if err != nil {
		return nil, err
	}
	roots, err := pki.ParseBundle([]byte(known.Roots))
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		certificate.Certificate = append(certificate.Certificate, root.Raw)
	}
	if err := os.RemoveAll(dir); err != nil { // a thousand logs that nobody reads
		return nil, err
	}
	p.transport, err = transport.Open(ctx, transport.Config{Listen: "127.0.0.1:0", Address: p.address,
		Net: counted{transport.TCP(), &m.traffic}, Certificate: func() (*tls.Certificate, error) { return &certificate, nil },
		Verify: func(chain []*x509.Certificate, _ string) (string, error) {
			id, err := pki.Verify(chain, pki.Verifier{Roots: roots, Mesh: m.token.Mesh, Now: time.Now()})
			return id.Peer, err
		}})
	if err != nil {
		return nil, err
	}
	p.http = &http.Client{Transport: &http.Transport{DialContext: p.dialRPC, MaxIdleConnsPerHost: 4,
		IdleConnTimeout: time.Minute, DisableCompression: true}}
	return p, nil
}

// close ends what runs.
func (p *peer) close() {
	p.detach()
	if p.stop != nil {
		p.stop()
	}
	p.work.Wait()
	p.http.CloseIdleConnections()
	_ = p.transport.Close()
}

func (p *peer) dialRPC(ctx context.Context, _, address string) (net.Conn, error) {
	id, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return p.transport.Dial(ctx, id, transport.RPC)
}

func (p *peer) snapshot() *state.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	snap, _ := p.replica.Snapshot()
	return snap
}

func (p *peer) address(id string) (string, bool) {
	if row, ok := p.snapshot().Peer(id); ok && row.Address != "" {
		return row.Address, true
	}
	address, ok := p.seeds[id]
	return address, ok
}

// member is a peer that may follow the log; another than avoid if there is one.
func (p *peer) member(avoid string) string {
	var some []string
	for _, row := range p.snapshot().Peers() {
		if row.Role != state.RoleClient && row.ID != avoid && !row.Removed {
			some = append(some, row.ID)
		}
	}
	if len(some) == 0 {
		for id := range p.seeds {
			some = append(some, id)
		}
	}
	return some[rand.N(len(some))]
}

// errNotLeader is the answer of who does not lead.
var errNotLeader = errors.New("does not lead")

// ask makes one request of whom it takes for the leader, and another if that names one.
func (p *peer) ask(ctx context.Context, path string, body []byte) ([]byte, error) {
	p.mu.Lock()
	to := p.leader
	p.mu.Unlock()
	if to == "" {
		to = p.member("")
	}
	answer, hint, err := p.call(ctx, to, path, body)
	if errors.Is(err, errNotLeader) && hint != "" {
		to = hint
		answer, _, err = p.call(ctx, to, path, body)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.leader = to
	} else if p.leader == to || p.leader != "" {
		p.leader = ""
	}
	return answer, err
}

func (p *peer) call(ctx context.Context, to, path string, body []byte) (answer []byte, hint string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to+path, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Tenks-Generation", p.in.String())
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return nil, "", err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return answer, "", nil
	case http.StatusMisdirectedRequest:
		return nil, resp.Header.Get("Tenks-Leader"), errNotLeader
	}
	return nil, "", fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(answer))
}

// propose commits a command, whoever leads, and returns its log index.
func (p *peer) propose(ctx context.Context, c state.Command) (uint64, error) {
	entry, err := raftfsm.Encode(state.Envelope{Request: uuid.NewString(), UnixMilli: time.Now().UnixMilli(), Command: c})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, leaderHunt)
	defer cancel()
	for {
		b, err := p.ask(ctx, "/propose", entry)
		if err == nil {
			answer, err := raftfsm.Answers{}.Decode(b)
			if err != nil {
				return 0, err
			}
			result := answer.(raftfsm.Result)
			return result.Index, result.Err
		}
		if ctx.Err() != nil {
			return 0, err
		}
		pause(ctx, 50*time.Millisecond+rand.N(50*time.Millisecond))
	}
}

// register tells the mesh how this peer is reached and what it offers.
func (p *peer) register(ctx context.Context, offers state.Hypervisor) error {
	_, err := p.propose(ctx, state.PutPeer{Peer: state.Peer{ID: p.id, Name: p.name, Address: p.transport.Addr(),
		Zone: "z" + p.name[len(p.name)-1:], Version: "scale", Generation: p.in.Number}})
	if err != nil {
		return err
	}
	offers.ID, offers.Name = p.id, p.name
	_, err = p.propose(ctx, state.PutHypervisor{Hypervisor: offers})
	return err
}

// live renews the lease until close.
func (p *peer) live(ctx context.Context) {
	ctx, p.stop = context.WithCancel(ctx)
	p.work.Go(func() {
		pause(ctx, rand.N(leaseEvery)) // peers do not start all at once
		for ctx.Err() == nil {
			wait := leaseEvery
			if p.renew(ctx) != nil {
				wait = leaseRetry
			}
			pause(ctx, wait)
		}
	})
}

func (p *peer) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseEvery)
	defer cancel()
	began := time.Now()
	if _, err := p.ask(ctx, "/lease", nil); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leased, p.led = began, p.leader
	return nil
}

// lease returns when the peer asked for its last lease, and who confirmed it.
func (p *peer) lease() (time.Time, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leased, p.led
}

// attach follows the peer's part of the state until detach.
func (p *peer) attach(ctx context.Context) {
	ctx, p.starve = context.WithCancel(ctx)
	p.meal.Go(func() {
		last, wait := "", feedPause
		for ctx.Err() == nil {
			last = p.member(last)
			began := time.Now()
			_ = p.eat(ctx, last) // whatever it was, another is asked
			p.nowFedBy("")
			if time.Since(began) > 10*time.Second {
				wait = feedPause
			}
			pause(ctx, wait+rand.N(wait))
			wait = min(2*wait, feedMax)
		}
	})
}

func (p *peer) eat(ctx context.Context, from string) error {
	bounded, done := context.WithTimeout(ctx, dialTime)
	conn, err := p.transport.Dial(bounded, from, transport.Feed)
	done()
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	snap := p.snapshot()
	at := cluster.Position{Generation: snap.Mesh().Generation, Index: snap.Index()}
	return cluster.TakeFeed(conn, p.in, at, func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		part, err := raftfsm.DecodePart(b)
		if err != nil {
			return err
		}
		p.mu.Lock()
		replica, whole := p.replica, p.whole
		p.mu.Unlock()
		if !whole {
			known, _ := replica.Snapshot()
			part.Peers = slices.DeleteFunc(part.Peers, func(row *state.Peer) bool {
				_, has := known.Peer(row.ID)
				return !has && row.Role == state.RoleClient && row.ID != p.id
			})
		}
		if err := replica.Apply(part); err != nil {
			return err
		}
		p.nowFedBy(from)
		return nil
	})
}

func (p *peer) nowFedBy(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feeding, p.fed = id, time.Now()
}

// fedBy returns whose feed the peer has, and when something came last.
func (p *peer) fedBy() (string, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.feeding, p.fed
}

// detach ends the feed.
func (p *peer) detach() {
	if p.starve != nil {
		p.starve()
	}
	p.meal.Wait()
}

// forget makes the peer know nothing, and keep all that it is told then.
func (p *peer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replica, p.whole = raftfsm.NewReplica(), true
}
