package gossip

import (
	"cmp"
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// maxClones bounds how many are suspected or known at once. asks is how often each
// address is asked: packets get lost.
const maxClones, asks = 64, 3

// Clone is an ID that is in use at two addresses: a host was copied with its key.
type Clone struct {
	ID string
	// Address is where the peer is for this one; Other is the address that is not heard.
	Address, Other string
	// Since is when it was found.
	Since time.Time
}

type clone = Clone

// clones are those suspected and those found.
type clones struct {
	// wake holds a value when suspects came.
	wake chan struct{}

	mu       sync.Mutex // guards what follows, by ID
	suspects map[string]clone
	found    map[string]clone
}

func newClones() *clones {
	return &clones{wake: make(chan struct{}, 1), suspects: map[string]clone{}, found: map[string]clone{}}
}

func (c *clones) suspect(s clone) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.found[s.ID]; ok || len(c.suspects)+len(c.found) >= maxClones {
		return
	}
	c.suspects[s.ID] = s
	select {
	case c.wake <- struct{}{}:
	default: // it is awake
	}
}

// take returns the suspects, which are none afterwards.
func (c *clones) take() []clone {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Collect(maps.Values(c.suspects))
	clear(c.suspects)
	return out
}

// confirm says whether it is news: a suspect may have come again while it was asked.
func (c *clones) confirm(s clone) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.found[s.ID]; ok {
		return false
	}
	s.Since = time.Now()
	c.found[s.ID] = s
	return true
}

// forget is called when a peer is gone: what comes next is its new life.
func (c *clones) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.found, id)
	delete(c.suspects, id)
}

func (c *clones) list() []Clone {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.found), func(a, b Clone) int { return cmp.Compare(a.ID, b.ID) })
}

// cloneLoop asks both addresses of each suspect whether that peer is there.
func (g *Gossip) cloneLoop() {
	for {
		select {
		case <-g.run.Done():
			return
		case <-g.clones.wake:
		}
		for _, s := range g.clones.take() {
			if g.answers(g.run, s.ID, s.Address) && g.answers(g.run, s.ID, s.Other) &&
				g.table.is(s.ID, Alive) && g.clones.confirm(s) {
				g.log.Error("the key of this peer is in use at two addresses: a cloned host",
					"peer", s.ID, "address", s.Address, "other", s.Other)
			}
		}
	}
}

// answers says whether the peer answers at an address, by UDP.
func (g *Gossip) answers(ctx context.Context, id, address string) bool {
	at, err := netip.ParseAddrPort(address)
	switch {
	case err != nil:
		return false
	case address == g.Addr():
		return id == g.config.ID
	}
	for range asks {
		if ctx.Err() != nil {
			return false
		}
		if _, err := g.list.Ping(id, net.UDPAddrFromAddrPort(at)); err == nil {
			return true
		}
	}
	return false
}
