package ipmi

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// solConsole starts ipmitool's serial console of a server.
func solConsole(t *testing.T, s *Server, args ...string) *terminal {
	t.Helper()
	path, err := exec.LookPath("ipmitool")
	if err != nil {
		t.Skip("ipmitool is not installed: its console is not checked")
	}
	all := []string{"-I", "lanplus", "-H", s.Addr().Addr().String(), "-p", strconv.Itoa(int(s.Addr().Port())), "-U", "admin", "-P", "secret", "sol", "activate"}
	return onTerminal(t, path, append(all, args...)...)
}

// guestOf waits until SOL is attached, and returns the guest's end.
func guestOf(t *testing.T, chassis *bmctest.Chassis) net.Conn {
	t.Helper()
	eventually(t, "console attached", func() bool { return chassis.Guest() != nil }, func() string { return "no guest" })
	return chassis.Guest()
}

// reads collects what was typed until it is as long as want.
func reads(t *testing.T, guest net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = guest.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(guest, got); err != nil || string(got) != want {
		t.Errorf("the guest got %.200q, %v; want %.200q", got[:n], err, want)
	}
}

// bootLog is output of a guest, each line different, of about n bytes.
func bootLog(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "[%5d.%06d] line %d of the boot log: 0123456789 abcdefghijklmnopqrstuvwxyz\r\n", i/100, i*7919%1000000, i)
	}
	return b.String()
}

func running() *bmctest.Chassis {
	chassis := bmctest.NewChassis()
	chassis.SetPower(state.PowerOn)
	return chassis
}

func TestIntegrationIPMIToolHasASerialConsole(t *testing.T) {
	t.Parallel()
	chassis := running()
	s := listen(t, chassis)
	term := solConsole(t, s)
	term.waitFor("[SOL Session operational.  Use ~? for help]")
	guest := guestOf(t, chassis)

	log := bootLog(1 << 20)
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.WriteString(guest, log+"login: ") })
	term.waitFor("login: ")
	took := time.Since(began)
	wg.Wait()
	if !strings.HasSuffix(term.text(), log+"login: ") {
		t.Errorf("of a boot log of %d bytes %d were printed, or not as they were written", len(log), len(term.text()))
	}
	rate := float64(len(log)) / 1024 / took.Seconds()
	t.Logf("%d bytes in %v: %.0f KiB/s", len(log), took, rate)
	if rate < 11.5 {
		t.Errorf("%.1f KiB/s, want at least what 115,200 baud bring", rate)
	}

	// A line at a time, as somebody types; ipmitool drops what a pty gives it faster.
	for i := range 20 {
		line := fmt.Sprintf("command %d\r", i)
		term.typed(line)
		reads(t, guest, line)
		_, _ = fmt.Fprintf(guest, "\r\nanswer %d\r\n", i)
		term.waitFor(fmt.Sprintf("answer %d\r\n", i))
	}

	term.typed("~.")
	term.waitEnd()
	if out := term.text(); term.err != nil || !strings.Contains(out, "[terminated ipmitool]") {
		t.Errorf("~. ended ipmitool with %v, output %.200q", term.err, out[max(0, len(out)-200):])
	}
	eventually(t, "SOL inactive", func() bool { return s.engine.currentSOL(time.Now()) == nil }, func() string { return "still active" })
}

