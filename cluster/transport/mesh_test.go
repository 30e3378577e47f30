package transport_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenks/cluster/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errRemoved = errors.New("the peer was removed")
	errForeign = errors.New("not of this mesh")
)

// authority is a CA.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue makes a certificate that is valid for the time given, with the CA behind it.
func (a *authority) issue(t *testing.T, peer string, valid time.Duration) *tls.Certificate {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, URIs: []*url.URL{{Scheme: "tenks", Host: "test", Path: "/node/" + peer}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
}

// mesh is what the peers of a test share: who is one, and where.
type mesh struct {
	ca *authority

	mu        sync.Mutex
	removed   map[string]bool
	addresses map[string]string
	// asked counts calls of verify.
	asked int
}

func newMesh(t *testing.T) *mesh {
	return &mesh{ca: newAuthority(t), removed: map[string]bool{}, addresses: map[string]string{}}
}

// verify implements Config.Verify. An expired certificate is good for joins only.
func (m *mesh) verify(chain []*x509.Certificate, protocol string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	leaf := chain[0]
	if err := leaf.CheckSignatureFrom(m.ca.cert); err != nil {
		return "", errForeign
	}
	peer := strings.TrimPrefix(leaf.URIs[0].Path, "/node/")
	if m.removed[peer] {
		return peer, errRemoved
	}
	if time.Now().After(leaf.NotAfter) && protocol != transport.Join {
		return peer, errors.New("expired")
	}
	return peer, nil
}

func (m *mesh) remove(peer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removed[peer] = true
}

func (m *mesh) place(peer, address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addresses[peer] = address
}

func (m *mesh) address(peer string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.addresses[peer]
	return a, ok
}

// peer is a transport of a mesh, with what it logs.
type peer struct {
	*transport.Transport
	name string
	log  *logbook

	mu   sync.Mutex
	cert *tls.Certificate
}

func (p *peer) certificate() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cert == nil {
		return nil, errors.New("there is none")
	}
	return p.cert, nil
}

func (p *peer) renew(c *tls.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cert = c
}

// start opens a peer on loopback, or as change has it.
func (m *mesh) start(t *testing.T, name string, change ...func(*transport.Config)) *peer {
	t.Helper()
	p := &peer{name: name, log: &logbook{}, cert: m.ca.issue(t, name, time.Hour)}
	c := transport.Config{Listen: "127.0.0.1:0", Certificate: p.certificate, Verify: m.verify, Address: m.address,
		Log: slog.New(slog.NewJSONHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range change {
		f(&c)
	}
	var err error
	if p.Transport, err = transport.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	m.place(name, p.Addr())
	return p
}

// logbook is an io.Writer for a logger.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// lines are those that contain text.
func (l *logbook) lines(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

// echo answers on a protocol: "<caller>: <what it sent>". It ends with the listener.
func echo(t *testing.T, p *peer, protocol string) {
	t.Helper()
	l := p.Listener(protocol)
	var g sync.WaitGroup
	g.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.Go(func() { answer(c.(*transport.Conn)) })
		}
	})
	t.Cleanup(func() { p.Close(); g.Wait() })
}

func answer(c *transport.Conn) {
	defer c.Close()
	b := make([]byte, 64)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(c, "%s: %s", c.Peer(), b[:n]); err != nil {
			return
		}
	}
}

// ask sends text and reads the answer, within 10 s.
func ask(c net.Conn, text, want string) error {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	defer c.SetDeadline(time.Time{})
	if _, err := c.Write([]byte(text)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if string(b) != want {
		return fmt.Errorf("answered %q, want %q", b, want)
	}
	return nil
}

// dial fails the test if it cannot.
func dial(t *testing.T, from *peer, to, protocol string) *transport.Conn {
	t.Helper()
	c, err := from.Dial(t.Context(), to, protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ends waits until c is closed by another, and returns how: nil is io.EOF.
func ends(t *testing.T, c net.Conn) error {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the connection goes on: %v", err)
	}
	return err
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}
