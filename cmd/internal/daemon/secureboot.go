package daemon

import (
	"context"

	"tenks/bmc"
)

// secureChassis is the chassis of a node whose firmware can do Secure Boot.
type secureChassis struct{ chassis }

var _ bmc.SecureBooter = secureChassis{}

// Unwrap implements bmc.Wrapper: there is nothing else inside.
func (secureChassis) Unwrap() bmc.Chassis { return nil }

// SecureBoot implements bmc.SecureBooter.
func (c secureChassis) SecureBoot() bmc.SecureBoot {
	s, ok := c.Chassis.SecureBoot()
	if !ok { // since it was asked for
		return bmc.SecureBoot{Keys: bmc.KeysNone, Enrolled: bmc.KeysNone}
	}
	return bmc.SecureBoot{Enabled: s.Enabled, Enforced: s.Enforced, Keys: bmc.KeySet(s.Keys), Enrolled: bmc.KeySet(s.Enrolled), Certificates: s.Certificates, Hashes: s.Hashes}
}

// SetSecureBoot implements bmc.SecureBooter.
func (c secureChassis) SetSecureBoot(ctx context.Context, enable bool) error {
	return c.Chassis.SetSecureBoot(ctx, enable)
}

// ResetKeys implements bmc.SecureBooter.
func (c secureChassis) ResetKeys(ctx context.Context, keys bmc.KeySet) error {
	return c.Chassis.ResetKeys(ctx, string(keys))
}
