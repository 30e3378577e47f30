package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"tenks/bmc/redfish"
	"tenks/cluster/transport"
)

// The headers of Redfish requests between peers. They mean something on the peers' own
// port only.
const (
	// redfishFor says what a request is: one for a node of the peer that gets it, one of a
	// client of a peer that has only its part of the state, one for a certificate, or the
	// question whether the peer is there.
	redfishFor = "Tenks-Redfish"
	forNode    = "node"
	forClient  = "client"
	forTLS     = "certificate"
	forSign    = "sign"

	redfishUser   = "Tenks-Redfish-User"
	redfishRole   = "Tenks-Redfish-Role"
	redfishSystem = "Tenks-Redfish-System"
	redfishClient = "Tenks-Redfish-Client"
	// redfishAddress is that of a node's BMC, in a request for a certificate.
	redfishAddress = "Tenks-Redfish-Address"
)

const odataVersion = "OData-Version"

// replayed bounds the body of a request that may be answered here after all when another
// peer does not answer it.
const replayed = 1 << 20

// unheardTime is for how long a peer that did not answer is not asked again: a list of
// a hundred systems should not wait for it a hundred times.
const unheardTime = 2 * time.Second

// unheard are the peers that did not answer, and when.
type unheard struct {
	mu sync.Mutex // guards at
	at map[string]time.Time
}

func (u *unheard) note(peer string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = map[string]time.Time{}
	}
	u.at[peer] = now
}

func (u *unheard) lately(peer string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.at[peer]
	return ok && now.Sub(at) < unheardTime
}

// answer serves a client. A peer that has only its part of the state knows the accounts of
// its own nodes only: for the others a peer with the whole state answers, as long as one
// can be reached.
func (m *meshRedfish) answer(w http.ResponseWriter, r *http.Request) {
	if m.a.newest.isWhole() || m.isOwn(r) || !m.toWhole(w, r) {
		m.handler.ServeHTTP(w, r)
	}
}

// isOwn says that a request is for a node here. Whose session a token is of is not known
// here: sessions are where the whole state is.
func (m *meshRedfish) isOwn(r *http.Request) bool {
	_, _, basic := r.BasicAuth()
	return basic && r.Header.Get("X-Auth-Token") == "" && m.fleet.here(r.URL.Path)
}

// toWhole has a peer with the whole state answer.
func (m *meshRedfish) toWhole(w http.ResponseWriter, r *http.Request) bool {
	peer := m.a.mesh.LikelyLeader()
	if peer == "" || peer == m.a.mesh.ID() || m.unheard.lately(peer, time.Now()) {
		return false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, replayed+1))
	again := &replay{Reader: io.MultiReader(bytes.NewReader(body), r.Body), Closer: r.Body}
	if err != nil || len(body) > replayed {
		r.Body = again
		return false
	}
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	err = m.send(w, out, peer, func(h http.Header) { h.Set(redfishFor, forClient) })
	r.Body = again
	return err == nil
}

// replay is a body of which some was read before.
type replay struct {
	io.Reader
	io.Closer
}

// forward implements redfish.Config's Forward: the node's own peer answers.
func (m *meshRedfish) forward(w http.ResponseWriter, r *http.Request, sys redfish.System, c *redfish.Caller) {
	err := m.send(w, r, sys.Peer, func(h http.Header) {
		h.Del("Authorization")
		h.Del("X-Auth-Token")
		h.Set(redfishFor, forNode)
		h.Set(redfishUser, url.QueryEscape(c.UserName))
		h.Set(redfishRole, c.Role)
		h.Set(redfishSystem, sys.ID)
	})
	if err != nil {
		m.a.log.WarnContext(r.Context(), "redfish: the peer of a node does not answer", "node", sys.Name, "peer", sys.Peer, "err", err)
		m.service.Unavailable(w, r)
	}
}

// errUnheard says that a peer did not answer a moment ago.
var errUnheard = errors.New("it did not answer a moment ago")

// send has another peer answer a request. On an error nothing was answered.
func (m *meshRedfish) send(w http.ResponseWriter, r *http.Request, peer string, mark func(http.Header)) error {
	if m.a.mesh.Transport() == nil {
		return errNoPeers
	}
	if m.unheard.lately(peer, time.Now()) {
		return errUnheard
	}
	var failed error
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	unanswered, heard := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer heard()
	p := patience{alive: func(ctx context.Context) bool { return m.alive(ctx, peer) }, giveUp: cancel}
	p.silent, p.most = redfish.Patience(r)
	watch.Go(func() { p.watch(unanswered) })
	proxy := &httputil.ReverseProxy{
		Transport:     m.a.peerHTTP,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(m.a.log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: peer})
			p.Out.Host = p.In.Host
			clearRedfish(p.Out.Header)
			p.Out.Header.Set(redfishClient, p.In.RemoteAddr)
			mark(p.Out.Header)
		},
		ModifyResponse: func(resp *http.Response) error {
			heard()
			// The service has set some already, and spells this one as the specification does.
			for key, values := range resp.Header {
				if strings.EqualFold(key, odataVersion) {
					w.Header()[odataVersion] = values
					delete(resp.Header, key)
					continue
				}
				w.Header().Del(key)
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			if failed = err; r.Context().Err() == nil { // the client still waits
				m.unheard.note(peer, time.Now())
			}
		},
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
	return failed
}

// clearRedfish drops what a client must not say.
func clearRedfish(h http.Header) {
	for _, key := range []string{redfishFor, redfishUser, redfishRole, redfishSystem, redfishClient, redfishAddress} {
		h.Del(key)
	}
}

// around answers Redfish requests of other peers; all others go to next.
func (m *meshRedfish) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what, peer := r.Header.Get(redfishFor), transport.PeerOf(r.Context())
		if what == "" || peer == "" { // the local socket knows nothing of Redfish
			next.ServeHTTP(w, r)
			return
		}
		// The service bounds how long an answer may take, on a connection that goes on.
		defer func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) }()
		switch what {
		case forTLS:
			m.sign(w, r, peer)
			return
		case forSign:
			w.WriteHeader(http.StatusNoContent)
			return
		}
		ctx := r.Context()
		if what == forNode {
			id := r.Header.Get(redfishSystem)
			user, err := url.QueryUnescape(r.Header.Get(redfishUser))
			if sys, ok := m.fleet.Lookup(id); err != nil || !ok || sys.Chassis == nil {
				m.service.Unavailable(w, r) // it moves, or this peer does not know yet
				return
			}
			ctx = redfish.AsCaller(ctx, user, r.Header.Get(redfishRole), id)
		}
		in := r.Clone(ctx)
		in.RemoteAddr = r.Header.Get(redfishClient)
		clearRedfish(in.Header)
		m.handler.ServeHTTP(w, in)
	})
}
