package hostcheck

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenVSwitchIsCheckedWhereItIsNeeded(t *testing.T) {
	dir := t.TempDir()
	o := OVS{DB: "unix:" + filepath.Join(dir, "db.sock")}
	expect := func(state, detail string) {
		t.Helper()
		c := o.check(t.Context())
		if c.State != state || !strings.Contains(c.Detail, detail) || (state == "ok") != (c.Fix == "") {
			t.Errorf("%+v, want %s: %s", c, state, detail)
		}
	}
	programs(t, nil)
	expect("error", "ovs-vswitchd is not installed")
	programs(t, map[string]string{"ovs-vswitchd": ""})
	expect("error", "does not listen at "+dir)
	l, err := net.Listen("unix", filepath.Join(dir, "db.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expect("error", "ovs-vswitchd does not run")
	pid := filepath.Join(dir, "ovs-vswitchd.pid")
	for _, wrong := range []string{"", "x", "-1", "0", "999999999"} {
		if err := os.WriteFile(pid, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		expect("error", "ovs-vswitchd does not run")
	}
	if err := os.WriteFile(pid, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("ok", dir)
	if _, err := os.Stat("/sys/module/openvswitch"); err != nil {
		o.Kernel = true
		expect("error", "module is not loaded")
	}
	for _, c := range Run(t.Context(), OVS{}) {
		if c.Name == ovsName {
			t.Errorf("it is checked where it is not needed: %+v", c)
		}
	}
}
