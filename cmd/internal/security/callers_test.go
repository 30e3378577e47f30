package security

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"tenks/cluster/pki"
	"tenks/cluster/transport"
)

// patience is how long an agent may take to end what it refuses.
const patience = 5 * time.Second

// stranger is somebody who calls, and what the agent's log must say of that.
type stranger struct {
	name        string
	certificate *tls.Certificate
	maxVersion  uint16
	reason      string
	words       []string
}

// strangers are all who are refused whatever they want to speak.
func (m *mesh) strangers(good, removed *member) []stranger {
	t := m.t
	goodKey := good.certificate.PrivateKey.(ed25519.PrivateKey)
	stolen := tls.Certificate{Certificate: good.certificate.Certificate, PrivateKey: newKey(t)}
	other, err := pki.NewAuthority(m.id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign := issued(t, other, newKey(t), time.Now())
	impostor := issued(t, other, goodKey, time.Now()) // even with the right key
	claimed := selfMade(t, m.id, good.id)
	authority := m.authority()
	expired := signed(t, authority, goodKey, time.Now().Add(-30*time.Minute), time.Now().Add(-time.Minute))
	early := signed(t, authority, goodKey, time.Now().Add(time.Hour), time.Now().Add(2*time.Hour))
	root := tls.Certificate{Certificate: [][]byte{authority.Certificate().Raw}, PrivateKey: newKey(t)}
	return []stranger{
		{"another mesh's certificate with the same names", &foreign, 0, "certificate", []string{"not of this mesh"}},
		{"another mesh's certificate for a peer's own key", &impostor, 0, "certificate", []string{"not of this mesh", good.id}},
		{"a self-made certificate that claims a peer's ID", &claimed, 0, "certificate", []string{"not of this mesh", good.id}},
		{"a peer's certificate without its key", &stolen, 0, "tls", []string{good.id}},
		{"an expired certificate", &expired, 0, "certificate", []string{"expired", good.id}},
		{"a certificate that is not valid yet", &early, 0, "certificate", []string{"not valid yet", good.id}},
		{"the authority's certificate without its key", &root, 0, "certificate", []string{"names no peer"}},
		{"a removed peer's certificate", &removed.certificate, 0, "certificate", []string{"was removed", removed.id}},
		{"a good certificate over TLS 1.2", &good.certificate, tls.VersionTLS12, "tls", []string{"unsupported versions"}},
	}
}

// selfMade is a certificate that names a peer, by a key of one's own.
func selfMade(t *testing.T, mesh, peer string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: peer},
		URIs:      []*url.URL{{Scheme: "tenks", Host: mesh, Path: "/peer/" + peer}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// signed is what the authority would issue for some other time.
func signed(t *testing.T, a *pki.Authority, key ed25519.PrivateKey, from, until time.Time) tls.Certificate {
	t.Helper()
	like, err := x509.ParseCertificate(issued(t, a, key, time.Now()).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	like.NotBefore, like.NotAfter = from, until
	_, text := a.PEM()
	block, _ := pem.Decode(text)
	signer, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, like, a.Certificate(), key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestSecurityStrangersAreRefusedOnEveryProtocol(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	good, removed := m.member("hv2"), m.member("hv3")
	m.removed(removed)
	for _, protocol := range protocols(t) {
		strangers := m.strangers(good, removed)
		// Who names the API is heard by who gives Tenks away, and by nobody else: see below.
		if protocol != transport.Join && protocol != transport.API {
			strangers = append(strangers, stranger{"no certificate", nil, 0, "no_certificate", []string{"no certificate was shown"}})
		}
		for _, s := range strangers {
			m.refuses(t, s, protocol)
		}
	}
	for _, protocol := range []string{"tenks-other/1", transport.Bootstrap} {
		m.refuses(t, stranger{"a protocol that is not served", &good.certificate, 0, "protocol", nil}, protocol)
	}
	m.answers(t, good)
	for _, reason := range []string{"no_certificate", "was removed", "expired", "not valid yet", "not of this mesh", "unsupported versions"} {
		t.Logf("%s: %s", reason, m.log.lines(reason)[0])
	}
}

// refuses checks that a stranger is refused, and that the log says why.
func (m *mesh) refuses(t *testing.T, s stranger, protocol string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := call{source: freshAddress(), protocol: protocol, certificate: s.certificate, maxVersion: s.maxVersion}
	conn, err := m.dial(ctx, c)
	if err == nil {
		err = refused(conn, patience)
		_ = conn.Close() // nobody is there any more
	}
	if err == nil || ctx.Err() != nil {
		t.Errorf("%s, %s: it is not refused (%v)", protocol, s.name, ctx.Err())
		return
	}
	words := append([]string{"remote=" + c.source + ":", "reason=" + s.reason}, s.words...)
	eventually(t, fmt.Sprintf("%s, %s: the log has %q", protocol, s.name, words), func() bool { return len(m.log.lines(words...)) == 1 })
}

// answers measures a call by a good peer.
func (m *mesh) answers(t *testing.T, p *member) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	status, body, err := m.request(ctx, p.as(transport.API), http.MethodGet, "/v1/status", nil, nil)
	if err != nil || status != http.StatusOK {
		t.Errorf("a good peer's call: %d %s, %v", status, body, err)
	}
	return time.Since(began)
}

// request makes one HTTP request on a connection of its own.
func (m *mesh) request(ctx context.Context, c call, method, path string, header http.Header, body io.Reader) (int, string, error) {
	conn, err := m.dial(ctx, c)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	return ask(ctx, conn, method, path, header, body)
}

// ask makes one HTTP request on a connection.
func ask(ctx context.Context, conn net.Conn, method, path string, header http.Header, body io.Reader) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://peer"+path, body)
	if err != nil {
		return 0, "", err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestSecurityWithoutACertificateThereIsOnlyWhatATokenNames(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nobody := func() call { return call{source: freshAddress(), protocol: transport.API} }
	c := nobody()
	for _, path := range append(routes(t, m), "/metrics", "/join", "/propose", "/bootstrap/", "/bootstrap/0123456789abcdef", "/bootstrap/0123456789abcdef/tenks",
		"/bootstrap/..%2f..%2fv1%2fnodes", "//v1/nodes") {
		for _, header := range []http.Header{nil, {"Tenks-Forwarded": {m.id}, "Tenks-Whole": {m.id}}} {
			status, body, err := m.request(t.Context(), nobody(), http.MethodGet, path, header, nil)
			if err != nil || status < 300 || strings.Contains(body, "uuid") {
				t.Errorf("GET %s without a certificate: %d %s, %v", path, status, body, err)
			}
		}
	}
	for range 100 {
		if status, body, err := m.request(t.Context(), c, http.MethodGet, "/bootstrap/0123456789abcdef/tenks", nil, nil); err != nil || status != http.StatusNotFound && status != http.StatusTooManyRequests {
			t.Fatalf("a guessed token: %d %s, %v", status, body, err)
		}
	}
	lines := m.log.lines("request of a stranger refused", "source="+c.source+":", "no such token")
	if len(lines) == 0 || len(lines) > 25 {
		t.Errorf("%d lines about 100 guesses", len(lines))
	}
	t.Log(lines[0])
	t.Log(m.log.lines("request of a stranger refused", "a certificate is needed")[0])
}

// What is sent to a port that expects TLS.
var noTLS = map[string][]byte{
	"plain HTTP":                     []byte("GET /v1/status HTTP/1.1\r\nHost: peer\r\n\r\n"),
	"garbage":                        []byte(strings.Repeat("\xde\xad\xbe\xef", 4096)),
	"a record of 64 KiB":             append([]byte{22, 3, 3, 0xff, 0xff}, make([]byte, 0xffff)...),
	"a greeting of 16 MiB":           {22, 3, 3, 0, 8, 1, 0xff, 0xff, 0xff, 3, 3, 0, 0},
	"SSH":                            []byte("SSH-2.0-OpenSSH_9.2\r\n"),
	"a greeting with no room for it": {22, 3, 3, 0, 4, 1, 0, 0, 0},
}

func TestSecurityWhatIsNoTLSIsRefused(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	good := m.member("hv2")
	for name, bytes := range noTLS {
		source := freshAddress()
		conn, err := from(source).Dial(t.Context(), m.address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(bytes); err != nil {
			t.Logf("%s: written in part: %v", name, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the connection stays open", name)
		}
		eventually(t, name+": the log says so", func() bool { return len(m.log.lines("remote="+source+":", "reason=tls")) == 1 })
		_ = conn.Close() // the other end has closed it
	}
	m.answers(t, good)
	t.Log(m.log.lines("reason=tls")[0])
}

// slow is how many callers begin a handshake and never end it.
const slow = 400

func TestSecurityAFloodOfSlowCallersKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	good := m.member("hv2")
	quiet := max(m.answers(t, good), m.answers(t, good))
	source := freshAddress()
	var conns []net.Conn
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	for range slow {
		c, err := from(source).Dial(t.Context(), m.address())
		if err == nil {
			_, err = c.Write([]byte{22, 3, 1, 2, 0, 1})
		}
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	// One that got in begins a request and never ends it.
	endless, err := m.dial(t.Context(), call{source: freshAddress(), protocol: transport.Join})
	if err == nil {
		_, err = io.WriteString(endless, "POST /join HTTP/1.1\r\nHost: peer\r\nContent-Length: 60000\r\n\r\n{")
	}
	if err != nil {
		t.Fatal(err)
	}
	conns = append(conns, endless)
	var worst time.Duration
	for range 20 {
		worst = max(worst, m.answers(t, good))
	}
	t.Logf("a good call took %s, beside %d slow ones at most %s", quiet.Round(time.Microsecond), slow, worst.Round(time.Microsecond))
	if worst > 2*time.Second {
		t.Errorf("a good call took %s", worst)
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a caller that says nothing stays")
		}
	}
	eventually(t, "the log says so", func() bool { return len(m.log.lines("remote="+source+":", "reason=timeout")) > 0 })
	if lines := m.log.lines("remote=" + source + ":"); len(lines) > 2 {
		t.Errorf("%d lines for one source: %s", len(lines), lines[1])
	} else {
		t.Log(lines[0])
	}
}

// TestSecurityAPeerThatSendsGarbageHarmsNobody is about a peer that is broken: it gets
// through the handshake.
func TestSecurityAPeerThatSendsGarbageHarmsNobody(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	broken, good := m.member("hv2"), m.member("hv3")
	before, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 256<<10)
	_, _ = rand.Read(noise)
	huge := append(binary.BigEndian.AppendUint32(nil, 0xffffffff), noise...)
	begun := []byte(generation + "\n\x00\x93")
	for _, protocol := range protocols(t) {
		for name, b := range map[string][]byte{"noise": noise, "a huge frame": huge, "a header that does not end": []byte("GET /" + strings.Repeat("a", 2<<20)),
			"a generation, then noise": append(begun, noise...)} {
			conn, err := m.dial(t.Context(), broken.as(protocol))
			if err != nil {
				t.Fatalf("%s: %v", protocol, err)
			}
			_ = conn.SetWriteDeadline(time.Now().Add(patience))
			_, _ = conn.Write(b) // it may be closed half-way
			_ = conn.CloseWrite()
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s, %s: the connection stays open", protocol, name)
			}
			_ = conn.Close()
		}
	}
	m.answers(t, good)
	after, err := m.Status(t.Context())
	if err != nil || after.Leader != before.Leader || len(after.Voters) != len(before.Voters) {
		t.Errorf("before: %+v; after: %+v, %v", before, after, err)
	}
}

func TestSecurityAnExpiredCertificateIsGoodForRenewalOnly(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	p, removed := m.member("hv2"), m.member("hv3")
	m.removed(removed)
	renew := func(p *member, key ed25519.PrivateKey) (int, string, string) {
		t.Helper()
		csr, err := pki.NewRequest(key)
		if err != nil {
			t.Fatal(err)
		}
		source := freshAddress()
		status, body, err := m.request(t.Context(), call{source: source, protocol: transport.Join}, http.MethodPost, "/renew", nil, strings.NewReader(string(csr)))
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		return status, body, source
	}
	status, body, _ := renew(p, p.certificate.PrivateKey.(ed25519.PrivateKey))
	if status != http.StatusOK || !strings.Contains(body, "certificate") {
		t.Errorf("renewal: %d %s", status, body)
	}
	if !strings.Contains(body, `"gossip":null`) {
		t.Errorf("the answer to a renewal, which a request that was recorded gets, too, has gossip keys")
	}
	for who, key := range map[string]ed25519.PrivateKey{"a removed peer": removed.certificate.PrivateKey.(ed25519.PrivateKey), "a stranger": newKey(t)} {
		status, body, source := renew(removed, key)
		if status != http.StatusForbidden {
			t.Errorf("renewal by %s: %d %s", who, status, body)
		}
		eventually(t, "the log says so", func() bool { return len(m.log.lines("renewal refused", "source="+source+":", "not in this mesh")) == 1 })
	}
	t.Log(m.log.lines("renewal refused")[0])
}
