package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tenks/raftfsm/state"
)

// Others are the other peers, which requests are sent on to.
type Others interface {
	// Serve answers a request at another peer; empty: at one that may lead. The error is
	// that it could not be asked.
	Serve(w http.ResponseWriter, r *http.Request, peer string) error
	// ServeWhole is Serve at a peer that has the whole state.
	ServeWhole(w http.ResponseWriter, r *http.Request) error
	// PeerPowers returns the power states of nodes on other peers, by UUID.
	PeerPowers(ctx context.Context, peers []string) map[string]state.Power
}

// Mesh is the part of the mesh that requests reach.
type Mesh interface {
	Others
	// MakeToken makes a join token and returns its text, which only it holds.
	MakeToken(ctx context.Context, r TokenRequest) (Token, error)
	// Raft returns who follows the log.
	Raft() []RaftPeer
	// Transfer hands leadership to a voter, by ID; empty: to any.
	Transfer(ctx context.Context, peer string) error
	// Whole reports whether this peer has the whole state, or only its part.
	Whole() bool
	// Current waits until the state here has everything that was acknowledged before.
	Current(ctx context.Context) error
}

// forwardedHeader marks a request that a peer sent on: it is answered there, or not
// at all.
const forwardedHeader = "Tenks-Forwarded"

// Forward marks a request as sent on.
func Forward(h http.Header, by string) { h.Set(forwardedHeader, by) }

// wholeHeader marks a request that was sent on by a peer that has only its part of the
// state: it may be sent on once more, to the peer that has a node.
const wholeHeader = "Tenks-Whole"

// ForwardToWhole marks a request as sent on to who has the whole state.
func ForwardToWhole(h http.Header, by string) { h.Set(wholeHeader, by) }

// WarningHeader says, in words, why an answer may not be all, or out of date.
const WarningHeader = "Tenks-Warning"

// TokenRequest asks for a join token.
type TokenRequest struct {
	// TTLSeconds is how long it can be used; 0: a day.
	TTLSeconds int64 `json:"ttl_seconds,omitempty"`
	// Uses is how many peers it admits; 0: one; less: any number.
	Uses int `json:"uses,omitempty"`
	// Name is the only peer name that it admits; empty: any.
	Name string `json:"name,omitempty"`
	Zone string `json:"zone,omitempty"`
}

// Token is one row of "token list -o json".
type Token struct {
	ID string `json:"id"`
	// Token is the text to join with; only when it was made.
	Token string `json:"token,omitempty"`
	// Bootstrap is a line for the shell of a host that has no Tenks yet: it installs
	// it from the peer that made the token, and joins. Only when that was made.
	Bootstrap string `json:"bootstrap,omitempty"`

	Name    string `json:"name"`
	Zone    string `json:"zone"`
	Uses    int    `json:"uses_left"`
	Created string `json:"created"`
	Expires string `json:"expires"`
	// State is usable, used, expired or revoked.
	State string   `json:"state"`
	Peers []string `json:"peers"`
}

// RaftPeer is one row of "raft list -o json".
type RaftPeer struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Role    string `json:"role"`
	Leader  bool   `json:"leader"`
	Healthy bool   `json:"healthy"`
}

// PeerRequest asks for a peer to go.
type PeerRequest struct {
	Force bool `json:"force,omitempty"`
}

// TransferRequest asks for another leader.
type TransferRequest struct {
	Peer string `json:"peer,omitempty"`
}

func (s *Server) meshRoutes() []route {
	return []route{
		{"GET", "/v1/peers/{name}", "one peer", s.peer},
		{"DELETE", "/v1/peers/{name}", "remove a peer from the mesh", s.removePeer},
		{"POST", "/v1/peers/{name}/drain", "place no more nodes on a peer, and move away those that are off", s.drainPeer(true)},
		{"POST", "/v1/peers/{name}/undrain", "place nodes on a peer again, and end moves away from it", s.drainPeer(false)},
		{"POST", "/v1/peers/{name}/leave", "let a peer's vote go to another, before it is removed", s.leavePeer},
		{"POST", "/v1/peers/{name}/declare-lost", "say that a peer's host is off, and will not come back by itself", s.declareLost},
		{"GET", "/v1/tokens", "join tokens", s.tokens},
		{"POST", "/v1/tokens", "make a join token", s.makeToken},
		{"DELETE", "/v1/tokens/{id}", "revoke a join token", s.revokeToken},
		{"GET", "/v1/raft", "who follows the log", s.raft},
		{"GET", "/v1/backup", "the whole state as a file, with its secrets; ?stale=true: without asking the leader", s.backup},
		{"POST", "/v1/raft/transfer", "hand leadership over", s.transfer},
		{"GET", "/v1/powers", "power states of the nodes on this host", s.powers},
	}
}

