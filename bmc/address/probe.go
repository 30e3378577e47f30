package address

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A probe is RFC 5227's, in a shorter time: whoever has the address answers within
// milliseconds or is not there, and a node waits for it.
const (
	probes     = 3
	probeEvery = 80 * time.Millisecond
	// probeTime is how long answers are waited for, from the first question on.
	probeTime = 270 * time.Millisecond
)

// asker is a socket to ask and tell the network of one device by one family's protocol.
type asker interface {
	ask(a netip.Addr) error
	tell(a netip.Addr) error
	// answer waits for who says that he has an address; an error: the deadline, or the
	// socket's.
	answer() (netip.Addr, net.HardwareAddr, error)
	// until sets when answer ends.
	until(time.Time) error
	close()
}

// group is what is asked for on one device by one family's protocol.
type group struct {
	device device
	v4     bool
	socket asker
	all    []netip.Addr
	err    error
}

// groups sorts additions by device and family, and opens their sockets. Devices on which
// nobody can be asked are left out.
func groups(ctx context.Context, all []addition) []*group {
	var out []*group
	for _, a := range all {
		if a.device.quiet || a.device.mac == nil {
			continue
		}
		i := slices.IndexFunc(out, func(g *group) bool { return g.device.index == a.device.index && g.v4 == a.address.Is4() })
		if i < 0 {
			g := &group{device: a.device, v4: a.address.Is4()}
			g.socket, g.err = openAsker(ctx, g.device, g.v4)
			i, out = len(out), append(out, g)
		}
		out[i].all = append(out[i].all, a.address)
	}
	return out
}

func openAsker(ctx context.Context, d device, v4 bool) (asker, error) {
	if v4 {
		return openARP(d)
	}
	return openNDP(ctx, d)
}

// probe implements kernel. Sockets are opened by the caller's thread, for its namespace.
func (*linux) probe(ctx context.Context, all []addition, own []device) map[netip.Addr]error {
	gs := groups(ctx, all)
	var asked sync.WaitGroup
	found := make([]map[netip.Addr]error, len(gs))
	for i, g := range gs {
		if g.err != nil {
			continue
		}
		asked.Go(func() { found[i], g.err = g.probe(ctx, own) })
	}
	asked.Wait()
	out := map[netip.Addr]error{}
	for i, g := range gs {
		for _, a := range g.all {
			switch {
			case found[i][a] != nil:
				out[a] = found[i][a]
			case g.err != nil:
				out[a] = fmt.Errorf("%s: ask on %s who has it: %w", a, g.device.name, g.err)
			}
		}
		if g.socket != nil {
			g.socket.close()
		}
	}
	return out
}

// probe asks three times, and listens all the while.
func (g *group) probe(ctx context.Context, own []device) (map[netip.Addr]error, error) {
	end := time.Now().Add(probeTime)
	if err := g.socket.until(end); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = g.socket.until(time.Now()) })()
	var asking sync.WaitGroup
	var failed error
	asking.Go(func() { failed = g.ask(ctx) })
	taken := map[netip.Addr]error{}
	var err error
	for {
		var a netip.Addr
		var mac net.HardwareAddr
		if a, mac, err = g.socket.answer(); err != nil {
			break
		}
		if slices.Contains(g.all, a) && !ofHost(mac, own) {
			taken[a] = fmt.Errorf("%s is in use by %s", a, orUnknown(mac))
		}
	}
	asking.Wait()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = nil
	}
	return taken, errors.Join(failed, err)
}

func (g *group) ask(ctx context.Context) error {
	timer := time.NewTicker(probeEvery)
	defer timer.Stop()
	for i := range probes {
		for _, a := range g.all {
			if err := g.socket.ask(a); err != nil {
				return err
			}
		}
		if i == probes-1 {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
	return nil
}

func ofHost(mac net.HardwareAddr, own []device) bool {
	return slices.ContainsFunc(own, func(d device) bool { return mac != nil && slices.Equal(d.mac, mac) })
}

func orUnknown(mac net.HardwareAddr) string {
	if mac == nil {
		return "another host"
	}
	return mac.String()
}

// announce implements kernel.
func (*linux) announce(ctx context.Context, all []addition) (again func(), err error) {
	gs := groups(ctx, all)
	tell := func() error {
		var errs []error
		for _, g := range gs {
			if g.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", g.device.name, g.err))
				continue
			}
			for _, a := range g.all {
				if err := g.socket.tell(a); err != nil {
					errs = append(errs, fmt.Errorf("%s on %s: %w", a, g.device.name, err))
				}
			}
		}
		return errors.Join(errs...)
	}
	return func() {
		_ = tell() // the first one is what matters
		for _, g := range gs {
			if g.socket != nil {
				g.socket.close()
			}
		}
	}, tell()
}
