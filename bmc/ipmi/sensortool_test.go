package ipmi

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// A sensorCase is a run of ipmitool as a shell would split it: what it prints must contain
// every one of wants and none of nots.
type sensorCase struct {
	args  []string
	wants []string
	nots  []string
	fails bool
}

// ask splits a command line at its spaces.
func ask(line string) []string { return strings.Fields(line) }

// sensorCases are run in order against a chassis that is on, at a load of 0.3. DIR is a
// folder to write to, TODAY the date as ipmitool prints it.
var sensorCases = []sensorCase{
	{args: ask("mc info"), wants: []string{"Sensor Device", "SDR Repository Device", "SEL Device", "FRU Inventory Device", "IPMB Event Receiver", "Chassis Device"}},
	{args: ask("sdr info"), wants: []string{"Record Count                        : 21", "Free Space                          : none (full)", "Reserve SDR repository supported    : yes"}},
	{args: ask("sdr list"), wants: []string{"Inlet Temp       | 23 degrees C      | ok", "CPU Temp         | 50 degrees C      | ok", "Fan 1            | 5300 RPM          | ok",
		"PSU Input        | 70 Watts          | ok", "12 V             | 12.12 Volts       | ok", "CPU Usage        | 30 percent        | ok", "PSU Status       | 0x01              | ok"}},
	{args: ask("sdr elist"), wants: []string{"Inlet Temp       | 01h | ok  | 55.1 | 23 degrees C", "PSU Status       | 40h | ok  | 10.1 | Presence detected", "Watchdog         | 42h | ok  |  7.1 | \n"}},
	{args: ask("sdr elist all"), wants: []string{"Tenks BMC        | 00h | ok  |  7.1 | Dynamic MC @ 20h", "System           | 00h | ns  |  7.1 | Logical FRU @00h", "Event Log        | 46h | ns  |  7.1 | Event-Only"}},
	{args: ask("sdr type Temperature"), wants: []string{"Inlet Temp", "CPU Temp", "System Temp"}, nots: []string{"Fan"}},
	{args: ask("sdr type Fan"), wants: []string{"Fan 1            | 04h | ok  | 29.1 | 5300 RPM", "Fan 2"}},
	{args: ask("sdr entity 10.1"), wants: []string{"PSU Input", "PSU Output", "PSU Status"}, nots: []string{"Fan"}},
	{args: []string{"sdr", "get", "Fan 1"}, wants: []string{"Sensor Type (Threshold)  : Fan (0x04)", "Sensor Reading        : 5300 (+/- 0) RPM", "Nominal Reading       : 3600.000", "Settable Thresholds   : lcr lnc"}},
	{args: ask("sdr dump DIR/sdr"), wants: []string{"Dumping Sensor Data Repository"}},
	{args: ask("sdr fill sensors"), wants: []string{"Unable to clear SDRR"}, fails: true},
	{args: ask("sensor list"), wants: []string{"Inlet Temp       | 23.000     | degrees C  | ok    | na        | 3.000     | 8.000     | 38.000    | 42.000    | 47.000",
		"5 V              | 5.050      | Volts      | ok    | na        | 4.500     | 4.750     | 5.250     | 5.500     | na", "PSU Status       | 0x1        | discrete   | 0x0180|"}},
	{args: []string{"sensor", "get", "CPU Temp"}, wants: []string{"Upper Critical        : 95.000", "Positive Hysteresis   : 2.000", "Assertions Enabled    : unc+ ucr+ unr+"}},
	{args: []string{"sensor", "get", "Power Unit"}, wants: []string{"Sensor Type (Discrete): Power Unit"}},
	{args: []string{"sensor", "thresh", "CPU Temp", "unc", "45"}, wants: []string{`Setting sensor "CPU Temp" Upper Non-Critical threshold to 45.000`}},
	{args: []string{"sensor", "thresh", "Fan 1", "lnr", "45"}, wants: []string{"Error setting threshold: Invalid data field in request"}, fails: true},
	{args: []string{"sensor", "get", "CPU Temp"}, wants: []string{"Status                : Upper Non-Critical", "Upper Non-Critical    : 45.000", "Assertion Events      : unc+"}},
	{args: ask("sel elist"), wants: []string{"1 | TODAY", "Power Unit Power Unit | Power off/down | Deasserted", "System Boot Initiated System Boot | Initiated by power up | Asserted",
		"Temperature CPU Temp | Upper Non-critical going high | Asserted | Reading 50 > Threshold 45 degrees C"}},
	{args: ask("sel info"), wants: []string{"Version          : 1.5 (v1.5, v2 compliant)", "Entries          : 3", "Free Space       : 16336 bytes", "Overflow         : false", "'Delete' 'Reserve' 'Get Alloc Info'", "# of Alloc Units : 1024"}},
	{args: ask("event 1"), wants: []string{"Temperature #0x30 | Upper Critical going high | Asserted"}},
	{args: ask("event 2"), wants: []string{"Voltage #0x60 | Lower Critical going low"}},
	{args: ask("event 3"), wants: []string{"Memory #0x53 | Correctable ECC | Asserted"}},
	{args: []string{"event", "Fan 1", "lcr", "assert"}, wants: []string{"Fan #0x04 | Lower Critical going low"}},
	{args: ask("sel add DIR/event"), wants: []string{"Temperature #0x01 | Upper Non-critical going high | Asserted"}},
	{args: ask("sel list"), wants: []string{"4 | TODAY", "5 | TODAY", "6 | TODAY", "Memory #0x53 | Correctable ECC", "8 | TODAY"}, nots: []string{"9 | TODAY"}},
	{args: ask("sel get 4"), wants: []string{"SEL Record ID          : 0004", "Description           : Upper Critical going high"}},
	{args: ask("sel save DIR/sel"), wants: []string{"Correctable ECC"}},
	{args: ask("sel writeraw DIR/raw"), wants: []string{"Correctable ECC"}},
	{args: ask("sel delete 4"), wants: []string{"Deleted entry 4"}},
	{args: ask("sel list"), nots: []string{"Upper Critical going high"}},
	{args: ask("sel clear"), wants: []string{"Clearing SEL."}},
	{args: ask("sel elist"), wants: []string{"Event Logging Disabled Event Log | Log area reset/cleared | Asserted"}, nots: []string{"Memory"}},
	{args: []string{"sel", "time", "set", "11/21/26 10:00:00"}, wants: []string{"11/21/26 10:00:00"}},
	{args: ask("sel time get"), wants: []string{"11/21/26 10:0"}},
	{args: ask("sel time set now"), wants: []string{"TODAY"}},
	{args: ask("chassis power cycle"), wants: []string{"Cycle"}},
	{args: ask("sel elist"), wants: []string{"Power Unit Power Unit | Power off/down | Asserted", "Initiated by power up"}},
	{args: ask("fru print"), wants: []string{"Builtin FRU Device (ID 0)", "Chassis Type          : Rack Mount Chassis", "Board Mfg             : Tenks",
		"Product Manufacturer  : Tenks", "Product Name          : Virtual Machine", "Product Serial        : 6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10"}, nots: []string{"checksum", "Asset"}},
	{args: ask("fru read 0 DIR/fru"), wants: []string{"Fru Size         : 512 bytes", "Done"}},
	{args: ask("dcmi discover"), wants: []string{"Temperature monitor available", "Power management available", "SEL automatic rollover is enabled", "1024 SEL entries", "Asset tag", "Primary LAN channel number: 1 is available"}},
	{args: ask("dcmi power reading"), wants: []string{"Instantaneous power reading:                    70 Watts", "Power reading state is:                   activated"}},
	{args: ask("dcmi power get_limit"), wants: []string{"Current Limit State: No Active Power Limit"}},
	{args: ask("dcmi power set_limit limit 100"), wants: []string{"Power Limit:         100 Watts"}},
	{args: ask("dcmi power activate"), wants: []string{"Power limit successfully activated"}},
	{args: ask("dcmi power get_limit"), wants: []string{"Current Limit State: Power Limit Active", "Power Limit:         100 Watts"}},
	{args: ask("dcmi power deactivate"), wants: []string{"Power limit successfully deactivated"}},
	{args: ask("dcmi sensors"), wants: []string{"Inlet: 1 temperature sensor found", "Record ID 0x0004: CPU Temp         | 50 degrees C"}},
	{args: ask("dcmi get_temp_reading"), wants: []string{"CPU temperature sensors(41h)		1		+50 C"}},
	{args: ask("dcmi asset_tag"), wants: []string{"Asset tag: \n"}},
	{args: ask("dcmi set_asset_tag row-12/rack-0007/unit-3"), wants: []string{"Set Asset Tag: row-12/rack-0007/unit-3"}},
	{args: ask("dcmi asset_tag"), wants: []string{"Asset tag: row-12/rack-0007/unit-3"}},
	{args: ask("fru print"), wants: []string{"Product Asset Tag     : row-12/rack-0007/unit-3"}},
	{args: ask("fru edit 0 field p 5 row-12/rack-0007/unit-4"), wants: []string{"Updating Field"}},
	{args: ask("dcmi asset_tag"), wants: []string{"Asset tag: row-12/rack-0007/unit-4"}},
	{args: ask("dcmi get_mc_id_string"), wants: []string{"Identifier String: node0"}},
	{args: ask("dcmi set_mc_id_string the-bmc-of-node-number-1"), wants: []string{"the-bmc-of-node-number-1"}},
	{args: ask("dcmi get_mc_id_string"), wants: []string{"Identifier String: the-bmc-of-node-number-1"}},
	{args: ask("pef info"), wants: []string{"0x51 | 16 | 0 |"}},
}