func (s *Server) findPeer(r *http.Request) (*state.Snapshot, *state.Peer, error) {
	snap, _ := s.Source.Snapshot()
	name := r.PathValue("name")
	p, ok := snap.PeerByName(name)
	if !ok {
		p, ok = snap.Peer(name)
	}
	if !ok {
		return nil, nil, fail(http.StatusNotFound, fmt.Errorf("peer %q: not found; see tenks peer list", name))
	}
	return snap, p, nil
}

func (s *Server) peer(w http.ResponseWriter, r *http.Request) error {
	snap, p, err := s.findPeer(r)
	if err != nil {
		return err
	}
	leader, _ := s.Leader()
	writeIndexed(w, snap, peerView(snap, p, leader))
	return nil
}

func (s *Server) removePeer(w http.ResponseWriter, r *http.Request) error {
	var req PeerRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	_, p, err := s.findPeer(r)
	if err != nil {
		return err
	}
	return s.change(w, r, state.RemovePeer{ID: p.ID, Force: req.Force})
}

// change proposes a command and answers with its log index.
func (s *Server) change(w http.ResponseWriter, r *http.Request, c state.Command) error {
	index, err := s.Propose(r.Context(), "", c)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, map[string]uint64{"index": index})
	return nil
}

func (s *Server) drainPeer(draining bool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var req DrainRequest
		if err := readJSON(r, &req); err != nil {
			return err
		}
		if req.StopMilli < 0 {
			return fail(http.StatusBadRequest, errors.New("stop_milli: less than 0"))
		}
		_, p, err := s.findPeer(r)
		if err != nil {
			return err
		}
		c := state.DrainPeer{ID: p.ID, Draining: draining, StopMilli: req.StopMilli}
		switch {
		case draining && req.IgnorePins:
			c.Pins = state.PinsForget
		case draining:
			c.Pins = state.PinsRefuse
		}
		return s.change(w, r, c)
	}
}

func (s *Server) leavePeer(w http.ResponseWriter, r *http.Request) error {
	_, p, err := s.findPeer(r)
	if err != nil {
		return err
	}
	return s.change(w, r, state.LeavePeer{ID: p.ID})
}

func (s *Server) declareLost(w http.ResponseWriter, r *http.Request) error {
	_, p, err := s.findPeer(r)
	if err != nil {
		return err
	}
	return s.change(w, r, state.DeclareLost{ID: p.ID})
}

func (s *Server) tokens(w http.ResponseWriter, _ *http.Request) error {
	snap, _ := s.Source.Snapshot()
	out := []Token{}
	for _, t := range snap.Tokens() {
		out = append(out, TokenView(t, time.Now()))
	}
	writeIndexed(w, snap, out)
	return nil
}

// TokenView turns a row of the state into what scripts see.
func TokenView(t *state.Token, now time.Time) Token {
	v := Token{ID: t.ID, Name: t.Name, Zone: t.Zone, Uses: t.Uses, Created: stamp(t.CreatedMilli),
		Expires: stamp(t.ExpiresMilli), State: "usable", Peers: []string{}}
	for _, u := range t.UsedBy {
		v.Peers = append(v.Peers, u.Name)
	}
	switch {
	case t.Revoked:
		v.State = "revoked"
	case t.Uses == 0:
		v.State = "used"
	case now.UnixMilli() > t.ExpiresMilli:
		v.State = "expired"
	}
	return v
}

func (s *Server) makeToken(w http.ResponseWriter, r *http.Request) error {
	var req TokenRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	if req.TTLSeconds < 0 {
		return fail(http.StatusBadRequest, errors.New("ttl_seconds: less than 0"))
	}
	t, err := s.Mesh.MakeToken(r.Context(), req)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, t)
	return nil
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, state.RevokeToken{ID: r.PathValue("id")})
}

