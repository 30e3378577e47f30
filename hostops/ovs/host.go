package ovs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
)

const (
	// connectTimeout bounds what a database that hangs holds up.
	connectTimeout = 3 * time.Second
	// idle is how long a connection is silent until it is asked whether it lives.
	idle = 30 * time.Second
)

// Config says which Open vSwitch a Host deals with.
type Config struct {
	// Mesh is the mesh's ID, part of every mark.
	Mesh string
	// DB is where the database listens: "unix:" and an absolute path.
	DB  string
	Log *slog.Logger

	// settle takes the place of settleTimeout in tests.
	settle time.Duration
}

// Host is the Open vSwitch of one host. It is safe for concurrent use.
type Host struct {
	cfg Config

	mu sync.Mutex // guards what follows, and is held while a connection is made
	// session is the connection; nil: none yet, or it was lost.
	session *session

	// wake is that of Watch. It is apart from mu, which is held while a session ends, and
	// a session calls it.
	wake atomic.Pointer[func()]
}

// Open returns a Host; nothing is connected yet.
func Open(c Config) *Host {
	c.settle = cmp.Or(c.settle, settleTimeout)
	return &Host{cfg: c}
}

// Close ends the connection. No other call may be under way or follow.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop()
	return nil
}

// Observe returns what there is. It asks nobody: the database tells of every change, and
// of our own before it answers that they are made. Have.Down is set if the
// database cannot be reached; the error is that ctx ended.
func (h *Host) Observe(ctx context.Context) (Have, error) {
	if err := ctx.Err(); err != nil {
		return Have{}, err
	}
	s, err := h.connected(ctx)
	if err != nil {
		return Have{Mesh: h.cfg.Mesh, Down: err}, ctx.Err()
	}
	t, err := s.tables()
	if err != nil {
		return Have{Mesh: h.cfg.Mesh, Down: err}, ctx.Err()
	}
	return observed(h.cfg.Mesh, t), nil
}

// connected returns the connection, a new one if there is none that lives.
func (h *Host) connected(ctx context.Context) (*session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != nil && !h.session.lost() {
		return h.session, nil
	}
	h.drop()
	bounded, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	s, err := connect(bounded, h.cfg.DB, h.changed)
	if err != nil {
		return nil, unreachable(h.cfg.DB, err)
	}
	h.session = s
	return s, nil
}

// drop ends the connection; h.mu is held.
func (h *Host) drop() {
	if h.session != nil {
		h.session.close()
		h.session = nil
	}
}

// changed tells Watch's caller.
func (h *Host) changed() {
	if wake := h.wake.Load(); wake != nil {
		(*wake)()
	}
}

// unreachable is an error that says what to do.
func unreachable(db string, err error) error {
	path := strings.TrimPrefix(db, "unix:")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("Open vSwitch does not run here (no socket %s): install and start openvswitch-switch, or set ovs.db in agent.yml", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("Open vSwitch's database does not answer at %s: start openvswitch-switch (ovsdb-server)", path)
	}
	return fmt.Errorf("Open vSwitch's database at %s: %w", path, err)
}

// session is one connection to the database, with a copy of what is watched there.
type session struct {
	client client.Client
	// rows are the copy: the client forgets its own when the connection is lost.
	rows *cache.TableCache
	// gone is closed once the connection is lost, ended asks for its end, over is closed
	// when nobody listens any longer.
	gone, ended, over chan struct{}
}

// connect returns when the copy is complete. changed must not block.
func connect(ctx context.Context, db string, changed func()) (*session, error) {
	m, err := dbModel()
	if err != nil {
		return nil, err
	}
	c, err := client.NewOVSDBClient(m, client.WithEndpoint(db))
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	s := &session{client: c, rows: c.Cache(), gone: make(chan struct{}), ended: make(chan struct{}), over: make(chan struct{})}
	go s.listen(changed) // close waits for it
	if s.rows == nil {
		s.close()
		return nil, client.ErrNotConnected
	}
	if _, err := c.Monitor(ctx, c.NewMonitor(monitored()...)); err != nil {
		s.close()
		return nil, err
	}
	told := func(table string) {
		if table != tableRoot { // counters of configurations, and bridges, which have rows of their own
			changed()
		}
	}
	s.rows.AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(table string, _ model.Model) { told(table) },
		UpdateFunc: func(table string, _, _ model.Model) { told(table) },
		DeleteFunc: func(table string, _ model.Model) { told(table) },
	})
	return s, nil
}

// listen waits for the end of the connection. The client itself goes on to say that it is
// connected when the other end is lost.
func (s *session) listen(changed func()) {
	defer close(s.over)
	select {
	case <-s.client.DisconnectNotify():
		close(s.gone)
		changed()
	case <-s.ended:
	}
}

func (s *session) lost() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

func (s *session) close() {
	s.client.Close()
	close(s.ended)
	<-s.over
}

// tables returns the copy. Its rows are shared: they are not to be changed.
func (s *session) tables() (tables, error) {
	t := tables{bridges: rowsOf[bridgeRow](s.rows, tableBridge), ports: rowsOf[portRow](s.rows, tablePort),
		interfaces: rowsOf[interfaceRow](s.rows, tableInterface)}
	for _, root := range rowsOf[rootRow](s.rows, tableRoot) {
		t.root = root
	}
	if t.root == nil {
		return tables{}, errors.New("Open vSwitch's database is empty: start openvswitch-switch, which fills it")
	}
	return t, nil
}

func rowsOf[T any](rows *cache.TableCache, table string) map[string]*T {
	all := rows.Table(table).RowsShallow()
	out := make(map[string]*T, len(all))
	for uuid, row := range all {
		if r, ok := row.(*T); ok {
			out[uuid] = r
		}
	}
	return out
}
