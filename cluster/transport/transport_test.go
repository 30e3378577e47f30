package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenks/cluster/transport"
)

func TestPeersTalkAndKnowEachOther(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	for _, protocol := range []string{transport.Raft, transport.API, transport.Feed, transport.RPC, transport.Join} {
		echo(t, b, protocol)
		c := dial(t, a, "b", protocol)
		if c.Peer() != "b" || c.Protocol() != protocol {
			t.Errorf("%s: dialed %q for %q", protocol, c.Peer(), c.Protocol())
		}
		if err := ask(c, "hello", "a: hello"); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
		if v := c.ConnectionState().Version; v != tls.VersionTLS13 {
			t.Errorf("%s: TLS version %x", protocol, v)
		}
		if got := a.Stats().Open[protocol]; got != 1 {
			t.Errorf("%s: %d open, want 1", protocol, got)
		}
		c.Close()
		eventually(t, "both ends are closed", func() bool { return len(a.Stats().Open) == 0 && len(b.Stats().Open) == 0 })
	}
	if got := b.Stats().Accepted[transport.Raft]; got != 1 {
		t.Errorf("b accepted %d for Raft, want 1", got)
	}
	if got := a.Stats().Dialed[transport.Raft]; got != 1 {
		t.Errorf("a dialed %d for Raft, want 1", got)
	}
}

func TestPort0PicksOneAndAddrNamesIt(t *testing.T) {
	m := newMesh(t)
	a := m.start(t, "a")
	_, port, err := net.SplitHostPort(a.Addr())
	if err != nil || port == "0" {
		t.Errorf("Addr is %q", a.Addr())
	}
	if got := a.Listener(transport.Raft).Addr().String(); got != a.Addr() {
		t.Errorf("the listener is at %q, want %q", got, a.Addr())
	}
}

func TestOpenRefusesAPortInUse(t *testing.T) {
	m := newMesh(t)
	a := m.start(t, "a")
	_, err := transport.Open(t.Context(), transport.Config{Listen: a.Addr(), Certificate: a.certificate, Verify: m.verify})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), a.Addr()) {
		t.Errorf("open at %s again: %v", a.Addr(), err)
	}
	if _, err := transport.Open(t.Context(), transport.Config{Listen: "127.0.0.1:0"}); err == nil {
		t.Error("opened without a way to verify")
	}
}

func TestDialFailures(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.Raft)
	m.place("moved", b.Addr())
	gone := m.start(t, "gone")
	gone.Close()
	tests := []struct {
		name, peer, protocol string
		want                 error
		reason               transport.Reason
	}{
		{"another peer answers", "moved", transport.Raft, transport.ErrWrongPeer, transport.ReasonWrongPeer},
		{"no address", "stranger", transport.Raft, transport.ErrUnknownPeer, transport.ReasonUnknownPeer},
		{"no peer", "", transport.Raft, transport.ErrUnknownPeer, transport.ReasonUnknownPeer},
		{"a protocol without a listener", "b", transport.RPC, transport.ErrRefused, transport.ReasonRefused},
		{"nobody listens", "gone", transport.Raft, syscall.ECONNREFUSED, transport.ReasonUnreachable},
	}
	for _, tt := range tests {
		before := a.Stats().Failed[tt.reason]
		c, err := a.Dial(t.Context(), tt.peer, tt.protocol)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), fmt.Sprintf("peer %q", tt.peer)) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if got := a.Stats().Failed[tt.reason]; got != before+1 {
			t.Errorf("%s: counted %v", tt.name, a.Stats().Failed)
		}
	}
	eventually(t, "b counts the caller of a protocol that it does not serve",
		func() bool { return b.Stats().Refused[transport.ReasonProtocol] == 1 })
}

func TestDialAddressSaysWhoAnswers(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.RPC)
	c, err := a.DialAddress(t.Context(), b.Addr(), transport.RPC)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Peer() != "b" {
		t.Errorf("%q answers", c.Peer())
	}
}

func TestADialerRefusesAForeignPeer(t *testing.T) {
	ours, theirs := newMesh(t), newMesh(t)
	a, b := ours.start(t, "a"), theirs.start(t, "b")
	echo(t, b, transport.Raft)
	ours.place("b", b.Addr())
	if _, err := a.Dial(t.Context(), "b", transport.Raft); !errors.Is(err, errForeign) {
		t.Errorf("dial: %v, want %v", err, errForeign)
	}
	if got := a.Stats().Failed[transport.ReasonCertificate]; got != 1 {
		t.Errorf("counted %v", a.Stats().Failed)
	}
	eventually(t, "b counts that it was refused", func() bool { return b.Stats().Refused[transport.ReasonRefused] == 1 })
}

