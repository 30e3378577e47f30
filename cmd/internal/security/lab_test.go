package security

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/cluster/transport"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/daemon"
	"tenks/config"
	"tenks/raftfsm"
)

// agentLog keeps what agents log. It is safe for concurrent use.
type agentLog struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *agentLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String is all of it.
func (l *agentLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lines are those from warnings up that have all the words.
func (l *agentLog) lines(words ...string) (out []string) {
	for line := range strings.Lines(l.String()) {
		missing := func(word string) bool { return !strings.Contains(line, word) }
		if (strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR")) && !slices.ContainsFunc(words, missing) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// mesh is an agent in this process, which others call and attack.
type mesh struct {
	*client.Client
	t      *testing.T
	config config.Agent
	log    *agentLog
	// id is the mesh's, roots are its authority.
	id    string
	roots []*x509.Certificate
}

var addresses atomic.Uint32

// freshAddress is a loopback address that nobody else of this process has: refusals
// are counted and logged by it.
func freshAddress() string {
	n := addresses.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 192+os.Getpid()/256%32, os.Getpid()%256, n%250+1)
}

func agentConfig(t *testing.T, name string) config.Agent {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tks") //nolint:usetesting // the path of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := config.DefaultAgent()
	c.DataDir, c.Name, c.Advertise = dir, name, freshAddress()
	c.BMC.Address = c.Advertise
	c.Drivers = map[string]map[string]string{"fake": {"delay": "2ms"}}
	return c
}

// newMesh makes a mesh of one whose agent runs until the test ends.
func newMesh(t *testing.T) *mesh {
	t.Helper()
	c := agentConfig(t, "hv1")
	if err := daemon.Found(daemon.PathsOf(c.DataDir).Mesh, "lab", "hv1"); err != nil {
		t.Fatal(err)
	}
	m := startAgent(t, c)
	st, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.id = st.MeshID
	var files struct{ Roots string }
	b, err := os.ReadFile(filepath.Join(daemon.PathsOf(c.DataDir).Mesh, "mesh.json"))
	if err == nil {
		err = json.Unmarshal(b, &files)
	}
	if err == nil {
		m.roots, err = pki.ParseBundle([]byte(files.Roots))
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// startAgent runs an agent until the test ends.
func startAgent(t *testing.T, c config.Agent) *mesh {
	t.Helper()
	m := &mesh{Client: client.New(daemon.PathsOf(c.DataDir).Socket), t: t, config: c, log: &agentLog{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, daemon.Options{Config: c, Version: "1.2.3",
			Log:           slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			LibvirtDriver: func(string) (string, error) { return "", errors.New("no such program") }})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("the agent of %s ended with %v", c.Name, err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the agent does not end")
		}
	})
	eventually(t, "the agent is ready", func() bool { return m.Ready(t.Context()) == nil })
	return m
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, ok)
}

func within(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited %s until %s", limit, what)
		}
	}
}

// address is where peers reach the agent.
func (m *mesh) address() string { return fmt.Sprintf("%s:%d", m.config.Advertise, m.config.Mesh.Port) }

func (m *mesh) gossipAddress() string {
	return fmt.Sprintf("%s:%d", m.config.Advertise, m.config.Mesh.GossipPort)
}

// token makes one and returns what is in it.
func (m *mesh) token(r api.TokenRequest) pki.Token {
	m.t.Helper()
	made, err := m.CreateToken(m.t.Context(), r)
	if err != nil {
		m.t.Fatal(err)
	}
	token, err := pki.ParseToken(made.Token)
	if err != nil {
		m.t.Fatal(err)
	}
	return token
}

// from is a network in which this host has one address.
type from string

// Listen implements transport.Net.
func (from) Listen(context.Context, string) (net.Listener, error) { return nil, errors.ErrUnsupported }

// Dial implements transport.Net.
func (f from) Dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(string(f))}}
	return d.DialContext(ctx, "tcp", address)
}

