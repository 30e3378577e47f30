package state

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The standard ports of BMCs: IPMI v2.0 §13.1.2, and HTTPS (DSP0266 §6.2).
const (
	PortIPMI    = 623
	PortRedfish = 443
)

// AddressRange is IP addresses of one family, both ends included, as netip.Addr prints
// them.
type AddressRange struct{ First, Last string }

// AddressPool is what the BMCs of a cluster's nodes get their addresses from.
type AddressPool []AddressRange

// String is the pool as people write it.
func (p AddressPool) String() string {
	parts := make([]string, len(p))
	for i, r := range p {
		parts[i] = r.First
		if r.Last != r.First {
			parts[i] += "-" + r.Last
		}
	}
	return strings.Join(parts, ", ")
}

// Equal reports whether both are the same ranges in the same order.
func (p AddressPool) Equal(o AddressPool) bool { return slices.Equal(p, o) }

// Contains reports whether an address is of the pool. What is no address is of none.
func (p AddressPool) Contains(address string) bool {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(p, func(r AddressRange) bool {
		first, last, ok := r.Ends()
		return ok && first.BitLen() == a.BitLen() && !a.Less(first) && !last.Less(a)
	})
}

// Ends returns the first and the last address; false: they are no range.
func (r AddressRange) Ends() (first, last netip.Addr, ok bool) {
	first, err1 := netip.ParseAddr(r.First)
	last, err2 := netip.ParseAddr(r.Last)
	return first, last, err1 == nil && err2 == nil && first.BitLen() == last.BitLen() && !last.Less(first)
}

// bmcAddress indexes nodes by the address of their BMC, where that is their own.
func bmcAddress(n *Node) []byte {
	if n.BMCAddress == "" {
		return nil
	}
	return key(n.BMCAddress)
}

// checkAddress refuses an address that no BMC can have, or that somebody has.
func (t *tx) checkAddress(uuid, address string) error {
	if address == "" {
		return nil
	}
	if a, err := netip.ParseAddr(address); err != nil || a.String() != address {
		return fmt.Errorf("BMC address %q: not usable", address)
	}
	if other, taken := first[*Node](t.Txn, tableNodes, "bmcaddress", address); taken && other.UUID != uuid {
		return fmt.Errorf("BMC address %s is node %s's: %w", address, other.Name, ErrConflict)
	}
	return nil
}

// giveAddress gives a node an address of its pool; false: it cannot have that one. A node
// keeps the address that it has.
func (t *tx) giveAddress(n *Node, address string, hosts map[string]bool) bool {
	if n.BMCAddress != "" || !n.BMCPool.Contains(address) || t.checkAddress(n.UUID, address) != nil || hosts[address] {
		return false
	}
	n.BMCAddress = address
	return true
}

// hostAddresses are those of peers and hypervisors, where placements give any address.
func (t *tx) hostAddresses(placements []NodePlacement) map[string]bool {
	if !slices.ContainsFunc(placements, func(p NodePlacement) bool { return p.BMCAddress != "" }) {
		return nil
	}
	out := map[string]bool{}
	for _, p := range all[*Peer](t.Txn, tablePeers, "id") {
		if !p.Removed {
			out[hostOf(p.Address)] = true
		}
	}
	for _, h := range all[*Hypervisor](t.Txn, tableHypervisors, "id") {
		for _, address := range h.Addresses() {
			out[address] = true
		}
	}
	return out
}

// hostOf is the IP address of one with a port.
func hostOf(address string) string {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return at.Addr().String()
	}
	return address
}

// Addresses are a hypervisor's own, as far as it told: those of its networks, where other
// peers reach it, and where its BMCs listen.
func (h *Hypervisor) Addresses() []string {
	out := []string{h.Address, h.BMC.Address}
	for _, text := range h.Networks {
		if p, err := netip.ParsePrefix(text); err == nil && p.Addr() != p.Masked().Addr() {
			out = append(out, p.Addr().String())
		}
	}
	return out
}

// Prefixes are the networks that a hypervisor can serve BMC addresses in.
func (h *Hypervisor) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, text := range h.Networks {
		if p, err := netip.ParsePrefix(text); err == nil && !slices.Contains(out, p.Masked()) {
			out = append(out, p.Masked())
		}
	}
	return out
}

// Serves reports whether a hypervisor is in the network of a BMC's address.
func (h *Hypervisor) Serves(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(h.Prefixes(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// PeerAddresses are those of the peers that are there, without ports.
func (s *Snapshot) PeerAddresses() []string {
	var out []string
	for _, p := range s.Peers() {
		if !p.Removed {
			out = append(out, hostOf(p.Address))
		}
	}
	return out
}

// ClosedAddresses are those that no BMC can have: of peers and hypervisors, and of whole
// networks of hypervisors.
func (s *Snapshot) ClosedAddresses() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	texts := s.PeerAddresses()
	for _, h := range s.Hypervisors() {
		texts = append(texts, h.Addresses()...)
		for _, p := range h.Prefixes() {
			if p.Addr().BitLen()-p.Bits() < 2 { // RFC 3021, RFC 6164: both are hosts'
				continue
			}
			out[p.Addr()] = true // IPv6's is that of all routers (RFC 4291 §2.6.1)
			if p.Addr().Is4() {
				out[lastOf(p)] = true
			}
		}
	}
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil {
			out[address] = true
		}
	}
	return out
}

// AddressSpan is addresses of one family, both ends included.
type AddressSpan struct{ First, Last netip.Addr }

// In returns what of a pool is in some networks, in the pool's order. Networks that have
// addresses in common make them come twice.
func (p AddressPool) In(networks []netip.Prefix) []AddressSpan {
	var out []AddressSpan
	for _, r := range p {
		first, last, ok := r.Ends()
		for _, n := range networks {
			if s, both := (AddressSpan{first, last}).in(n); ok && both {
				out = append(out, s)
			}
		}
	}
	return out
}

func (s AddressSpan) in(p netip.Prefix) (AddressSpan, bool) {
	if s.First.BitLen() != p.Addr().BitLen() {
		return AddressSpan{}, false
	}
	if s.First.Less(p.Addr()) {
		s.First = p.Addr()
	}
	if end := lastOf(p); end.Less(s.Last) {
		s.Last = end
	}
	return s, !s.Last.Less(s.First)
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