// onAtLoad is a chassis that is on, and a server for it.
func onAtLoad(t *testing.T, share float64) (*bmctest.Chassis, *Server) {
	t.Helper()
	chassis := bmctest.NewChassis()
	s := listen(t, chassis)
	chassis.SetLoad(bmc.Load{CPU: share})
	chassis.SetPower(state.PowerOn)
	return chassis, s
}

func TestIntegrationIPMIToolReadsSensorsAndLogs(t *testing.T) {
	t.Parallel()
	_, s := onAtLoad(t, 0.3)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "event"), []byte("0x04 0x01 0x01 0x01 0x57 0x60 0x55 # text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := s.engine.opened.UTC().Format("01/02/06")
	fill := strings.NewReplacer("DIR", dir, "TODAY", now)
	for _, tc := range sensorCases {
		args := []string{"-I", "lanplus", "-P", "secret", "-C", "17", "-R", "1", "-N", "2"}
		for _, arg := range tc.args {
			args = append(args, fill.Replace(arg))
		}
		out, err := ipmitool(t, s, args...)
		if (err != nil) != tc.fails {
			t.Errorf("ipmitool %s: error %v, output %q; want failure %t", tc.args, err, out, tc.fails)
		}
		for _, want := range tc.wants {
			if !strings.Contains(out, fill.Replace(want)) {
				t.Errorf("ipmitool %s: got %q, want it to contain %q", tc.args, out, fill.Replace(want))
			}
		}
		for _, not := range tc.nots {
			if strings.Contains(out, fill.Replace(not)) {
				t.Errorf("ipmitool %s: got %q, want it without %q", tc.args, out, not)
			}
		}
	}
}

