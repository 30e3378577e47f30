package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
)

// ask is a run of a client of IPMI: a command line as a shell would split it, with single
// quotes, and what its output must match. A line that begins with "-" is not to succeed.
// DIR is a folder to write to.
type ask struct{ line, want string }

// clientTables are what each client is asked, in order, of a real machine with a BIOS and
// a disk that prints and waits. Every subcommand that has to do with a BMC over LAN is in
// one of them.
var clientTables = []struct {
	client string
	// prefix has the way to the BMC; ADDRESS, PORT.
	prefix string
	// named clients are programs of their own: the first word of each line is one.
	named bool
	asks  []ask
}{
	{"ipmitool", "ipmitool -I lanplus -H ADDRESS -p PORT -U admin -P secret -C 17 -R 1 -N 3", false, ipmitoolAsks},
	{"FreeIPMI", "-h ADDRESS:PORT -u admin -p secret -D LAN_2_0 -I 17 -l ADMIN", true, freeIPMIAsks},
}

var ipmitoolAsks = []ask{
	{"power status", `Chassis Power is off`},
	{"- power reset", `Command not supported in present state`},
	{"- power cycle", `Command not supported in present state`},
	{"chassis bootdev disk options=persistent", `Set Boot Device to disk`},
	{"power on", `Chassis Power Control: Up/On`},
	{"power status", `Chassis Power is on`},
	{"power cycle", `Chassis Power Control: Cycle`},
	{"power reset", `Chassis Power Control: Reset`},
	{"power diag", `Chassis Power Control: Diag`},
	{"power soft", `Chassis Power Control: Soft`},
	{"chassis status", `System Power         : on[\s\S]*Power Restore Policy : previous[\s\S]*Last Power Event     : command`},
	{"chassis restart_cause", `chassis power control command`},
	{"chassis poh", `POH Counter  : 0 days, 0 hours`},
	{"chassis selftest", `passed`},
	{"chassis identify", `default \(15 seconds\)`},
	{"chassis identify force", `indefinite`},
	{"chassis status", `System Power         : on`},
	{"chassis identify 0", `off`},
	{"chassis policy list", `always-off always-on previous`},
	{"chassis policy always-off", `always-off`},
	{"chassis status", `Power Restore Policy : always-off`},
	{"chassis policy previous", `previous`},
	{"raw 0x00 0x08 0x03 0x08", `^\s*$`},
	{"chassis bootdev pxe", `Set Boot Device to pxe`},
	{"chassis bootparam get 5", `only next boot[\s\S]*Force PXE`},
	{"chassis bootdev disk options=persistent,efiboot", `disk`},
	{"chassis bootparam get 5", `all future boots[\s\S]*BIOS EFI boot[\s\S]*default Hard-Drive`},
	{"chassis bootdev cdrom options=persistent", `cdrom`},
	{"chassis bootparam get 5", `Force Boot from CD/DVD`},
	{"chassis bootdev bios", `bios`},
	{"chassis bootdev safe", `safe`},
	{"chassis bootdev none", `none`},
	{"chassis bootparam get 0", `set complete`},
	{"chassis bootparam get 1", `Service Partition`},
	{"chassis bootparam get 2", `Service Partition Scan`},
	{"chassis bootparam get 3", `Boot parameter version: 1`},
	{"chassis bootparam get 4", `Boot Info Acknowledge`},
	{"chassis bootparam get 6", `Boot Initiator Info`},
	{"chassis bootparam get 7", `IANA PEN`},
	{"chassis bootparam set bootflag force_pxe", `force_pxe`},
	{"chassis bootmbox set text 7154 hello", ``},
	{"chassis bootmbox get text", `hello`},
	{"chassis bootdev disk options=persistent", `disk`},

	{"mc info", `IPMI Version              : 2.0[\s\S]*Sensor Device[\s\S]*SEL Device[\s\S]*Chassis Device`},
	{"mc guid", `UUID`},
	{"mc selftest", `passed`},
	{"mc getenables", `System Event Logging                     : enabled`},
	{"mc getsysinfo system_name", `node0`},
	{"mc setsysinfo primary_os_name linux", ``},
	{"mc getsysinfo primary_os_name", `linux`},
	{"mc watchdog get", `Stopped`},
	{"mc watchdog off", `stopped`},
	{"channel info 1", `802.3 LAN`},
	{"channel authcap 1 4", `Channel supports IPMI v2.0 : yes`},
	{"channel getaccess 1 2", `ADMINISTRATOR`},
	{"channel getciphers ipmi 1", `17   N/A     hmac_sha256`},
	{"lan print 1", `IP Address              : ADDRESS[\s\S]*Subnet Mask             : 255\.[\s\S]*MAC Address             : ([0-9a-f]{2}:){5}[0-9a-f]{2}[\s\S]*RMCP\+ Cipher Suites     : 3,17`},
	{"lan6 print 1", `ipv4`},
	{"lan stats get 1", `IP Rx Header Errors`},
	{"- lan set 1 ipaddr 192.0.2.1", `Setting LAN IP Address`},
	{"lan set 1 access on", ``},
	{"user list 1", `2   admin            true    false      true       ADMINISTRATOR`},
	{"user summary 1", `Maximum IDs`},
	{"user set name 3 op", ``},
	{"user set password 3 pass", `successful`},
	{"user enable 3", ``},
	{"user priv 3 3 1", `successful`},
	{"-U op -P pass -L OPERATOR power status", `is on`},
	{"- -U op -P pass -L OPERATOR user set password 3 other", `Insufficient privilege`},
	{"user test 3 16 pass", `Success`},
	{"channel setaccess 1 3 callin=on ipmi=on link=on privilege=2", `successful`},
	{"user disable 3", ``},
	{"- user disable 2", `command disabled`},
	{"session info active", `privilege level               : ADMINISTRATOR`},
	{"session info all", `slot count`},

	{"sdr info", `Record Count`},
	{"sdr list", `Inlet Temp       \| \d+ degrees C      \| ok[\s\S]*CPU Usage        \|`},
	{"sdr elist all", `Dynamic MC @ 20h`},
	{"sdr type Temperature", `CPU Temp`},
	{"sdr entity 10.1", `PSU Input`},
	{"sdr get 'Fan 1'", `Sensor Reading        : \d+ \(\+/- 0\) RPM`},
	{"sdr dump DIR/sdr", `Dumping Sensor Data Repository`},
	{"sensor list", `Inlet Temp       \| \d+\.000`},
	{"sensor get 'CPU Temp'", `Upper Critical        : 95.000`},
	{"sensor thresh 'CPU Temp' unc 80", `80.000`},
	{"sel info", `Version          : 1.5`},
	{"sel elist", `Power Unit Power Unit \| Power off/down \| Deasserted[\s\S]*System Boot Initiated`},
	{"event 1", `Upper Critical going high`},
	{"sel list", `Temperature #0x30 \| Upper Critical going high`},
	{"sel get 1", `SEL Record ID          : 0001`},
	{"sel save DIR/sel", `Temperature`},
	{"sel delete 1", `Deleted entry 1`},
	{"sel time get", `\d\d/\d\d/`},
	{"sel time set now", `\d\d/\d\d/`},
	{"sel clear", `Clearing SEL`},
	{"sel elist", `Log area reset/cleared`},
	{"fru print", `Product Manufacturer  : Tenks[\s\S]*Product Serial        : UUID`},
	{"fru read 0 DIR/fru", `Done`},
	{"dcmi discover", `Power management available`},
	{"dcmi power reading", `Instantaneous power reading: +\d+ Watts`},
	{"dcmi power get_limit", `No Active Power Limit`},
	{"dcmi sensors", `Inlet: 1 temperature sensor found`},
	{"dcmi get_temp_reading", `CPU temperature sensors`},
	{"dcmi set_asset_tag rack-7", `rack-7`},
	{"dcmi asset_tag", `Asset tag: rack-7`},
	{"dcmi get_mc_id_string", `node0`},
	{"sol info 1", `Privilege Level                 : OPERATOR`},
	{"sol set retry-count 6 1", ``},
	{"sol payload status 1 2", `is enabled`},
	{"- sol deactivate", `already de-activated`},
	{"- raw 0x2c 0x00 0x00", `rsp=0xc1`},
	{"power off", `Down/Off`},
	{"power off", `Down/Off`},
	{"power status", `is off`},
	{"mc reset warm", `Sent warm reset command`},
	{"-R 8 -N 1 power status", `is off`},
}

