package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tenks/cluster/consensus"
	"tenks/cluster/gossip"
	"tenks/cluster/pki"
	"tenks/cluster/transport"
)

// openNetwork listens for other peers and joins their gossip.
func (m *Mesh) openNetwork(ctx context.Context, lc *consensus.Config) error {
	var err error
	if m.files, err = readMembership(m.cfg.Dir); err != nil {
		return err
	}
	roots, err := pki.ParseBundle([]byte(m.files.Roots))
	if err != nil {
		return fmt.Errorf("%s: %w", meshFile, err)
	}
	if m.certificate, err = readCertificate(m.cfg.Dir, roots); err != nil {
		return err
	}
	m.transport, err = transport.Open(ctx, transport.Config{Listen: m.cfg.Listen, Certificate: m.current,
		Verify: m.verify, Address: m.addressOf, Net: m.cfg.Net, Log: m.cfg.Log})
	if err != nil {
		return fmt.Errorf("listen for peers at %s: %w (agent.yml: mesh.port)", m.cfg.Listen, err)
	}
	m.rpc = newRPCClient(m.transport, m.noteLeader)
	m.rpc.ours, m.rpc.hear = m.files.Generation.String(), m.hear
	if err := m.openGossip(); err != nil {
		return errors.Join(err, m.closeNetwork(context.WithoutCancel(ctx)))
	}
	lc.Network = raftNetwork{m, m.transport.Listener(transport.Raft)}
	lc.Stalled = m.stalled
	return nil
}

func (m *Mesh) openGossip() error {
	facts := m.cfg.Facts
	facts.Level = m.cfg.Level
	facts.APIAddress, facts.Generation = m.Address(), m.files.Generation.Number
	keys := m.files.Gossip
	if v := m.view(); len(v.Gossip) > 0 {
		keys = v.Gossip
	}
	g, err := gossip.Open(gossip.Config{ID: m.id, Mesh: m.files.Mesh, Bind: m.cfg.Gossip, Advertise: m.cfg.Advertise,
		Keys: keys, Facts: facts, Allowed: m.allowed, Known: m.gossipAddresses, Transport: m.cfg.GossipNet, Log: m.cfg.Log})
	if err != nil {
		return fmt.Errorf("gossip at %s: %w (agent.yml: mesh.gossip_port)", m.cfg.Gossip, err)
	}
	m.gossip = g
	return nil
}

func (m *Mesh) closeNetwork(ctx context.Context) error {
	var err error
	if m.gossip != nil {
		_ = m.gossip.Leave(ctx) // nobody may be there to be told
		err = m.gossip.Close()
	}
	if m.transport != nil {
		m.rpc.close()
		err = errors.Join(err, m.transport.Close())
	}
	return err
}

// Address is the host:port that other peers reach this one by; empty: by none.
func (m *Mesh) Address() string { return m.advertised(m.transportPort()) }

// GossipAddress is the same for gossip.
func (m *Mesh) GossipAddress() string {
	if m.gossip == nil {
		return ""
	}
	_, port, err := net.SplitHostPort(m.gossip.Addr())
	if err != nil {
		return ""
	}
	return m.advertised(port)
}

func (m *Mesh) transportPort() string {
	if m.transport == nil {
		return ""
	}
	_, port, err := net.SplitHostPort(m.transport.Addr())
	if err != nil {
		return ""
	}
	return port
}

func (m *Mesh) advertised(port string) string {
	if port == "" {
		return ""
	}
	return net.JoinHostPort(m.cfg.Advertise, port)
}

// Ports are the TCP and UDP ports that this peer listens at for others.
func (m *Mesh) Ports() []int {
	var out []int
	for _, a := range []string{m.Address(), m.GossipAddress()} {
		if _, text, err := net.SplitHostPort(a); err == nil {
			if port, err := strconv.Atoi(text); err == nil {
				out = append(out, port)
			}
		}
	}
	return out
}

// Transport is what other parts use to reach peers; nil in a mesh without a network.
func (m *Mesh) Transport() *transport.Transport { return m.transport }

// Gossip is who is there; nil in a mesh without a network.
func (m *Mesh) Gossip() *gossip.Gossip { return m.gossip }

// current is the certificate in use.
func (m *Mesh) current() (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.certificate, nil
}

// verify says whose certificate it is. The state may not know a peer that joined a
// moment ago: what the authority signed, it admitted. A removed one it does know.
func (m *Mesh) verify(chain []*x509.Certificate, _ string) (string, error) {
	id, err := pki.Verify(chain, pki.Verifier{Roots: m.roots(), Mesh: m.files.Mesh, Now: time.Now()})
	if err != nil {
		return "", err
	}
	if !m.allowed(id.Peer) {
		return "", fmt.Errorf("peer %s was removed from the mesh", id.Peer)
	}
	return id.Peer, nil
}

