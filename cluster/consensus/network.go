package consensus

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// A Network carries Raft between peers. Both ends know who the other is.
type Network interface {
	// Accept returns the next connection of another peer; net.ErrClosed once the
	// network is closed.
	Accept() (net.Conn, error)
	// Dial connects to a peer, wherever it is now.
	Dial(ctx context.Context, peer string) (net.Conn, error)
}

// How Raft uses connections.
const (
	networkTimeout = 10 * time.Second
	networkPool    = 3
	// One request at a time to each peer, of up to 64 entries: with more, Raft's pipeline
	// can get stuck when a follower refuses entries, and that follower then gets
	// heartbeats but no entry any more, and Close never ends (hashicorp/raft issue 612).
	networkInFlight = 1
)

func newTransport(id string, n Network, out *slog.Logger) raft.Transport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: streamLayer{id: id, network: n}, Logger: leveled(out),
		MaxPool: networkPool, MaxRPCsInFlight: networkInFlight, Timeout: networkTimeout, MsgpackUseNewTimeFormat: true,
	})
}

// streamLayer gives Raft a Network. To Raft an address is a peer's ID: who is where
// is looked up with every connection, so that addresses may change.
type streamLayer struct {
	id      string
	network Network
}

func (s streamLayer) Accept() (net.Conn, error) { return s.network.Accept() }

// Close does nothing: the network belongs to who made it.
func (s streamLayer) Close() error { return nil }

func (s streamLayer) Addr() net.Addr { return peerAddress(s.id) }

func (s streamLayer) Dial(peer raft.ServerAddress, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit) //nolint:forbidigo // Raft gives a time, not a context
	defer cancel()
	return s.network.Dial(ctx, string(peer))
}

type peerAddress string

func (peerAddress) Network() string  { return "tenks" }
func (a peerAddress) String() string { return string(a) }