// Callers that the accepting end refuses.
func TestAnInboundHandshakeIsRefused(t *testing.T) {
	m, other := newMesh(t), newMesh(t)
	m.remove("gone")
	foreign, removed := other.ca.issue(t, "a", time.Hour), m.ca.issue(t, "gone", time.Hour)
	expired := m.ca.issue(t, "old", -time.Minute)
	stolen := &tls.Certificate{Certificate: m.ca.issue(t, "a", time.Hour).Certificate, PrivateKey: foreign.PrivateKey}
	tests := []struct {
		name      string
		protocols []string
		cert      *tls.Certificate
		version   uint16
		reason    transport.Reason
		claimed   string
	}{
		{name: "no certificate", protocols: []string{transport.Raft}, reason: transport.ReasonNoCertificate},
		{name: "no certificate, for a protocol named beside Join", protocols: []string{transport.Raft, transport.Join},
			reason: transport.ReasonNoCertificate},
		{name: "a foreign certificate", protocols: []string{transport.Raft}, cert: foreign,
			reason: transport.ReasonCertificate, claimed: "tenks://test/node/a"},
		{name: "a removed peer", protocols: []string{transport.Raft}, cert: removed,
			reason: transport.ReasonCertificate, claimed: "gone"},
		{name: "a removed peer that joins", protocols: []string{transport.Join}, cert: removed,
			reason: transport.ReasonCertificate, claimed: "gone"},
		{name: "an expired certificate", protocols: []string{transport.Raft}, cert: expired,
			reason: transport.ReasonCertificate, claimed: "old"},
		{name: "the certificate of another", protocols: []string{transport.Raft}, cert: stolen,
			reason: transport.ReasonTLS, claimed: "a"},
		{name: "an unknown protocol", protocols: []string{"h2"}, cert: foreign, reason: transport.ReasonProtocol},
		{name: "a protocol without a listener", protocols: []string{transport.Feed}, cert: foreign, reason: transport.ReasonProtocol},
		{name: "no protocol", cert: foreign, reason: transport.ReasonProtocol},
		{name: "TLS 1.2", protocols: []string{transport.Raft}, cert: foreign, version: tls.VersionTLS12, reason: transport.ReasonTLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := m.start(t, "b")
			echo(t, b, transport.Raft)
			echo(t, b, transport.Join)
			err := callAsStranger(t, b.Addr(), tt.protocols, tt.cert, tt.version)
			var alert *net.OpError
			if !errors.As(err, &alert) || alert.Op != "remote error" {
				t.Errorf("the caller saw %v, want an alert", err)
			}
			eventually(t, "it is counted", func() bool { return b.Stats().Refused[tt.reason] == 1 })
			eventually(t, "it is logged", func() bool {
				lines := b.log.lines(fmt.Sprintf(`"reason":%q`, tt.reason))
				return len(lines) == 1 && strings.Contains(lines[0], `"level":"WARN"`) &&
					strings.Contains(lines[0], `"remote":"127.0.0.1:`) && strings.Contains(lines[0], fmt.Sprintf(`"claimed_peer":%q`, tt.claimed))
			})
			if got := b.Stats(); len(got.Accepted) != 0 || len(got.Open) != 0 {
				t.Errorf("it was accepted: %v", got)
			}
		})
	}
}

// callAsStranger speaks TLS of its own to an address, and returns how it ended.
func callAsStranger(t *testing.T, address string, protocols []string, cert *tls.Certificate, version uint16) error {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: protocols, MaxVersion: version,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert == nil {
				return &tls.Certificate{}, nil
			}
			return cert, nil
		}}
	d := tls.Dialer{Config: config}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	// In TLS 1.3 a caller may send before it learns that it is refused: it must see
	// the alert all the same, and no reset connection.
	if _, err := c.Write([]byte("early")); err != nil {
		return err
	}
	return ends(t, c)
}

func TestWhatIsNoTLSIsRefused(t *testing.T) {
	m := newMesh(t)
	b := m.start(t, "b")
	echo(t, b, transport.Raft)
	c := tcp(t, b.Addr())
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	ends(t, c)
	eventually(t, "it is counted", func() bool { return b.Stats().Refused[transport.ReasonTLS] == 1 })
}

func TestWhoOnlyLooksIsNotWarnedAbout(t *testing.T) {
	m := newMesh(t)
	b := m.start(t, "b")
	echo(t, b, transport.Raft)
	tcp(t, b.Addr()).Close()
	eventually(t, "it is counted", func() bool { return b.Stats().Refused[transport.ReasonGone] == 1 })
	if got := b.log.lines("WARN"); len(got) != 0 {
		t.Errorf("logged %q", got)
	}
}

// tcp connects without TLS.
func tcp(t *testing.T, address string) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestARefusedDialerLearnsSoAtItsFirstRead(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.Raft)
	a.renew(m.ca.issue(t, "a", -time.Minute))
	c := dial(t, a, "b", transport.Raft)
	if err := ends(t, c); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("read: %v, want %v", err, transport.ErrRefused)
	}
}

