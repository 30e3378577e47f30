package cluster

import (
	"context"
	"fmt"
	"slices"

	"tenks/cluster/pki"
)

// Estranged reports whether a peer is in a token's mesh, but trusts none of the
// authorities that the token names: the mesh was rebuilt without its keys, and can only
// let the peer in again. Its agent must not run then.
func Estranged(dir string, t pki.Token) bool {
	m, err := readMembership(dir)
	if err != nil || m.Mesh != t.Mesh {
		return false
	}
	roots, err := pki.ParseBundle([]byte(m.Roots))
	if err != nil {
		return false
	}
	for _, root := range roots {
		if slices.Contains(t.Pins, pki.PinOf(root)) {
			return false
		}
	}
	return true
}

// again lets a peer in that was in the mesh before, with its key, so that what is placed
// on it stays its own. Its log is put aside.
func (c JoinConfig) again(ctx context.Context) error {
	if err := advance(c.Dir); err != nil {
		return err
	}
	id, err := readIdentity(c.Dir)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	answer, err := c.ask(ctx, id)
	if err != nil {
		return err
	}
	err = next{Membership: answer.Membership, Certificate: answer.Certificate}.write(c.Dir)
	if err == nil {
		err = advance(c.Dir)
	}
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return nil
}
