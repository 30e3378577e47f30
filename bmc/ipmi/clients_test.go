package ipmi

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// configCases are runs of ipmitool against one BMC, in order.
var configCases = []toolCase{
	{args: "user list 1", wants: []string{"2   admin            true    false      true       ADMINISTRATOR", "10 "}},
	{args: "user summary 1", wants: []string{"Maximum IDs\t    : 10", "Enabled User Count  : 1", "Fixed Name Count    : 2"}},
	{args: "user set name 3 op"},
	{args: "user set password 3 pass", wants: []string{"successful"}},
	{args: "user enable 3"},
	{args: "user priv 3 3 1", wants: []string{"successful"}},
	{args: "user list 1", wants: []string{"3   op               true    false      true       OPERATOR"}},
	{args: "-U op -P pass -L OPERATOR power status", wants: []string{"Chassis Power is off"}},
	{args: "-U op -P pass power status", wants: []string{"Unable to establish IPMI v2 / RMCP+ session"}, fails: true}, // as ADMINISTRATOR
	{args: "-U op -P pass -L OPERATOR user set password 3 other", wants: []string{"Insufficient privilege level"}, fails: true},
	{args: "user test 3 16 pass", wants: []string{"Success"}},
	{args: "user test 3 20 pass", wants: []string{"wrong password size"}, fails: true},
	{args: "user test 3 16 other", wants: []string{"password incorrect"}, fails: true},
	{args: "user set password 3 twenty-bytes-long-20 20", wants: []string{"successful"}},
	{args: "-U op -P twenty-bytes-long-20 -L OPERATOR power status", wants: []string{"Chassis Power is off"}},
	{args: "channel setaccess 1 3 callin=on ipmi=on link=on privilege=2", wants: []string{"successful"}},
	{args: "channel getaccess 1 3", wants: []string{"Privilege Level      : USER", "IPMI Messaging       : enabled", "Enable Status        : enabled"}},
	{args: "user disable 3"},
	{args: "channel getaccess 1 3", wants: []string{"Enable Status        : disabled"}},
	{args: "-U op -P twenty-bytes-long-20 -L USER power status", wants: []string{"Unable to establish"}, fails: true},
	{args: "user set name 2 root", wants: []string{"command disabled"}, fails: true},
	{args: "user set password 2 other", wants: []string{"command disabled"}, fails: true},
	{args: "user set password 2 secret", wants: []string{"successful"}},
	{args: "user disable 2", wants: []string{"command disabled"}, fails: true},
	{args: "user test 2 16 secret", wants: []string{"Success"}},
	{args: "user set name 11 x", fails: true},

	{args: "channel info 1", wants: []string{"802.3 LAN", "Access Mode         : always available", "Alerting            : disabled"}},
	{args: "channel authcap 1 4", wants: []string{"KG status                  : default (all zeroes)", "Channel supports IPMI v1.5 : no", "Channel supports IPMI v2.0 : yes"}},
	{args: "channel getciphers sol 1", wants: []string{"17   N/A     hmac_sha256"}},
	{args: "lan set 1 access on", wants: []string{"successful"}},
	{args: "lan set 1 access off", wants: []string{"0x83"}, fails: true},
	{args: "lan set 1 snmp private", wants: []string{"to private"}},
	{args: "lan print 1", wants: []string{
		"IP Address Source       : Static Address", "IP Address              : 127.0.0.1", "Subnet Mask             : 255.0.0.0",
		"MAC Address             : 00:00:00:00:00:00", "SNMP Community String   : private", "RMCP+ Cipher Suites     : 3,17",
		"Cipher Suite Priv Max   : aaXXX", "Bad Password Threshold  : 10", "802.1q VLAN ID          : Disabled"}},
	{args: "lan6 print 1", wants: []string{"IPv6/IPv4 Addressing Enables: ipv4", "Static address max:  1", "IPv6 Number of Dynamic Router Info Sets: 0"}},
	{args: "lan stats get 1", wants: []string{"IP Rx Header Errors       : 0"}},
	{args: "lan stats clear 1"},

	{args: "mc getsysinfo system_name", wants: []string{"node0"}},
	{args: "mc setsysinfo primary_os_name a-name-of-more-than-a-block"},
	{args: "mc getsysinfo primary_os_name", wants: []string{"a-name-of-more-than-a-block"}},
	{args: "mc getsysinfo system_fw_version", wants: []string{firmwareName}},
	{args: "mc getenables", wants: []string{"System Event Logging                     : enabled"}},
	{args: "mc watchdog get", wants: []string{"Watchdog Timer Is:      Stopped"}},
	{args: "mc watchdog reset", wants: []string{"uninitialized"}, fails: true},
	{args: "mc watchdog off", wants: []string{"timer stopped"}},
	{args: "mc watchdog reset", wants: []string{"countdown restarted"}},
	{args: "mc watchdog get", wants: []string{"Started/Running", "SMS/OS", "Initial Countdown:      300.0 sec"}},
	{args: "mc watchdog off", wants: []string{"timer stopped"}},

	{args: "chassis identify", wants: []string{"default (15 seconds)"}},
	{args: "chassis identify force", wants: []string{"indefinite"}},
	{args: "chassis identify 0", wants: []string{"off"}},
	{args: "chassis status", wants: []string{"Power Button Disable : allowed", "Power Button Disabled: false", "Front-Panel Lockout  : inactive"}},
	{args: "chassis restart_cause", wants: []string{"unknown"}},
	{args: "power on", wants: []string{"Up/On"}},
	{args: "chassis restart_cause", wants: []string{"chassis power control command"}},
	{args: "chassis poh", wants: []string{"POH Counter  : 0 days, 0 hours"}},
	{args: "chassis bootparam get 0", wants: []string{"Set In Progress : set complete"}},
	{args: "chassis bootparam get 1", wants: []string{"Service Partition Selector : unspecified"}},
	{args: "chassis bootparam get 2", wants: []string{"Service Partition Scan"}},
	{args: "chassis bootparam set bootflag force_pxe options=no-timeout", wants: []string{"force_pxe"}},
	{args: "chassis bootparam get 3", wants: []string{"Boot parameter 3 is valid/unlocked"}},
	{args: "chassis bootparam get 4", wants: []string{"Boot Info Acknowledge"}},
	{args: "chassis bootparam get 5", wants: []string{"Force PXE", "Boot Flag Valid"}},
	{args: "chassis bootparam get 6", wants: []string{"Boot Initiator Info", "Session Id     : 00000000h"}},
	{args: "chassis bootparam get 7", wants: []string{"IANA PEN"}},
	{args: "chassis bootmbox set text 7154 hello"},
	{args: "chassis bootmbox get text", wants: []string{"hello"}},
	{args: "session info active", wants: []string{"user id                       : 2"}},
	{args: "session info handle 1", wants: []string{"session type                  : IPMIv2/RMCP+"}},
	{args: "session info all", wants: []string{"slot count                    : 36"}},
	{args: "pef info", wants: []string{"0x51 | 16 | 0 |", "Power-off,Reset,Power-cycle,Diagnostic-interrupt"}},
	{args: "pef status", wants: []string{" | 0x0000 | 0x0000"}},
	{args: "pef filter list", wants: []string{" 16 | disabled, configurable"}},
	{args: "pef filter enable 2"},
	{args: "pef policy list", wants: []string{"PEF Alert Policy isn't supported."}, fails: true},
	{args: "dcmi thermalpolicy set 0x40 1 nonvolatile nopoweroff sel 40 60"},
	{args: "dcmi thermalpolicy get 0x40 1", wants: []string{"Temperature Limit                         40 degrees", "Exception Time                            60 seconds"}},
	{args: "dcmi power reading 15_min", wants: []string{"Average power reading over sample period:"}},
	{args: "mc info", wants: []string{"Provides Device SDRs      : yes"}},
	{args: "raw 0x06 0x52 0 0 1", wants: []string{"rsp=0xc1"}, fails: true},
	{args: "raw 0x2c 0x3e 0", wants: []string{"rsp=0xc1"}, fails: true},
	{args: "raw 0x0c 0x01 1 3 192 0 2 1", wants: []string{"rsp=0x82"}, fails: true},
}

