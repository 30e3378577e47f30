package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"tenks/cluster/consensus"
	"tenks/cluster/pki"
	"tenks/cluster/transport"
)

const (
	pathJoin  = "/join"
	pathRenew = "/renew"
	// maxJoin bounds what who joins may send, in bytes.
	maxJoin  = 64 << 10
	joinTime = 20 * time.Second
)

// Admission is what a peer that joins says of itself, and what it shows.
type Admission struct {
	Peer Peer
	// Token is the token's ID, Hash that of its secret.
	Token string
	Hash  [32]byte
}

// ErrRefused says that the mesh does not let a peer in; the text says why.
var ErrRefused = errors.New("refused")

type joinRequest struct {
	Token  string `json:"token"`
	Secret []byte `json:"secret"`
	CSR    []byte `json:"csr"`
	Peer   Peer   `json:"peer"`
	// Level is JoinConfig.Level; peers of before it say nothing.
	Level int `json:"level,omitempty"`
}

type joinAnswer struct {
	Certificate []byte     `json:"certificate"`
	Membership  membership `json:"membership"`
}

type joinError struct {
	Error string `json:"error"`
}

func (m *Mesh) joinHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathJoin, m.gated("join refused", m.serveJoin))
	mux.HandleFunc("POST "+pathRenew, m.gated("renewal refused", m.serveRenew))
	return http.MaxBytesHandler(mux, maxJoin)
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(joinError{err.Error()}) // a peer that has gone asks again
}

func (m *Mesh) serveJoin(w http.ResponseWriter, r *http.Request) *refusal {
	var j joinRequest
	if err := json.NewDecoder(r.Body).Decode(&j); err != nil || len(j.Secret) != len(pki.Secret{}) {
		return &refusal{status: http.StatusBadRequest, err: errors.New("not a request to join")}
	}
	no := func(status int, err error) *refusal { return &refusal{status, err, j.Peer.Name, j.Token} }
	id, err := requester(j.CSR)
	if err != nil {
		return no(http.StatusBadRequest, err)
	}
	j.Peer.ID = id
	if need := m.view().Level; j.Level < need {
		return no(http.StatusForbidden, fmt.Errorf("this mesh uses what an older tenks does not know (level %d, yours knows %d): install the version of the mesh on this host, and join again", need, j.Level))
	}
	err = m.cfg.Admit(r.Context(), Admission{Peer: j.Peer, Token: j.Token, Hash: pki.HashSecret(pki.Secret(j.Secret))})
	if errors.Is(err, ErrRefused) {
		return no(http.StatusForbidden, err)
	}
	if err != nil {
		return no(http.StatusServiceUnavailable, err)
	}
	cert, err := m.issue(j.CSR)
	if err != nil {
		return no(http.StatusServiceUnavailable, err)
	}
	m.cfg.Log.InfoContext(r.Context(), "peer joined", "peer", id, "name", j.Peer.Name, "source", r.RemoteAddr, "token", j.Token)
	writeJSON(w, joinAnswer{Certificate: cert, Membership: m.membership()})
	return nil
}

// requester is the ID of the peer that made a request for a certificate.
func requester(csr []byte) (string, error) {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return "", fmt.Errorf("request for a certificate: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return "", fmt.Errorf("request for a certificate: %w", err)
	}
	return pki.PeerID(r.PublicKey)
}

func (m *Mesh) issue(csr []byte) ([]byte, error) {
	v := m.view()
	if v.Authority == nil {
		return nil, errors.New("this peer cannot sign: ask another address of the token")
	}
	return v.Authority.Issue(pki.Request{CSR: csr, Mesh: m.files.Mesh, Generation: v.Generation, Now: time.Now()})
}

// serveRenew signs a known peer's key anew. The request is signed with that key, so
// that it proves what a certificate would, which may have expired: labs are switched
// off for months.
//
// The answer holds no key of gossip: a request that was seen before may be shown again
// by who does not have the peer's key, such as a peer that was removed since.
func (m *Mesh) serveRenew(w http.ResponseWriter, r *http.Request) *refusal {
	csr, err := io.ReadAll(r.Body)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, err: err}
	}
	id, err := requester(csr)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, err: err}
	}
	if p, known := m.view().peer(id); !known || p.Removed {
		return &refusal{status: http.StatusForbidden, err: fmt.Errorf("peer %s is not in this mesh", id)}
	}
	cert, err := m.issue(csr)
	if err != nil {
		return &refusal{status: http.StatusServiceUnavailable, err: err}
	}
	known := m.membership()
	known.Gossip = nil
	writeJSON(w, joinAnswer{Certificate: cert, Membership: known})
	return nil
}