var freeIPMIAsks = []ask{
	{"ipmipower --stat", `: off`},
	{"ipmipower --on", `: ok`},
	{"ipmipower --cycle", `: ok`},
	{"ipmipower --reset", `: ok`},
	{"ipmipower --pulse", `: ok`},
	{"ipmipower --soft", `: ok`},
	{"ipmipower --stat", `: on`},
	{"bmc-info", `IPMI Version          : 2.0[\s\S]*System Name                   : node0`},
	{"bmc-device --get-self-test-results", `No Error`},
	{"bmc-device --get-acpi-power-state", `S0`},
	{"bmc-device --get-lan-statistics", `UDP Packets Received`},
	{"ipmi-chassis --get-chassis-status", `System Power                        : on`},
	{"ipmi-chassis --get-chassis-capabilities", `Diagnostic Interrupt    : provided`},
	{"ipmi-chassis --get-system-restart-cause", `Chassis control command`},
	{"ipmi-chassis --get-power-on-hours-counter", `0 Hours`},
	{"ipmi-chassis --chassis-identify=TURN-OFF", ``},
	{"ipmi-sensors --sdr-cache-directory=DIR --quiet-cache --output-sensor-state", `Inlet Temp.*Nominal`},
	{"ipmi-sel --sdr-cache-directory=DIR --quiet-cache", `Power`},
	{"ipmi-sel --info", `SEL version                            : 1.5`},
	{"ipmi-fru --sdr-cache-directory=DIR --quiet-cache", `FRU Product Manufacturer Name: Tenks`},
	{"ipmi-dcmi --get-system-power-statistics", `Current Power                        : \d+ Watts`},
	{"ipmi-dcmi --get-asset-tag", `rack-7`},
	{"bmc-config --checkout -S User2", `admin`},
	{"ipmi-config --category=chassis --checkout", `Power_Restore_Policy`},
	{"ipmipower --off", `: ok`},
	{"ipmipower --stat", `: off`},
	{"bmc-device --warm-reset", ``},
}

