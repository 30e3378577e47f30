package ipmi

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// toolTimeout bounds one run of ipmitool.
const toolTimeout = 20 * time.Second

// ipmitool runs the real client against a server and returns what it prints.
func ipmitool(t *testing.T, s *Server, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("ipmitool is not installed: its checks are skipped")
	}
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	all := append([]string{"-H", s.Addr().Addr().String(), "-p", strconv.Itoa(int(s.Addr().Port())), "-U", "admin"}, args...)
	out, err := exec.CommandContext(ctx, path, all...).CombinedOutput()
	return string(out), err
}

func listen(tb testing.TB, chassis *bmctest.Chassis) *Server {
	tb.Helper()
	return listenWith(tb, func(cfg *Config) { cfg.Chassis = chassis })
}

func listenWith(tb testing.TB, edit func(*Config)) *Server {
	tb.Helper()
	cfg := testConfig(bmctest.NewChassis())
	edit(&cfg)
	s, err := Listen(tb.Context(), "127.0.0.1:0", cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}

// A toolCase is a run of ipmitool: what it prints must contain every one of wants.
type toolCase struct {
	args  string
	wants []string
	fails bool
}

var toolCases = []toolCase{
	{args: "chassis power status", wants: []string{"Chassis Power is off\n"}},
	{args: "chassis power reset", wants: []string{"Set Chassis Power Control to Reset failed: Command not supported in present state"}, fails: true},
	{args: "chassis power cycle", wants: []string{"failed: Command not supported in present state"}, fails: true},
	{args: "chassis power on", wants: []string{"Chassis Power Control: Up/On\n"}},
	{args: "chassis power status", wants: []string{"Chassis Power is on\n"}},
	{args: "chassis power on", wants: []string{"Chassis Power Control: Up/On\n"}},
	{args: "chassis power cycle", wants: []string{"Chassis Power Control: Cycle\n"}},
	{args: "chassis power reset", wants: []string{"Chassis Power Control: Reset\n"}},
	{args: "chassis power diag", wants: []string{"Chassis Power Control: Diag\n"}},
	{args: "chassis status", wants: []string{"System Power         : on", "Power Restore Policy : previous", "Last Power Event     : command"}},
	{args: "chassis power soft", wants: []string{"Chassis Power Control: Soft\n"}},
	{args: "chassis power status", wants: []string{"Chassis Power is off\n"}},
	{args: "chassis power off", wants: []string{"Chassis Power Control: Down/Off\n"}},
	{args: "chassis policy list", wants: []string{"always-off always-on previous"}},
	{args: "chassis policy always-on", wants: []string{"Set chassis power restore policy to always-on"}},
	{args: "chassis status", wants: []string{"System Power         : off", "Power Restore Policy : always-on"}},
	{args: "chassis policy previous", wants: []string{"previous"}},
	{args: "chassis restart_cause", wants: []string{"chassis power control command"}},
	{args: "chassis poh", wants: []string{"POH Counter"}},
	{args: "chassis selftest", wants: []string{"passed"}},
	{args: "raw 0x00 0x08 0x03 0x08", wants: []string{"\n"}},
	{args: "chassis bootdev pxe", wants: []string{"Set Boot Device to pxe"}},
	{args: "chassis bootparam get 5", wants: []string{"Boot Flag Valid", "Options apply to only next boot", "BIOS PC Compatible (legacy) boot", "Force PXE"}},
	{args: "chassis bootdev pxe options=efiboot", wants: []string{"Set Boot Device to pxe"}},
	{args: "chassis bootparam get 5", wants: []string{"only next boot", "BIOS EFI boot", "Force PXE"}},
	{args: "chassis bootdev disk options=persistent", wants: []string{"Set Boot Device to disk"}},
	{args: "chassis bootparam get 5", wants: []string{"Options apply to all future boots", "legacy", "Force Boot from default Hard-Drive"}},
	{args: "chassis bootdev cdrom options=persistent,efiboot", wants: []string{"Set Boot Device to cdrom"}},
	{args: "chassis bootparam get 5", wants: []string{"Options apply to all future boots", "BIOS EFI boot", "Force Boot from CD/DVD"}},
	{args: "chassis bootdev bios", wants: []string{"Set Boot Device to bios"}},
	{args: "chassis bootparam get 5", wants: []string{"Force Boot into BIOS Setup"}},
	{args: "chassis bootdev safe", wants: []string{"Set Boot Device to safe"}},
	{args: "raw 0x00 0x08 0x05 0xe0 0x08 0x00 0x00 0x00", wants: []string{"\n"}},
	{args: "chassis bootparam get 5", wants: []string{"e008000000", "all future boots", "BIOS EFI boot", "default Hard-Drive"}},
	{args: "chassis bootdev none", wants: []string{"Set Boot Device to none"}},
	{args: "chassis bootparam get 3", wants: []string{"Boot parameter version: 1"}},
	{args: "mc info", wants: []string{"IPMI Version              : 2.0", "Manufacturer ID           : 7154", "Chassis Device"}},
	{args: "mc guid", wants: []string{testUUID}},
	{args: "mc selftest", wants: []string{"Selftest: passed"}},
	{args: "channel info 1", wants: []string{"802.3 LAN", "multi-session"}},
	{args: "channel getciphers ipmi 1", wants: []string{"3    N/A     hmac_sha1       hmac_sha1_96    aes_cbc_128", "17   N/A     hmac_sha256     sha256_128      aes_cbc_128"}},
	{args: "user list 1", wants: []string{"admin", "ADMINISTRATOR"}},
	{args: "session info active", wants: []string{"user id                       : 2", "privilege level               : ADMINISTRATOR"}},
	{args: "raw 0x2c 0x00 0x00", wants: []string{"rsp=0xc1"}, fails: true},
	{args: "raw 0x06 0x01 0x00", wants: []string{"rsp=0xc7"}, fails: true},
	{args: "raw 0x00 0x02 0x07", wants: []string{"rsp=0xcc"}, fails: true},
}

func TestIPMIToolGetsWhatItAsksFor(t *testing.T) {
	for name, suite := range map[string][]string{"suite 3": {"-C", "3"}, "suite 17": {"-C", "17"}, "suite chosen by the client": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := listen(t, bmctest.NewChassis())
			for _, tc := range toolCases {
				args := append([]string{"-I", "lanplus", "-P", "secret", "-R", "1", "-N", "2"}, suite...)
				out, err := ipmitool(t, s, append(args, strings.Fields(tc.args)...)...)
				if (err != nil) != tc.fails {
					t.Errorf("ipmitool %s: error %v, output %q; want failure %t", tc.args, err, out, tc.fails)
				}
				for _, want := range tc.wants {
					if !strings.Contains(out, want) {
						t.Errorf("ipmitool %s: got %q, want it to contain %q", tc.args, out, want)
					}
				}
			}
		})
	}
}