// membership is what a peer keeps of the mesh as it is now.
func (m *Mesh) membership() membership {
	v := m.view()
	out := m.files
	if len(v.Roots) > 0 {
		out.Roots = string(pki.JoinBundle(v.Roots...))
	}
	if len(v.Gossip) > 0 {
		out.Gossip = v.Gossip
	}
	if len(v.Peers) > 0 {
		out.Peers = nil
		for _, p := range v.Peers {
			if !p.Removed {
				out.Peers = append(out.Peers, p)
			}
		}
	}
	return out
}

// JoinConfig says what Join needs.
type JoinConfig struct {
	Dir   string
	Token pki.Token
	// Peer is what this peer says of itself; its ID is worked out.
	Peer Peer
	// Level is Config.Level.
	Level int
	// Net is how the others are reached; nil: by TCP.
	Net transport.Net
	// Now is the clock.
	Now func() time.Time
}

// Join makes dir this peer's place in the token's mesh. It may be repeated: a peer
// that is in that mesh already gets nil, unless it is Estranged: then it is let in again
// under its old identity. Errors: ErrExists, for another mesh;
// ErrRefused.
func Join(ctx context.Context, c JoinConfig) error {
	if Exists(c.Dir) {
		m, err := readMembership(c.Dir)
		if err == nil && m.Mesh == c.Token.Mesh {
			if Estranged(c.Dir, c.Token) {
				return c.again(ctx)
			}
			return nil
		}
		return fmt.Errorf("%s: %w: this host is in another mesh: tenks leave first", c.Dir, ErrExists)
	}
	if now := c.Now(); c.Token.Expires.Before(now) {
		return fmt.Errorf("%w: the token expired at %s, this host's clock says %s", ErrRefused,
			c.Token.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	id, err := makeIdentity(c.Dir)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	answer, err := c.ask(ctx, id)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(logDir(c.Dir)); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if err := errors.Join(writeFile(filepath.Join(c.Dir, certFile), answer.Certificate),
		answer.Membership.write(c.Dir), consensus.Prepare(logDir(c.Dir))); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return finish(c.Dir, id)
}

// ask tries the token's addresses until one lets this peer in, or refuses. If none does,
// and one says that a clock is wrong, then that is all that is said: it can be mended.
func (c JoinConfig) ask(ctx context.Context, id string) (joinAnswer, error) {
	key, err := readKey(c.Dir)
	if err != nil {
		return joinAnswer{}, err
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		return joinAnswer{}, err
	}
	c.Peer.ID = id
	body, err := json.Marshal(joinRequest{Token: c.Token.ID, Secret: c.Token.Secret[:], CSR: csr, Peer: c.Peer, Level: c.Level})
	if err != nil {
		return joinAnswer{}, err
	}
	var errs, clock error
	for _, i := range rand.Perm(len(c.Token.Addresses)) {
		address := c.Token.Addresses[i]
		a, err := askAt(ctx, c.Net, address, pathJoin, body, func(chain []*x509.Certificate) error {
			_, _, err := pki.VerifyPinned(chain, c.Token.Pins, c.Token.Mesh, c.Now())
			return err
		})
		if err == nil {
			err = a.Membership.usable(c.Token.Mesh, id, a.Certificate, c.Now())
		}
		if err == nil && len(a.Membership.Gossip) == 0 {
			err = errors.New("answer: no gossip key")
		}
		if err == nil {
			return a, nil
		}
		err = fmt.Errorf("%s: %w", address, err)
		errs = errors.Join(errs, err)
		if errors.Is(err, ErrRefused) {
			return joinAnswer{}, errs
		}
		if errors.Is(err, pki.ErrNotYet) || errors.Is(err, pki.ErrExpired) {
			clock = err
		}
	}
	if clock != nil {
		return joinAnswer{}, clock
	}
	return joinAnswer{}, errs
}

// askAt makes one request of a peer that proves itself as verify wants it.
func askAt(ctx context.Context, n transport.Net, address, path string, body []byte, verify func([]*x509.Certificate) error) (joinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return transport.DialJoin(ctx, n, address, verify)
	}}}
	var a joinAnswer
	b, status, err := post(ctx, client, "http://peer"+path, body)
	if err != nil {
		return a, err
	}
	if status == http.StatusOK {
		err = json.Unmarshal(b, &a)
		return a, err
	}
	var e joinError
	if json.Unmarshal(b, &e) != nil || e.Error == "" {
		e.Error = http.StatusText(status)
	}
	if status == http.StatusForbidden {
		return a, fmt.Errorf("%w: %s", ErrRefused, e.Error)
	}
	return a, errors.New(e.Error)
}

func post(ctx context.Context, client *http.Client, url string, body []byte) ([]byte, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, errors.Unwrap(err) // without the address that was made up
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return b, resp.StatusCode, err
}
