// Package daemon wires every part of an agent and runs them: it is the only big
// constructor. Run opens what the agent consists of from the bottom up, waits, and
// closes it in the opposite order; when it returns, nothing that it started runs
// any longer.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"tenks/bmc/address"
	"tenks/bmc/endpoint"
	"tenks/bmc/record"
	"tenks/cluster"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/service"
	"tenks/config"
	"tenks/hostops"
	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/hostops/ovs"
	"tenks/ironic"
	"tenks/ironic/flavor"
	"tenks/raftfsm"
	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

// Options of an agent.
type Options struct {
	Config  config.Agent
	Version string
	// LibvirtDriver returns the path of the libvirt driver's program.
	LibvirtDriver func(dataDir string) (string, error)
	// Notify tells systemd how the agent is; its zero value tells nobody.
	Notify service.Notifier
	// SetGCPercent is debug.SetGCPercent where the process is the agent's own; nil: it is not
	// changed.
	SetGCPercent func(percent int) (previous int)
	Log          *slog.Logger

	// older has tests run a peer that says that it is from before there were levels.
	older bool
}

// agent holds the parts, in the order in which they are opened.
type agent struct {
	opt     Options
	paths   Paths
	log     *slog.Logger
	mesh    *cluster.Mesh
	fsm     *raftfsm.FSM
	replica *raftfsm.Replica
	newest  *newest
	// source is newest.
	source  reconcile.Source
	drivers []*managedDriver
	links   *link.Host
	// switches is the host's Open vSwitch, if it has one.
	switches *ovs.Host
	host     *hostops.Host
	views    *views
	// peerHTTP reaches the API of other peers.
	peerHTTP *http.Transport
	bmcs     *endpoint.Manager
	// addresses are those of BMCs on this host, and lapses wakes who keeps them.
	addresses *address.Host
	lapses    chan struct{}
	redfish   *meshRedfish
	pdus      *meshPDU
	// recorder counts requests to BMCs, and notes those of audited nodes.
	recorder *record.Recorder
	ironic   *ironic.Enroller
	flavors  *flavor.Keeper
	metrics  *metrics
	// outgoing hands out the files of nodes that move away.
	outgoing *outgoing
	// pulse is that of the loop of BMCs.
	pulse pulse
	// bootstrap is how hosts get Tenks from this peer.
	bootstrap bootstrap
	// driversOpened is when the drivers began to start.
	driversOpened time.Time
	// fed is closed once another peer told this one its part of the state.
	fed     chan struct{}
	fedOnce sync.Once
	// toldOf is the newest state that a peer which answered for this one told of.
	toldOf atomic.Pointer[api.Seen]
	// published says that the mesh knows what this host offers.
	published atomic.Bool
	// proposed is what the log last took of publish, and when. They belong to publish.
	proposed   state.Hypervisor
	proposedAt time.Time
}

