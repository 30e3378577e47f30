package hostops

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

const twoCertificates = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"

// secure has the provider's nodes do Secure Boot, as far as that can be seen.
func (e *env) secure(keys string) {
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	e.nodes.firmware = func(g *guest) map[string]string {
		facts := map[string]string{driver.FirmwareSecureBoot: driver.SecureBootOff, driver.FirmwareKeys: keys, driver.FirmwareCertificates + "db": twoCertificates,
			driver.FirmwareHashes + "dbx": "aa\nbb"}
		if k := g.began.Setup.Keys; k != "" {
			facts[driver.FirmwareKeys] = k
		}
		if g.power == state.PowerOn && g.began.Setup.SecureBoot {
			facts[driver.FirmwareSecureBoot] = driver.SecureBootEnforced
		}
		return facts
	}
}

func (e *env) secureBoot(c *Chassis, want SecureBoot) {
	e.t.Helper()
	got, ok := c.SecureBoot()
	got.Certificates, got.Hashes = nil, nil
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		e.t.Fatalf("secure boot %v (-want +got):\n%s", ok, diff)
	}
}

func TestSecureBootIsForTheNextStart(t *testing.T) {
	withNode(t, func(t *testing.T, e *env, c *Chassis) {
		e.secure("default")
		e.host.wakeSoon()
		elapse(10 * time.Second)
		e.secureBoot(c, SecureBoot{Keys: "default", Enrolled: "default"})
		s, _ := c.SecureBoot()
		if got := s.Certificates["db"]; len(got) != 2 || strings.Join(got, "") != twoCertificates || len(s.Hashes["dbx"]) != 2 {
			t.Errorf("db: %q, dbx %q", got, s.Hashes["dbx"])
		}
		e.power("a", state.ActionOn)
		elapse(time.Second)
		if err := c.SetSecureBoot(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		elapse(time.Second)
		e.secureBoot(c, SecureBoot{Enabled: true, Keys: "default", Enrolled: "default"})
		e.power("a", state.ActionReset) // a cycle
		elapse(3 * time.Second)
		e.secureBoot(c, SecureBoot{Enabled: true, Enforced: true, Keys: "default", Enrolled: "default"})
		if err := c.ResetKeys(t.Context(), "no-pk"); err != nil {
			t.Fatal(err)
		}
		e.secureBoot(c, SecureBoot{Enforced: true, Keys: "no-pk", Enrolled: "default"})
		if err := c.SetSecureBoot(t.Context(), true); !errors.Is(err, state.ErrWrongState) {
			t.Errorf("without a platform key: %v", err)
		}
		if err := c.SetSecureBoot(t.Context(), false); err != nil {
			t.Error(err)
		}
		e.power("a", state.ActionOff)
		elapse(time.Second)
		e.secureBoot(c, SecureBoot{Keys: "no-pk", Enrolled: "default"})
		if err := c.ResetKeys(t.Context(), "custom"); !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("keys that nobody can set: %v", err)
		}
		for range 2 {
			if err := c.ResetKeys(t.Context(), "default"); err != nil {
				t.Fatal(err)
			}
		}
		if s := c.setup(); s.KeysAt != 3 {
			t.Errorf("keys were set %d times", s.KeysAt)
		}
	})
}

func TestNoSecureBoot(t *testing.T) {
	withNode(t, func(t *testing.T, _ *env, c *Chassis) {
		if _, ok := c.SecureBoot(); ok {
			t.Error("a driver that says nothing of it has it")
		}
		if err := c.SetSecureBoot(t.Context(), true); !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("turned on: %v", err)
		}
		if err := c.ResetKeys(t.Context(), "none"); !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("keys: %v", err)
		}
	})
}

// TestSecureBootThatIsDeclared is on from the first start, until a client turns it off.
func TestSecureBootThatIsDeclared(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		n := node("a", "p1")
		n.Machine.SecureBoot = true
		e.secure("custom")
		e.place(n)
		e.run()
		elapse(10 * time.Second)
		c := e.chassis("a")
		e.secureBoot(c, SecureBoot{Enabled: true, Keys: "default", Enrolled: "custom"})
		e.power("a", state.ActionOn)
		elapse(3 * time.Second)
		e.secureBoot(c, SecureBoot{Enabled: true, Enforced: true, Keys: "default", Enrolled: "default"})
		if err := c.SetSecureBoot(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		e.power("a", state.ActionCycle)
		elapse(3 * time.Second)
		e.secureBoot(c, SecureBoot{Keys: "default", Enrolled: "default"})
	})
}
