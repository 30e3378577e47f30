package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"tenks/cluster/pki"
	"tenks/cluster/transport"
)

// Answer is what Ask got of a peer.
type Answer struct {
	Standing
	// Err is why there is none.
	Err error
}

// Ask asks peers of the mesh which generation they are in and who leads, from a host
// whose agent does not run: all at once, and for two seconds at most.
func Ask(ctx context.Context, dir string, peers []Peer) (map[string]Answer, error) {
	local, err := ReadLocal(dir)
	if err != nil {
		return nil, err
	}
	roots, err := pki.ParseBundle([]byte(local.Roots))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", meshFile, err)
	}
	certificate, err := readCertificate(dir, roots)
	if err != nil {
		return nil, err
	}
	t, err := transport.Open(ctx, transport.Config{Listen: "127.0.0.1:0", // nobody is told of it
		Certificate: func() (*tls.Certificate, error) { return certificate, nil },
		Verify: func(chain []*x509.Certificate, _ string) (string, error) {
			id, err := pki.Verify(chain, pki.Verifier{Roots: roots, Mesh: local.Mesh, Now: time.Now()})
			return id.Peer, err
		},
		Address: func(id string) (string, bool) {
			i := slices.IndexFunc(peers, func(p Peer) bool { return p.ID == id && p.Address != "" })
			if i < 0 {
				return "", false
			}
			return peers[i].Address, true
		}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	client := newRPCClient(t, func(string) {})
	var mu sync.Mutex // guards out
	out := map[string]Answer{}
	var asked sync.WaitGroup
	for _, p := range peers {
		if p.ID == local.ID || p.Removed {
			continue
		}
		asked.Go(func() {
			st, err := client.standing(ctx, p.ID)
			mu.Lock()
			defer mu.Unlock()
			out[p.ID] = Answer{st, plain(err)}
		})
	}
	asked.Wait()
	client.close()
	return out, t.Close()
}

// plain leaves out what only says that a leader was not asked.
func plain(err error) error {
	var op *net.OpError
	var u *unreached
	switch {
	case errors.As(err, &op):
		return op
	case errors.As(err, &u):
		return u.error
	}
	return err
}
