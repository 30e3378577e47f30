package cluster

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/cluster/pki"
	"tenks/cluster/transport"
)

func TestJoinThatFailsMayBeRepeated(t *testing.T) {
	b := founded(t)
	p := b.place()
	failed := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", what, err, want)
		}
		if Exists(p.dir) {
			t.Errorf("%s: there is a mesh", what)
		}
		if _, err := Open(t.Context(), p.config); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: Open: %v, want ErrAbsent", what, err)
		}
	}
	b.refuse(fmt.Errorf("%w: the token is used", ErrRefused))
	err := b.join(p)
	failed("refused", err, "the token is used")
	if !errors.Is(err, ErrRefused) {
		t.Errorf("error %v, want ErrRefused", err)
	}
	b.refuse(errors.New("no leader"))
	if err = b.join(p); errors.Is(err, ErrRefused) {
		t.Errorf("error %v, want another than ErrRefused", err)
	}
	failed("not now", err, "no leader")
	b.refuse(nil)
	late := b.token()
	late.Expires = time.Now().Add(-time.Minute)
	failed("late", Join(t.Context(), JoinConfig{Dir: p.dir, Token: late, Now: time.Now}), "expired at "+late.Expires.UTC().Format(time.RFC3339)+", this host's clock says ")
	wrong := b.token()
	wrong.Addresses = append(wrong.Addresses, "127.0.0.1:1") // where nobody answers
	err = Join(t.Context(), JoinConfig{Dir: p.dir, Token: wrong, Now: func() time.Time { return time.Now().Add(-2 * time.Hour) }})
	failed("a clock that is behind", err, "this host's clock says ")
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("a clock that is behind: more than a line: %v", err)
	}
	foreign := b.token()
	foreign.Pins = []pki.Pin{{1}}
	failed("foreign", Join(t.Context(), JoinConfig{Dir: p.dir, Token: foreign, Now: time.Now}), "another authority")

	for range 2 {
		if err := b.join(p); err != nil {
			t.Fatal(err)
		}
	}
	b.open(p)
	other := b.token()
	other.Mesh = "00000000-8b86-4d01-b42d-00cf4fc964ff"
	if err := Join(t.Context(), JoinConfig{Dir: p.dir, Token: other, Now: time.Now}); !errors.Is(err, ErrExists) {
		t.Errorf("another mesh: %v, want ErrExists", err)
	}
}

func TestADamagedAnswerLeavesNoMesh(t *testing.T) {
	b := founded(t)
	first := b.places[0]
	stranger, err := request(first.dir)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := first.issue(stranger)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(a *joinAnswer) []byte{
		"no JSON":           func(*joinAnswer) []byte { return []byte(`{"certificate": "AA`) },
		"nothing":           func(*joinAnswer) []byte { return []byte(`{}`) },
		"no certificate":    func(a *joinAnswer) []byte { a.Certificate = nil; return nil },
		"half a one":        func(a *joinAnswer) []byte { a.Certificate = a.Certificate[:100]; return nil },
		"another peer's":    func(a *joinAnswer) []byte { a.Certificate = foreign; return nil },
		"another mesh":      func(a *joinAnswer) []byte { a.Membership.Mesh = "other"; return nil },
		"no roots":          func(a *joinAnswer) []byte { a.Membership.Roots = ""; return nil },
		"no key for gossip": func(a *joinAnswer) []byte { a.Membership.Gossip = nil; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			token := b.token()
			token.Addresses = []string{b.damaging(t, damage)}
			p := b.place()
			err := Join(t.Context(), JoinConfig{Dir: p.dir, Token: token, Now: time.Now})
			if err == nil || Exists(p.dir) {
				t.Fatalf("error %v, there is a mesh: %t", err, Exists(p.dir))
			}
			if err := b.join(p); err != nil || !Exists(p.dir) {
				t.Errorf("the next try: %v", err)
			}
		})
	}
}

// damaging is where a peer answers whose answers to joins are damaged on their way.
func (b *testbed) damaging(t *testing.T, damage func(*joinAnswer) []byte) string {
	t.Helper()
	first := b.places[0]
	tr, err := transport.Open(t.Context(), transport.Config{Listen: "127.0.0.1:0", Certificate: first.current, Verify: first.verify})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var j joinRequest
		if err := json.NewDecoder(r.Body).Decode(&j); err != nil {
			t.Error(err)
		}
		cert, err := first.issue(j.CSR)
		if err != nil {
			t.Error(err)
		}
		a := joinAnswer{Certificate: cert, Membership: first.membership()}
		if raw := damage(&a); raw != nil {
			_, _ = w.Write(raw)
			return
		}
		writeJSON(w, a)
	})}
	l := tr.Listener(transport.Join)
	var work sync.WaitGroup
	work.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), tr.Close()); err != nil {
			t.Error(err)
		}
		work.Wait()
	})
	return tr.Addr()
}

func TestRequestsToJoinThatAreNoneAreRefused(t *testing.T) {
	b := founded(t)
	csr, err := request(b.places[0].dir)
	if err != nil {
		t.Fatal(err)
	}
	forged := slices.Clone(csr)
	forged[len(forged)-1] ^= 1
	body := func(r joinRequest) []byte {
		out, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		path, want string
		body       []byte
	}{
		"no JSON":          {pathJoin, "not a request", []byte("?")},
		"a short secret":   {pathJoin, "not a request", body(joinRequest{Secret: []byte("short"), CSR: csr})},
		"no key":           {pathJoin, "request for a certificate", body(joinRequest{Secret: make([]byte, 16)})},
		"another's key":    {pathJoin, "request for a certificate", body(joinRequest{Secret: make([]byte, 16), CSR: forged})},
		"too large":        {pathJoin, "not a request", body(joinRequest{Secret: make([]byte, 2*maxJoin)})},
		"a forged renewal": {pathRenew, "request for a certificate", forged},
	} {
		_, err := askAt(t.Context(), nil, b.places[0].Address(), c.path, c.body, func([]*x509.Certificate) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	if n := len(b.view().Peers); n != 1 {
		t.Errorf("%d peers, want 1", n)
	}
}
