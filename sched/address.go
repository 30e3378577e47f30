package sched

import (
	"fmt"
	"net/netip"

	"tenks/raftfsm/state"
)

// addresses are those that BMCs have, or cannot have, in one call of Place.
type addresses struct {
	// used are nodes' own; closed are hosts', and those that mean all hosts of a network.
	used, closed map[netip.Addr]bool
	// free are the pools' addresses that may still be given, by where they are.
	free map[string]*stretch
}

func newAddresses(snap *state.Snapshot) *addresses {
	a := &addresses{used: map[netip.Addr]bool{}, closed: snap.ClosedAddresses(), free: map[string]*stretch{}}
	for _, n := range snap.Nodes() {
		if address, err := netip.ParseAddr(n.BMCAddress); err == nil {
			a.used[address] = true
		}
	}
	return a
}

// stretch is the addresses of a pool that are in some networks, from the one on that may
// be free. Addresses are only ever taken within one call of Place.
type stretch struct {
	spans []state.AddressSpan
	// at is the span, and next the address in it, that is looked at next; invalid: its first.
	at   int
	next netip.Addr
	// all and used are what count has found, once nothing is free.
	all, used int
}

// within returns what of the class's pool is in the networks of a host. Hosts that are in
// the same ones share it.
func (c *class) within(h *host) *stretch {
	s, known := c.stretches[h]
	if !known {
		s = h.addresses.within(c.pool, h)
		c.stretches[h] = s
	}
	return s
}

func (a *addresses) within(pool state.AddressPool, h *host) *stretch {
	spans := pool.In(h.prefixes)
	name := fmt.Sprint(spans)
	s, known := a.free[name]
	if !known {
		s = &stretch{spans: spans}
		a.free[name] = s
	}
	return s
}

// lowest returns the first free address of a stretch; false: there is none.
func (a *addresses) lowest(s *stretch) (netip.Addr, bool) {
	for ; s.at < len(s.spans); s.at, s.next = s.at+1, (netip.Addr{}) {
		in := s.spans[s.at]
		if !s.next.IsValid() {
			s.next = in.First
		}
		for ; s.next.IsValid() && !in.Last.Less(s.next); s.next = s.next.Next() {
			if !a.used[s.next] && !a.closed[s.next] {
				return s.next, true
			}
		}
	}
	return netip.Addr{}, false
}

// count says how many addresses a stretch has without a free one, and how many of them
// are nodes'.
func (a *addresses) count(s *stretch) (all, used int) {
	if s.all > 0 {
		return s.all, s.used
	}
	seen := map[netip.Addr]bool{}
	for _, in := range s.spans {
		for at := in.First; at.IsValid() && !in.Last.Less(at); at = at.Next() {
			if seen[at] {
				continue
			}
			seen[at] = true
			all++
			if a.used[at] {
				used++
			}
		}
	}
	s.all, s.used = all, used
	return all, used
}

// byAddress refuses hosts outside of the network of a node's BMC, and those in whose
// networks its pool has no address left.
func byAddress(h *host, c *class) string {
	if c.address != "" {
		if h.serves(c.address) {
			return ""
		}
		return "no link in the BMC network of " + c.address
	}
	s := c.within(h)
	if len(s.spans) == 0 {
		return "no link in the BMC network of " + c.pool.String()
	}
	if _, ok := h.addresses.lowest(s); ok {
		return ""
	}
	all, used := h.addresses.count(s)
	why := fmt.Sprintf("no address of %s is free: %d of %d are nodes'", c.pool, used, all)
	if used < all {
		why += fmt.Sprintf(", %d are hosts' or the network's", all-used)
	}
	return why
}

// serves reports whether a host is in an address's network.
func (h *host) serves(address string) bool {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, p := range h.prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// takeAddress gives a node of the class its address on a host that can take it.
func (h *host) takeAddress(c *class) string {
	if c.address != "" {
		return c.address
	}
	address, ok := h.addresses.lowest(c.within(h))
	if !ok {
		return ""
	}
	h.addresses.used[address] = true
	return address.String()
}
