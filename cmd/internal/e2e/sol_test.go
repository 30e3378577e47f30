package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/cmd/internal/api"
)

// chatty is a boot sector that prints "guest begins", chattyLines lines and "login: " on
// the first serial port, and echoes what is typed after that (GNU as, .code16; the
// characters are sent one by one, each when the transmitter is empty).
const chatty = "fa31c08ed88ed0bc007cfcbaf90330c0eebe767ce8450031dbbe877ce83d00b9040089dfc1c70489f8240f04303c3976020427e83100e2ec" +
	"be8f7ce81e004381fb000872d4bec37ce81100bafd03eca80174fbbaf803ece80d00ebefac84c07405e80300ebf6c350bafd03eca82074fb58baf803eec3" +
	"0d0a677565737420626567696e730d0a005b20202020302e005d206162636465666768696a6b6c6d6e6f707172737475767778797a20414243444546" +
	"4748494a4b4c4d4e4f50515253540d0a006c6f67696e3a2000"

const chattyLines = 0x800

// chattyText is what the boot sector prints.
func chattyText() string {
	var b strings.Builder
	b.WriteString("\r\nguest begins\r\n")
	for i := range chattyLines {
		fmt.Fprintf(&b, "[    0.%04x] abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRST\r\n", i)
	}
	return b.String() + "login: "
}

// screen is a running `ipmitool sol activate`.
type screen struct {
	keys io.WriteCloser
	done chan error

	mu  sync.Mutex
	out bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func (h *host) sol(n api.Node) *screen {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	cmd := h.Command(ctx, "ipmitool", "-I", "lanplus", "-H", n.BMC.Address, "-p", fmt.Sprint(n.BMC.Port), "-U", n.BMC.Username, "-P", n.BMC.Password, "sol", "activate")
	s := &screen{done: make(chan error, 1)}
	keys, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	s.keys, cmd.Stdout = keys, s
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { s.done <- cmd.Wait() }() // at the latest when it is killed
	h.t.Cleanup(cancel)
	return s
}

func TestIntegrationABootLogArrivesWholeBySerialOverLAN(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	h.init(agentYAML)
	h.tenks("apply", "-f", h.write("demo.yml", demo(1)), "--wait=2m")
	n := h.node("tk0")
	h.writeBootSector(n)
	if out, err := h.ipmi(n, "chassis", "bootdev", "disk", "options=persistent"); err != nil {
		t.Fatalf("bootdev: %v\n%s", err, out)
	}

	// SOL is active before the node is on, and stays so over a power cycle.
	s := h.sol(n)
	h.wait(30*time.Second, "SOL to be active", func() bool {
		out, err := h.ipmi(n, "raw", "0x06", "0x4a", "0x01")
		return err == nil && strings.TrimSpace(out) == "01 01 00"
	})
	want := chattyText()
	for i, power := range []string{"on", "cycle"} {
		began := time.Now()
		if out, err := h.ipmi(n, "power", power); err != nil {
			t.Fatalf("power %s: %v\n%s", power, err, out)
		}
		h.wait(2*time.Minute, "the boot log after power "+power, func() bool { return strings.Count(s.text(), want) == i+1 })
		t.Logf("power %s: %d bytes of the guest after %v", power, len(want), time.Since(began).Round(time.Millisecond))
	}
	// The rest is the firmware's; the log file has all of it.
	log, err := os.ReadFile(h.Path(dataDir + "/console/tk0.log"))
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(s.text(), "? for help]\n")
	t.Logf("%d bytes were printed by the console, %d are in the log of the machine", len(shown), len(log))
	if strings.Count(shown, "guest begins") != 2 || !strings.HasSuffix(string(log), shown[strings.LastIndex(shown, "guest begins"):]) {
		t.Errorf("the console printed %d bytes, which are not the end of the machine's log of %d", len(shown), len(log))
	}

	if _, err := io.WriteString(s.keys, "root\r"); err != nil {
		t.Fatal(err)
	}
	h.wait(30*time.Second, "an echo", func() bool { return strings.HasSuffix(s.text(), "login: root\r") })
	if _, err := io.WriteString(s.keys, "~."); err != nil {
		t.Fatal(err)
	}
	if err := <-s.done; err != nil {
		t.Errorf("ipmitool: %v", err)
	}
}

// writeBootSector puts the chatty guest on the disk of a node that is off.
func (h *host) writeBootSector(n api.Node) {
	h.t.Helper()
	code, err := hex.DecodeString(chatty)
	if err != nil {
		h.t.Fatal(err)
	}
	sector := make([]byte, 512)
	copy(sector, code)
	sector[510], sector[511] = 0x55, 0xaa
	path := h.write("sector", string(sector))
	disk := ""
	for line := range strings.Lines(h.run("virsh", "-q", "domblklist", n.Name)) {
		if f := strings.Fields(line); len(f) == 2 && strings.HasPrefix(f[1], "/") && disk == "" {
			disk = f[1]
		}
	}
	info := h.run("qemu-img", "info", "--output=json", disk)
	format := "raw"
	if strings.Contains(info, `"format": "qcow2"`) {
		format = "qcow2"
	}
	h.t.Logf("%s", h.run("qemu-io", "-f", format, "-c", "write -s "+path+" 0 512", disk))
}
