package cluster

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tenks/cluster/consensus"
	"tenks/cluster/pki"
	"tenks/cluster/transport"
)

// directory stands for the replicated state: who is in the mesh, and its keys.
type directory struct {
	mu        sync.Mutex // guards what follows
	peers     []Peer
	founding  Founding
	authority *pki.Authority
	refusal   error
	level     int
}

func (d *directory) view() View {
	d.mu.Lock()
	defer d.mu.Unlock()
	return View{Peers: slices.Clone(d.peers), Roots: []*x509.Certificate{d.authority.Certificate()}, Authority: d.authority,
		Gossip: [][]byte{d.founding.GossipKey}, Generation: 9, Level: d.level}
}

// change changes or adds what is known of a peer.
func (d *directory) change(id string, set func(*Peer)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.peers, func(p Peer) bool { return p.ID == id })
	if i < 0 {
		i = len(d.peers)
		d.peers = append(d.peers, Peer{ID: id})
	}
	set(&d.peers[i])
}

func (d *directory) admit(_ context.Context, a Admission) error {
	d.mu.Lock()
	refusal := d.refusal
	d.mu.Unlock()
	if refusal == nil {
		d.change(a.Peer.ID, func(p *Peer) { *p = a.Peer })
	}
	return refusal
}

func (d *directory) roles(_ context.Context, roles map[string]Role) error {
	for id, role := range roles {
		d.change(id, func(p *Peer) { p.Role = role })
	}
	return nil
}

func (d *directory) refuse(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusal = err
}

// counted is words that also know how far they have come in the log.
type counted struct {
	words
	at atomic.Uint64
}

func (c *counted) Apply(l *raft.Log) any {
	defer c.at.Store(l.Index)
	return c.words.Apply(l)
}

func (c *counted) Index() uint64 { return c.at.Load() }

type numbers struct{}

func (numbers) Encode(answer any) ([]byte, error) { return fmt.Append(nil, answer), nil }
func (numbers) Decode(b []byte) (any, error)      { return strconv.Atoi(string(b)) }

// place is one peer: its directory, and its Mesh once it runs.
type place struct {
	*Mesh
	fsm    *counted
	dir    string
	config Config
}

type testbed struct {
	*testing.T
	directory
	places []*place
}

// founded is a mesh of one that runs.
func founded(t *testing.T) *testbed {
	t.Helper()
	b := &testbed{T: t}
	p := b.place()
	if err := Init(p.dir, testMesh, func(f Founding) ([][]byte, error) {
		b.founding = f
		return entries("first")(f)
	}); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.authority, err = pki.LoadAuthority(b.founding.AuthorityCert, b.founding.AuthorityKey); err != nil {
		t.Fatal(err)
	}
	b.open(p)
	return b
}

// place is where a peer may be made.
func (b *testbed) place() *place {
	p := &place{dir: filepath.Join(b.TempDir(), "mesh"), fsm: &counted{}}
	p.config = testConfig(p.dir, p.fsm)
	p.config.Answers, p.config.View = numbers{}, b.view
	p.config.Admit, p.config.Roles = b.admit, b.roles
	p.config.Rules = consensus.Rules{Stable: time.Millisecond, Gone: time.Second}
	b.places = append(b.places, p)
	return p
}

func (b *testbed) open(p *place) {
	b.Helper()
	m, err := Open(b.Context(), p.config)
	if err != nil {
		b.Fatal(err)
	}
	p.Mesh = m
	b.Cleanup(func() {
		if err := m.Close(); err != nil {
			b.Errorf("close: %v", err)
		}
	})
	b.change(m.ID(), func(q *Peer) {
		q.Address, q.Gossip, q.Zone = m.Address(), m.GossipAddress(), "z"+m.ID()
	})
}

func (b *testbed) token() pki.Token {
	return pki.Token{Mesh: testMesh, Pins: []pki.Pin{b.authority.Pin()}, ID: "0102030405060708",
		Addresses: []string{b.places[0].Address()}, Expires: time.Now().Add(time.Hour)}
}

func (b *testbed) join(p *place) error {
	return Join(b.Context(), JoinConfig{Dir: p.dir, Token: b.token(), Now: time.Now})
}

// joined is one more peer that runs.
func (b *testbed) joined() *place {
	b.Helper()
	p := b.place()
	if err := b.join(p); err != nil {
		b.Fatal(err)
	}
	b.open(p)
	return p
}

func (b *testbed) eventually(what string, is func() bool) {
	b.Helper()
	limit, stop := context.WithTimeout(b.Context(), 40*time.Second)
	defer stop()
	for !is() {
		if limit.Err() != nil {
			b.Fatalf("never: %s", what)
		}
		pause(limit, 10*time.Millisecond)
	}
}