func TestAnExpiredPeerStillReachesJoin(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.Join)
	a.renew(m.ca.issue(t, "a", -time.Minute))
	if err := ask(dial(t, a, "b", transport.Join), "renew", "a: renew"); err != nil {
		t.Error(err)
	}
}

func TestAHostWithoutACertificateJoins(t *testing.T) {
	m := newMesh(t)
	b := m.start(t, "b")
	echo(t, b, transport.Join)
	pinned := func(chain []*x509.Certificate) error {
		if last := chain[len(chain)-1]; !last.Equal(m.ca.cert) {
			return fmt.Errorf("the CA is %s", last.Subject)
		}
		return chain[0].CheckSignatureFrom(m.ca.cert)
	}
	c, err := transport.DialJoin(t.Context(), nil, b.Addr(), pinned)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := ask(c, "csr", ": csr"); err != nil {
		t.Error(err)
	}
	state := c.ConnectionState()
	if _, err := state.ExportKeyingMaterial("tenks", nil, 32); err != nil {
		t.Errorf("nothing to bind a proof to: %v", err)
	}
}

func TestDialJoinFailures(t *testing.T) {
	m := newMesh(t)
	b, closed := m.start(t, "b"), m.start(t, "closed")
	echo(t, b, transport.Join)
	other := errors.New("another CA")
	refuse := func([]*x509.Certificate) error { return other }
	if _, err := transport.DialJoin(t.Context(), nil, b.Addr(), refuse); !errors.Is(err, other) {
		t.Errorf("a refused chain: %v", err)
	}
	accept := func([]*x509.Certificate) error { return nil }
	if _, err := transport.DialJoin(t.Context(), transport.TCP(), closed.Addr(), accept); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("nobody listens for joins: %v", err)
	}
	closed.Close()
	if _, err := transport.DialJoin(t.Context(), nil, closed.Addr(), accept); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestACertificateIsAskedForAtEachHandshake(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.Raft)
	serial := func() string {
		return dial(t, a, "b", transport.Raft).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	b.renew(m.ca.issue(t, "b", time.Hour))
	if second := serial(); second == first {
		t.Error("the old certificate was shown again")
	}
	b.renew(nil)
	if _, err := a.Dial(t.Context(), "b", transport.Raft); err == nil {
		t.Error("dialed a peer without a certificate")
	}
	eventually(t, "b counts it", func() bool { return b.Stats().Refused[transport.ReasonOwnCertificate] == 1 })
	b.renew(m.ca.issue(t, "b", time.Hour))
	a.renew(nil)
	if _, err := a.Dial(t.Context(), "b", transport.Raft); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("dial without a certificate: %v", err)
	}
}

func TestEachConnectionIsVerified(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.Raft)
	for range 3 {
		c := dial(t, a, "b", transport.Raft)
		if err := ask(c, "x", "a: x"); err != nil {
			t.Fatal(err)
		}
		if c.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked != 6 {
		t.Errorf("Verify was asked %d times, want 6", m.asked)
	}
}

func TestManyDialsAtOnce(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.RPC)
	var g sync.WaitGroup
	for i := range 200 {
		g.Go(func() {
			c, err := a.Dial(t.Context(), "b", transport.RPC)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if err := ask(c, fmt.Sprint(i), fmt.Sprintf("a: %d", i)); err != nil {
				t.Error(i, err)
			}
		})
	}
	g.Wait()
	eventually(t, "nothing is left over", func() bool {
		s := b.Stats()
		return s.Pending == 0 && len(s.Open) == 0 && s.Accepted[transport.RPC] == 200
	})
}

func TestSlowCallersHoldUpNobody(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.Raft)
	hello := clientHello(t)
	for i := range 200 { // far more than handshakes that compute at once
		c := tcp(t, b.Addr())
		if i%2 == 0 {
			c.Write(hello[:len(hello)*(i%4)/3]) // nothing, or a part
		} else {
			c.Write(hello) // and then silence
		}
	}
	eventually(t, "all wait", func() bool { return b.Stats().Pending == 200 })
	for range 20 {
		if err := ask(dial(t, a, "b", transport.Raft), "x", "a: x"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the slow ones still wait", func() bool { return b.Stats().Pending == 200 })
}

func TestAFloodPushesOutOnlyItself(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.Raft)
	b.LimitPending(8)
	for range 50 {
		tcp(t, b.Addr())
	}
	eventually(t, "callers made room", func() bool { return b.Stats().Refused[transport.ReasonCrowded] == 42 })
	for range 20 {
		if err := ask(dial(t, a, "b", transport.Raft), "x", "a: x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Stats().Pending; got > 8 {
		t.Errorf("%d wait, want 8 at most", got)
	}
}

// clientHello is the first flight of a caller for Raft.
func clientHello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	var g sync.WaitGroup
	g.Go(func() {
		c := tls.Client(far, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{transport.Raft}})
		c.HandshakeContext(t.Context()) // fails when far closes
	})
	b := make([]byte, 16<<10)
	n, err := near.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	g.Wait()
	return b[:n]
}

