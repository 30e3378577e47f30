package redfish

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tenks/raftfsm/state"
)

// sushyScript does what Ironic's redfish drivers do, with Ironic's library. It is given
// the URL of the service and the system, and "basic" or "session".
const sushyScript = `
import sys
import sushy
from sushy import auth
from sushy.resources.registry import message_registry_file

url, system, how, sink = sys.argv[1:]
kinds = {"basic": auth.BasicAuth, "session": auth.SessionAuth}
s = sushy.Sushy(url, verify=False, auth=kinds[how](username="admin", password="correct horse"))
node = s.get_system(system)
assert node.identity == system.rsplit("/", 1)[1], node.identity
assert node.power_state == sushy.PowerState.OFF, node.power_state
assert node.memory_summary.size_gib == 2, node.memory_summary
assert sushy.ResetType.ON in node.get_allowed_reset_system_values()
assert sushy.BootSource.PXE in node.get_allowed_system_boot_source_values()

node.set_system_boot_options(target=sushy.BootSource.PXE, enabled=sushy.BootSourceOverrideEnabled.ONCE)
node.refresh()
assert node.boot.target == sushy.BootSource.PXE, node.boot
assert node.boot.enabled == sushy.BootSourceOverrideEnabled.ONCE, node.boot
assert node.boot.mode == sushy.BootSourceOverrideMode.UEFI, node.boot
node.set_system_boot_options(mode=sushy.BootSourceOverrideMode.UEFI)

node.reset_system(sushy.ResetType.ON)
node.refresh()
assert node.power_state == sushy.PowerState.ON, node.power_state
assert node.boot.enabled == sushy.BootSourceOverrideEnabled.DISABLED, node.boot
node.set_system_boot_options(target=sushy.BootSource.HDD, enabled=sushy.BootSourceOverrideEnabled.CONTINUOUS)
node._conn.patch(system, data={"Boot": {"BootSourceOverrideTarget": "UefiHttp", "BootSourceOverrideEnabled": "Once", "HttpBootUri": "http://192.0.2.9/a.iso"}})
for reset in (sushy.ResetType.NMI, sushy.ResetType.FORCE_RESTART, sushy.ResetType.FORCE_OFF, sushy.ResetType.FORCE_RESTART):
    node.reset_system(reset)
node.refresh()
assert node.power_state == sushy.PowerState.ON, node.power_state
node.set_indicator_led(sushy.IndicatorLED.LIT)
node.refresh()
assert node.indicator_led == sushy.IndicatorLED.LIT

assert node.processors.summary.count == 2, node.processors.summary
assert node.processors.get_members()[0].total_threads == 2
assert len(node.ethernet_interfaces.summary) == 2, node.ethernet_interfaces.summary
assert node.simple_storage.disks_sizes_bytes == [10737418240], node.simple_storage.disks_sizes_bytes
memory = node._conn.get(system + "/Memory/DIMM1").json()
assert memory["CapacityMiB"] == 2048

manager = node.managers[0]
assert manager.manager_type == sushy.ManagerType.BMC
assert manager.firmware_version
assert s.get_manager(manager.path).identity == manager.identity
manager.reset_manager(sushy.ResetType.FORCE_RESTART)
chassis = node.chassis[0]
assert chassis.chassis_type and chassis.uuid
assert chassis.thermal.temperatures[0].reading_celsius > 0
assert len(chassis.thermal.fans) == 2 and chassis.thermal.fans[0].reading > 0
assert chassis.power.power_supplies[0].power_capacity_watts > 0

events = s.get_event_service()
sub = events.subscriptions.create({"Destination": sink, "Protocol": "Redfish", "Context": "c", "EventTypes": ["Alert"]})
assert sub.context == "c", sub
events.submit_test_event("1", "2026-01-01T00:00:00Z", "Alert", "a message", [], "ResourceEvent.1.3.TestMessage", system, "OK")
assert len(events.subscriptions.get_members()) == 1
sub.delete()
events.subscriptions.refresh(force=True)
assert len(events.subscriptions.get_members()) == 0
files = message_registry_file.MessageRegistryFileCollection(s._conn, "/redfish/v1/Registries", redfish_version=s.redfish_version)
registries = [f.get_message_registry("en", None) for f in files.get_members()]
assert [r.registry_prefix for r in registries if hasattr(r, "registry_prefix")] == ["Base", "ResourceEvent", "TaskEvent"], registries
sessions = s.get_session_service().sessions
assert len(sessions.get_members()) == (1 if how == "session" else 0)
print("done")
`

func TestIntegrationSushy(t *testing.T) {
	python := sushyPython(t)
	for _, how := range []string{"basic", "session"} {
		t.Run(how, func(t *testing.T) {
			f := newFixture(t)
			url, _ := listener(t)
			runSushy(t, python, sushyScript, f, how, url)
			if got := f.chassis[first].Status().Power; got != state.PowerOn {
				t.Errorf("power %s", got)
			}
		})
	}
}

// sushyPython is a Python that has sushy.
func sushyPython(t *testing.T) string {
	t.Helper()
	for _, candidate := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), candidate, "-c", "import sushy").Run() == nil {
			return candidate
		}
	}
	t.Skip("python3 cannot import sushy: install python3-sushy")
	return ""
}

// runSushy runs a script with the URL of the service, the system, and args; it is to print
// "done" in the end.
func runSushy(t *testing.T, python, script string, f *fixture, args ...string) {
	t.Helper()
	server := httptest.NewTLSServer(f)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, append([]string{"-W", "ignore", "-c", script, server.URL, sys1}, args...)...)
	// A CA bundle of the environment would win over verify=False.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil || !strings.HasSuffix(out.String(), "done\n") {
		t.Fatalf("%v:\n%s", err, out.String())
	}
}
