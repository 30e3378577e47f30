package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a pool of addresses.
const (
	maxRanges    = 100
	maxAddresses = 1 << 17
)

// AddressRange is IP addresses, both ends included, in their canonical form.
type AddressRange struct {
	First, Last string
}

var addressRange = pattern{
	re: regexp.MustCompile(`^[0-9A-Fa-f:.]+(-[0-9A-Fa-f:.]+|/[0-9]{1,3})?$`), most: 100,
	want: "addresses such as 192.0.2.100-192.0.2.199, 192.0.2.128/25 or 192.0.2.100",
}

// addresses are one range, or a list of ranges that have nothing in common.
func addresses() shape[[]AddressRange] {
	one := text(addressRange)
	many := listOf(maxRanges, one)
	read := func(r *reader, n *node) ([]AddressRange, bool) {
		if n.kind != list && n.kind != scalar {
			r.fault(n, "want a range of addresses or a list of them, found %s", n.describe())
			return nil, false
		}
		items := []*node{n}
		if n.kind == list {
			items = n.items
		}
		if len(items) > maxRanges {
			r.fault(n, "%d items: at most %d", len(items), maxRanges)
			return nil, false
		}
		if len(items) == 0 {
			r.fault(n, "want at least one range of addresses")
			return nil, false
		}
		return readRanges(r, n, items)
	}
	return shape[[]AddressRange]{read, schema{"oneOf": []schema{one.schema, many.schema.with(schema{"minItems": 1})}}}
}

func readRanges(r *reader, whole *node, items []*node) ([]AddressRange, bool) {
	var out []AddressRange
	var spans []span
	var lines []int
	total, good := uint64(0), true
	for _, at := range items {
		s, ok := checked(nil, parseSpan, addressRange.want, ": put it in quotes").read(r, at)
		if !ok {
			good = false
			continue
		}
		if i := slices.IndexFunc(spans, s.overlaps); i >= 0 {
			r.fault(at, "%s has addresses of %s in line %d", s, spans[i], lines[i])
			good = false
			continue
		}
		if total += s.size(); total > maxAddresses {
			r.fault(whole, "too many addresses: at most %d", maxAddresses)
			return nil, false
		}
		spans, lines = append(spans, s), append(lines, at.line)
		out = append(out, AddressRange{s.first.String(), s.last.String()})
	}
	return out, good
}

// span is addresses from first to last.
type span struct{ first, last netip.Addr }

func (s span) String() string {
	if s.first == s.last {
		return s.first.String()
	}
	return s.first.String() + "-" + s.last.String()
}

func (s span) overlaps(o span) bool {
	return s.first.BitLen() == o.first.BitLen() && !s.last.Less(o.first) && !o.last.Less(s.first)
}

// size is how many addresses there are; one too many stands for more.
func (s span) size() uint64 {
	a, b := s.first.As16(), s.last.As16()
	if !slices.Equal(a[:8], b[:8]) {
		return maxAddresses + 1
	}
	var n uint64
	for i := 8; i < 16; i++ {
		n = n<<8 + uint64(b[i]) - uint64(a[i])
	}
	if n >= maxAddresses {
		return maxAddresses + 1
	}
	return n + 1
}

// parseSpan reads first-last, a prefix, or one address.
func parseSpan(s string) (span, string) {
	if fault := addressRange.refuse(s); fault != "" {
		return span{}, fault
	}
	if strings.Contains(s, "/") {
		return parsePrefix(s)
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	first, err1 := netip.ParseAddr(from)
	last, err2 := netip.ParseAddr(to)
	switch {
	case err1 != nil || err2 != nil || first.Is4In6() || last.Is4In6():
		return span{}, "want " + addressRange.want + ", found " + quote(s)
	case first.BitLen() != last.BitLen():
		return span{}, "want two IPv4 or two IPv6 addresses, found " + quote(s)
	case last.Less(first):
		return span{}, "ends before it begins: " + quote(s)
	}
	return usable(span{first, last})
}

// parsePrefix returns the addresses of a prefix that hosts may have: not those of the
// network and of its broadcasts, nor IPv6's of all its routers (RFC 4291 §2.6.1).
func parsePrefix(s string) (span, string) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return span{}, "want " + addressRange.want + ", found " + quote(s)
	}
	if p.Masked() != p {
		return span{}, quote(s) + " is an address and the length of its prefix: the prefix is " + p.Masked().String() + ", the address alone " + p.Addr().String()
	}
	free := p.Addr().BitLen() - p.Bits()
	if free > 20 {
		return span{}, quote(s) + " has too many addresses: at most " + strconv.Itoa(maxAddresses)
	}
	out := span{p.Addr(), lastOf(p)}
	if free > 1 {
		out.first = out.first.Next()
		if p.Addr().Is4() {
			out.last = out.last.Prev()
		}
	}
	return usable(out)
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// usable refuses addresses that no host can have on a network, where they begin or end.
func usable(s span) (span, string) {
	for _, a := range []netip.Addr{s.first, s.last} {
		if !a.IsGlobalUnicast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return span{}, quote(a.String()) + " cannot be the address of a BMC"
		}
	}
	return s, ""
}
