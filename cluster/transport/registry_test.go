package transport_test

import (
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tenks/cluster/transport"
	"tenks/cluster/transport/memnet"
)

func TestARemovedPeerIsDroppedAtOnce(t *testing.T) {
	m := newMesh(t)
	a, b, c := m.start(t, "a"), m.start(t, "b"), m.start(t, "c")
	for _, p := range []*peer{a, b} {
		echo(t, p, transport.RPC)
	}
	in, out, other := dial(t, a, "b", transport.RPC), dial(t, b, "a", transport.RPC), dial(t, c, "b", transport.RPC)
	for conn, who := range map[*transport.Conn]string{in: "a", out: "b", other: "c"} {
		if err := ask(conn, "x", who+": x"); err != nil {
			t.Fatal(err)
		}
	}
	m.remove("a")
	b.Drop("a")
	ends(t, in)
	ends(t, out)
	if err := ask(other, "x", "c: x"); err != nil {
		t.Errorf("another peer: %v", err)
	}
	if got := b.Stats(); got.Dropped[transport.ReasonRemoved] != 2 || got.Open[transport.RPC] != 1 {
		t.Errorf("dropped %v, open %v", got.Dropped, got.Open)
	}
	if err := ends(t, dial(t, a, "b", transport.RPC)); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("the removed peer calls again: %v", err)
	}
}

// gate holds up the first handshake that asks Verify, after its answer.
type gate struct {
	asked, goOn chan struct{}
	used        atomic.Bool
}

func newGate() *gate { return &gate{asked: make(chan struct{}), goOn: make(chan struct{})} }

// in puts the gate into a peer's Verify.
func (g *gate) in(m *mesh) func(*transport.Config) {
	return func(c *transport.Config) {
		c.Verify = func(chain []*x509.Certificate, protocol string) (string, error) {
			peer, err := m.verify(chain, protocol)
			if g.used.CompareAndSwap(false, true) {
				close(g.asked)
				<-g.goOn
			}
			return peer, err
		}
	}
}

// A peer that is removed between its verification and the end of its handshake.
func TestARemovalDuringAHandshakeIsNotMissed(t *testing.T) {
	for how, drop := range map[string]func(*peer){
		"Drop":    func(p *peer) { p.Drop("a") },
		"Recheck": func(p *peer) { p.Recheck() },
	} {
		t.Run(how, func(t *testing.T) {
			m, g := newMesh(t), newGate()
			a, b := m.start(t, "a"), m.start(t, "b", g.in(m))
			echo(t, b, transport.RPC)
			c := dial(t, a, "b", transport.RPC)
			<-g.asked
			m.remove("a")
			drop(b)
			close(g.goOn)
			ends(t, c)
			eventually(t, "it is counted", func() bool { return b.Stats().Refused[transport.ReasonCertificate] == 1 })
			if got := b.Stats(); len(got.Open) != 0 || len(got.Accepted) != 0 {
				t.Errorf("it was accepted: %+v", got)
			}
		})
	}
}

