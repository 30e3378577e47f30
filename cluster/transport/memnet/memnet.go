// Package memnet is a network in memory: many peers in one process, with partitions,
// delays, crashes and changed addresses. It starts no goroutine. Nothing needs to be
// stopped, but connections that nobody closes keep who waits for them waiting.
package memnet

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"tenks/cluster/transport"
)

// Direction says which way a partition works.
type Direction int

const (
	// BothWays lets nothing pass.
	BothWays Direction = iota
	// OneWay lets nothing pass from the first host to the second; the other way is
	// open. A connection cannot be made in either direction, as with TCP.
	OneWay
)

// Network joins hosts. It is safe for concurrent use, also inside a testing/synctest
// bubble.
//
// Streams behave like TCP: what is sent into a partition is kept, in a bounded buffer,
// and arrives after it has healed; so does the news that an end was closed. Datagrams
// are lost.
type Network struct {
	// mu guards all of the network: hosts, links, connections, sockets, and random.
	mu     sync.Mutex
	random *rand.Rand
	hosts  map[string]*host
	links  map[pair]*link
	conns  map[*conn]struct{}
	// changed is raised when a dial that waits may go on.
	changed signal
}

// pair is a direction: from the first to the second.
type pair [2]*host

// link is what happens to bytes in one direction.
type link struct {
	cut   bool
	delay time.Duration
	loss  float64
}

// New returns a network without hosts. The seed decides which datagrams are lost.
func New(seed uint64) *Network {
	return &Network{
		random: rand.New(rand.NewPCG(seed, seed)),
		hosts:  map[string]*host{}, links: map[pair]*link{}, conns: map[*conn]struct{}{},
	}
}

// Host returns the network as the host of this name sees it: it listens at "name:port"
// (or ":port"; port 0 picks one), and what it dials comes from there. Asking again
// returns the same host.
func (n *Network) Host(name string) transport.Net {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host(name)
}

// host returns the host of this name. mu is held, as in all functions here that are
// not exported.
func (n *Network) host(name string) *host {
	h := n.hosts[name]
	if h == nil {
		h = &host{net: n, name: name, listeners: map[string]*listener{}, sockets: map[string]*socket{}, next: firstPort}
		n.hosts[name] = h
	}
	return h
}

func (n *Network) link(from, to *host) *link {
	p := pair{from, to}
	if n.links[p] == nil {
		n.links[p] = &link{}
	}
	return n.links[p]
}

// blocked says whether nothing passes from one host to the other.
func (n *Network) blocked(from, to *host) bool {
	return from != to && (from.isolated || to.isolated || n.link(from, to).cut)
}

// Partition lets nothing pass between a and b, or only nothing from a to b. Established
// connections stall; dials wait for their context to end.
func (n *Network) Partition(a, b string, how Direction) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(n.host(a), n.host(b)).cut = true
	if how == BothWays {
		n.link(n.host(b), n.host(a)).cut = true
	}
}

// Heal ends partitions between a and b, in both directions. A host that is isolated
// stays so.
func (n *Network) Heal(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(n.host(a), n.host(b)).cut = false
	n.link(n.host(b), n.host(a)).cut = false
	n.release()
}

// Isolate parts a host from all others, also those made later, until Rejoin or HealAll.
func (n *Network) Isolate(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.host(name).isolated = true
}

// Rejoin ends Isolate.
func (n *Network) Rejoin(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.host(name).isolated = false
	n.release()
}

// HealAll ends all partitions and isolation. Delays and loss stay.
func (n *Network) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.cut = false
	}
	for _, h := range n.hosts {
		h.isolated = false
	}
	n.release()
}

// SetDelay lets whatever passes between a and b take d, in each direction. What is on
// its way keeps the delay it had.
func (n *Network) SetDelay(a, b string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(n.host(a), n.host(b)).delay = d
	n.link(n.host(b), n.host(a)).delay = d
}

// SetLoss loses this part (0 to 1) of the datagrams between a and b.
func (n *Network) SetLoss(a, b string, part float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(n.host(a), n.host(b)).loss = part
	n.link(n.host(b), n.host(a)).loss = part
}

// Crash closes all connections, listeners and sockets of a host, as the end of a process
// does. The other ends see a reset connection, unless a partition keeps it from them. The
// host can listen and dial again.
func (n *Network) Crash(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.host(name)
	for _, l := range h.listeners {
		l.close()
	}
	for _, s := range h.sockets {
		s.close()
	}
	h.breakConns(n)
}

// Readdress gives a host another name, and so another address. Its listeners and sockets
// are at the new one from then on, its connections break, and nobody is at the old one;
// partitions and delays go with the host. It fails if the new name is taken.
func (n *Network) Readdress(from, to string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[from]
	if h == nil {
		return fmt.Errorf("host %q: unknown", from)
	}
	if n.hosts[to] != nil {
		return fmt.Errorf("host %q: readdress to %q: taken", from, to)
	}
	delete(n.hosts, from)
	n.hosts[to] = h
	h.name = to
	h.breakConns(n)
	n.changed.raise()
	return nil
}

// release lets what was kept go on where it can pass now.
func (n *Network) release() {
	for c := range n.conns {
		from := c.peer.host
		if n.blocked(from, c.host) {
			continue
		}
		for i := range c.in {
			if c.in[i].held {
				c.in[i].held, c.in[i].due = false, n.due(from, c.host)
			}
		}
		c.wake.raise()
		c.peer.wake.raise()
	}
	n.changed.raise()
}

// due is when what is sent now arrives; zero is at once.
func (n *Network) due(from, to *host) time.Time {
	if d := n.link(from, to).delay; d > 0 {
		return time.Now().Add(d)
	}
	return time.Time{}
}

// signal wakes all who wait. Its user holds Network.mu.
type signal struct{ c chan struct{} }

// wait returns a channel that the next raise closes.
func (s *signal) wait() <-chan struct{} {
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) raise() {
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// pause waits until c is closed, or until then, if that is not zero.
func pause(c <-chan struct{}, then time.Time) {
	if then.IsZero() {
		<-c
		return
	}
	timer := time.NewTimer(time.Until(then))
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
	}
}

// past says whether t was set, and is over.
func past(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// sooner is the sooner of those that are set.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
