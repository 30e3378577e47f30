package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"tenks/cluster/transport"
	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// How long another peer may take to be reached, and to say what power its nodes have.
const (
	peerTime   = 2 * time.Second
	powersTime = 2 * time.Second
	// powersAtOnce bounds how many peers are asked at a time.
	powersAtOnce = 32
)

// errNoPeers says that this agent has no network.
var errNoPeers = errors.New("this peer does not listen for others: see its log")

// errNoLeader says that nobody is known who may lead.
var errNoLeader = errors.New("no leader is known")

// peerClient reaches the API of other peers, by their IDs as host names.
func peerClient(t *transport.Transport) *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, DisableCompression: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			peer, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, peerTime)
			defer cancel()
			return t.Dial(ctx, peer, transport.API)
		}}
}

// Serve implements api.Mesh.
func (a *agent) Serve(w http.ResponseWriter, r *http.Request, peer string) error {
	return a.sendOn(w, r, peer, api.Forward)
}

// ServeWhole implements api.Mesh.
func (a *agent) ServeWhole(w http.ResponseWriter, r *http.Request) error {
	return a.sendOn(w, r, "", api.ForwardToWhole)
}

// sendOn answers a request by another peer; empty: by one that may lead.
func (a *agent) sendOn(w http.ResponseWriter, r *http.Request, peer string, mark func(http.Header, string)) error {
	if a.mesh.Transport() == nil {
		return errNoPeers
	}
	if peer == "" {
		if peer = a.mesh.LikelyLeader(); peer == "" || peer == a.mesh.ID() {
			return errNoLeader
		}
	}
	var failed error
	proxy := &httputil.ReverseProxy{
		Transport:     a.peerHTTP,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: peer})
			mark(p.Out.Header, a.mesh.ID())
			a.seen().Mark(p.Out.Header)
		},
		ModifyResponse: func(r *http.Response) error {
			a.told(r.Header)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(w, r)
	return failed
}

// seen is the newest state that this peer has, or was told of by one that answered for it.
func (a *agent) seen() api.Seen {
	snap, _ := a.source.Snapshot()
	have := api.SeenBy(snap)
	if told := a.toldOf.Load(); told != nil && have.Before(*told) {
		return *told
	}
	return have
}

// told takes over what an answer says of the state.
func (a *agent) told(h http.Header) {
	newest, ok := api.SeenIn(h)
	for ok {
		last := a.toldOf.Load()
		if last != nil && !last.Before(newest) || a.toldOf.CompareAndSwap(last, &newest) {
			return
		}
	}
}

// PeerPowers implements api.Mesh. Nodes of peers that do not answer are left out.
func (a *agent) PeerPowers(ctx context.Context, peers []string) map[string]state.Power {
	out := map[string]state.Power{}
	for _, powers := range askPeers[map[string]state.Power](ctx, a, peers, "/v1/powers") {
		maps.Copy(out, powers)
	}
	return out
}

// askPeers gets what each peer says of itself at a path of the API, by peer. Those that do
// not answer in time are left out: it is unknown what they do not tell.
func askPeers[T any](ctx context.Context, a *agent, peers []string, path string) map[string]T {
	ctx, cancel := context.WithTimeout(ctx, powersTime)
	defer cancel()
	out := map[string]T{}
	if a.mesh.Transport() == nil {
		return out
	}
	var mu sync.Mutex // guards out
	var wg sync.WaitGroup
	turn := make(chan struct{}, powersAtOnce)
	for _, peer := range peers {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			answer, err := askPeer[T](ctx, a, peer, path)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[peer] = answer
		})
	}
	wg.Wait()
	return out
}

func askPeer[T any](ctx context.Context, a *agent, peer, path string) (answer T, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer+path, http.NoBody)
	if err != nil {
		return answer, err
	}
	api.Forward(req.Header, a.mesh.ID())
	resp, err := a.peerHTTP.RoundTrip(req)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("peer %s: %s", peer, resp.Status)
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return answer, err
}
