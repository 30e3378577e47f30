// Package endpoint keeps the BMC listeners of the nodes placed on this hypervisor:
// a Manager opens, replaces and closes them so that they match a snapshot. It
// starts nothing itself but what the protocol servers start; Manager.Close stops
// every listener and waits.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tenks/bmc"
	"tenks/bmc/fault"
	"tenks/bmc/ipmi"
	"tenks/bmc/record"
	"tenks/raftfsm/state"
)

// Config says which nodes a Manager cares for.
type Config struct {
	// Hypervisor is this peer's ID.
	Hypervisor string
	// Chassis returns a node's chassis, if there is one by now. It is asked for every
	// request, never waits, and is safe for concurrent use.
	Chassis func(uuid string) (bmc.Chassis, bool)
	// Record is told of every request that was answered. Optional; it does not wait, and is
	// safe for concurrent use.
	Record func(record.Call)
	// Addresses gives the host the addresses that nodes' BMCs have of their own; nil: none.
	Addresses Addresses
	// Lapsed says that this host must not have a node's address any longer, for want of a
	// lease; Assured says why it must not take it yet, or nil. Optional.
	Lapsed  func(n *state.Node) bool
	Assured func(n *state.Node) error
	// ServeRedfish answers for one node alone on a listener at its own address, until ctx
	// ends; it closes the listener. Nil: there is no such service.
	ServeRedfish func(ctx context.Context, uuid string, l net.Listener) error
	Log          *slog.Logger
}

// Manager holds the listeners. Do and Close are called by one goroutine at a time;
// Err is safe for concurrent use with them.
type Manager struct {
	cfg  Config
	open map[string]listener // by node UUID
	// secure are the Redfish services at addresses of nodes' own, by node UUID.
	secure map[string]secure
	// closing are servers that listen no more and whose last commands still run.
	closing sync.WaitGroup

	// ending are those of them by node: the next BMC of a node waits for its last one.
	ending map[string]chan struct{}

	faults  faults
	redfish redfish
	about   atomic.Pointer[map[string]about] // by node UUID

	// mu guards what Err answers from: who listens, and why somebody does not.
	mu     sync.Mutex
	listen map[string]state.Endpoint
	errs   map[string]error
}

// listener is a BMC that is open, and what it was opened for.
type listener struct {
	want   want
	server *ipmi.Server
	power  *faulty
	events *late
}

// want is a BMC as it should be. It is comparable.
type want struct {
	endpoint state.Endpoint
	account  state.Account
}

// New returns a Manager without listeners.
func New(cfg Config) *Manager {
	return &Manager{cfg: cfg, open: map[string]listener{}, secure: map[string]secure{}, ending: map[string]chan struct{}{}}
}

// wanted says which listeners belong to the nodes placed on a hypervisor. A node
// that is being removed keeps its BMC until Ironic, which powers off through it, has
// let go.
func wanted(nodes []*state.Node) map[string]want {
	out := map[string]want{}
	for _, n := range nodes {
		if !served(n) || n.Machine.IronicDriver != "ipmi" {
			continue
		}
		at, own := n.OwnEndpoint()
		if !own {
			at = n.Placement.BMC
		}
		out[n.UUID] = want{at, n.BMC}
	}
	return out
}

// served says that a node has a BMC.
func served(n *state.Node) bool {
	gone := n.Host.Phase == state.HostGone || n.Removing && n.IronicDone()
	return n.Placement != nil && !gone
}

// stale returns the listeners that must go: not wanted, or wanted otherwise.
func stale(open map[string]listener, want map[string]want) []string {
	var out []string
	for uuid, l := range open {
		if w, ok := want[uuid]; !ok || w != l.want {
			out = append(out, uuid)
		}
	}
	return out
}

