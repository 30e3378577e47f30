package cluster

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"tenks/cluster/pki"
)

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}'}, uint32(maxHello))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, uint32(maxFrame))
	f.Fuzz(func(t *testing.T, b []byte, limit uint32) {
		got, err := readFrame(bytes.NewReader(b), limit)
		if err != nil {
			return
		}
		if len(got) > int(limit) || len(got)+4 > len(b) {
			t.Fatalf("a frame of %d bytes; %d came, %d are allowed", len(got), len(b), limit)
		}
		var again bytes.Buffer
		if err := writeFrame(&again, got); err != nil || !bytes.Equal(again.Bytes(), b[:4+len(got)]) {
			t.Errorf("written again: %x, %v", again.Bytes(), err)
		}
		var ask feedHello
		if json.Unmarshal(got, &ask) == nil {
			_, _ = parseGeneration(ask.In)
		}
	})
}

// fuzzed is an authority, a request for a certificate, and the peer that makes it.
func fuzzed(f *testing.F) (a *pki.Authority, csr []byte, peer string) {
	f.Helper()
	a, err := pki.NewAuthority(testMesh, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if csr, err = pki.NewRequest(key); err != nil {
		f.Fatal(err)
	}
	if peer, err = pki.PeerID(key.Public()); err != nil {
		f.Fatal(err)
	}
	return a, csr, peer
}

// FuzzJoin is what strangers send to a mesh that lets nobody in.
func FuzzJoin(f *testing.F) {
	a, csr, _ := fuzzed(f)
	good, err := json.Marshal(joinRequest{Token: "0102030405060708", Secret: make([]byte, 16), CSR: csr, Peer: Peer{Name: "hv2", Address: "192.0.2.2:7740"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pathJoin, good)
	f.Add(pathRenew, csr)
	f.Add(pathJoin, []byte(`{"peer":{"id":"x"},"csr":null}`))
	quiet := slog.New(slog.DiscardHandler)
	asked := ""
	m := &Mesh{gate: newGate(quiet), files: membership{Mesh: testMesh, Gossip: [][]byte{{1}}}}
	m.cfg = Config{Log: quiet, View: func() View {
		return View{Authority: a, Roots: []*x509.Certificate{a.Certificate()}, Gossip: [][]byte{{1}}}
	}, Admit: func(_ context.Context, ad Admission) error {
		asked = ad.Peer.ID
		return fmt.Errorf("%w: nobody comes in", ErrRefused)
	}}
	h, from := m.joinHandler(), 0
	f.Fuzz(func(t *testing.T, path string, b []byte) {
		if path != pathJoin {
			path = pathRenew
		}
		from++
		asked = ""
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(b))
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", from>>16&255, from>>8&255, from&255)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest && w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		var j joinRequest
		if asked != "" && json.Unmarshal(b, &j) == nil {
			if id, err := requester(j.CSR); err != nil || id != asked {
				t.Errorf("peer %s was asked for, the key is of %s, %v", asked, id, err)
			}
		}
	})
}

// FuzzAnswers is what comes from other peers: to a join, a renewal, and to calls.
func FuzzAnswers(f *testing.F) {
	a, csr, peer := fuzzed(f)
	cert, err := a.Issue(pki.Request{CSR: csr, Mesh: testMesh, Generation: 1, Now: time.Now()})
	if err != nil {
		f.Fatal(err)
	}
	known := membership{Mesh: testMesh, Roots: string(pki.JoinBundle(a.Certificate())), Gossip: [][]byte{make([]byte, 32)}, Peers: []Peer{{ID: peer}}}
	for _, v := range []any{joinAnswer{Certificate: cert, Membership: known}, Standing{Membership: known, Leader: peer}, Trust{Signer: "x"}, peerStatus{Applied: 7, Level: 1}, uint64(7)} {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{&Standing{}, &Trust{}, &peerStatus{}, new(uint64), &joinError{}} {
			_ = json.Unmarshal(b, v) // it only must not fail otherwise
		}
		var got joinAnswer
		if json.Unmarshal(b, &got) != nil || got.Membership.usable(testMesh, peer, got.Certificate, time.Now()) != nil {
			return
		}
		block, _ := pem.Decode(got.Certificate)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := pki.IdentityOf(leaf); err != nil || id.Peer != peer || id.Mesh != testMesh {
			t.Errorf("a certificate of %+v is usable, %v", id, err)
		}
	})
}
