package pdu

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// TestIntegrationNetSNMP has net-snmp's programs (Debian: snmp) read and switch.
func TestIntegrationNetSNMP(t *testing.T) {
	for _, program := range []string{"snmpget", "snmpset", "snmpwalk", "snmpbulkwalk"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	secure := []string{"-v3", "-u", testUser, "-A", testPassword, "-X", testPassword, "-x", "AES"}
	for name, login := range map[string][]string{
		"v1":                {"-v1", "-c", "one"},
		"v2c":               {"-v2c", "-c", "one"},
		"v3 authNoPriv":     {"-v3", "-u", testUser, "-l", "authNoPriv", "-a", "SHA", "-A", testPassword},
		"v3 authPriv SHA":   append([]string{"-l", "authPriv", "-a", "SHA"}, secure...),
		"v3 authPriv SHA-2": append([]string{"-l", "authPriv", "-a", "SHA-256"}, secure...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := newServer(t)
			run := func(program string, args ...string) string {
				t.Helper()
				all := append([]string{"-r", "0", "-t", "5", "-On", "-m", ""}, login...)
				cmd := exec.CommandContext(t.Context(), program, append(append(all, s.Address().String()), args...)...)
				cmd.Env = append(cmd.Environ(), "SNMP_PERSISTENT_DIR="+t.TempDir())
				out, err := cmd.Output()
				var failed *exec.ExitError
				if errors.As(err, &failed) {
					out = append(out, failed.Stderr...)
				}
				if err != nil && !strings.Contains(string(out), "Reason") {
					t.Errorf("%s %v: %v", program, args, err)
				}
				return strings.TrimSpace(string(out))
			}
			if got, want := run("snmpget", sysName, rackCommand+"1"), ".1.3.6.1.2.1.1.5.0 = STRING: \"rack1\"\n"+rackCommand+"1 = INTEGER: 1"; got != want {
				t.Errorf("get:\n%s", got)
			}
			if got, told := run("snmpset", rackCommand+"1", "i", "2"), r.commands(); got != rackCommand+"1 = INTEGER: 2" || told != "[off u1]" {
				t.Errorf("set: %s, %s", got, told)
			}
			if got := run("snmpset", rackCommand+"1", "i", "42"); !strings.Contains(got, "badValue") && !strings.Contains(got, "wrongValue") {
				t.Errorf("set to 42: %s", got)
			}
			walks := []string{"snmpwalk", "snmpbulkwalk"}
			if name == "v1" {
				walks = walks[:1]
			}
			for _, program := range walks {
				got := run(program, strings.TrimSuffix(rackState, "."))
				if want := rackState + "1 = INTEGER: 2\n" + rackState + "2 = INTEGER: 2\n" + rackState + "4 = INTEGER: 1\n" + rackState + "300 = INTEGER: 3"; got != want {
					t.Errorf("%s:\n%s", program, got)
				}
				if got := strings.Count(run(program, ".1.3.6.1"), "\n"); got < 112 {
					t.Errorf("%s of all: %d lines", program, got)
				}
			}
		})
	}
}
