package daemon

import (
	"testing"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

func TestSecureBootIsOfUEFI(t *testing.T) {
	if _, able := bmc.As[bmc.SecureBooter](chassisWith(t, state.BootBIOS)); able {
		t.Error("BIOS does Secure Boot")
	}
	c := chassisWith(t, state.BootUEFI)
	var s bmc.SecureBooter
	wait(t, "the driver has said what its firmware can do", func() (able bool) {
		s, able = bmc.As[bmc.SecureBooter](c)
		return able
	})
	if err := s.SetSecureBoot(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	on := func(action state.PowerAction) {
		t.Helper()
		if err := c.Power(t.Context(), action); err != nil {
			t.Fatal(err)
		}
	}
	on(state.ActionOn)
	wait(t, "it is enforced", func() bool { return s.SecureBoot().Enforced })
	if err := s.ResetKeys(t.Context(), bmc.KeysNone); err != nil {
		t.Fatal(err)
	}
	if got := s.SecureBoot(); got.Enabled || !got.Enforced || got.Keys != bmc.KeysNone || got.Enrolled != bmc.KeysDefault {
		t.Errorf("without keys: %+v", got)
	}
	on(state.ActionCycle)
	wait(t, "the keys are gone", func() bool { return !s.SecureBoot().Enforced && s.SecureBoot().Enrolled == bmc.KeysNone })
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}
