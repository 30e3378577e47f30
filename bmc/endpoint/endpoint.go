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
	Log    *slog.Logger
}

// Manager holds the listeners. Do and Close are called by one goroutine at a time;
// Err is safe for concurrent use with them.
type Manager struct {
	cfg  Config
	open map[string]listener // by node UUID

	faults  faults
	redfish redfish
	about   atomic.Pointer[map[string]about] // by node UUID

	// mu guards errs.
	mu   sync.Mutex
	errs map[string]error
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
	return &Manager{cfg: cfg, open: map[string]listener{}}
}

// wanted says which listeners belong to the nodes placed on a hypervisor. A node
// that is being removed keeps its BMC until Ironic, which powers off through it, has
// let go.
func wanted(nodes []*state.Node) map[string]want {
	out := map[string]want{}
	for _, n := range nodes {
		gone := n.Host.Phase == state.HostGone || n.Removing && n.IronicDone()
		if n.Placement != nil && n.Machine.IronicDriver == "ipmi" && !gone {
			out[n.UUID] = want{n.Placement.BMC, n.BMC}
		}
	}
	return out
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
	want := wanted(nodes)
	m.describe(nodes)
	m.faults.update(snap, m.cfg.Hypervisor, time.Now())
	m.keepRedfish(nodes)
	// Close first: a new listener may take the port of one that goes.
	m.close(stale(m.open, want))
	// A BMC that resets forgets its sessions; that it hears nothing is up to the faults.
	m.close(m.faults.resets(fault.IPMI, time.Now()))
	errs := map[string]error{}
	for _, uuid := range slices.Sorted(maps.Keys(want)) {
		if l, ok := m.open[uuid]; ok {
			l.events.attach()
			continue
		}
		if err := m.listen(ctx, uuid, want[uuid]); err != nil {
			errs[uuid] = err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errs = errs
	return summary(errs)
}

func (m *Manager) listen(ctx context.Context, uuid string, w want) error {
	addr := net.JoinHostPort(w.endpoint.Address, strconv.Itoa(w.endpoint.Port))
	chassis := newLookUp(uuid, m.cfg.Chassis)
	power := &faulty{Chassis: chassis, protocol: fault.IPMI, uuid: uuid, ask: m.faults.ask, log: m.cfg.Log}
	server, err := ipmi.Listen(ctx, addr, ipmi.Config{
		Chassis: power, UUID: uuid, Account: w.account, Log: m.cfg.Log, Observe: m.observe(uuid, w.account), Fault: m.faults.ask,
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

// Err returns why the last Do could not open a node's BMC, or nil.
func (m *Manager) Err(uuid string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.errs[uuid]
}

// Close closes every listener and returns once their goroutines have ended.
func (m *Manager) Close() {
	m.keepRedfish(nil)
	m.close(slices.Collect(maps.Keys(m.open)))
}

// close closes listeners side by side, because each waits for the commands it runs.
func (m *Manager) close(uuids []string) {
	var wg sync.WaitGroup
	for _, uuid := range uuids {
		l, ok := m.open[uuid]
		if !ok {
			continue
		}
		delete(m.open, uuid)
		wg.Go(func() {
			defer l.power.close()
			if err := l.server.Close(); err != nil {
				m.cfg.Log.Warn("bmc: close failed", "node", uuid, "err", err)
			}
		})
	}
	wg.Wait()
}