func TestAHandshakeHasADeadline(t *testing.T) {
	m := newMesh(t)
	quick := func(c *transport.Config) { c.HandshakeTimeout = 50 * time.Millisecond }
	a, b := m.start(t, "a", quick), m.start(t, "b", quick)
	echo(t, b, transport.Raft)
	ends(t, tcp(t, b.Addr()))
	eventually(t, "it is counted", func() bool { return b.Stats().Refused[transport.ReasonTimeout] == 1 })

	// The same for who is dialed.
	var lc net.ListenConfig
	mute, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	m.place("mute", mute.Addr().String())
	if _, err := a.Dial(t.Context(), "mute", transport.Raft); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial: %v", err)
	}
	if got := a.Stats().Failed[transport.ReasonTimeout]; got != 1 {
		t.Errorf("counted %v", a.Stats().Failed)
	}
}

func TestAFullQueueRefusesFurtherConnections(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	l := b.Listener(transport.Feed) // nobody accepts
	full := func() bool { return b.Stats().Refused[transport.ReasonQueueFull] > 0 }
	for i := 0; !full(); i++ {
		if i == 2000 {
			t.Fatal("2000 connections wait")
		}
		dial(t, a, "b", transport.Feed)
	}
	echo(t, b, transport.Raft)
	if err := ask(dial(t, a, "b", transport.Raft), "x", "a: x"); err != nil {
		t.Errorf("another protocol: %v", err)
	}
	l.Close()
	eventually(t, "what waited is closed", func() bool { return b.Stats().Open[transport.Feed] == 0 })
	if _, err := a.Dial(t.Context(), "b", transport.Feed); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("dial after its listener was closed: %v", err)
	}
	echo(t, b, transport.Feed) // a new listener
	if err := ask(dial(t, a, "b", transport.Feed), "x", "a: x"); err != nil {
		t.Errorf("a new listener: %v", err)
	}
}

func TestListenerIsSharedUntilClosed(t *testing.T) {
	m := newMesh(t)
	a := m.start(t, "a")
	first := a.Listener(transport.Raft)
	if a.Listener(transport.Raft) != first {
		t.Error("a second listener for one protocol")
	}
	first.Close()
	second := a.Listener(transport.Raft)
	if second == first {
		t.Error("the closed listener was returned")
	}
	a.Close()
	for _, l := range []net.Listener{first, second, a.Listener(transport.API)} {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after Close: %v", err)
		}
		l.Close()
	}
}

func TestCloseEndsEverything(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	echo(t, b, transport.Raft)
	c := dial(t, a, "b", transport.Raft)
	idle := tcp(t, b.Addr())
	eventually(t, "b waits for a handshake", func() bool { return b.Stats().Pending == 1 })

	var lc net.ListenConfig
	mute, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	m.place("mute", mute.Addr().String())
	dialed := make(chan error, 1)
	go func() {
		_, err := a.Dial(t.Context(), "mute", transport.Raft)
		dialed <- err
	}()
	if _, err := mute.Accept(); err != nil { // the dial is under way
		t.Fatal(err)
	}

	for _, p := range []*peer{a, b, a} {
		if err := p.Close(); err != nil {
			t.Errorf("close %s: %v", p.name, err)
		}
	}
	ends(t, c)
	ends(t, idle)
	if err := <-dialed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the dial under way: %v, want %v", err, net.ErrClosed)
	}
	if _, err := a.Dial(t.Context(), "b", transport.Raft); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after Close: %v", err)
	}
	if got := b.log.lines("WARN"); len(got) != 0 {
		t.Errorf("b warned of its own end: %q", got)
	}
}

func TestHandlersLearnThePeer(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	server := &http.Server{ReadHeaderTimeout: time.Minute, ConnContext: b.ConnContext,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello %s", transport.PeerOf(r.Context()))
		})}
	var g sync.WaitGroup
	l := b.Listener(transport.API)
	g.Go(func() { server.Serve(l) })
	defer g.Wait()
	defer server.Close()

	trip := &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return a.Dial(ctx, "b", transport.API)
	}}
	defer trip.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://b/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := trip.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); string(got) != "hello a" || err != nil {
		t.Errorf("answered %q, %v", got, err)
	}
	if got := transport.PeerOf(t.Context()); got != "" {
		t.Errorf("a context of nobody has peer %q", got)
	}
}