// TestIntegrationIronicReadsSensors parses `sdr -v` as ironic.drivers.modules.ipmitool does: blocks
// of "key: value" lines, each of a sensor with a type; a sensor counts if it has a reading.
func TestIntegrationIronicReadsSensors(t *testing.T) {
	t.Parallel()
	chassis, s := onAtLoad(t, 0.3)
	for power, want := range map[state.Power]map[string][]string{
		state.PowerOn: {"Temperature": {"CPU Temp (0x2)", "50 (+/- 0) degrees C"}, "Fan": {"Fan 2 (0x5)", "5300 (+/- 0) RPM"},
			"Voltage": {"12 V (0x8)", "12.120 (+/- 0) Volts"}, "Power": {"PSU Input (0x6)", "70 (+/- 0) Watts"}},
		state.PowerOff: {"Temperature": {"Inlet Temp (0x1)", "23 (+/- 0) degrees C"}, "Power": {"PSU Input (0x6)", "6 (+/- 0) Watts"}},
	} {
		chassis.SetPower(power)
		got, err := ironicSensors(stdout(t, "ipmitool", "-I", "lanplus", "-H", "127.0.0.1", "-p", portOf(s), "-L", "ADMINISTRATOR", "-U", "admin", "-R", "1", "-N", "2", "-P", "secret", "sdr", "-v"))
		if err != nil {
			t.Errorf("%s: %v", power, err)
		}
		for kind, pair := range want {
			if reading := got[kind][pair[0]]["Sensor Reading"]; reading != pair[1] {
				t.Errorf("%s: %s of %s: got %q, want %q in %v", power, pair[0], kind, reading, pair[1], got[kind])
			}
		}
	}
}

func ironicSensors(out string) (map[string]map[string]map[string]string, error) {
	sensors := map[string]map[string]map[string]string{}
	for block := range strings.SplitSeq(out, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(block) {
			if kv := strings.Split(line, ":"); len(kv) == 2 {
				fields[strings.TrimSpace(kv[0])] = strings.TrimSpace(kv[1])
			}
		}
		if len(fields) == 0 {
			continue
		}
		kind := ""
		for _, key := range []string{"Sensor Type (Analog)", "Sensor Type (Discrete)", "Sensor Type (Threshold)"} {
			if v, ok := fields[key]; ok && kind == "" {
				kind, _, _ = strings.Cut(v, " ")
			}
		}
		if kind == "" {
			return nil, fmt.Errorf("a block without sensor type: %q", block)
		}
		if _, ok := fields["Sensor Reading"]; ok {
			if sensors[kind] == nil {
				sensors[kind] = map[string]map[string]string{}
			}
			sensors[kind][fields["Sensor ID"]] = fields
		}
	}
	return sensors, nil
}