// trio is a mesh of three voters, the leader first.
func trio(t *testing.T) *testbed {
	t.Helper()
	b := founded(t)
	b.joined()
	b.joined()
	b.eventually("three voters everywhere", func() bool {
		return !slices.ContainsFunc(b.places, func(p *place) bool { return votes(p) != 3 })
	})
	b.eventually("a leader that everybody knows", func() bool {
		_, second := b.places[1].Leader()
		_, third := b.places[2].Leader()
		return b.places[0].IsLeader() && second && third
	})
	return b
}

func votes(p *place) int {
	n := 0
	for _, m := range p.Members() {
		if m.Role == Voter {
			n++
		}
	}
	return n
}

func TestPeersJoinAndVoteAndAnyOfThemProposesAndReads(t *testing.T) {
	b := trio(t)
	first, second, third := b.places[0], b.places[1], b.places[2]
	answer, err := second.Propose(t.Context(), []byte("forwarded"))
	if err != nil || answer != 2 {
		t.Fatalf("answer %v, error %v, want 2", answer, err)
	}
	if got := strings.Join(first.fsm.all(), " "); got != "first forwarded" {
		t.Errorf("the leader has %q", got)
	}
	index, err := third.ReadIndex(t.Context())
	if err != nil || index < 2 {
		t.Fatalf("read index %d, %v", index, err)
	}
	b.eventually("the state at the read index", func() bool { return third.fsm.Index() >= index })
	if got := strings.Join(third.fsm.all(), " "); got != "first forwarded" {
		t.Errorf("after the read index there is %q", got)
	}
	b.leased(first, third)

	// On a loaded machine leadership may go to the second, or back: whoever has it is asked.
	b.eventually("the third leading", func() bool {
		for _, p := range []*place{first, second} {
			if p.IsLeader() {
				_ = p.Transfer(t.Context(), third.ID()) // or its election has taken too long
			}
		}
		return third.IsLeader()
	})
	answer, err = first.Propose(t.Context(), []byte("again"))
	if err == nil && answer != 3 || err != nil && !errors.Is(err, ErrUnknown) {
		t.Errorf("through the new leader: answer %v, error %v, want 3", answer, err)
	}
	b.eventually("leases at the new leader only", func() bool {
		last, _, ok := third.Leases()
		_, _, old := first.Leases()
		return ok && !old && len(last) == 3
	})
	knows := func(p *place) bool { return slices.ContainsFunc(p.Members(), func(m Member) bool { return m.Healthy }) }
	b.eventually("health at the new leader only", func() bool { return knows(third) && !knows(first) })
	b.eventually("roles in the state", func() bool {
		return !slices.ContainsFunc(b.view().Peers, func(p Peer) bool { return p.Role != Voter })
	})
}

// leased shows that a leader knows who is there, and that a peer's own lease moves.
func (b *testbed) leased(leader, peer *place) {
	b.Helper()
	b.eventually("three leases", func() bool {
		last, since, ok := leader.Leases()
		return ok && !since.IsZero() && len(last) == 3
	})
	b.eventually("a lease of its own", func() bool { return !peer.LastLease().IsZero() })
	before := peer.LastLease()
	b.eventually("a lease that moves", func() bool { return peer.LastLease().After(before) })
	if _, _, ok := peer.Leases(); ok {
		b.Error("leases where nobody leads")
	}
}

func TestARemovedPeerIsRefusedAndHasNoPartInTheLog(t *testing.T) {
	b := trio(t)
	first, gone := b.places[0], b.places[2]
	ask := func(from, to *place) error {
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		_, err := from.rpc.call(ctx, to.ID(), http.MethodGet, pathStatus, nil)
		return err
	}
	if err := errors.Join(ask(first, gone), ask(gone, first)); err != nil {
		t.Fatal(err)
	}
	b.change(gone.ID(), func(p *Peer) { p.Removed = true })
	for _, p := range b.places[:2] {
		p.Transport().Recheck()
	}
	if err := ask(first, gone); err == nil {
		t.Error("a removed peer was asked")
	}
	b.eventually("refused", func() bool { return errors.Is(ask(gone, first), transport.ErrRefused) })
	b.eventually("out of the log", func() bool {
		return !slices.ContainsFunc(first.Members(), func(m Member) bool { return m.ID == gone.ID() })
	})
	if _, err := b.places[1].Propose(t.Context(), []byte("without it")); err != nil {
		t.Errorf("propose: %v", err)
	}
	// It does not get a certificate either, whatever it signs with.
	csr, err := request(gone.dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = askAt(t.Context(), nil, first.Address(), pathRenew, csr, func([]*x509.Certificate) error { return nil })
	if !errors.Is(err, ErrRefused) {
		t.Errorf("renewal: %v, want ErrRefused", err)
	}
}

func request(dir string) ([]byte, error) {
	key, err := readKey(dir)
	if err != nil {
		return nil, err
	}
	return pki.NewRequest(key)
}

func TestACertificateThatEndsIsRenewedByAnotherPeer(t *testing.T) {
	for name, age := range map[string]time.Duration{"about to end": 29 * 24 * time.Hour, "ended": 90 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := founded(t)
			p := b.place()
			if err := b.join(p); err != nil {
				t.Fatal(err)
			}
			csr, err := request(p.dir)
			if err != nil {
				t.Fatal(err)
			}
			// Only one that was made for a younger authority can have ended.
			elder, err := b.authority.Renew(time.Now().Add(-100 * 24 * time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			old, err := elder.Issue(pki.Request{CSR: csr, Mesh: testMesh, Generation: 1, Now: time.Now().Add(-age)})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(p.dir, certFile), old, 0o600); err != nil {
				t.Fatal(err)
			}
			p.config.View = func() View { v := b.view(); v.Authority = nil; return v }
			b.open(p)
			b.eventually("a certificate in use that lasts", func() bool {
				c, err := p.current()
				return err == nil && time.Until(c.Leaf.NotAfter) > 29*24*time.Hour
			})
			kept, err := readCertificate(p.dir, nil)
			if err != nil || time.Until(kept.Leaf.NotAfter) < 29*24*time.Hour {
				t.Errorf("in the file: %v", err)
			}
			b.eventually("a lease", func() bool { return !p.LastLease().IsZero() })
		})
	}
}

