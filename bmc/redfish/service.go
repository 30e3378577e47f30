// Package redfish serves Redfish (DSP0266) for many systems: New makes a Service, an
// http.Handler. It starts goroutines for tasks, events and graceful restarts only;
// Service.Close ends them and waits. Listening is up to the caller, or Serve.
package redfish

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// A System is a node as the service sees it.
type System struct {
	// ID is the node's UUID, in lower case with hyphens; Name is its name.
	ID, Name string
	// Account is the administrator's. Systems may share one.
	Account state.Account
	// Host is the name of the hypervisor.
	Host string
	// Chassis is nil for a system that lives at another peer.
	Chassis bmc.Chassis
	// Peer says where that is, in the words of Config.Forward.
	Peer string
}

// Systems is where a Service finds its systems. It is safe for concurrent use, and does
// not wait.
type Systems interface {
	// Lookup returns the system with the UUID.
	Lookup(id string) (System, bool)
	// All returns the systems in the order of their IDs, and a channel that is closed when
	// they have changed; the same channel means the same systems. The list is not changed.
	All() (systems []System, changed <-chan struct{})
}

// Config is what a Service needs.
type Config struct {
	Systems Systems
	// Name and UUID are those of the mesh; the UUID is not empty.
	Name, UUID string
	// Version is that of the software: FirmwareVersion of every manager.
	Version string
	// Log is where the service logs; nil: nowhere.
	Log *slog.Logger
	// Clock returns the time; nil: time.Now.
	Clock func() time.Time
	// Observe, if set, is called after each request.
	Observe func(method, pattern string, status int, took time.Duration)
	// Forward answers a request for a system of another peer; nil: 503. The caller has that
	// system. The other peer serves the request with a context made by AsCaller.
	Forward func(w http.ResponseWriter, r *http.Request, sys System, c *Caller)
	// Chain returns the certificates in DER that the listener of a system shows, the leaf
	// first; nil: they are not known. A system at an address of its own may have others.
	Chain func(system string) [][]byte
	// AllowLocal lets events go to loopback and link-local addresses.
	AllowLocal bool
	// SessionTimeout is how long a session may be idle; 0: 30 minutes.
	SessionTimeout time.Duration
	// PowerPatience is how long a reset waits for a power change that is under way; 0:
	// bmc.PowerPatience.
	PowerPatience time.Duration
}

// Service answers requests. It is safe for concurrent use.
type Service struct {
	cfg    Config
	routes *routeNode
	table  []*route
	types  []string

	access   *access
	sessions *sessions
	tasks    *tasks
	events   *events
	logs     *logs
	starts   *starts
	waiting  waiting
	locks    keyedLocks
	restarts restarts
	inFlight inFlight

	insertions insertions
	// spawn starts a goroutine that Close waits for; it reports false once closed.
	spawn func(func(context.Context)) bool
	stop  func()
}

// tables are all rows; a file with resources adds its table here.
func tables() [][]Resource {
	return [][]Resource{
		rootTable(), registryTable(), schemaTable(),
		sessionTable(), accountTable(), taskTable(), eventTable(), certificateTable(),
		systemTable(), bootTable(), processorTable(), memoryTable(), networkTable(), simpleStorageTable(),
		chassisTable(), thermalTable(), powerTable(), sensorTable(),
		managerTable(), logTable(),
		mediaTable(), biosTable(), secureBootTable(), storageTable(), updateTable(),
		adapterTable(), pcieTable(), telemetryTable(),
	}
}

// New returns a Service; ctx ends what it starts, and so does Close.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Systems == nil || cfg.UUID == "" {
		return nil, errors.New("redfish: systems and UUID are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.PowerPatience == 0 {
		cfg.PowerPatience = bmc.PowerPatience
	}
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = defaultSessionTimeout
	}
	s := &Service{cfg: cfg}
	if err := s.route(tables()); err != nil {
		return nil, err
	}
	s.spawn, s.stop = group(ctx)
	s.access = newAccess(cfg)
	s.sessions = newSessions(cfg)
	s.tasks = newTasks(s)
	s.logs = newLogs(s)
	s.starts = newStarts(s)
	s.events = newEvents(s)
	w := watcher{service: s, watched: map[string]func(){}, chassis: map[string]bmc.Chassis{}, relays: map[string]*relay{}}
	changed := w.follow()
	if !s.spawn(func(ctx context.Context) { w.run(ctx, changed) }) {
		return nil, fmt.Errorf("redfish: %w", context.Cause(ctx))
	}
	return s, nil
}

// group returns a function that starts goroutines, and one that ends them and waits.
func group(ctx context.Context) (spawn func(func(context.Context)) bool, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var mu sync.Mutex // guards closed, so that nothing starts while stop waits
	var wg sync.WaitGroup
	closed := false
	spawn = func(run func(context.Context)) bool {
		mu.Lock()
		defer mu.Unlock()
		if closed || ctx.Err() != nil {
			return false
		}
		wg.Go(func() { run(ctx) })
		return true
	}
	return spawn, func() {
		mu.Lock()
		closed = true
		mu.Unlock()
		cancel()
		wg.Wait()
	}
}

// Close ends tasks and deliveries, and returns once their goroutines have ended.
func (s *Service) Close() { s.stop() }

// The limits of connections.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
	drainTimeout  = 5 * time.Second
)

// Serve is ServeBy with the service itself.
func (s *Service) Serve(ctx context.Context, l net.Listener, conf *tls.Config) error {
	return s.ServeBy(ctx, l, conf, s)
}

// Unavailable answers that the request should be repeated later.
func (s *Service) Unavailable(w http.ResponseWriter, r *http.Request) {
	commonHeaders(w.Header(), r)
	s.refuse(w, r, unavailable(busyRetry))
}

// ServeBy answers on the listener until ctx ends, by a handler that is around the
// service; it returns once the connections are closed. Without a tls.Config it is plain
// HTTP, for tests only.
func (s *Service) ServeBy(ctx context.Context, l net.Listener, conf *tls.Config, h http.Handler) error {
	if conf != nil {
		conf = conf.Clone()
		conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
		conf.NextProtos = []string{"h2", "http/1.1"}
		l = tls.NewListener(l, conf)
	}
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("redfish: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(drain)
	if err != nil {
		err = server.Close()
	}
	if serveErr := <-done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("redfish: close: %w", err)
	}
	return nil
}