// join asks to be let in, from an address.
func join(t *testing.T, token pki.Token, c config.Agent, source string) error {
	t.Helper()
	return cluster.Join(t.Context(), cluster.JoinConfig{Dir: daemon.PathsOf(c.DataDir).Mesh, Token: token, Net: from(source), Now: time.Now, Level: raftfsm.Level,
		Peer: cluster.Peer{Name: c.Name, Address: fmt.Sprintf("%s:%d", c.Advertise, c.Mesh.Port),
			Gossip: fmt.Sprintf("%s:%d", c.Advertise, c.Mesh.GossipPort)}})
}

// member is a peer of a mesh whose agent does not run: it is played by the test.
type member struct {
	id, name, dir string
	certificate   tls.Certificate
}

// member lets one in.
func (m *mesh) member(name string) *member {
	m.t.Helper()
	c := agentConfig(m.t, name)
	if err := join(m.t, m.token(api.TokenRequest{}), c, freshAddress()); err != nil {
		m.t.Fatal(err)
	}
	p := &member{name: name, dir: daemon.PathsOf(c.DataDir).Mesh}
	var err error
	p.certificate, err = tls.LoadX509KeyPair(filepath.Join(p.dir, "peer.crt"), filepath.Join(p.dir, "peer.key"))
	if err == nil {
		p.id, err = pki.PeerID(p.certificate.PrivateKey.(ed25519.PrivateKey).Public())
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// removed removes one.
func (m *mesh) removed(p *member) {
	m.t.Helper()
	if err := m.RemovePeer(m.t.Context(), p.id, api.PeerRequest{}); err != nil {
		m.t.Fatal(err)
	}
}

// authority is the mesh's own, as somebody has it who got hold of a peer's disk.
func (m *mesh) authority() *pki.Authority {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(daemon.PathsOf(m.config.DataDir).Mesh, "raft", "raft.db"))
	if err != nil {
		m.t.Fatal(err)
	}
	begin := bytes.Index(b, []byte("-----BEGIN PRIVATE KEY-----"))
	if begin < 0 {
		m.t.Fatal("no key of an authority is in the log: the test looks in the wrong place")
	}
	block, _ := pem.Decode(b[begin:])
	a, err := pki.LoadAuthority(pki.JoinBundle(m.roots...), pem.EncodeToMemory(block))
	if err != nil {
		m.t.Fatal(err)
	}
	return a
}

// issued is a certificate of an authority for a new key, made at a time.
func issued(t *testing.T, a *pki.Authority, key ed25519.PrivateKey, at time.Time) tls.Certificate {
	t.Helper()
	csr, err := pki.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.Issue(pki.Request{CSR: csr, Mesh: a.Mesh(), Generation: 1, Now: at})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return tls.Certificate{Certificate: [][]byte{block.Bytes, a.Certificate().Raw}, PrivateKey: key}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// call is one connection to an agent: from where, for what, as whom.
type call struct {
	source, protocol string
	// certificate nil: none is shown.
	certificate *tls.Certificate
	maxVersion  uint16
}

// dial makes the handshake and waits until the other end has said what it thinks of us:
// in TLS 1.3 only the first read tells.
func (m *mesh) dial(ctx context.Context, c call) (*tls.Conn, error) {
	raw, err := from(c.source).Dial(ctx, m.address())
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{NextProtos: []string{c.protocol}, InsecureSkipVerify: true, MaxVersion: c.maxVersion, //nolint:gosec // it is the attacker
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c.certificate == nil {
				return &tls.Certificate{}, nil
			}
			return c.certificate, nil
		}}
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// refused says how the agent ended a connection; nil: it did not, for a while.
func refused(conn net.Conn, wait time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// as is what a member's connection is made of.
func (p *member) as(protocol string) call {
	return call{source: freshAddress(), protocol: protocol, certificate: &p.certificate}
}

var _ transport.Net = from("")
