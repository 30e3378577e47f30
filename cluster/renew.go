package cluster

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"time"

	"tenks/cluster/pki"
)

// How often files and certificate are looked at.
const (
	filesEvery = 5 * time.Second
	renewEvery = time.Minute
	// recheckEvery is how often open connections are verified anew though nothing has
	// changed: a certificate may have ended. It costs a signature for each of them.
	recheckEvery = time.Minute
	// renewSpread is how much time there is for each peer's renewal when all renew.
	renewSpread = 50 * time.Millisecond
)

// keepFiles writes down how the others are reached, for a start without any of them,
// and gives gossip the keys that the state has.
func (m *Mesh) keepFiles(ctx context.Context) {
	written := m.files
	var checked membership
	var checkedAt time.Time
	for ctx.Err() == nil {
		now := m.membership()
		if !reflect.DeepEqual(now, written) {
			if err := now.write(m.cfg.Dir); err != nil {
				m.cfg.Log.WarnContext(ctx, "the list of peers was not written; will retry", "err", err)
			} else {
				written = now
			}
		}
		if err := m.gossip.SetKeys(now.Gossip); err != nil {
			m.cfg.Log.WarnContext(ctx, "gossip keys not changed; will retry", "err", err)
		} else {
			m.noteKept(written)
		}
		// Who is removed and which authority goes is in the membership.
		if time.Since(checkedAt) > recheckEvery || !reflect.DeepEqual(now, checked) {
			m.transport.Recheck()
			checked, checkedAt = now, time.Now()
		}
		pause(ctx, filesEvery)
	}
}

// keepCertificate renews this peer's certificate between half and four fifths of its
// life, at a time of its own, and one that has expired at once. It also renews one that
// another authority signed than the one that signs now, and, with the help of others,
// one that is refused.
func (m *Mesh) keepCertificate(ctx context.Context) {
	share := rand.Float64()
	var asked time.Time
	for ctx.Err() == nil {
		due, abroad := m.dueCertificate(share)
		if due && time.Since(asked) > renewEvery {
			m.spread(ctx, share)
			asked = time.Now()
			if err := m.renew(ctx, abroad); err != nil && ctx.Err() == nil {
				m.cfg.Log.WarnContext(ctx, "certificate not renewed; will retry", "in", renewEvery, "err", err)
			} else {
				asked = time.Time{}
			}
		}
		if err := m.keepChain(); err != nil {
			m.cfg.Log.WarnContext(ctx, "the authorities are not shown with the certificate; will retry", "err", err)
		}
		pause(ctx, filesEvery)
	}
}

// dueCertificate reports whether to renew this peer's certificate, and whether it must
// be another peer that signs: who is refused does not know who signs now.
func (m *Mesh) dueCertificate(share float64) (due, abroad bool) {
	c, err := m.current()
	if err != nil {
		return false, false
	}
	if m.refused.Load() {
		return true, true
	}
	if roots := m.view().Roots; len(roots) > 0 && c.Leaf.CheckSignatureFrom(roots[0]) != nil {
		return true, false
	}
	return time.Now().After(pki.RenewAt(c.Leaf, share)), false
}

// spread waits for a time of this peer's own, so that a whole mesh that needs new
// certificates does not come all at once.
func (m *Mesh) spread(ctx context.Context, share float64) {
	all := min(time.Duration(len(m.peers()))*renewSpread, renewEvery)
	pause(ctx, time.Duration(share*float64(all)))
}

// renew gets this peer a new certificate, from itself if it may sign, unless abroad.
func (m *Mesh) renew(ctx context.Context, abroad bool) error {
	key, err := readKey(m.cfg.Dir)
	if err != nil {
		return err
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		return err
	}
	cert, err := m.issue(csr)
	if err != nil || abroad {
		if cert, err = m.askRenewal(ctx, csr); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(m.cfg.Dir, certFile), cert); err != nil {
		return err
	}
	m.refused.Store(false)
	c, err := readCertificate(m.cfg.Dir, m.shown())
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.certificate = c
	m.mu.Unlock()
	m.cfg.Log.InfoContext(ctx, "certificate renewed", "expires", c.Leaf.NotAfter)
	return nil
}

func (m *Mesh) askRenewal(ctx context.Context, csr []byte) ([]byte, error) {
	err := fmt.Errorf("no peer can sign")
	for _, p := range m.peers() {
		if p.ID == m.id || p.Removed || p.Role == Client {
			continue
		}
		address, ok := m.addressOf(p.ID)
		if !ok {
			continue
		}
		a, askErr := askAt(ctx, m.cfg.Net, address, pathRenew, csr, func(chain []*x509.Certificate) error {
			_, err := pki.Verify(chain, pki.Verifier{Roots: m.roots(), Mesh: m.files.Mesh, Now: time.Now()})
			return err
		})
		if askErr == nil {
			askErr = a.Membership.usable(m.files.Mesh, m.id, a.Certificate, time.Now())
		}
		if askErr == nil {
			return a.Certificate, nil
		}
		err = fmt.Errorf("%s: %w", address, askErr)
	}
	return nil, err
}