func TestAPeerThatIsAloneGoesOnWithoutItsPort(t *testing.T) {
	for _, port := range []string{"mesh.port", "mesh.gossip_port"} {
		t.Run(port, func(t *testing.T) { withoutPort(t, port) })
	}
}

func withoutPort(t *testing.T, port string) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(t.TempDir(), "mesh")
	if err := Init(dir, testMesh, entries("first")); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c := testConfig(dir, &words{})
	c.Answers = numbers{}
	c.Log = slog.New(slog.NewTextHandler(&locked{w: &said}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if c.Listen = taken.Addr().String(); port == "mesh.gossip_port" {
		c.Listen, c.Gossip = c.Gossip, c.Listen
	}
	m, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if err := current(ctx, m); err != nil {
		t.Error(err)
	}
	if answer, err := m.Propose(ctx, []byte("second")); err != nil || answer != 2 {
		t.Errorf("answer %v, error %v, want 2", answer, err)
	}
	if m.Transport() != nil || m.Gossip() != nil || m.Address() != "" || m.GossipAddress() != "" || len(m.Ports()) > 0 {
		t.Errorf("there is a network: %q %q", m.Address(), m.GossipAddress())
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(said.String(), "other peers cannot join") || !strings.Contains(said.String(), port) {
		t.Errorf("it said %q, want %s", said.String(), port)
	}
}

// locked lets several write.
type locked struct {
	mu sync.Mutex // guards w
	w  *strings.Builder
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func TestAPeerOfSeveralDoesNotGoOnWithoutItsPort(t *testing.T) {
	b := founded(t)
	p := b.place()
	if err := b.join(p); err != nil {
		t.Fatal(err)
	}
	b.change("somebody", func(*Peer) {})
	m, err := readMembership(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Peers = b.view().Peers
	if err := m.write(p.dir); err != nil {
		t.Fatal(err)
	}
	p.config.Listen = b.places[0].Address()
	if _, err := Open(t.Context(), p.config); err == nil || !strings.Contains(err.Error(), "mesh.port") {
		t.Errorf("error %v, want one that names mesh.port", err)
	}
}

func TestAnUnreadableFileOfTheMeshIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"no JSON":        {meshFile, "{", meshFile},
		"empty":          {meshFile, "", meshFile},
		"no authority":   {meshFile, "{}", meshFile},
		"no certificate": {certFile, "", certFile},
		"damaged":        {certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "certificate"},
		"lost":           {meshFile, "-", meshFile},
		"lost too":       {certFile, "-", certFile},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "mesh")
			if err := Init(dir, testMesh, entries()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, c.file)
			err := os.WriteFile(path, []byte(c.text), 0o600)
			if c.text == "-" {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := Open(t.Context(), testConfig(dir, &words{}))
			if err == nil {
				t.Fatal(errors.Join(errors.New("it was opened"), m.Close()))
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestHintsThatGoRoundAreNotFollowedWithoutAPause(t *testing.T) {
	b := founded(t)
	m := b.places[0]
	b.eventually("leading", m.IsLeader)
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	calls := 0
	err := m.atLeader(ctx, func(context.Context) error {
		calls++
		return &notLeader{"b"}
	}, nil)
	if !errors.Is(err, ErrNotLeader) || calls < 2 || calls > 12 {
		t.Errorf("%d calls in half a second, error %v", calls, err)
	}
}