func TestIntegrationIPMIToolConfiguresABMC(t *testing.T) {
	t.Parallel()
	s := listen(t, bmctest.NewChassis())
	for _, tc := range configCases {
		out, err := ipmitool(t, s, append([]string{"-I", "lanplus", "-P", "secret", "-R", "1", "-N", "2", "-C", "17"}, strings.Fields(tc.args)...)...)
		tc.check(t, "ipmitool", out, err)
	}
}

// check compares what a client said with what it should have.
func (tc toolCase) check(t *testing.T, tool, out string, err error) {
	t.Helper()
	if (err != nil) != tc.fails {
		t.Errorf("%s %s: error %v, output %q; want failure %t", tool, tc.args, err, out, tc.fails)
	}
	for _, want := range tc.wants {
		if !strings.Contains(out, want) {
			t.Errorf("%s %s: got %q, want it to contain %q", tool, tc.args, out, want)
		}
	}
}

func TestIntegrationIPMIToolResetsABMC(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"warm", "cold"} {
		s := listen(t, bmctest.NewChassis())
		out, err := ipmitool(t, s, "-I", "lanplus", "-P", "secret", "-R", "1", "-N", "2", "-C", "17", "mc", "reset", how)
		toolCase{args: "mc reset " + how, wants: []string{"Sent " + how + " reset command to MC"}}.check(t, "ipmitool", out, err)
		// It asks again until the BMC is back, as Ironic does.
		out, err = ipmitool(t, s, "-I", "lanplus", "-P", "secret", "-R", "8", "-N", "1", "-C", "17", "power", "status")
		toolCase{args: "power status", wants: []string{"Chassis Power is off"}}.check(t, "ipmitool", out, err)
	}
}