// runOnce runs the agent until ctx ends, or the mesh goes on in another generation.
func runOnce(ctx context.Context, opt Options) (err error) {
	a := &agent{opt: opt, paths: PathsOf(opt.Config.DataDir), log: opt.Log, fed: make(chan struct{})}
	if !cluster.Exists(a.paths.Mesh) {
		return fmt.Errorf("%s: %w", opt.Config.DataDir, ErrNoMesh)
	}
	lock, err := acquire(a.paths.Lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	a.openState()
	if a.mesh, err = a.openMesh(ctx); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	// Last to stop, because every part below writes through it.
	defer func() { err = errors.Join(err, a.mesh.Close()) }()
	defer a.withdraw(context.WithoutCancel(ctx))
	if t := a.mesh.Transport(); t != nil {
		a.peerHTTP = peerClient(t)
		defer a.peerHTTP.CloseIdleConnections()
	}
	g, ctx := errgroup.WithContext(ctx)
	begin(ctx, g, a.superseded, a.keepNewest, a.follow)
	if err := a.known(ctx); err != nil {
		return errors.Join(err, stop(g))
	}
	begin(ctx, g, a.notify, a.keepPart, a.keepBackups)
	a.driversOpened = time.Now()
	if err := a.openDrivers(); err != nil {
		return errors.Join(err, stop(g))
	}
	defer a.closeDrivers()
	for _, d := range a.drivers {
		if d.supervisor != nil {
			g.Go(func() error { return d.supervisor.Run(ctx) })
		}
	}
	snap, _ := a.source.Snapshot()
	closeLinks, err := a.openLinks(snap.Mesh().ID)
	if err != nil {
		return errors.Join(err, stop(g))
	}
	defer closeLinks()
	if err := a.openHost(snap.Mesh().ID); err != nil {
		return errors.Join(err, stop(g))
	}
	defer func() { err = errors.Join(err, a.host.Close()) }()
	defer a.addresses.Close()
	defer a.bmcs.Close()
	defer a.pdus.stop()
	if err := a.openRedfish(ctx, snap.Mesh()); err != nil {
		return errors.Join(err, stop(g))
	}
	defer a.redfish.service.Close()
	a.openRest(snap.Mesh().ID)
	a.work(ctx, g)
	a.log.InfoContext(ctx, "agent started", "peer", a.mesh.ID(), "mesh", snap.Mesh().Name, "version", opt.Version)
	return g.Wait()
}

// keepNewest looks which of the two states is the newer until ctx ends.
func (a *agent) keepNewest(ctx context.Context) error {
	a.newest.run(ctx)
	return nil
}

// openState makes what the log and other peers fill, and takes over what is on disk.
func (a *agent) openState() {
	a.fsm = raftfsm.New()
	a.openReplica()
	a.newest = newNewest(a.fsm.Source(), a.replica)
	a.source = a.newest
	a.views = &views{source: a.source}
}

// begin starts what runs until ctx ends.
func begin(ctx context.Context, g *errgroup.Group, runs ...func(context.Context) error) {
	for _, run := range runs {
		g.Go(func() error { return run(ctx) })
	}
}

// work starts what reads snapshots, and answers.
func (a *agent) work(ctx context.Context, g *errgroup.Group) {
	begin(ctx, g, a.publish, a.host.Run, a.endpoints, a.watchLapses, (&incoming{a: a}).run, a.recorder.Run, a.serveBootstrap, a.size, a.redfish.run, a.serve)
	for _, decide := range []func(context.Context) error{a.raise, a.schedule, a.ironic.Run, a.flavors.Run, a.watchPeers, a.rotate, a.drain, a.endFaults} {
		g.Go(func() error { return a.whileLeader(ctx, decide) })
	}
}

// whileLeader runs what decides for the mesh: it reads the whole state only.
func (a *agent) whileLeader(ctx context.Context, work func(context.Context) error) error {
	return a.mesh.WhileLeader(ctx, func(ctx context.Context) error {
		a.newest.look() // a barrier was passed: the log's state is the newest
		return work(ctx)
	})
}

// stop waits for what was started before a part could not be opened.
func stop(g *errgroup.Group) error {
	g.Go(func() error { return context.Canceled })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// current waits until the state holds everything that was ever acknowledged:
// deciding from less could take nodes apart that are wanted.
func (a *agent) current(ctx context.Context) error {
	for {
		err := a.Current(ctx)
		if err == nil {
			return a.fsm.Err()
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (a *agent) openHost(mesh string) error {
	a.pdus = &meshPDU{a: a}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("boot ID: %w", err)
	}
	drivers, health := map[string]driver.Driver{}, map[string]func() error{}
	for _, d := range a.drivers {
		drivers[d.name] = d.Driver
		if d.supervisor != nil {
			health[d.name] = d.supervisor.Healthy
		}
	}
	physnets := map[string]hostops.Physnet{}
	for name, p := range a.opt.Config.Physnets {
		physnets[name] = hostops.Physnet{Device: p.Device, VLAN: p.VLAN, VNI: p.VXLAN, MTU: p.MTU}
	}
	a.host, err = hostops.Open(hostops.Config{
		Hypervisor: a.mesh.ID(), Mesh: mesh, Since: a.mesh.Generation().Since, Source: a.source, Report: a.reportHost,
		Drivers: drivers, Health: health, Links: a.links, Switches: a.switches,
		OVS: a.opt.Config.BridgeType == config.BridgeOVS, Datapath: a.opt.Config.OVS.Datapath, Physnets: physnets, VXLAN: a.vxlan(),
		DB: a.paths.HostDB, LeaseAge: a.mesh.LeaseAge, Confirm: a.confirm, LeaseFile: a.paths.Lease, Kill: killGuest, BootID: string(bootID), Log: a.log,
		MediaDir: a.paths.Media, MediaLimit: uint64(a.opt.Config.BMC.MediaSize), MediaLocal: a.opt.Config.BMC.MediaLocal,
		Ready:     func(n *state.Node) error { return errors.Join(a.bmcs.Err(n), a.redfish.ready(n), a.pdus.ready(n)) },
		Discarded: a.reportDiscarded,
	})
	if err != nil {
		return fmt.Errorf("host: %w", err)
	}
	if err := a.openAddresses(string(bootID)); err != nil {
		return errors.Join(err, a.host.Close())
	}
	a.recorder = record.New(record.Config{Path: a.paths.Audit, Log: a.log})
	a.bmcs = endpoint.New(endpoint.Config{Hypervisor: a.mesh.ID(), Chassis: a.Chassis, Record: a.recorder.Observe, Log: a.log,
		Addresses: a.addresses, Lapsed: a.host.Lapsed, Assured: a.host.Assured, ServeRedfish: a.serveRedfish})
	return nil
}

func (a *agent) endpoints(ctx context.Context) error {
	l := &reconcile.Loop{Name: "bmc", Source: a.source, Do: a.pulse.around(a.keepBMCs),
		Period: 10 * time.Second, Retry: time.Second, Wake: a.lapses, Log: a.log}
	return l.Run(ctx)
}

// keepBMCs makes the BMCs match the snapshot. What Redfish is told of comes last: a
// chassis of its is there from when the BMCs know its node.
func (a *agent) keepBMCs(ctx context.Context, snap *state.Snapshot) error {
	err := a.bmcs.Do(ctx, snap)
	a.redfish.fleet.update(snap)
	for _, uuid := range a.redfish.resets.begun(snap) {
		a.redfish.service.EndSessions(uuid)
	}
	return errors.Join(err, a.pdus.update(ctx, snap))
}

// propose commits a command that the mesh may use by now, and returns its log index.
func (a *agent) propose(ctx context.Context, request string, c state.Command) (uint64, error) {
	snap, _ := a.source.Snapshot()
	c = fit(c, snap.Level().Number)
	if err := a.allowed(c); err != nil {
		return 0, err
	}
	return a.commit(ctx, request, c)
}

// commit commits a command as it is, and returns its log index.
func (a *agent) commit(ctx context.Context, request string, c state.Command) (uint64, error) {
	if request == "" {
		request = uuid.NewString()
	}
	entry, err := raftfsm.Encode(state.Envelope{Request: request, UnixMilli: time.Now().UnixMilli(), Command: c})
	if err != nil {
		return 0, err
	}
	answer, err := repeated(ctx, func(ctx context.Context) (any, error) { return a.mesh.Propose(ctx, entry) })
	if err != nil {
		return 0, err
	}
	result, ok := answer.(raftfsm.Result)
	if !ok {
		return 0, fmt.Errorf("the log answered with a %T", answer)
	}
	if result.Err != nil {
		return result.Index, result.Err
	}
	if !a.hasAll() {
		return result.Index, nil // others are asked for what was done
	}
	// Whoever asks here next shall see it.
	bounded, cancel := context.WithTimeout(ctx, seenTime)
	defer cancel()
	_, _ = raftfsm.WaitIndex(bounded, a.source, result.Index)
	return result.Index, nil
}

// seenTime bounds how long a proposal waits until it is seen here.
const seenTime = 3 * time.Second

func (a *agent) reportHost(ctx context.Context, nodes []state.NodeHostReport) error {
	snap, _ := a.source.Snapshot()
	if nodes = fitHost(snap, nodes); len(nodes) == 0 {
		return nil
	}
	_, err := a.propose(ctx, "", state.ReportHost{Hypervisor: a.mesh.ID(), Nodes: nodes})
	return err
}

func (a *agent) reportIronic(ctx context.Context, nodes []state.NodeIronicReport) error {
	snap, _ := a.source.Snapshot()
	if nodes = fitIronic(snap, nodes); len(nodes) == 0 {
		return nil
	}
	_, err := a.propose(ctx, "", state.ReportIronic{Nodes: nodes})
	return err
}

// openRest makes what holds nothing open: what keeps Ironic and Nova as declared where this peer
// leads, what hands out the files of nodes, and the metrics.
func (a *agent) openRest(mesh string) {
	a.ironic = ironic.New(ironic.Config{Mesh: mesh, Since: a.mesh.Generation().Since, Source: a.source, Report: a.reportIronic, Log: a.log})
	a.flavors = flavor.New(flavor.Config{Mesh: mesh, Source: a.source, Report: a.reportFlavors, Log: a.log})
	a.outgoing = newOutgoing(a)
	a.metrics = newMetrics(a)
}

func (a *agent) reportFlavors(ctx context.Context, clusters []state.ClusterFlavorReport) error {
	_, err := a.propose(ctx, "", state.ReportFlavors{Clusters: clusters})
	return err
}

// Powers implements api.Host.
func (a *agent) Powers() map[string]state.Power { return a.host.Powers() }

// Console implements api.Host.
func (a *agent) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	return a.host.Console(ctx, uuid)
}

// Paths are the files of an agent.
type Paths struct {
	Dir, Mesh, HostDB, Lease, Socket, Lock, Log, Config, Console, Up, Part, Backups, Audit, Media, BMCKey, BMCCert, Addresses string
}

// PathsOf returns the files of the agent in a data directory.
func PathsOf(dir string) Paths {
	in := func(name string) string { return filepath.Join(dir, name) }
	return Paths{Dir: dir, Mesh: in("mesh"), HostDB: in("host.db"), Lease: in("lease"), Socket: in("api.sock"), Lock: in("agent.lock"),
		Log: in("agent.log"), Config: in("agent.yml"), Console: in("console"), Up: in("up.json"), Part: in("part.tnk"),
		Backups: in("backups"), Audit: in("audit.log"), Media: in("media"),
		BMCKey: in("bmc.key"), BMCCert: in("bmc.crt"), Addresses: in("addresses.json")}
}

// Errors of Run.
var (
	ErrNoMesh  = errors.New("this host is in no mesh: run tenks up, or tenks init")
	ErrRunning = errors.New("an agent runs already")
)

// PID returns the process ID of the agent that uses a data directory; 0: none.
func PID(dir string) int {
	// In this order: what is read before may be of an agent that is gone.
	if !locked(PathsOf(dir).Lock) {
		return 0
	}
	b, err := os.ReadFile(PathsOf(dir).Lock)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		return 0
	}
	return pid
}
