package hostops

import (
	"context"
	"encoding/pem"
	"fmt"
	"strings"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// The key sets of Secure Boot, as driver.Setup.Keys has them.
const (
	keysDefault = "default"
	keysNone    = "none"
	keysNoPK    = "no-pk"
	keysCustom  = "custom" // a platform key that is not the firmware's; only seen
)

// SecureBoot is how UEFI Secure Boot is set on a node.
type SecureBoot struct {
	// Enabled is for the next start; Enforced is what the running guest was started with.
	Enabled, Enforced bool
	// Keys is for the next start; Enrolled is what is in the firmware's variables now. They are
	// default, none, no-pk, or custom for a platform key that is not the firmware's.
	Keys, Enrolled string
	// Certificates are those of PK, KEK, db and dbx as PEM, Hashes the SHA-256 digests there, in
	// hexadecimal.
	Certificates, Hashes map[string][]string
}

// declared is a setup with what the node's type says of what nobody changed.
func declared(secureBoot bool, s driver.Setup) driver.Setup {
	if secureBoot && s.Keys == "" {
		s.SecureBoot, s.Keys = true, keysDefault
	}
	return s
}

// seen takes over what a driver says of a node's firmware.
func (c *Chassis) seen(firmware map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.firmware = firmware
}

// SecureBoot says how Secure Boot is set, from memory; ok is false where the firmware cannot
// do it, or nothing is known of it yet.
func (c *Chassis) SecureBoot() (s SecureBoot, ok bool) {
	c.mu.Lock()
	facts, is, on := c.firmware, declared(c.secureBoot, decodeSetup(c.memory[keySetup]).Setup), c.power == state.PowerOn
	c.mu.Unlock()
	boot, ok := facts[driver.FirmwareSecureBoot]
	if !ok {
		return SecureBoot{}, false
	}
	s = SecureBoot{Enabled: is.SecureBoot, Enforced: on && boot == driver.SecureBootEnforced, Keys: is.Keys,
		Enrolled: facts[driver.FirmwareKeys], Certificates: map[string][]string{}, Hashes: map[string][]string{}}
	if s.Keys == "" {
		s.Keys = keysDefault // the firmware comes with them
		if s.Enrolled == keysCustom {
			s.Keys = keysCustom
		}
	}
	for fact, text := range facts {
		if name, is := strings.CutPrefix(fact, driver.FirmwareCertificates); is {
			s.Certificates[name] = certificates(text)
		}
		if name, is := strings.CutPrefix(fact, driver.FirmwareHashes); is {
			s.Hashes[name] = strings.Fields(text)
		}
	}
	return s, true
}

// certificates takes PEM blocks apart.
func certificates(text string) []string {
	var out []string
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		out = append(out, string(pem.EncodeToMemory(block)))
	}
	return out
}

// changeSecureBoot has change work on what is going to be, as long as the firmware can do
// Secure Boot.
func (c *Chassis) changeSecureBoot(ctx context.Context, change func(*driver.Setup) error) error {
	if _, ok := c.SecureBoot(); !ok {
		return fmt.Errorf("node %s: secure boot: %w", c.uuid, state.ErrUnsupported)
	}
	return c.changeSetup(ctx, func(s *driver.Setup) error {
		c.mu.Lock()
		*s = declared(c.secureBoot, *s)
		c.mu.Unlock()
		return change(s)
	})
}

// SetSecureBoot turns Secure Boot on or off, from the next start on. Once it is turned on, the
// keys are those that were set last, and what a guest made of them without it does not count.
// Errors: state.ErrUnsupported, state.ErrWrongState without a platform key, and those of
// every change.
func (c *Chassis) SetSecureBoot(ctx context.Context, enable bool) error {
	return c.changeSecureBoot(ctx, func(s *driver.Setup) error {
		if enable == s.SecureBoot {
			return nil
		}
		if s.Keys == "" {
			s.Keys = keysDefault
		}
		if enable && s.Keys != keysDefault {
			return fmt.Errorf("node %s: secure boot: there is no platform key: %w", c.uuid, state.ErrWrongState)
		}
		s.SecureBoot = enable
		return nil
	})
}

// ResetKeys changes the keys in the firmware's variables, from the next start on: default, none, or
// no-pk. Without a platform key Secure Boot is off. Errors: as SetSecureBoot.
func (c *Chassis) ResetKeys(ctx context.Context, keys string) error {
	return c.changeSecureBoot(ctx, func(s *driver.Setup) error {
		switch keys {
		case keysDefault:
		case keysNone, keysNoPK:
			s.SecureBoot = false
		default:
			return fmt.Errorf("node %s: keys %q: %w", c.uuid, keys, state.ErrUnsupported)
		}
		s.Keys = keys
		s.KeysAt++
		return nil
	})
}

// unexpected reports whether the driver is to be asked what the guest that was started now
// enforces: its last word is older, and not what was to be. c.mu is held.
func (c *Chassis) unexpected() bool {
	boot, ok := c.firmware[driver.FirmwareSecureBoot]
	want := declared(c.secureBoot, decodeSetup(c.memory[keySetup]).Setup).SecureBoot
	return ok && c.power == state.PowerOn && want != (boot == driver.SecureBootEnforced)
}