// Do makes the listeners match the snapshot; it may be repeated at any time. A
// listener that cannot be opened does not keep the others from being opened: the
// error names it, and so does Err until a later call succeeds.
func (m *Manager) Do(ctx context.Context, snap *state.Snapshot) error {
	nodes := snap.NodesOn(m.cfg.Hypervisor)
	m.describe(nodes)
	m.faults.update(snap, m.cfg.Hypervisor, time.Now())
	m.keepRedfish(nodes)
	nodes = m.held(nodes)
	want := wanted(nodes)
	for uuid, done := range m.ending {
		select {
		case <-done:
			delete(m.ending, uuid)
		default:
		}
	}
	// Close first: a new listener may take the port of one that goes.
	m.close(stale(m.open, want))
	// A BMC that resets forgets its sessions; that it hears nothing is up to the faults.
	m.close(m.faults.resets(fault.IPMI, time.Now()))
	m.closeSecure(secured(nodes))
	errs, failed := m.keepAddresses(ctx, nodes)
	for _, uuid := range slices.Sorted(maps.Keys(want)) {
		if l, ok := m.open[uuid]; ok {
			l.events.attach()
			continue
		}
		if errs[uuid] != nil {
			continue
		}
		if err := m.start(ctx, uuid, want[uuid]); err != nil {
			errs[uuid] = err
		}
	}
	m.keepSecure(ctx, nodes, errs)
	listening := make(map[string]state.Endpoint, len(m.open)+len(m.secure))
	for uuid, s := range m.secure {
		listening[uuid] = s.at
	}
	for uuid, l := range m.open { // where Ironic speaks IPMI, that is what counts
		listening[uuid] = l.want.endpoint
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errs, m.listen = errs, listening
	return errors.Join(failed, summary(errs))
}

// endTime is how long a node's next BMC waits for the last commands of the one before.
const endTime = 200 * time.Millisecond

// ended returns an error while the last BMC of a node still runs commands: both would keep
// what the node remembers.
func (m *Manager) ended(ctx context.Context, uuid string) error {
	done, ok := m.ending[uuid]
	if !ok {
		return nil
	}
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-done:
		delete(m.ending, uuid)
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	return fmt.Errorf("node %s: a command of its BMC before this one still runs: %w", uuid, state.ErrBusy)
}

func (m *Manager) start(ctx context.Context, uuid string, w want) error {
	if err := m.ended(ctx, uuid); err != nil {
		return err
	}
	addr := net.JoinHostPort(w.endpoint.Address, strconv.Itoa(w.endpoint.Port))
	chassis := newLookUp(uuid, m.cfg.Chassis)
	power := &faulty{Chassis: chassis, protocol: fault.IPMI, uuid: uuid, ask: m.faults.ask, log: m.cfg.Log}
	server, err := ipmi.Listen(ctx, addr, ipmi.Config{
		Chassis: power, UUID: uuid, Account: w.account, BMCKey: w.account.Key, V15: w.account.IPMI15, Log: m.cfg.Log, Observe: m.observe(uuid, w.account), Fault: m.faults.ask,
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", uuid, err)
	}
	m.open[uuid] = listener{w, server, power, chassis.events}
	return nil
}

// summary is one error for all, in the order of UUIDs; it names the first few.
func summary(errs map[string]error) error {
	const named = 3
	uuids := slices.Sorted(maps.Keys(errs))
	var list []error
	for _, uuid := range uuids[:min(named, len(uuids))] {
		list = append(list, errs[uuid])
	}
	if more := len(uuids) - named; more > 0 {
		list = append(list, fmt.Errorf("and %d more BMCs", more))
	}
	return errors.Join(list...)
}

// ErrNotOpen says that a node's BMC is not open yet.
var ErrNotOpen = errors.New("its BMC is not open yet")

// Err returns why a node's BMC does not listen where it should, or nil. A node of a
// protocol that is not served here, or only by the mesh's Redfish service, has none.
func (m *Manager) Err(n *state.Node) error {
	w := wanted([]*state.Node{n})[n.UUID]
	if own, ok := n.OwnEndpoint(); ok && served(n) {
		w.endpoint = own
	}
	if w.endpoint == (state.Endpoint{}) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.errs[n.UUID]; err != nil {
		return err
	}
	if at, open := m.listen[n.UUID]; !open || at != w.endpoint {
		return ErrNotOpen
	}
	return nil
}

// Close closes every listener and returns once their goroutines have ended.
func (m *Manager) Close() {
	m.keepRedfish(nil)
	m.closeSecure(nil)
	m.close(slices.Collect(maps.Keys(m.open)))
	m.closing.Wait()
}

// close makes listeners stop listening. It does not wait for the commands that they
// run: nobody's port is kept by those.
func (m *Manager) close(uuids []string) {
	for _, uuid := range uuids {
		l, ok := m.open[uuid]
		if !ok {
			continue
		}
		delete(m.open, uuid)
		if err := l.server.Stop(); err != nil {
			m.cfg.Log.Warn("bmc: close failed", "node", uuid, "err", err)
		}
		done := make(chan struct{})
		m.ending[uuid] = done
		m.closing.Go(func() {
			defer close(done)
			l.server.Wait()
			l.power.close()
		})
	}
}
