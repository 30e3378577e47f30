package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"tenks/cluster/pki"
)

// How peers are asked what they trust.
const (
	pathTrust   = "/trust"
	trustTime   = 5 * time.Second
	trustAtOnce = 32
)

// Trust is what a peer recognises others by now, and is recognised by itself. It is
// written down there already: a restart does not take it back. It holds no secret.
type Trust struct {
	// Gossip are the KeyIDs of its gossip keys; the first encrypts.
	Gossip []string `json:"gossip"`
	// Roots are the pins of the authorities that it trusts.
	Roots []string `json:"roots"`
	// Signer is the pin of the authority that signed its certificate.
	Signer string `json:"signer"`
}

// keyDomain keeps the ID from being a hash of the key for something else.
const keyDomain = "tenks gossip key 1\x00"

// KeyID names a gossip key without giving it away.
func KeyID(key []byte) string {
	sum := sha256.Sum256(append([]byte(keyDomain), key...))
	return hex.EncodeToString(sum[:8])
}

// NewGossipKey makes a key of the gossip ring.
func NewGossipKey() ([]byte, error) { return newGossipKey() }

// Trusts asks peers what they recognise others by, this one included. Those that do not
// answer in time are left out.
func (m *Mesh) Trusts(ctx context.Context, peers []string) map[string]Trust {
	ctx, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	out := map[string]Trust{}
	if m.transport == nil {
		return out
	}
	var mu sync.Mutex // guards out
	var wg sync.WaitGroup
	turn := make(chan struct{}, trustAtOnce) // a value for each that asks
	for _, id := range peers {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			t, err := m.trustOf(ctx, id)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[id] = t
		})
	}
	wg.Wait()
	return out
}

func (m *Mesh) trustOf(ctx context.Context, id string) (t Trust, err error) {
	if id == m.id {
		return m.trust(), nil
	}
	b, err := m.rpc.call(ctx, id, http.MethodGet, pathTrust, nil)
	if err != nil {
		return t, err
	}
	err = json.Unmarshal(b, &t)
	return t, err
}

func (s rpcServer) trust(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.m.trust()) }

// trust is what this peer recognises others by, and is recognised by.
func (m *Mesh) trust() Trust {
	m.mu.Lock()
	kept, certificate := m.kept, m.certificate
	m.mu.Unlock()
	t := Trust{Gossip: []string{}, Roots: []string{}}
	for _, key := range kept.Gossip {
		t.Gossip = append(t.Gossip, KeyID(key))
	}
	roots, err := pki.ParseBundle([]byte(kept.Roots))
	if err != nil {
		return t
	}
	for _, root := range roots {
		t.Roots = append(t.Roots, pki.PinOf(root).String())
	}
	if certificate != nil {
		t.Signer = signer(certificate.Leaf, slices.Concat(roots, m.roots()))
	}
	return t
}

// signer is the pin of the authority that signed a certificate; empty: none of these.
func signer(leaf *x509.Certificate, roots []*x509.Certificate) string {
	for _, root := range roots {
		if leaf.CheckSignatureFrom(root) == nil {
			return pki.PinOf(root).String()
		}
	}
	return ""
}

// noteKept notes what this peer goes by and has written down.
func (m *Mesh) noteKept(kept membership) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = kept
}

// shown is what follows this peer's own certificate: keys of newer authorities certified
// by older ones, for who knows only those, then the authorities, for who joins.
func (m *Mesh) shown() []*x509.Certificate {
	return slices.Concat(m.view().Cross, m.roots())
}

// keepChain shows with this peer's certificate the authorities that there are now.
func (m *Mesh) keepChain() error {
	c, err := m.current()
	if err != nil {
		return err
	}
	shown := m.shown()
	same := func(der []byte, cert *x509.Certificate) bool { return bytes.Equal(der, cert.Raw) }
	if slices.EqualFunc(c.Certificate[1:], shown, same) {
		return nil
	}
	next := *c
	next.Certificate = [][]byte{c.Certificate[0]}
	for _, cert := range shown {
		next.Certificate = append(next.Certificate, cert.Raw)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.certificate = &next
	return nil
}
