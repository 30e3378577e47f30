//go:build cgo && libvirt_dlopen

package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// breakable is a boot sector that writes "READY" to the first serial port, and "BREAK" for
// each break that its line status register has (16550: LSR bit 4, Break Interrupt).
func breakable() []byte {
	var code []byte
	say := func(text string) {
		code = append(code, 0xba, 0xf8, 0x03) // mov dx, 0x3f8
		for i := range len(text) {
			code = append(code, 0xb0, text[i], 0xee) // mov al, …; out dx, al
		}
	}
	code = append(code, 0xfa) // cli
	say("READY")
	poll := len(code)
	code = append(code, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x10, 0x74, 0) // mov dx, 0x3fd; in al, dx; test al, 0x10; jz poll
	code[len(code)-1] = byte(poll - len(code))
	say("BREAK")
	code = append(code, 0xec, 0xeb, 0) // in al, dx: the byte that comes with it; jmp poll
	code[len(code)-1] = byte(poll - len(code))
	sector := make([]byte, 512)
	copy(sector, code)
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

func TestIntegrationLibvirtBreakReachesTheGuest(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	h, c := withChassis(t, b, s)
	disk, err := os.OpenFile(filepath.Join(b.cfg.Options["pool_path"], s.Name+"vol0"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Write(breakable()); err != nil {
		t.Fatal(err)
	}
	if err := disk.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "on", func() bool { return c.Power(t.Context(), state.ActionOn) == nil && c.Status().Power == state.PowerOn })
	one := watch(t, h, s.UUID)
	eventually(t, "the guest runs", func() bool { return one.shows("READY") })
	if one.shows("BREAK") {
		t.Error("the guest saw a break that nobody sent")
	}
	for i, want := range []string{"BREAK", "BREAKBREAK"} {
		if err := one.ReadWriteCloser.(driver.Breaker).SendBreak(t.Context()); err != nil {
			t.Fatalf("break %d: %v", i, err)
		}
		eventually(t, "the guest sees break "+want, func() bool { return one.shows("READY" + want) })
	}
	log, err := os.ReadFile(filepath.Join(b.srv.Dir, "log", "qemu", s.Name+".log"))
	if err != nil || strings.Count(string(log), "custom-monitor") != 1 {
		t.Errorf("libvirt does not say once that the domain is tainted: %v, %s", err, log)
	}
}
