package bmctest

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// SecureChassis is a Chassis whose firmware can do Secure Boot. NewSecureChassis makes
// one; it is safe for concurrent use.
type SecureChassis struct {
	*Chassis

	mu   sync.Mutex // guards boot; taken inside of Chassis' own
	boot bmc.SecureBoot
}

var _ bmc.SecureBooter = (*SecureChassis)(nil)

// NewSecureChassis returns a chassis that is off, with default keys, and Secure Boot off.
func NewSecureChassis() *SecureChassis {
	c := &SecureChassis{Chassis: NewChassis(), boot: bmc.SecureBoot{Keys: bmc.KeysDefault, Enrolled: bmc.KeysDefault}}
	c.Subscribe(func(e bmc.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch e.Kind {
		case bmc.EventOn, bmc.EventReset:
			c.boot.Enrolled, c.boot.Enforced = c.boot.Keys, c.boot.Enabled
		case bmc.EventOff:
			c.boot.Enforced = false
		}
	})
	return c
}

// SetCertificates says what is in a database.
func (c *SecureChassis) SetCertificates(database string, pem ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := maps.Clone(c.boot.Certificates)
	if all == nil {
		all = map[string][]string{}
	}
	all[database] = pem
	c.boot.Certificates = all
}

// SetHashes says of which images a database has digests.
func (c *SecureChassis) SetHashes(database string, hashes ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := maps.Clone(c.boot.Hashes)
	if all == nil {
		all = map[string][]string{}
	}
	all[database] = hashes
	c.boot.Hashes = all
}

// SecureBoot implements bmc.SecureBooter.
func (c *SecureChassis) SecureBoot() bmc.SecureBoot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

// SetSecureBoot implements bmc.SecureBooter.
func (c *SecureChassis) SetSecureBoot(ctx context.Context, enable bool) error {
	return c.request(ctx, "secure boot", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if enable && c.boot.Keys != bmc.KeysDefault {
			return fmt.Errorf("no platform key: %w", state.ErrWrongState)
		}
		c.boot.Enabled = enable
		return nil
	})
}

// ResetKeys implements bmc.SecureBooter.
func (c *SecureChassis) ResetKeys(ctx context.Context, keys bmc.KeySet) error {
	return c.request(ctx, "secure boot keys", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.boot.Keys = keys; keys != bmc.KeysDefault {
			c.boot.Enabled = false
		}
		return nil
	})
}