func (s *Server) raft(w http.ResponseWriter, r *http.Request) error {
	here := s.Mesh.Raft()
	leader, self := s.Leader()
	// A peer that has no part in the log any longer knows neither that nor who leads.
	if leader != self && len(here) > 1 && r.Header.Get(forwardedHeader) == "" {
		return s.Mesh.Serve(w, r, leader)
	}
	writeJSON(w, http.StatusOK, here)
	return nil
}

// leaderElsewhere returns who leads, if that is another peer which a request can be
// sent on to.
func (s *Server) leaderElsewhere(r *http.Request) (string, bool) {
	leader, self := s.Leader()
	return leader, leader != "" && leader != self && r.Header.Get(forwardedHeader) == ""
}

func (s *Server) transfer(w http.ResponseWriter, r *http.Request) error {
	if peer, elsewhere := s.leaderElsewhere(r); elsewhere {
		return s.Mesh.Serve(w, r, peer)
	}
	var req TransferRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	id := ""
	if req.Peer != "" {
		snap, _ := s.Source.Snapshot()
		p, ok := snap.PeerByName(req.Peer)
		if !ok {
			return fail(http.StatusNotFound, fmt.Errorf("peer %q: not found; see tenks peer list", req.Peer))
		}
		id = p.ID
	}
	if err := s.Mesh.Transfer(r.Context(), id); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.Mesh.Raft())
	return nil
}

func (s *Server) powers(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, s.Host.Powers())
	return nil
}

// atHost sends a request about a node on to the peer that has it. done says that it
// was answered there.
func (s *Server) atHost(w http.ResponseWriter, r *http.Request) (done bool, err error) {
	snap, n, err := s.findNode(r)
	_, self := s.Leader()
	if here := err == nil && n.Placement != nil && n.Placement.Hypervisor == self; !here && s.toWhole(w, r) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if n.Placement == nil || n.Placement.Hypervisor == self || r.Header.Get(forwardedHeader) != "" {
		return false, nil
	}
	if err := s.Mesh.Serve(w, r, n.Placement.Hypervisor); err != nil {
		return false, fail(http.StatusServiceUnavailable, fmt.Errorf("node %s is on %s, which does not answer: %w",
			n.Name, hypervisorName(snap, n.Placement.Hypervisor), err))
	}
	return true, nil
}

// toWhole has a request answered by a peer with the whole state, if this one has not
// and another answers.
func (s *Server) toWhole(w http.ResponseWriter, r *http.Request) (done bool) {
	if s.Mesh.Whole() || r.Header.Get(wholeHeader) != "" || r.Header.Get(forwardedHeader) != "" {
		return false
	}
	err := s.Mesh.ServeWhole(w, r)
	if err != nil {
		s.Log.DebugContext(r.Context(), "nobody with the whole state answers", "path", r.URL.Path, "err", err)
		w.Header().Set(WarningHeader, "no peer with the whole state answers: only what this host itself has is shown")
	}
	return err == nil
}

// there wraps what only the peer that has the node can do.
func (s *Server) there(serve func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if done, err := s.atHost(w, r); done || err != nil {
			return err
		}
		return serve(w, r)
	}
}

// current makes a read see everything that was acknowledged before it, if the
// request asks for that with ?consistent=true.
func (s *Server) current(r *http.Request) error {
	if r.Method != http.MethodGet || r.URL.Query().Get("consistent") != "true" {
		return nil
	}
	return s.Mesh.Current(r.Context())
}

// allPowers are the power states of nodes here and on the hosts of others.
func (s *Server) allPowers(r *http.Request, rows []*state.Node) map[string]state.Power {
	powers := s.Host.Powers()
	_, self := s.Leader()
	seen := map[string]bool{self: true}
	var peers []string
	for _, n := range rows {
		if n.Placement != nil && !seen[n.Placement.Hypervisor] && !n.Lost {
			seen[n.Placement.Hypervisor] = true
			peers = append(peers, n.Placement.Hypervisor)
		}
	}
	if len(peers) == 0 || r.Header.Get(forwardedHeader) != "" {
		return powers
	}
	out := s.Mesh.PeerPowers(r.Context(), peers)
	for uuid, p := range powers {
		out[uuid] = p
	}
	return out
}
