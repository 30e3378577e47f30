package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// What one source may do at the door that stands open to everybody. A refused request
// costs an entry of the log, so that guesses must not be free; who is let in pays nothing.
const (
	// gateBurst is how many refusals come without a pause, and gateEvery how often one
	// more does after that.
	gateBurst = 20
	gateEvery = 3 * time.Second
	// gateAtOnce is how many requests of a source are looked at at a time; more wait.
	gateAtOnce = 4
	// gateSources bounds who is remembered. Whoever behaved longest goes first.
	gateSources = 1024
	// maxCallers bounds the connections of a source, and of all, that ask to join.
	maxCallers    = 64
	maxAllCallers = 1024
	// maxTold bounds what a stranger can have us log, in bytes of each value.
	maxTold = 128
	// joinIdle is how long who asks to join may be silent.
	joinIdle = 10 * time.Second
)

// ErrTooMany is the answer to who was refused too often.
var ErrTooMany = errors.New("too many refused requests came from this address: try again in a minute")

// gate slows down who is refused. Safe for concurrent use.
type gate struct {
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	sources map[string]*source
}

// source is what is remembered of one address, or one network of IPv6.
type source struct {
	turns chan struct{} // size gateAtOnce
	// inside is how many are here or wait: it is not forgotten meanwhile.
	inside int
	// debt are refusals that are not yet forgotten, as of at.
	debt float64
	at   time.Time
	// noted is when it was last logged that its requests are not looked at, and more how
	// many were not since.
	noted time.Time
	more  int
}

func newGate(log *slog.Logger) *gate { return &gate{log: log, sources: map[string]*source{}} }

// sourceOf is what requests are counted by: who has an address in IPv6 has 2^64 of them.
func sourceOf(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	network, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return network.String()
}

// enter waits for a turn. It returns ErrTooMany, or what to call when the request is
// over, with whether it was refused.
func (g *gate) enter(ctx context.Context, remote string) (leave func(refused bool), err error) {
	name := sourceOf(remote)
	s := g.come(name)
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		g.done(s, false)
		return nil, ctx.Err()
	}
	leave = func(refused bool) {
		<-s.turns
		g.done(s, refused)
	}
	if more, note, over := g.over(s, time.Now()); over {
		if note {
			g.log.WarnContext(ctx, "join refused", "source", remote, "reason", "too many refused requests", "not_logged", more)
		}
		leave(false)
		return nil, ErrTooMany
	}
	return leave, nil
}

func (g *gate) come(name string) *source {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[name]
	if s == nil {
		if len(g.sources) >= gateSources {
			g.forget(time.Now())
		}
		s = &source{turns: make(chan struct{}, gateAtOnce), at: time.Now()} // one value per request that is looked at
		g.sources[name] = s
	}
	s.inside++
	return s
}

// forget makes room for one. mu is held.
func (g *gate) forget(now time.Time) {
	var least string
	for name, s := range g.sources {
		if s.inside > 0 {
			continue
		}
		if s.settle(now); least == "" || s.debt < g.sources[least].debt {
			least = name
		}
	}
	delete(g.sources, least)
}

// settle forgets refusals for the time that passed.
func (s *source) settle(now time.Time) {
	s.debt = max(0, s.debt-float64(now.Sub(s.at))/float64(gateEvery))
	s.at = now
}

// over says whether a source was refused too often, and whether to log that now.
func (g *gate) over(s *source, now time.Time) (more int, note, over bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.settle(now)
	if s.debt < gateBurst {
		return 0, false, false
	}
	if now.Sub(s.noted) < time.Minute {
		s.more++
		return 0, false, true
	}
	more, s.more, s.noted = s.more, 0, now
	return more, true, true
}

func (g *gate) done(s *source, refused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.inside--
	if refused {
		s.settle(time.Now())
		s.debt++
	}
}

// Knock says whether a stranger's request may go on: admits decides, and is not even asked
// for a source that was refused too often. What is refused is logged, as refused joins are.
func (m *Mesh) Knock(r *http.Request, token string, admits func() error) error {
	leave, err := m.gate.enter(r.Context(), r.RemoteAddr)
	if err != nil {
		return err
	}
	err = admits()
	leave(err != nil)
	if err != nil {
		m.cfg.Log.WarnContext(r.Context(), "request of a stranger refused", "source", r.RemoteAddr,
			"path", told(r.URL.Path), "token", told(token), "reason", told(err.Error()))
	}
	return err
}

// Callers bounds the connections of each source that a listener accepts, and of all.
func Callers(l net.Listener) net.Listener { return newCallers(l) }

// gated wraps a handler of requests that strangers make: serve returns the status and
// the reason of a refusal, or nil. Each refusal is logged: the gate bounds how many come.
func (m *Mesh) gated(what string, serve func(w http.ResponseWriter, r *http.Request) *refusal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), joinTime)
		defer cancel()
		leave, err := m.gate.enter(ctx, r.RemoteAddr)
		if err != nil {
			refuse(w, http.StatusTooManyRequests, err)
			return
		}
		no := serve(w, r.WithContext(ctx))
		// Who comes at a bad time did nothing wrong.
		leave(no != nil && no.status < http.StatusInternalServerError)
		if no == nil {
			return
		}
		m.cfg.Log.WarnContext(ctx, what, //nolint:sloglint // one of two constants
			"source", r.RemoteAddr, "name", told(no.name), "token", told(no.token), "reason", told(no.err.Error()))
		refuse(w, no.status, no.err)
	}
}

// refusal is why a request is refused, and what it said of itself.
type refusal struct {
	status      int
	err         error
	name, token string
}

// told cuts what a stranger says to what a log bears.
func told(s string) string {
	if len(s) > maxTold {
		return fmt.Sprintf("%s… (%d bytes)", s[:maxTold], len(s))
	}
	return s
}

// callers is a listener that bounds the connections of each source: they need no
// certificate. Those above are closed at once.
type callers struct {
	net.Listener

	mu  sync.Mutex // guards what follows
	all int
	by  map[string]int
}

func newCallers(l net.Listener) *callers { return &callers{Listener: l, by: map[string]int{}} }

// Accept implements net.Listener.
func (c *callers) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		name := sourceOf(conn.RemoteAddr().String())
		if c.add(name) {
			return &caller{Conn: conn, leave: sync.OnceFunc(func() { c.remove(name) })}, nil
		}
		_ = conn.Close() // it is told by that
	}
}

func (c *callers) add(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= maxAllCallers || c.by[name] >= maxCallers {
		return false
	}
	c.all++
	c.by[name]++
	return true
}

func (c *callers) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.by[name]--; c.by[name] == 0 {
		delete(c.by, name)
	}
}

// caller is a connection that is counted until it is closed.
type caller struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *caller) Close() error {
	c.leave()
	return c.Conn.Close()
}
