package lab

import (
	"fmt"
	"testing"
	"time"
)

func TestIntegrationLabAddsHostsAtTheSameTime(t *testing.T) {
	l := newLab(t)
	const n = 4
	start := time.Now()
	hosts, err := l.AddHosts(t.Context(), n)
	must(t, err)
	t.Logf("%d hosts with libvirtd: %s", n, time.Since(start))
	addresses := map[string]bool{}
	for _, h := range hosts {
		must(t, h.Virsh(t.Context(), "list"))
		addresses[h.Address()] = true
	}
	if len(addresses) != n {
		t.Errorf("addresses: %v, want %d", addresses, n)
	}
	more, err := l.AddHosts(t.Context(), 1)
	must(t, err)
	if got := more[0].Name(); got != "hv5" {
		t.Errorf("the fifth host's name: %s", got)
	}
	if _, err := l.Add(t.Context(), Spec{Name: "x"}, Spec{Name: "hv1"}); err == nil || len(l.Hosts()) != n+1 {
		t.Errorf("a name that is taken: %v; %d hosts, want %d", err, len(l.Hosts()), n+1)
	}
}

// Numbers of namespaces that have gone are given to those that are made.
func TestIntegrationLabPowerCutsReachNoOtherHost(t *testing.T) {
	l := newLab(t)
	specs := make([]Spec, 4)
	for i := range specs {
		specs[i].Name = string(rune('a' + i))
	}
	hosts, err := l.Add(t.Context(), specs...)
	must(t, err)
	must(t, forAll(hosts, func(h *Host) error {
		for range 5 {
			if err := h.Kill(t.Context()); err != nil {
				return err
			}
			if err := h.Boot(t.Context()); err != nil {
				return err
			}
			if err := h.Command(t.Context(), "sleep", "0.05").Run(); err != nil {
				return fmt.Errorf("a program in host %q: %w", h.Name(), err)
			}
		}
		return nil
	}))
}
