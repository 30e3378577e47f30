package redfish

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/bmc/redfish/clients"
)

// clientTarget is a system that is all its account has, served over TLS.
func clientTarget(t *testing.T) clients.Target {
	t.Helper()
	f := newFixture(t)
	c := bmctest.NewSecureChassis()
	hardware := c.Hardware()
	hardware.Disks = []bmc.Disk{{CapacityBytes: 5 << 30}, {CapacityBytes: 5 << 30}}
	hardware.UUID = first
	c.SetHardware(hardware)
	f.replaceChassis(wrapped{c})
	systems, _ := f.fleet.All()
	f.fleet.set(systems[:1])
	server := httptest.NewTLSServer(f)
	t.Cleanup(server.Close)
	sink, _ := listener(t)
	out := clients.Target{URL: server.URL, System: sys1, User: "admin", Password: "correct horse", Image: "http://192.0.2.9/boot.iso",
		Firmware: "http://192.0.2.9/fw", Sink: sink, MemoryGiB: float64(hardware.MemoryMB) / 1024, CPUs: hardware.VCPUs, SecureBoot: true, Auth: "session"}
	for _, n := range hardware.NICs {
		out.MACs = append(out.MACs, n.MAC)
	}
	for _, d := range hardware.Disks {
		out.Disks = append(out.Disks, d.CapacityBytes)
	}
	return out
}

// TestIntegrationEveryCallOfIronic makes the calls of clients.Calls by both clients.
func TestIntegrationEveryCallOfIronic(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := map[string][]clients.Outcome{}
	check := func(name string, outcomes []clients.Outcome, by func(clients.Call) bool) {
		t.Helper()
		got[name] = outcomes
		for _, failed := range clients.Failed(outcomes) {
			t.Errorf("%s: %s", name, failed)
		}
		for _, missing := range clients.Missing(outcomes, by) {
			t.Errorf("%s: %s", name, missing)
		}
	}
	target := clientTarget(t)
	target.Auth = "auto" // Ironic's default: a session; TestIntegrationSushy has the others
	outcomes, err := clients.Sushy(ctx, exec.CommandContext, target)
	if errors.Is(err, clients.ErrNoSushy) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	check("sushy", outcomes, func(clients.Call) bool { return true })
	for _, how := range []string{"basic", "session"} {
		target := clientTarget(t)
		target.Auth = how
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // a server of the test
		check("gofish "+how, clients.Gofish(ctx, &http.Client{Transport: tr}, target), clients.Call.Gofish)
		tr.CloseIdleConnections()
	}
	t.Logf("\n%s", clients.Table([]string{"sushy", "gofish basic", "gofish session"}, got))
}