// pyghmiCalls prints what calls of pyghmi's Command return, each after a line of its own.
const pyghmiCalls = `
import sys, types
from pyghmi.ipmi import command
c = command.Command(bmc=sys.argv[1], port=int(sys.argv[2]), userid="admin", password="secret")
for call in sys.argv[3:]:
    r = eval("c." + call)
    print("##", call)
    print(list(map(str, r)) if isinstance(r, types.GeneratorType) else r)
c.ipmi_session.logout()
`

var pyghmiAsks = []ask{
	{"get_power()", `'powerstate': 'off'`},
	{"set_power('on',wait=30)", `'powerstate': 'on'`},
	{"set_bootdev('network',persist=True)", `'bootdev': 'network'`},
	{"get_bootdev()", `'bootdev': 'network'`},
	{"set_bootdev('hd',persist=True)", `'bootdev': 'hd'`},
	{"get_mci()", `node0`},
	{"get_users()", `'name': 'admin'`},
	{"get_net_configuration()", `'ipv4_address': '`},
	{"get_sensor_data()", `Inlet Temp`},
	{"get_event_log()", `Power`},
	{"get_inventory()", `Tenks`},
	{"get_health()", `'health'`},
	{"set_identify(True)", `None`},
	{"set_power('reset')", `reset`},
	{"set_power('off',wait=30)", `'powerstate': 'off'`},
	{"get_power()", `'powerstate': 'off'`},
}

var quotes = regexp.MustCompile(`'[^']*'|\S+`)

// words splits a command line.
func words(line string) []string {
	out := quotes.FindAllString(line, -1)
	for i := range out {
		out[i] = strings.Trim(out[i], "'")
	}
	return out
}

