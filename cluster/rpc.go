package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"tenks/cluster/transport"
)

// What peers ask of each other, over HTTP on connections that both ends have proven
// their identity on.
const (
	pathPropose = "/propose"
	pathIndex   = "/index"
	pathStatus  = "/status"
	pathLease   = "/lease"
	pathTerm    = "/term"
)

// leaderHeader names the leader, as far as the peer that does not lead knows.
const leaderHeader = "Tenks-Leader"

// dialTime bounds reaching a peer: a host that is gone does not refuse, it is silent.
const dialTime = 1500 * time.Millisecond

// maxCommand bounds a forwarded command, in bytes.
const maxCommand = 9 << 20

// peerStatus is the answer to pathStatus.
type peerStatus struct {
	Applied uint64 `json:"applied"`
	// Level is Config.Level; peers of before it say nothing.
	Level int `json:"level,omitempty"`
}

type rpcServer struct{ m *Mesh }

func (s rpcServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathPropose, s.propose)
	mux.HandleFunc("GET "+pathIndex, s.index)
	mux.HandleFunc("GET "+pathStatus, s.status)
	mux.HandleFunc("GET "+pathTrust, s.trust)
	mux.HandleFunc("POST "+pathLease, s.lease)
	mux.HandleFunc("GET "+pathGeneration, s.generation)
	mux.HandleFunc("GET "+pathTerm, s.term)
	return s.fenced(mux)
}

func (s rpcServer) propose(w http.ResponseWriter, r *http.Request) {
	command, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCommand))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := s.m.log.Propose(r.Context(), command)
	if err != nil {
		s.refuse(w, err)
		return
	}
	b, err := s.m.cfg.Answers.Encode(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(b) // a peer that has gone asks again
}

// refuse tells a peer that this one does not lead, or no longer knows.
func (s rpcServer) refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrNotLeader):
		status = http.StatusMisdirectedRequest
		if id, ok := s.m.log.Leader(); ok {
			w.Header().Set(leaderHeader, id)
		}
	case errors.Is(err, ErrUnknown):
		status = http.StatusGatewayTimeout
	}
	http.Error(w, err.Error(), status)
}

func (s rpcServer) index(w http.ResponseWriter, r *http.Request) {
	index, err := s.m.log.ReadIndex(r.Context())
	if err != nil {
		s.refuse(w, err)
		return
	}
	writeJSON(w, index)
}

func (s rpcServer) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, peerStatus{Applied: s.m.log.Applied(), Level: s.m.cfg.Level})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a peer that has gone asks again
}

// rpcClient asks other peers. Connections are kept and used again.
type rpcClient struct {
	http *http.Client
	// led is told of a peer that answered as only the leader does.
	led func(peer string)
	// ours is this peer's generation, and hear is told of those of others.
	ours string
	hear func(peer string, theirs Generation) error
}

func newRPCClient(t *transport.Transport, led func(peer string)) rpcClient {
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		peer, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		conn, err := t.Dial(ctx, peer, transport.RPC)
		if err != nil {
			return nil, &unreached{err}
		}
		return conn, nil
	}
	// The connection is encrypted already, which net/http need not know.
	return rpcClient{http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4,
		IdleConnTimeout: time.Minute, DisableCompression: true}}, led: led}
}

func (c rpcClient) close() { c.http.CloseIdleConnections() }

// unreached says that there was no connection, and so no request.
type unreached struct{ error }

func (u *unreached) Unwrap() error { return u.error }

// notLeader is the answer of a peer that does not lead.
type notLeader struct{ leader string }

func (e *notLeader) Error() string { return ErrNotLeader.Error() }
func (e *notLeader) Unwrap() error { return ErrNotLeader }

// call sends one request and returns the answer's body. Errors: ErrNotLeader, when
// nothing was done, and ErrUnknown, when it may have been.
func (c rpcClient) call(ctx context.Context, peer, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+peer+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set(generationHeader, c.ours)
	resp, err := c.http.Do(req)
	if err != nil {
		var u *unreached
		if errors.As(err, &u) {
			return nil, fmt.Errorf("peer %s: %w: %w", peer, ErrNotLeader, u)
		}
		return nil, fmt.Errorf("peer %s: %w: %w", peer, ErrUnknown, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err := c.fenced(peer, resp, answer); err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusMisdirectedRequest:
		return nil, fmt.Errorf("peer %s: %w", peer, &notLeader{resp.Header.Get(leaderHeader)})
	case resp.StatusCode == http.StatusGatewayTimeout, err != nil:
		return nil, fmt.Errorf("peer %s: %w", peer, ErrUnknown)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("peer %s: %s", peer, bytes.TrimSpace(answer))
	}
	if path == pathPropose || path == pathIndex || path == pathLease {
		c.led(peer)
	}
	return answer, nil
}
