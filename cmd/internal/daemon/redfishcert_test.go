package daemon

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/cluster/pki"
	"tenks/raftfsm/state"
)

// certified is the certificate of an agent whose state has an authority.
func certified(t *testing.T) (*serviceCertificate, *state.Store) {
	t.Helper()
	c := testAgent(t, newDir(t))
	store := state.New()
	a := &agent{opt: options(t, c), paths: PathsOf(c.DataDir), log: options(t, c).Log}
	a.views = &views{source: store}
	return &serviceCertificate{a: a}, store
}

// authority gives the state a new authority, at the next index.
func putAuthority(t *testing.T, s *state.Store) {
	t.Helper()
	authority, err := pki.NewAuthority("2c1f7f6e-5a51-4d3c-8a43-0d3f5d1c9a10", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	snap, _ := s.Snapshot()
	old, _ := snap.Keys()
	cert, key := authority.PEM()
	err = s.Apply(snap.Index()+1, state.Envelope{Command: state.PutKeys{Expect: old.ModifyIndex, Keys: state.Keys{
		Authorities: []state.Authority{{CertPEM: cert, KeyPEM: state.NewSecret(string(key))}}}}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheCertificateOfRedfishIsMadeAnewWhenItMust(t *testing.T) {
	s, store := certified(t)
	shown := func() *x509.Certificate {
		t.Helper()
		if err := s.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, err := s.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf
	}
	putAuthority(t, store)
	first := shown()
	if !shown().Equal(first) {
		t.Error("made anew though nothing has changed")
	}
	other := &serviceCertificate{a: s.a}
	if err := other.refresh(t.Context()); err != nil || !other.current.Load().Leaf.Equal(first) {
		t.Errorf("made anew after a start, %v", err)
	}
	s.a.opt.Config.BMC.Address = "192.0.2.77"
	second := shown()
	if second.VerifyHostname("192.0.2.77") != nil {
		t.Error("not for the new address")
	}
	putAuthority(t, store)
	third := shown()
	if third.Equal(second) || third.CheckSignatureFrom(s.a.views.view().Roots[0]) != nil {
		t.Error("not by the new authority")
	}
	if string(third.RawSubjectPublicKeyInfo) != string(first.RawSubjectPublicKeyInfo) {
		t.Error("another key")
	}
	if info, err := os.Stat(s.a.paths.BMCKey); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
}

func TestGivenCertificatesOfRedfish(t *testing.T) {
	s, store := certified(t)
	putAuthority(t, store)
	if err := s.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	given := &serviceCertificate{a: s.a}
	given.a.opt.Config.BMC.TLSCert, given.a.opt.Config.BMC.TLSKey = cert, key
	if err := given.refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "bmc.tls_cert") {
		t.Errorf("no such file: %v", err)
	}
	for from, to := range map[string]string{s.a.paths.BMCCert: cert, s.a.paths.BMCKey: key} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := given.refresh(t.Context()); err != nil || !given.current.Load().Leaf.Equal(s.current.Load().Leaf) {
		t.Errorf("not the given one, %v", err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := given.refresh(t.Context()); err == nil {
		t.Error("a file that went is no error")
	}
	if _, err := given.get(nil); err != nil {
		t.Errorf("the one from before is no longer shown: %v", err)
	}
}