func TestIntegrationClientsLogInWithTwoKeys(t *testing.T) {
	t.Parallel()
	s := listenWith(t, func(cfg *Config) { cfg.BMCKey = state.NewSecret("key") })
	for _, tc := range []toolCase{
		{args: "-k key power status", wants: []string{"Chassis Power is off"}},
		{args: "-y 6b6579 power status", wants: []string{"Chassis Power is off"}},
		{args: "-k yek power status", wants: []string{"Unable to establish"}, fails: true},
		{args: "power status", wants: []string{"Unable to establish"}, fails: true},
	} {
		out, err := ipmitool(t, s, append([]string{"-I", "lanplus", "-P", "secret", "-R", "1", "-N", "2", "-C", "3"}, strings.Fields(tc.args)...)...)
		tc.check(t, "ipmitool", out, err)
	}
	for _, tc := range []toolCase{
		{args: "ipmipower -k key --stat", wants: []string{": off"}},
		{args: "ipmipower --stat", wants: []string{"k_g invalid"}, fails: true},
	} {
		out, err := freeIPMI(t, s, tc.args)
		tc.check(t, "", out, err)
	}
}

// freeIPMI runs one of FreeIPMI's tools; its name is the first word of line.
func freeIPMI(t *testing.T, s *Server, line string) (string, error) {
	t.Helper()
	tool, args, _ := strings.Cut(line, " ")
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Skipf("FreeIPMI's %s is not installed: its checks are skipped", tool)
	}
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	all := append([]string{"-h", s.Addr().String(), "-u", "admin", "-p", "secret", "-D", "LAN_2_0", "-l", "ADMIN"}, strings.Fields(args)...)
	out, err := exec.CommandContext(ctx, path, all...).CombinedOutput()
	return string(out), err
}

