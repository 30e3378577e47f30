package endpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"tenks/bmc/address"
	"tenks/raftfsm/state"
)

// Addresses gives this host the addresses of BMCs, as address.Host does.
type Addresses interface {
	// Keep makes the host have these, and no others of its own doing. The errors are of
	// single addresses; the last one is of all.
	Keep(ctx context.Context, want []address.Want) (map[netip.Addr]error, error)
}

var errNoAddresses = errors.New("this host gives BMCs no addresses of their own")

// secure is a node's Redfish service at an address of its own.
type secure struct {
	at     state.Endpoint
	cancel context.CancelFunc
}

// held leaves out nodes whose BMCs are this host's no longer: one that has no lease gives up
// those that may be made anew elsewhere, with their addresses.
func (m *Manager) held(nodes []*state.Node) []*state.Node {
	if m.cfg.Lapsed == nil {
		return nodes
	}
	var out []*state.Node
	for _, n := range nodes {
		if n.BMCAddress == "" || !m.cfg.Lapsed(n) {
			out = append(out, n)
		}
	}
	return out
}

// wantAddresses says which addresses the host is to have, and for which nodes, by UUID.
func (m *Manager) wantAddresses(nodes []*state.Node) (want []address.Want, of map[netip.Addr]string, errs map[string]error) {
	of, errs = map[netip.Addr]string{}, map[string]error{}
	for _, n := range nodes {
		if !served(n) || n.BMCAddress == "" {
			continue
		}
		at, err := netip.ParseAddr(n.BMCAddress)
		if err != nil {
			errs[n.UUID] = fmt.Errorf("BMC address: %w", err)
			continue
		}
		w := address.Want{Address: at}
		if m.cfg.Assured != nil {
			w.Wait = m.cfg.Assured(n)
		}
		want, of[at] = append(want, w), n.UUID
	}
	return want, of, errs
}

// keepAddresses makes the host have the addresses of the nodes' BMCs, and closes what is
// at one that it cannot have. The errors are by node UUID; the last one is of all, and
// leaves open what is.
func (m *Manager) keepAddresses(ctx context.Context, nodes []*state.Node) (map[string]error, error) {
	want, of, errs := m.wantAddresses(nodes)
	if m.cfg.Addresses == nil {
		for _, uuid := range of {
			errs[uuid] = errNoAddresses
		}
		return errs, nil
	}
	single, err := m.cfg.Addresses.Keep(ctx, want)
	for at, uuid := range of {
		if single[at] != nil {
			errs[uuid] = single[at]
		}
	}
	left := secured(nodes)
	for uuid := range errs {
		delete(left, uuid)
	}
	m.closeSecure(left)
	m.close(slices.Collect(maps.Keys(errs)))
	for _, uuid := range of {
		_, open := m.secure[uuid]
		if _, listens := m.open[uuid]; err != nil && errs[uuid] == nil && !listens && !open {
			errs[uuid] = err
		}
	}
	return errs, err
}

// secured says which nodes have a Redfish service at an address of their own: all with one,
// whatever Ironic speaks to them.
func secured(nodes []*state.Node) map[string]state.Endpoint {
	out := map[string]state.Endpoint{}
	for _, n := range nodes {
		if served(n) && n.BMCAddress != "" {
			out[n.UUID] = state.Endpoint{Address: n.BMCAddress, Port: state.PortRedfish}
		}
	}
	return out
}

// closeSecure stops the services that are not wanted, or not there.
func (m *Manager) closeSecure(want map[string]state.Endpoint) {
	for uuid, s := range m.secure {
		if want[uuid] == s.at {
			continue
		}
		delete(m.secure, uuid)
		s.cancel() // its listener is closed at once, and what is still answered waited for at the end
	}
}

// openSecure starts a node's service.
func (m *Manager) openSecure(ctx context.Context, uuid string, at state.Endpoint) error {
	if m.cfg.ServeRedfish == nil {
		return errNoAddresses
	}
	where := net.JoinHostPort(at.Address, strconv.Itoa(at.Port))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", where)
	if err != nil {
		return fmt.Errorf("redfish: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.secure[uuid] = secure{at, cancel}
	m.closing.Go(func() {
		if err := m.cfg.ServeRedfish(ctx, uuid, l); err != nil && ctx.Err() == nil {
			m.cfg.Log.WarnContext(ctx, "redfish: a node's own service ended", "node", uuid, "address", where, "err", err)
		}
	})
	return nil
}

// keepSecure starts the services that are wanted and not there; errs has those whose
// address is not here, and gets what fails. Where Ironic speaks IPMI a failure is only
// logged: the port may be taken by the host, with which IPMI has nothing to do.
func (m *Manager) keepSecure(ctx context.Context, nodes []*state.Node, errs map[string]error) {
	want := secured(nodes)
	for _, n := range nodes {
		at, ok := want[n.UUID]
		if _, open := m.secure[n.UUID]; !ok || open || errs[n.UUID] != nil {
			continue
		}
		err := m.openSecure(ctx, n.UUID, at)
		switch {
		case err == nil:
		case n.Machine.IronicDriver == state.ProtocolRedfish:
			errs[n.UUID] = fmt.Errorf("node %s: %w", n.UUID, err)
		default:
			m.cfg.Log.DebugContext(ctx, "redfish: a node's own service is not there", "node", n.Name, "err", err)
		}
	}
}

type contextKey int

const nodeKey contextKey = iota

// ForNode has next know that a request is for a node, whatever its path says.
func ForNode(uuid string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), nodeKey, uuid)))
	})
}
