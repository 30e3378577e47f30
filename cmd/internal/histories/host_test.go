package histories

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"tenks/cluster"
	"tenks/cluster/gossip"
	"tenks/cluster/pki"
	"tenks/cluster/transport"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// Where every peer listens.
const meshPort, gossipPort = 7443, 7946

// host is a machine that a peer runs on, or does not.
type host struct {
	world      *world
	name, zone string
	dir        string
	disk       *disk

	mu      sync.Mutex // guards what follows
	address string
	peer    *peer
}

// up returns the peer that runs here; nil: none does.
func (h *host) up() *peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.peer
}

func (h *host) at() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.address
}

func (h *host) mesh() string { return filepath.Join(h.dir, "mesh") }

// process is the network as one process sees it, until it is killed.
type process struct {
	transport.Net
	dead context.Context
}

// Dial implements transport.Net.
func (p process) Dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(p.dead, cancel)
	defer stop()
	if p.dead.Err() != nil {
		return nil, fmt.Errorf("dial %s: %w", address, syscall.ENETDOWN)
	}
	return p.Net.Dial(ctx, address)
}

// start runs a peer on what the host's disk has.
func (h *host) start(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	address := h.at()
	p := &peer{host: h, world: h.world, fsm: raftfsm.New()}
	p.source = p.fsm.Source()
	p.ctx, p.cancel = context.WithCancel(ctx)
	dead, die := context.WithCancel(ctx)
	p.die = die
	inside := process{h.world.net.Host(address), dead}
	packets, err := h.world.net.Packet(address, gossipPort)
	if err != nil {
		return err
	}
	at := func(port int) string { return net.JoinHostPort(address, fmt.Sprint(port)) }
	streams, err := inside.Listen(ctx, at(gossipPort))
	if err != nil {
		return errors.Join(err, packets.Close())
	}
	p.mesh, err = cluster.Open(ctx, cluster.Config{Dir: h.mesh(), FSM: p.fsm, Answers: raftfsm.Answers{},
		View: p.view, Admit: p.admit, Roles: p.recordRoles,
		Listen: at(meshPort), Gossip: at(gossipPort), Advertise: address, Rules: h.world.plan.rules,
		Net: inside, GossipNet: gossip.Transport{Packets: packets, Streams: streams, Dial: inside.Dial}, Disk: h.disk.under, Snapshots: h.world.plan.snapshots,
		Facts: gossip.Facts{Name: h.name, Zone: h.zone}, Log: h.world.log.With("on", h.name)})
	if err != nil {
		return err
	}
	p.start()
	h.mu.Lock()
	h.peer = p
	h.mu.Unlock()
	return nil
}

// kill ends the peer as the end of its process does: nobody hears from it any more, and
// what is not on the disk is lost. What a hanging disk was about to write, it may have.
func (h *host) kill(lost bool) error {
	p := h.taken()
	if p == nil {
		return nil
	}
	address := h.at()
	h.world.net.Isolate(address)
	h.world.net.Crash(address)
	p.die()
	h.disk.goOn(lost)
	err := p.stop()
	h.world.net.Rejoin(address)
	return err
}

// stop ends the peer as an operator does.
func (h *host) stop() error {
	p := h.taken()
	if p == nil {
		return nil
	}
	h.disk.goOn(false)
	err := p.stop()
	p.die()
	return err
}

// taken returns the peer, which no client finds any longer.
func (h *host) taken() *peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.peer
	h.peer = nil
	return p
}

// found makes the mesh, with this host as its first.
func (h *host) found() error {
	id := uuid.NewString()
	return cluster.Init(h.mesh(), id, func(f cluster.Founding) ([][]byte, error) {
		var entries [][]byte
		for _, c := range []state.Command{
			state.SetMesh{Mesh: state.Mesh{ID: id, Name: "histories", Generation: 1}},
			state.PutKeys{Keys: state.Keys{
				Authorities: []state.Authority{{CertPEM: f.AuthorityCert, KeyPEM: state.NewSecret(string(f.AuthorityKey))}},
				Gossip:      []state.GossipKey{{ID: "first", Key: state.NewSecret(string(f.GossipKey))}},
			}},
			state.PutPeer{Peer: state.Peer{ID: f.Peer, Name: h.name, Generation: 1}},
		} {
			b, err := raftfsm.Encode(state.Envelope{UnixMilli: time.Now().UnixMilli(), Command: c})
			if err != nil {
				return nil, err
			}
			entries = append(entries, b)
		}
		return entries, nil
	})
}

// join makes this host a peer of the mesh that another is in.
func (h *host) join(ctx context.Context, through *peer) error {
	id, secret, err := pki.NewSecret(rand.Reader)
	if err != nil {
		return err
	}
	expires := time.Now().Add(time.Hour)
	hash := pki.HashSecret(secret)
	if _, err := through.propose(ctx, state.PutToken{Token: state.Token{ID: id, Hash: hash[:],
		ExpiresMilli: expires.UnixMilli(), Uses: 1}}); err != nil {
		return err
	}
	token := pki.Token{Mesh: through.snap().Mesh().ID, ID: id, Secret: secret, Expires: expires,
		Addresses: []string{through.mesh.Address()}}
	for _, root := range through.view().Roots {
		token.Pins = append(token.Pins, pki.PinOf(root))
	}
	port := func(n int) string { return net.JoinHostPort(h.at(), fmt.Sprint(n)) }
	return cluster.Join(ctx, cluster.JoinConfig{Dir: h.mesh(), Token: token, Now: time.Now, Level: raftfsm.Level, Net: h.world.net.Host(h.at()),
		Peer: cluster.Peer{Name: h.name, Zone: h.zone, Address: port(meshPort), Gossip: port(gossipPort)}})
}

var _ transport.Net = process{}