var solToolCases = []toolCase{
	{args: "sol info", wants: []string{"Set in progress                 : set-complete", "Enabled                         : true", "Force Encryption                : true", "Force Authentication            : true",
		"Privilege Level                 : OPERATOR", "Character Accumulate Level (ms) : 10", "Character Send Threshold        : 96", "Retry Count                     : 7", "Retry Interval (ms)             : 100",
		"Volatile Bit Rate (kbps)        : 115.2", "Payload Channel                 : 1"}},
	{args: "sol set character-accumulate-level 4 1", wants: []string{}},
	{args: "sol set character-send-threshold 128 1", wants: []string{}},
	{args: "sol set retry-count 3 1", wants: []string{}},
	{args: "sol set retry-interval 25 1", wants: []string{}},
	{args: "sol set privilege-level admin 1", wants: []string{}},
	{args: "sol set non-volatile-bit-rate 57.6 1", wants: []string{}},
	{args: "sol set volatile-bit-rate 19.2 1", wants: []string{}},
	{args: "sol info 1", wants: []string{"Privilege Level                 : ADMINISTRATOR", "Character Accumulate Level (ms) : 20", "Character Send Threshold        : 128", "Retry Count                     : 3",
		"Retry Interval (ms)             : 250", "Volatile Bit Rate (kbps)        : 19.2", "Non-Volatile Bit Rate (kbps)    : 57.6", "set-complete"}},
	{args: "sol set force-encryption false 1", fails: true},
	{args: "sol set enabled false 1"},
	{args: "sol activate", wants: []string{"SOL payload disabled"}, fails: true},
	{args: "sol set enabled true 1"},
	{args: "sol payload status 1 2", wants: []string{"User 2 on channel 1 is enabled"}},
	{args: "sol payload disable 1 2"},
	{args: "sol payload status 1 2", wants: []string{"User 2 on channel 1 is disabled"}},
	{args: "sol activate", wants: []string{"SOL payload disabled"}, fails: true},
	{args: "sol payload enable 1 2"},
	{args: "sol deactivate", wants: []string{"Info: SOL payload already de-activated"}, fails: true},
	{args: "sol looptest 3 50", wants: []string{"remain loop test counter: 1"}},
}

func TestIntegrationIPMIToolConfiguresSOL(t *testing.T) {
	t.Parallel()
	s := listen(t, running())
	base := []string{"-I", "lanplus", "-P", "secret", "-C", "17", "-R", "1", "-N", "2"}
	for _, tc := range solToolCases {
		out, err := ipmitool(t, s, append(slices.Clone(base), strings.Fields(tc.args)...)...)
		if (err != nil) != tc.fails {
			t.Errorf("ipmitool %s: error %v, output %q; want failure %t", tc.args, err, out, tc.fails)
		}
		for _, want := range tc.wants {
			if !strings.Contains(out, want) {
				t.Errorf("ipmitool %s: got %q, want it to contain %q", tc.args, out, want)
			}
		}
	}
	if out, _ := ipmitool(t, s, append(slices.Clone(base), "sol", "info")...); !strings.Contains(out, fmt.Sprintf("Payload Port                    : %d", s.Addr().Port())) {
		t.Errorf("sol info: %q, want port %d", out, s.Addr().Port())
	}
}

func TestIntegrationIPMIToolTakesSOLOver(t *testing.T) {
	t.Parallel()
	chassis := running()
	s := listen(t, chassis)
	base := []string{"-I", "lanplus", "-P", "secret", "-C", "3", "-R", "1", "-N", "2", "sol"}
	first := solConsole(t, s, "usesolkeepalive")
	first.waitFor("SOL Session operational")
	guestOf(t, chassis)
	if out, err := ipmitool(t, s, append(slices.Clone(base), "activate")...); err == nil || !strings.Contains(out, "Info: SOL payload already active on another session") {
		t.Errorf("a second activation: %v, %q", err, out)
	}
	if out, err := ipmitool(t, s, append(slices.Clone(base), "deactivate")...); err != nil {
		t.Errorf("deactivation from elsewhere: %v, %q", err, out)
	}
	old := chassis.Guest()
	second := solConsole(t, s)
	second.waitFor("SOL Session operational")
	eventually(t, "another guest", func() bool { return chassis.Guest() != old }, func() string { return "the old one" })
	_, _ = io.WriteString(chassis.Guest(), "for the second")
	second.waitFor("for the second")
	second.typed("\r~B\r~.")
	second.waitEnd()
	if strings.Contains(first.text(), "for the second") {
		t.Error("the first console still gets output")
	}
}