func (m *Mesh) allowed(id string) bool {
	p, known := m.view().peer(id)
	return !known || !p.Removed
}

func (m *Mesh) roots() []*x509.Certificate {
	if v := m.view(); len(v.Roots) > 0 {
		return v.Roots
	}
	roots, err := pki.ParseBundle([]byte(m.files.Roots))
	if err != nil {
		return nil // it was read at Open
	}
	return roots
}

// peers are those of the state; before there is one, those of the file.
func (m *Mesh) peers() []Peer {
	if v := m.view(); len(v.Peers) > 0 {
		return v.Peers
	}
	return m.files.Peers
}

// addressOf says where a peer is. What it gossips itself is the newest; a peer that
// nobody knows may be in the file still.
func (m *Mesh) addressOf(id string) (string, bool) {
	if m.gossip != nil {
		for _, p := range m.gossip.Peers() {
			if p.ID == id && p.APIAddress != "" && p.State == gossip.Alive {
				return p.APIAddress, true
			}
		}
	}
	for _, list := range [][]Peer{m.view().Peers, m.files.Peers} {
		for _, p := range list {
			if p.ID == id && p.Address != "" {
				return p.Address, true
			}
		}
	}
	return "", false
}

func (m *Mesh) gossipAddresses() []string {
	var out []string
	for _, p := range slices.Concat(m.view().Peers, m.files.Peers) {
		if p.ID != m.id && p.Gossip != "" && !p.Removed {
			out = append(out, p.Gossip)
		}
	}
	return out
}

// stalled cuts this peer off from the log while its disk hangs: Raft itself would
// keep a leader that cannot write.
func (m *Mesh) stalled(hangs bool) {
	if hangs {
		m.cfg.Log.Error("the disk under the log hangs: this peer has no part in it until it goes on")
		m.transport.Cut()
		return
	}
	m.cfg.Log.Info("the disk under the log goes on")
	if !m.fence.isShut() {
		m.transport.Mend()
	}
}

// raftNetwork carries Raft over the transport.
type raftNetwork struct {
	m *Mesh
	net.Listener
}

func (n raftNetwork) Accept() (net.Conn, error) { return n.m.accepted(n.Listener.Accept()) }

func (n raftNetwork) Dial(ctx context.Context, peer string) (net.Conn, error) {
	conn, err := n.m.transport.Dial(ctx, peer, transport.Raft)
	if err != nil {
		return nil, err // a nil *Conn is no nil net.Conn
	}
	return n.m.dialed(conn)
}

// start runs what a Mesh does by itself until Close.
func (m *Mesh) start(ctx context.Context) {
	ctx, m.cancel = context.WithCancel(ctx)
	if m.transport == nil {
		return
	}
	m.serve(ctx, m.transport.Listener(transport.RPC), &http.Server{Handler: m.Guard(rpcServer{m}.handler()), IdleTimeout: 2 * time.Minute})
	m.serve(ctx, newCallers(m.transport.Listener(transport.Join)),
		&http.Server{Handler: m.joinHandler(), ReadTimeout: joinIdle, WriteTimeout: joinTime + joinIdle, IdleTimeout: joinIdle,
			MaxHeaderBytes: 8 << 10})
	if m.cfg.Feed != nil {
		m.work.Go(func() { m.serveFeeds(ctx) })
	}
	m.work.Go(func() { m.keepOut(ctx) })
	m.work.Go(func() { m.keepVerified(ctx) })
	m.work.Go(func() { m.keepLease(ctx) })
	m.work.Go(func() { m.keepGeneration(ctx) })
	m.work.Go(func() { m.keepFiles(ctx) })
	m.work.Go(func() { m.keepCertificate(ctx) })
	m.work.Go(func() { _ = m.WhileLeader(ctx, m.manage) }) // returns nil when ctx ends
	m.work.Go(func() {
		if known := m.gossipAddresses(); len(known) > 0 {
			if _, err := m.gossip.Join(ctx, known); err != nil && ctx.Err() == nil {
				m.cfg.Log.WarnContext(ctx, "nobody gossips with this peer yet; it goes on trying", "err", err)
			}
		}
	})
}

// serve answers HTTP on the connections of one protocol until ctx ends.
func (m *Mesh) serve(ctx context.Context, listener net.Listener, s *http.Server) {
	s.ReadHeaderTimeout = 10 * time.Second
	s.ConnContext, s.BaseContext = m.transport.ConnContext, func(net.Listener) context.Context { return ctx }
	s.ErrorLog = slog.NewLogLogger(m.cfg.Log.Handler(), slog.LevelDebug)
	m.work.Go(func() { _ = s.Serve(listener) }) // ends with Close below
	m.work.Go(func() {
		<-ctx.Done()
		_ = s.Close()
	})
}
