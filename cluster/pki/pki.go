// Package pki is who a peer is and how it proves that: the mesh's certificate
// authority, the certificates of peers, and the tokens with which hosts join. It owns
// formats and checks only: it keeps no state, starts nothing, opens no file and reads
// no clock; times are parameters. All of it is safe for concurrent use.
package pki

import (
	"errors"
	"fmt"
	"time"
)

// Lives of certificates.
const (
	// AuthorityLife is how long an authority's certificate is valid.
	AuthorityLife = 10 * 365 * 24 * time.Hour
	// Life is how long a peer's certificate is valid, less if its authority ends first.
	Life = 30 * 24 * time.Hour
	// Backdate is how long before its making a certificate becomes valid: by as much
	// may the clock of a host be behind.
	Backdate = time.Hour
	// Grace is for how long an expired certificate may still be renewed: labs are
	// switched off for months.
	Grace = 400 * 24 * time.Hour
)

// Errors that callers branch on.
var (
	// ErrExpired says that a certificate's time is over, or that this host's clock is
	// ahead.
	ErrExpired = errors.New("certificate is expired")
	// ErrNotYet says that a certificate's time is still to come: this host's clock is
	// behind.
	ErrNotYet = errors.New("certificate is not valid yet")
	// ErrForeign says that a certificate is no peer's of this mesh.
	ErrForeign = errors.New("certificate is not of this mesh")
)

// within checks a certificate's own time, in which the end may be later by grace.
// Errors: ErrExpired, ErrNotYet; they name the times of both clocks.
func within(notBefore, notAfter, now time.Time, grace time.Duration) error {
	switch {
	case now.Before(notBefore):
		return fmt.Errorf("%w: a clock of the mesh had reached %s, this host's clock says %s", ErrNotYet, stamp(notBefore.Add(Backdate)), stamp(now))
	case now.After(notAfter.Add(grace)):
		return fmt.Errorf("%w: it was valid until %s, this host's clock says %s", ErrExpired, stamp(notAfter), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