func (h *host) answer(args []string) (string, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	out, err := h.Command(ctx, args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

// changing reports whether an answer may become the wanted one once a power change is done.
func changing(line, out string, want *regexp.Regexp) bool {
	status := strings.HasSuffix(line, "power status") || strings.HasSuffix(line, "--stat")
	// ipmipower says nothing of a BMC that is busy.
	silent := strings.HasPrefix(line, "ipmipower") && strings.TrimSpace(out) == ""
	return strings.Contains(out, "Node busy") || silent || status && !want.MatchString(out)
}

// clients runs the tables against a node of name node0 with the account admin, secret.
func (h *host) clients(t *testing.T, n api.Node) {
	dir := t.TempDir()
	fill := strings.NewReplacer("ADDRESS", n.BMC.Address, "PORT", fmt.Sprint(n.BMC.Port), "UUID", n.UUID, "DIR", dir)
	for _, table := range clientTables {
		t.Run(table.client, func(t *testing.T) {
			var report strings.Builder
			passed, began := 0, time.Now()
			for _, a := range table.asks {
				line, fails := strings.CutPrefix(a.line, "- ")
				args := append(words(fill.Replace(table.prefix)), words(fill.Replace(line))...)
				if table.named {
					own := words(fill.Replace(line))
					if _, err := exec.LookPath(own[0]); err != nil {
						t.Skipf("%s (FreeIPMI) is not installed", own[0])
					}
					args = append(append([]string{own[0]}, words(fill.Replace(table.prefix))...), own[1:]...)
				}
				out, err := h.answer(args)
				want := regexp.MustCompile(fill.Replace(a.want))
				// A power change goes on after its answer, and the next one is refused until then.
				for end := time.Now().Add(15 * time.Second); changing(line, out, want) && time.Now().Before(end); {
					out, err = h.answer(args)
				}
				word := "FAIL"
				if (err != nil) == fails && want.MatchString(out) {
					word = "pass"
					passed++
				} else {
					t.Errorf("%s %s: %v, want a failure: %t; printed %q, want a match of %q", table.client, line, err, fails, out, fill.Replace(a.want))
				}
				fmt.Fprintf(&report, "  %-4s  %s\n", word, line)
			}
			t.Logf("%s: %d of %d in %v\n%s", table.client, passed, len(table.asks), time.Since(began).Round(time.Millisecond), report.String())
		})
	}
}

// pyghmi makes its calls in one session: a client in Python takes a second to begin.
func (h *host) pyghmi(t *testing.T, n api.Node) {
	t.Helper()
	const python = "/usr/bin/python3" // the distribution's, which has its packages
	if err := exec.CommandContext(t.Context(), python, "-c", "import pyghmi").Run(); err != nil {
		t.Skip("pyghmi is not installed")
	}
	args := []string{"-c", pyghmiCalls, n.BMC.Address, fmt.Sprint(n.BMC.Port)}
	for _, a := range pyghmiAsks {
		args = append(args, a.line)
	}
	began := time.Now()
	out := h.run(python, args...)
	answers := strings.Split(out, "## ")[1:]
	if len(answers) != len(pyghmiAsks) {
		t.Fatalf("%d answers to %d calls: %s", len(answers), len(pyghmiAsks), out)
	}
	passed := 0
	for i, a := range pyghmiAsks {
		if _, answer, _ := strings.Cut(answers[i], "\n"); regexp.MustCompile(a.want).MatchString(answer) {
			passed++
			continue
		}
		t.Errorf("pyghmi: %q, want a match of %q", answers[i], a.want)
	}
	t.Logf("pyghmi: %d of %d in %v", passed, len(pyghmiAsks), time.Since(began).Round(time.Millisecond))
}

func TestIntegrationClientsOfIPMIWorkAMachine(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	h.init(agentYAML)
	if err := os.WriteFile(h.Path("/etc/bmc-password"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := strings.Replace(demo(1), "{type: small, count: 1}", "{type: small, count: 1, node_name_prefix: node}", 1) +
		"bmc: {username: admin, password_file: " + h.Path("/etc/bmc-password") + "}\n"
	h.tenks("apply", "-f", h.write("demo.yml", file), "--wait=2m")
	n := h.node("node0")
	h.writeBootSector(n)
	h.clients(t, n)
	t.Run("pyghmi", func(t *testing.T) { h.pyghmi(t, n) })
	t.Run("ipmiconsole", func(t *testing.T) { h.consoleOf(t, n) })
}

// consoleOf watches a start by FreeIPMI's console, types, and leaves.
func (h *host) consoleOf(t *testing.T, n api.Node) {
	t.Helper()
	path, err := exec.LookPath("ipmiconsole")
	if err != nil {
		t.Skip("ipmiconsole (FreeIPMI) is not installed")
	}
	// It wants a terminal: script(1) makes one.
	line := fmt.Sprintf("%s -h %s:%d -u admin -p secret -I 17 --serial-keepalive", path, n.BMC.Address, n.BMC.Port)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	s := &screen{done: make(chan error, 1)}
	cmd := h.Command(ctx, "script", "-q", "-e", "-c", line, "/dev/null")
	if s.keys, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = s
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- cmd.Wait() }()
	h.wait(30*time.Second, "ipmiconsole's session", func() bool { return strings.Contains(s.text(), "[SOL established]") })
	if out, err := h.ipmi(n, "power", "on"); err != nil {
		t.Fatalf("power on: %v\n%s", err, out)
	}
	want := chattyText()
	h.wait(time.Minute, "the boot log in ipmiconsole", func() bool { return strings.Contains(s.text(), want) })
	if _, err := s.keys.Write([]byte("root\r")); err != nil {
		t.Fatal(err)
	}
	h.wait(30*time.Second, "an echo", func() bool { return strings.HasSuffix(s.text(), "login: root\r") })
	if _, err := s.keys.Write([]byte("\r&.")); err != nil {
		t.Fatal(err)
	}
	if err := <-s.done; err != nil {
		t.Errorf("ipmiconsole: %v", err)
	}
	t.Logf("ipmiconsole: %d bytes of the guest, whole, and an echo", len(want))
}
