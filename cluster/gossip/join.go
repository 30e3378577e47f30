package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// How many peers are asked: at first, in each later round of Join, and by the rejoin
// loop, which asks one at least.
const firstSeeds, moreSeeds, maxRejoin = 3, 5, 3

// maxAddresses is how many addresses of one name are tried.
const maxAddresses = 2

// Join exchanges everything with some of addresses (host:port, or a host with this
// peer's own port), in random order: with three of them, and only if none answers with
// further ones, five at a time. It returns how many answered, and an error if that is
// none, among them ErrKey. It may be repeated. After ctx ended, what is under way
// ends within Timing.Stream or at Close.
func (g *Gossip) Join(ctx context.Context, addresses []string) (int, error) {
	rest := g.others(addresses)
	if len(rest) == 0 {
		return 0, errors.New("gossip: join: no address of another peer")
	}
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	var errs []error
	for n := firstSeeds; len(rest) > 0; n = moreSeeds {
		batch := rest[:min(n, len(rest))]
		rest = rest[len(batch):]
		reached, err := g.joinAll(ctx, batch)
		if reached > 0 {
			return reached, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return 0, fmt.Errorf("gossip: join: none of %d peers answers: %w", len(addresses), errors.Join(errs...))
}

// others leaves out this peer's own address and what comes twice.
func (g *Gossip) others(addresses []string) []string {
	seen := map[string]bool{"": true, g.Addr(): true}
	var out []string
	for _, a := range addresses {
		if a = strings.TrimSpace(a); !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}

// joinAll asks all of addresses at once.
func (g *Gossip) joinAll(ctx context.Context, addresses []string) (reached int, err error) {
	results := make(chan error, len(addresses)) // nobody may read them any more
	for _, a := range addresses {
		if !g.start(func() { results <- g.joinOne(ctx, a) }) {
			return 0, ErrClosed
		}
	}
	var errs []error
	for range addresses {
		select {
		case err := <-results:
			if err == nil {
				reached++
			}
			errs = append(errs, err)
		case <-ctx.Done():
			return reached, errors.Join(append(errs, ctx.Err())...)
		}
	}
	return reached, errors.Join(errs...)
}

// joinOne exchanges everything with the peer at an address.
func (g *Gossip) joinOne(ctx context.Context, address string) error {
	places, err := resolve(ctx, address, g.transport.advertise.Port())
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	var errs []error
	for _, p := range places[:min(len(places), maxAddresses)] {
		// memberlist wants to be told who is there. It only logs that: nobody knows yet.
		_, err := g.list.Join([]string{"seed/" + p.String()})
		switch {
		case err == nil:
			return nil
		case strings.Contains(err.Error(), noKeyFits):
			err = ErrKey
		default:
			err = errors.New(strings.Join(strings.Fields(err.Error()), " ")) // it comes as a list
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, err))
	}
	return errors.Join(errs...)
}

// resolve returns what an address stands for, IPv4 first.
func resolve(ctx context.Context, address string, port uint16) ([]netip.AddrPort, error) {
	host := address
	if h, p, err := net.SplitHostPort(address); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port %q: not a number", p)
		}
		host, port = h, uint16(n)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", strings.Trim(host, "[]"))
	if err != nil {
		return nil, err
	}
	var four, six []netip.AddrPort
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			four = append(four, netip.AddrPortFrom(ip, port))
			continue
		}
		six = append(six, netip.AddrPortFrom(ip, port))
	}
	return append(four, six...), nil
}

// rejoinLoop tries peers that should be there and are not. Each half of a mesh that was
// parted for long thinks the other dead, and memberlist forgets the dead: without this
// it would never be one again.
func (g *Gossip) rejoinLoop() {
	for {
		// Not all of them at the same time.
		wait := g.config.Timing.Rejoin/2 + rand.N(g.config.Timing.Rejoin)
		select {
		case <-g.run.Done():
			return
		case <-time.After(wait):
		}
		if missing := g.missing(); len(missing) > 0 && !g.published.edition().Leaving {
			g.rejoin(missing)
		}
	}
}

// missing are the addresses of peers that are known and not there.
func (g *Gossip) missing() []string {
	alive, dead := g.table.addresses()
	var known []string
	if g.config.Known != nil {
		known = g.config.Known()
	}
	for address, id := range dead {
		if g.config.Allowed == nil || g.config.Allowed(id) {
			known = append(known, address)
		}
	}
	var out []string
	for _, a := range g.others(known) {
		if _, ok := alive[a]; !ok {
			out = append(out, a)
		}
	}
	return out
}

// rejoin tries some of missing. Two that think each other dead each have to hear so
// before they can say otherwise: hence the second exchange.
func (g *Gossip) rejoin(missing []string) {
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	for _, a := range missing[:min(len(missing), 1+rand.N(maxRejoin))] {
		if err := g.joinOne(g.run, a); err != nil {
			g.log.Debug("a peer that should be there does not answer", "address", a, "err", err)
			continue
		}
		if alive, _ := g.table.addresses(); alive[a] == "" {
			_ = g.joinOne(g.run, a) // the next round tries again
		}
	}
}
