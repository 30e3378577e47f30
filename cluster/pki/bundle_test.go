package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"
)

func TestBundleReturnsInItsOrder(t *testing.T) {
	a, b := authority(t, mesh, now), authority(t, mesh, now)
	want := certs{a.Certificate(), b.Certificate(), cross(t, a, b, now)}
	for n := 1; n <= len(want); n++ {
		text := slices.Concat([]byte("# The mesh's authorities\n\n"), JoinBundle(want[:n]...), []byte("\n\n"))
		got, err := ParseBundle(text)
		if err != nil || !slices.EqualFunc(got, want[:n], (*x509.Certificate).Equal) {
			t.Errorf("%d certificates: got %d, %v", n, len(got), err)
		}
	}
	if got := JoinBundle(); len(got) != 0 {
		t.Errorf("no certificates give %q", got)
	}
}

func TestParseBundleRefuses(t *testing.T) {
	a, b := authority(t, mesh, now), authority(t, mesh, now)
	one, key := a.PEM()
	two := JoinBundle(a.Certificate(), b.Certificate())
	tests := []struct {
		name string
		text []byte
		want string
	}{
		{"nothing", nil, "no PEM block"},
		{"white space", []byte(" \n"), "no PEM block"},
		{"a text", []byte("trust me"), "no PEM block"},
		{"a key", key, `a PEM block "PRIVATE KEY"`},
		{"a key behind a certificate", slices.Concat(one, key), `a PEM block "PRIVATE KEY"`},
		{"a peer's certificate", JoinBundle(a.Certificate(), leaf(t, a, now)), "certificate 2: "},
		{"a certificate of garbage", pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: []byte("x")}), "certificate 1: "},
		{"a last certificate that is cut off", two[:len(two)-40], "damaged or cut off"},
		{"a first certificate that is cut off", slices.Concat(one[:len(one)/2], []byte("\n"), one), "damaged or cut off"},
		{"a changed character", bytes.Replace(two, []byte("MII"), []byte("M*I"), 1), "damaged or cut off"},
		{"something behind it", slices.Concat(one, []byte("rm -rf")), "damaged or cut off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseBundle(tt.text)
			wantError(t, err, nil, "bundle of authorities", tt.want)
			if got != nil {
				t.Errorf("and yet returns %d certificates", len(got))
			}
		})
	}
}

// Whatever is accepted is whole: writing it gives what was read.
func FuzzParseBundle(f *testing.F) {
	a, b := authority(f, mesh, now), authority(f, mesh, now)
	cert, key := a.PEM()
	for _, text := range [][]byte{nil, cert, key, JoinBundle(a.Certificate(), b.Certificate()), JoinBundle(leaf(f, a, now)), cert[:len(cert)/2]} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ParseBundle(text)
		if err != nil {
			return
		}
		if len(got) == 0 {
			t.Fatal("a bundle of nothing")
		}
		again, err := ParseBundle(JoinBundle(got...))
		if err != nil || !slices.EqualFunc(again, got, (*x509.Certificate).Equal) {
			t.Fatalf("got %d certificates back of %d, %v", len(again), len(got), err)
		}
		for _, cert := range got {
			if !cert.IsCA {
				t.Fatalf("%q is no authority", cert.Subject)
			}
		}
	})
}

// Whatever is accepted is an authority that can sign.
func FuzzLoadAuthority(f *testing.F) {
	a, b := authority(f, mesh, now), authority(f, mesh, now)
	cert, key := a.PEM()
	otherCert, otherKey := b.PEM()
	f.Add(cert, key)
	f.Add(otherCert, key)
	f.Add(cert, otherKey)
	f.Add(key, cert)
	f.Add(JoinBundle(cross(f, b, a, now)), key)
	f.Add([]byte(nil), []byte(nil))
	csr := request(f, newKey(f))
	f.Fuzz(func(t *testing.T, certPEM, keyPEM []byte) {
		got, err := LoadAuthority(certPEM, keyPEM)
		if err != nil {
			return
		}
		at := got.Certificate().NotBefore
		text, err := got.Issue(Request{CSR: csr, Mesh: got.Mesh(), Now: at})
		if err != nil {
			return // such as a certificate that ends before it begins
		}
		v := Verifier{Roots: certs{got.Certificate()}, Mesh: got.Mesh(), Now: at}
		if _, err := Verify(certs{parse(t, text)}, v); err != nil {
			t.Fatalf("what it issues is refused: %v", err)
		}
	})
}

// A request comes from a host that is no peer yet.
func FuzzIssue(f *testing.F) {
	a := authority(f, mesh, now)
	f.Add(request(f, newKey(f)))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, csr []byte) {
		text, err := a.Issue(Request{CSR: csr, Mesh: mesh, Now: now})
		if err != nil {
			return
		}
		if _, err := Verify(certs{parse(t, text)}, Verifier{Roots: certs{a.Certificate()}, Mesh: mesh, Now: now}); err != nil {
			t.Fatalf("what it issues is refused: %v", err)
		}
	})
}