func TestIPMIToolIsRefused(t *testing.T) {
	s := listen(t, bmctest.NewChassis())
	for _, tc := range []toolCase{
		{args: "-I lanplus -P secret -C 0 power status", wants: []string{"no matching cipher suite"}},
		{args: "-I lanplus -P secret -C 1 power status", wants: []string{"no matching cipher suite"}},
		{args: "-I lanplus -P secret -C 2 power status", wants: []string{"no matching cipher suite"}},
		{args: "-I lanplus -P wrong -C 17 power status", wants: []string{"Unable to establish IPMI v2 / RMCP+ session"}},
		{args: "-I lanplus -P wrong -C 3 power status", wants: []string{"Unable to establish IPMI v2 / RMCP+ session"}},
		{args: "-I lanplus -P secret -C 17 -U nobody power status", wants: []string{"Unable to establish IPMI v2 / RMCP+ session"}},
		{args: "-I lan -P secret power status", wants: []string{"Unable to establish LAN session"}},
		{args: "-I lan -A NONE -P secret power status", wants: []string{"Unable to establish LAN session"}},
		{args: "-I lanplus -P secret -C 17 -L USER power on", wants: []string{"Insufficient privilege level"}},
	} {
		out, err := ipmitool(t, s, append([]string{"-R", "1", "-N", "2"}, strings.Fields(tc.args)...)...)
		if err == nil {
			t.Errorf("ipmitool %s: done, output %q; want it refused", tc.args, out)
		}
		for _, want := range tc.wants {
			if !strings.Contains(out, want) {
				t.Errorf("ipmitool %s: got %q, want it to contain %q", tc.args, out, want)
			}
		}
	}
}

func TestIPMIToolIsToldSoonThatTheNodeIsBusy(t *testing.T) {
	chassis := bmctest.NewChassis()
	s := listen(t, chassis)
	for name, set := range map[string]func(){
		"a driver that refuses":       func() { chassis.FailNext(state.ErrBusy) },
		"a driver that never answers": chassis.HoldNext,
	} {
		set()
		began := time.Now()
		out, err := ipmitool(t, s, "-I", "lanplus", "-P", "secret", "-C", "17", "-R", "1", "-N", "2", "power", "on")
		if took := time.Since(began); err == nil || !strings.Contains(out, "Node busy") || took > 3*time.Second {
			t.Errorf("%s: got %q, error %v after %v; want Node busy within 3 s", name, out, err, took)
		}
	}
	if out, err := ipmitool(t, s, "-I", "lanplus", "-P", "secret", "-C", "17", "power", "on"); err != nil {
		t.Errorf("power on afterwards: %q, %v", out, err)
	}
}