func TestIntegrationIPMIToolKeepsItsConsoleOverAPowerCycle(t *testing.T) {
	t.Parallel()
	chassis := running()
	s := listen(t, chassis)
	term := solConsole(t, s)
	term.waitFor("SOL Session operational")
	_, _ = io.WriteString(guestOf(t, chassis), "before\r\n")
	term.waitFor("before")
	old := chassis.Guest()
	if out, err := ipmitool(t, s, "-I", "lanplus", "-P", "secret", "chassis", "power", "cycle"); err != nil {
		t.Fatalf("power cycle: %v, %q", err, out)
	}
	eventually(t, "another guest", func() bool { g := chassis.Guest(); return g != nil && g != old }, func() string { return "the old one" })
	guest := chassis.Guest()
	_, _ = io.WriteString(guest, "after\r\n")
	term.waitFor("after")
	term.typed("x\r")
	reads(t, guest, "x\r")
	term.typed("~.")
	term.waitEnd()
}

// listenLow listens on a port below 32768: FreeIPMI keeps ports in 16 bits with a sign.
func listenLow(t *testing.T, chassis *bmctest.Chassis) *Server {
	t.Helper()
	for port := 20623; port < 20723; port++ {
		s, err := Listen(t.Context(), fmt.Sprintf("127.0.0.1:%d", port), testConfig(chassis))
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	t.Fatal("no port from 20623 to 20722 is free")
	return nil
}

func TestIntegrationIPMIConsoleHasASerialConsole(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("ipmiconsole")
	if err != nil {
		t.Skip("ipmiconsole (freeipmi-tools) is not installed: its console is not checked")
	}
	chassis := running()
	s := listenLow(t, chassis)
	host := fmt.Sprintf("127.0.0.1:%d", s.Addr().Port())
	args := []string{"-h", host, "-u", "admin", "-p", "secret", "-I", "17"}
	term := onTerminal(t, path, args...)
	term.waitFor("[SOL established]")
	guest := guestOf(t, chassis)
	log := bootLog(128 << 10)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.WriteString(guest, log+"login: ") })
	term.waitFor("login: ")
	wg.Wait()
	if !strings.HasSuffix(term.text(), log+"login: ") {
		t.Errorf("of a boot log of %d bytes %d were printed, or not as they were written", len(log), len(term.text()))
	}
	pasted := strings.Repeat("0123456789abcdef", 256)
	for line := range slices.Chunk([]byte(pasted), 1000) {
		term.typed(string(line))
		reads(t, guest, string(line))
	}
	// It takes over what is active; the first one is told.
	second := onTerminal(t, path, args...)
	second.waitFor("[SOL established]")
	term.waitFor("SOL session stolen")
	term.waitEnd()
	second.typed("&B&.")
	second.waitEnd()
}

// pyghmiConsole prints output until "login: ", types, sends a break, and prints what
// follows until "bye".
const pyghmiConsole = `
import sys
from pyghmi.ipmi import console
got = b""
def take(data):
    global got
    if isinstance(data, dict):
        sys.exit(str(data))
    got += data
c = console.Console(bmc="127.0.0.1", userid="admin", password="secret", port=int(sys.argv[1]), iohandler=take, force=True)
while not got.endswith(b"login: "):
    console.Console.wait_for_rsp(0.1)
c.send_data("0123456789" * 100 + "\r")
c.send_break()
while not got.endswith(b"bye"):
    console.Console.wait_for_rsp(0.1)
c.close()
sys.stdout.buffer.write(got)
`

func TestIntegrationPyghmiHasASerialConsole(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // the distribution's, which has its packages
	if err := exec.CommandContext(t.Context(), python, "-c", "import pyghmi").Run(); err != nil {
		t.Skip("pyghmi is not installed: its console is not checked")
	}
	chassis := running()
	s := listen(t, chassis)
	solLogin(t, s).activate(0) // it takes over
	old := guestOf(t, chassis)
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), python, "-c", pyghmiConsole, fmt.Sprint(s.Addr().Port()))
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another guest", func() bool { return chassis.Guest() != old }, func() string { return "the old one" })
	guest, log := chassis.Guest(), bootLog(64<<10)
	_, _ = io.WriteString(guest, log+"login: ")
	reads(t, guest, strings.Repeat("0123456789", 100)+"\r")
	_, _ = io.WriteString(guest, "bye")
	if err := cmd.Wait(); err != nil || out.String() != log+"login: bye" {
		t.Errorf("pyghmi: %v, %s; printed %d bytes, want %d", err, errs.String(), out.Len(), len(log)+10)
	}
}