// freeIPMICases are runs of FreeIPMI's tools against one BMC, in order.
var freeIPMICases = []toolCase{
	{args: "ipmipower --stat", wants: []string{"127.0.0.1: off"}},
	{args: "ipmipower -I 3 --stat", wants: []string{"127.0.0.1: off"}},
	{args: "ipmipower -I 17 --stat", wants: []string{"127.0.0.1: off"}},
	{args: "ipmipower --on", wants: []string{"127.0.0.1: ok"}},
	{args: "ipmipower --cycle", wants: []string{"127.0.0.1: ok"}},
	{args: "ipmipower --reset", wants: []string{"127.0.0.1: ok"}},
	{args: "ipmipower --pulse", wants: []string{"127.0.0.1: ok"}},
	{args: "ipmipower --stat", wants: []string{"127.0.0.1: on"}},
	{args: "ipmipower --soft", wants: []string{"127.0.0.1: ok"}},
	{args: "ipmipower --off", wants: []string{"127.0.0.1: ok"}},
	{args: "bmc-info", wants: []string{"Device ID             : 32", "IPMI Version          : 2.0", "Manufacturer ID       : Intelligent Platform Management Interface forum (7154)",
		"System GUID : ", "System Name                   : node0", "Medium Type          : 802.3 LAN"}},
	{args: "bmc-device --get-self-test-results", wants: []string{"No Error"}},
	{args: "bmc-device --get-acpi-power-state", wants: []string{"S5/G2", "D3"}},
	{args: "bmc-device --get-lan-statistics", wants: []string{"UDP Packets Received           : "}},
	{args: "ipmi-chassis --get-chassis-capabilities", wants: []string{"Diagnostic Interrupt    : provided", "Front Panel Lockout     : provided"}},
	{args: "ipmi-chassis --chassis-identify=FORCE"},
	{args: "ipmi-chassis --get-chassis-status", wants: []string{"System Power                        : off", "Chassis Identify state              : Indefinite on"}},
	{args: "ipmi-chassis --chassis-identify=TURN-OFF"},
	{args: "ipmi-chassis --get-system-restart-cause", wants: []string{"Chassis control command"}},
	{args: "ipmi-chassis --get-power-on-hours-counter", wants: []string{"0 Hours"}},
	// It fails because there is no serial channel, after everything else.
	{args: "bmc-config --checkout", wants: []string{"Username                                      admin", "Access_Mode                          Always_Available",
		"IP_Address                                    127.0.0.1", "K_G", "Bad_Password_Threshold                        10", "Enable_SOL "}, fails: true},
	{args: "bmc-config --commit -e User3:Username=op"},
	{args: "bmc-config --commit -e User3:Password=pass"},
	{args: "bmc-config --commit -e User3:Enable_User=Yes"},
	{args: "bmc-config --commit -e User3:Lan_Privilege_Limit=Operator"},
	{args: "bmc-config --checkout -S User3", wants: []string{"Username                                      op", "Enable_User                                   Yes", "Lan_Privilege_Limit                           Operator"}},
	{args: "ipmipower -u op -p pass -l OPERATOR --stat", wants: []string{": off"}},
	{args: "ipmipower -u op -p wrong -l OPERATOR --stat", wants: []string{"password invalid"}, fails: true},
	{args: "bmc-config --commit -e Lan_Conf:IP_Address=192.0.2.1", wants: []string{"Read Only Field"}, fails: true},
	{args: "bmc-config --commit -e Lan_Conf:IP_Address=127.0.0.1"},
	{args: "ipmi-config --category=chassis --checkout", wants: []string{"Boot_Device", "Power_Restore_Policy"}},
	{args: "ipmi-config --category=chassis --commit -e Chassis_Boot_Flags:Boot_Device=PXE"},
	{args: "ipmi-pef-config --info", wants: []string{"Number of Event Filter Table entries   : 16", "Power reset action                     : supported"}},
	{args: "ipmi-pef-config --commit -e PEF_Conf:Enable_PEF=Yes"},
	{args: "ipmi-pef-config --commit -e PEF_Conf:Enable_Reset_Action=Yes"},
	{args: "ipmi-pef-config --commit -e PEF_Conf:Enable_Alert_Action=Yes", wants: []string{"Unsupported"}, fails: true},
	{args: "ipmi-pef-config --commit -e Event_Filter_1:Enable_Filter=Yes"},
	{args: "ipmi-pef-config --checkout", wants: []string{"Enable_PEF                                    Yes", "Enable_Reset_Action                           Yes", "Section Event_Filter_16"}},
	{args: "ipmi-dcmi --get-enhanced-system-power-statistics", wants: []string{"Rolling Average Time Period 15 Minutes", "Statistics reporting time period     : 3600000 milliseconds"}},
	{args: "bmc-device --warm-reset"},
}

