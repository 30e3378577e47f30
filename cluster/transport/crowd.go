package transport

import (
	"net"
	"slices"
	"sync"
)

// crowd bounds the callers in their handshake. When it is full, the caller that waits
// longest of the host with the most of them makes room: who floods the port pushes out
// itself, and a caller that gets through its handshake in milliseconds is not the one.
type crowd struct {
	limit int

	// mu guards what follows.
	mu     sync.Mutex
	size   int
	byHost map[string][]*guest // who came first is first; no empty ones
	count  uint64
}

// guest is a caller in its handshake.
type guest struct {
	host  string
	conn  net.Conn
	place uint64 // in the order of coming
	out   bool   // guarded by crowd.mu
}

func newCrowd(limit int) *crowd { return &crowd{limit: limit, byHost: map[string][]*guest{}} }

// enter adds a caller; the one that makes room for it is closed.
func (c *crowd) enter(host string, conn net.Conn) *guest {
	c.mu.Lock()
	var out *guest
	if c.size >= c.limit {
		out = c.longest()
		out.out = true
		c.remove(out)
	}
	c.count++
	g := &guest{host: host, conn: conn, place: c.count}
	c.byHost[host] = append(c.byHost[host], g)
	c.size++
	c.mu.Unlock()
	if out != nil {
		shut(out.conn) // its handshake fails
	}
	return g
}

// longest returns who makes room. mu is held.
func (c *crowd) longest() *guest {
	var most []*guest
	for _, guests := range c.byHost {
		if len(guests) > len(most) || len(guests) == len(most) && guests[0].place < most[0].place {
			most = guests
		}
	}
	return most[0]
}

// leave removes a caller, whether or not it was made to leave.
func (c *crowd) leave(g *guest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !g.out {
		c.remove(g)
	}
}

func (c *crowd) remove(g *guest) {
	guests := c.byHost[g.host]
	if i := slices.Index(guests, g); i >= 0 {
		guests = slices.Delete(guests, i, i+1)
		c.size--
	}
	if len(guests) == 0 {
		delete(c.byHost, g.host)
		return
	}
	c.byHost[g.host] = guests
}

// evicted says whether g made room for another.
func (c *crowd) evicted(g *guest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return g.out
}

// pending is how many callers are in their handshake.
func (c *crowd) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// hostOf is an address without its port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