func portOf(s *Server) string { return fmt.Sprint(s.Addr().Port()) }

// stdout runs an installed program, or skips.
func stdout(t *testing.T, program string, args ...string) string {
	t.Helper()
	return stdoutWithin(t, toolTimeout, program, args...)
}

func stdoutWithin(t *testing.T, limit time.Duration, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: its checks are skipped", program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		t.Errorf("%s %s: %v; printed %q", program, args, err, out)
	}
	return string(out)
}

func TestIntegrationFreeIPMIReadsSensorsAndLogs(t *testing.T) {
	t.Parallel()
	_, s := onAtLoad(t, 0.3)
	dir := t.TempDir()
	for _, tc := range []struct {
		program, args string
		wants         []string
	}{
		{"ipmi-sensors", "--sdr-cache-directory=" + dir + " --output-sensor-state --no-header-output --comma-separated-output --quiet-cache",
			[]string{"Inlet Temp,Temperature,Nominal,23.00,C,'OK'", "Fan 2,Fan,Nominal,5300.00,RPM,'OK'", "PSU Input,Power Supply,Nominal,70.00,W,'OK'",
				"12 V,Voltage,Nominal,12.12,V,'OK'", "CPU Usage,Other Units Based Sensor,Nominal,30.00,%,'OK'", "PSU Status,Power Supply,Nominal,N/A,N/A,'Presence detected'"}},
		{"ipmi-sensors", "--sdr-cache-directory=" + dir + " -v --quiet-cache", []string{"Upper Critical Threshold: 42.000000 C", "Sensor Max. Reading: 15.300000 V"}},
		{"ipmi-sel", "--sdr-cache-directory=" + dir + " --quiet-cache", []string{"Power Off/Power Down ; OEM Event Data2 code = 00h", "Initiated by power up"}},
		{"ipmi-sel", "--info", []string{"SEL version                            : 1.5", "Number of log entries                  : 2"}},
		{"ipmi-fru", "--sdr-cache-directory=" + dir + " --quiet-cache", []string{"FRU Inventory Device: System (ID 00h)", "FRU Product Manufacturer Name: Tenks", "FRU Chassis Serial Number: 6b1f9a3e"}},
		{"ipmi-dcmi", "--get-system-power-statistics", []string{"Current Power                        : 70 Watts", "Power Measurement                    : Active"}},
		{"ipmi-dcmi", "--get-dcmi-capability-info", []string{"Power Management / Monitoring Support              : Available", "Number of SEL entries                              : 1024"}},
		{"ipmi-dcmi", "--get-management-controller-identifier-string", []string{"node0"}},
	} {
		out := stdout(t, tc.program, append([]string{"-h", "127.0.0.1:" + portOf(s), "-u", "admin", "-p", "secret", "-D", "LAN_2_0", "-I", "17", "-l", "admin"}, ask(tc.args)...)...)
		for _, want := range tc.wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s %s: got %q, want it to contain %q", tc.program, tc.args, out, want)
			}
		}
	}
}

// slowToolTimeout is for pyghmi, whose thread at times sleeps over an answer that came at
// once, and asks again after half a second to a second.
const slowToolTimeout = time.Minute

// pyghmiScript prints what each of the calls returns.
const pyghmiScript = `
import sys
from pyghmi.ipmi import command
c = command.Command(bmc='127.0.0.1', userid='admin', password='secret', port=int(sys.argv[1]))
for s in c.get_sensor_data(): print('sensor', s.name, s.value, s.units, s.states, s.health)
for e in c.get_event_log(): print('event', e['component'], e['event'], e['deassertion'])
for name, i in c.get_inventory(): print('inventory', name, i['Manufacturer'], i['Serial Number'])
c.ipmi_session.logout()
`

func TestIntegrationPyghmiReadsSensorsAndLogs(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // the distribution's, which has its packages
	if err := exec.CommandContext(t.Context(), python, "-c", "import pyghmi").Run(); err != nil {
		t.Skip("pyghmi is not installed: its checks are skipped")
	}
	_, s := onAtLoad(t, 0.3)
	out := stdoutWithin(t, slowToolTimeout, python, "-c", pyghmiScript, portOf(s))
	for _, want := range []string{"sensor Inlet Temp 23.0 °C [] 0\n", "sensor Fan 1 5300.0 RPM [] 0\n", "sensor PSU Input 70.0 W [] 0\n", "sensor PSU Status None  ['Present'] 0\n",
		"event Power Unit Power on True\n", "event System Boot Power up False\n", "inventory System Tenks 6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("pyghmi: got %q, want it to contain %q", out, want)
		}
	}
}