func TestIntegrationFreeIPMIGetsWhatItAsksFor(t *testing.T) {
	t.Parallel()
	chassis := bmctest.NewChassis()
	s := listen(t, chassis)
	for _, tc := range freeIPMICases {
		out, err := freeIPMI(t, s, tc.args)
		tc.check(t, "", out, err)
	}
	if got := chassis.Status().Boot.Device; got != state.BootPXE {
		t.Errorf("boot device after ipmi-config: got %q, want %q", got, state.BootPXE)
	}
}

func TestIntegrationPingsAreAnswered(t *testing.T) {
	t.Parallel()
	// The tools know no other port than 623.
	s, err := Listen(t.Context(), "127.0.6.23:623", testConfig(bmctest.NewChassis()))
	if err != nil {
		t.Skipf("port 623 cannot be used here: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, tool := range []string{"rmcpping", "ipmiping"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("%s is not installed: its checks are skipped", tool)
		}
		ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
		out, err := exec.CommandContext(ctx, path, "-c", "1", "-t", "5", "127.0.6.23").CombinedOutput()
		cancel()
		if err != nil || !strings.Contains(string(out), ", 0.0% packet loss") {
			t.Errorf("%s: %v, %q; want no loss", tool, err, out)
		}
	}
}

// pyghmiConfigScript prints what the client of OpenStack's sushy and others makes of a BMC.
const pyghmiConfigScript = `
import sys
from pyghmi.ipmi import command
c = command.Command(bmc='127.0.0.1', port=int(sys.argv[1]), userid='admin', password='secret')
print('power', c.get_power())
print('on', c.set_power('on'))
print('boot', c.set_bootdev('network', persist=True, uefiboot=True), c.get_bootdev())
print('users', {k: (v['name'], v['access']['privilege_level']) for k, v in c.get_users().items()})
print('channel', c.get_channel_access()['access_mode'], c.get_channel_info()['Channel Medium type'])
print('network', c.get_net_configuration()['ipv4_address'])
print('identify', c.set_identify(True, 5))
print('off', c.set_power('off'))
c.ipmi_session.logout()
`

func TestIntegrationPyghmiGetsWhatItAsksFor(t *testing.T) {
	t.Parallel()
	python := pythonWith(t, "pyghmi")
	chassis := bmctest.NewChassis()
	s := listen(t, chassis)
	// Its two threads miss each other now and then when an answer comes within microseconds:
	// it sleeps until it would ask again, for each of some forty commands at worst.
	ctx, cancel := context.WithTimeout(t.Context(), 3*toolTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", pyghmiConfigScript, strconv.Itoa(int(s.Addr().Port()))).CombinedOutput()
	toolCase{args: "script", wants: []string{
		"power {'powerstate': 'off'}", "on {'pendingpowerstate': 'on'}",
		"boot {'bootdev': 'network'} {'bootdev': 'network', 'persistent': True, 'uefimode': True}",
		"users {2: ('admin', 'administrator')}", "channel always 802.3 LAN", "network 127.0.0.1/8",
		"identify None", "off {'pendingpowerstate': 'off'}"}}.check(t, "pyghmi", string(out), err)
	if want := (state.Boot{Device: state.BootPXE, Persistent: true, EFI: true}); chassis.Status().Boot != want {
		t.Errorf("boot: got %+v, want %+v", chassis.Status().Boot, want)
	}
}

// pythonWith finds an interpreter that has a module.
func pythonWith(t *testing.T, module string) string {
	t.Helper()
	var err error
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		failed := exec.CommandContext(t.Context(), python, "-c", "import "+module).Run()
		if failed == nil {
			return python
		}
		err = errors.Join(err, failed)
	}
	t.Skipf("Python's module %s is not installed: its checks are skipped (%v)", module, err)
	return ""
}