func TestADropDuringTheHandshakeOfAnotherDoesNotHarmIt(t *testing.T) {
	for _, protocol := range []string{transport.RPC, transport.Join} {
		m, g := newMesh(t), newGate()
		a, b := m.start(t, "a"), m.start(t, "b", g.in(m))
		echo(t, b, protocol)
		c := dial(t, a, "b", protocol)
		<-g.asked
		b.Drop("somebody")
		close(g.goOn)
		if err := ask(c, "x", "a: x"); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

func TestRecheckDropsWhomVerifyRefusesNow(t *testing.T) {
	m := newMesh(t)
	a, b, c := m.start(t, "a"), m.start(t, "b"), m.start(t, "c")
	echo(t, a, transport.RPC)
	echo(t, b, transport.RPC)
	echo(t, b, transport.Join)
	in, out, other := dial(t, a, "b", transport.RPC), dial(t, b, "a", transport.RPC), dial(t, c, "b", transport.RPC)
	joiner, err := transport.DialJoin(t.Context(), nil, b.Addr(), func([]*x509.Certificate) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer joiner.Close()
	for conn, want := range map[net.Conn]string{in: "a: x", out: "b: x", other: "c: x", joiner: ": x"} {
		if err := ask(conn, "x", want); err != nil {
			t.Fatal(err)
		}
	}
	b.Recheck()
	if err := ask(in, "x", "a: x"); err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	m.remove("a")
	b.Recheck()
	ends(t, in)
	ends(t, out)
	for conn, want := range map[net.Conn]string{other: "c: x", joiner: ": x"} {
		if err := ask(conn, "x", want); err != nil {
			t.Errorf("who was not removed: %v", err)
		}
	}
	if got := b.Stats().Dropped[transport.ReasonCertificate]; got != 2 {
		t.Errorf("dropped %v", b.Stats().Dropped)
	}
	if got := b.log.lines(errRemoved.Error()); len(got) != 1 || !strings.Contains(got[0], `"claimed_peer":"a"`) {
		t.Errorf("logged %q", got)
	}
}

func TestCutEndsRaftBothWaysUntilMend(t *testing.T) {
	m := newMesh(t)
	a, b := m.start(t, "a"), m.start(t, "b")
	for _, p := range []*peer{a, b} {
		echo(t, p, transport.Raft)
		echo(t, p, transport.RPC)
	}
	in, out, rpc := dial(t, a, "b", transport.Raft), dial(t, b, "a", transport.Raft), dial(t, a, "b", transport.RPC)
	for conn, want := range map[*transport.Conn]string{in: "a: x", out: "b: x", rpc: "a: x"} {
		if err := ask(conn, "x", want); err != nil {
			t.Fatal(err)
		}
	}
	b.Cut()
	b.Cut()
	ends(t, in)
	ends(t, out)
	if got := b.Stats().Dropped[transport.ReasonCut]; got != 2 {
		t.Errorf("dropped %v", b.Stats().Dropped)
	}
	if _, err := b.Dial(t.Context(), "a", transport.Raft); !errors.Is(err, transport.ErrCut) {
		t.Errorf("dial while cut: %v", err)
	}
	if _, err := a.Dial(t.Context(), "b", transport.Raft); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("dial who is cut: %v", err)
	}
	eventually(t, "it is counted", func() bool { return b.Stats().Refused[transport.ReasonCut] == 1 })
	if err := ask(rpc, "x", "a: x"); err != nil {
		t.Errorf("another protocol: %v", err)
	}
	if err := ask(dial(t, a, "b", transport.RPC), "x", "a: x"); err != nil {
		t.Errorf("another protocol, anew: %v", err)
	}
	b.Mend()
	if err := ask(dial(t, a, "b", transport.Raft), "x", "a: x"); err != nil {
		t.Errorf("after Mend: %v", err)
	}
	if err := ask(dial(t, b, "a", transport.Raft), "x", "b: x"); err != nil {
		t.Errorf("after Mend, the other way: %v", err)
	}
}

// A handshake that is under way when Raft is cut must not slip through.
func TestCutDuringAHandshake(t *testing.T) {
	m, g := newMesh(t), newGate()
	a, b := m.start(t, "a"), m.start(t, "b", g.in(m))
	echo(t, b, transport.Raft)
	c := dial(t, a, "b", transport.Raft)
	<-g.asked
	b.Cut()
	close(g.goOn)
	ends(t, c)
	eventually(t, "it is counted", func() bool { return b.Stats().Refused[transport.ReasonCut] == 1 })
}

func TestRefusalsDoNotFillTheLog(t *testing.T) {
	m := newMesh(t)
	b := m.start(t, "b")
	echo(t, b, transport.Raft)
	for range 50 {
		callAsStranger(t, b.Addr(), []string{transport.Raft}, nil, 0)
		callAsStranger(t, b.Addr(), []string{"h2"}, nil, 0)
	}
	eventually(t, "all are counted", func() bool {
		s := b.Stats().Refused
		return s[transport.ReasonNoCertificate] == 50 && s[transport.ReasonProtocol] == 50
	})
	if got := b.log.lines("WARN"); len(got) != 2 {
		t.Errorf("%d lines for 100 refusals, want one for each reason: %q", len(got), got)
	}
}

// on has a peer use a network in memory, where its host has its name.
func on(n *memnet.Network, host string) func(*transport.Config) {
	return func(c *transport.Config) { c.Net, c.Listen = n.Host(host), host+":7740" }
}

func TestPeersOnANetworkInMemory(t *testing.T) {
	m, n := newMesh(t), memnet.New(1)
	a, b := m.start(t, "a", on(n, "a")), m.start(t, "b", on(n, "b"))
	echo(t, a, transport.Raft)
	echo(t, b, transport.Raft)
	c := dial(t, a, "b", transport.Raft)
	if err := ask(c, "x", "a: x"); err != nil {
		t.Fatal(err)
	}

	n.Partition("a", "b", memnet.OneWay)
	if _, err := c.Write([]byte("y")); err != nil {
		t.Errorf("write into a partition: %v", err)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	var timeout net.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read: %v, want that the connection stalls", err)
	}
	n.HealAll()
	// crypto/tls gives a connection up after a write that timed out, not a read.
	if err := ask(c, "z", "a: y"); err != nil {
		t.Errorf("after it healed: %v", err)
	}

	if err := n.Readdress("b", "elsewhere"); err != nil {
		t.Fatal(err)
	}
	ends(t, c)
	m.place("b", b.Addr())
	if b.Addr() != "elsewhere:7740" {
		t.Fatalf("b is at %s", b.Addr())
	}
	if err := ask(dial(t, a, "b", transport.Raft), "x", "a: x"); err != nil {
		t.Errorf("at its new address: %v", err)
	}
	n.Crash("elsewhere")
	if _, err := a.Dial(t.Context(), "b", transport.Raft); err == nil {
		t.Error("a crashed peer answers")
	}
}

func TestADialIntoAPartitionEndsInTime(t *testing.T) {
	m, n := newMesh(t), memnet.New(1)
	quick := func(c *transport.Config) { c.HandshakeTimeout = 30 * time.Millisecond }
	a, b := m.start(t, "a", on(n, "a"), quick), m.start(t, "b", on(n, "b"))
	echo(t, b, transport.Raft)
	n.Partition("a", "b", memnet.BothWays)
	_, err := a.Dial(t.Context(), "b", transport.Raft)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial: %v, want a timeout", err)
	}
}
