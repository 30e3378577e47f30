package daemon

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/uuid"
)

func TestTheGuestOfANodeIsKilledAndNoOther(t *testing.T) {
	mine, other := uuid.NewString(), uuid.NewString()
	spawn := func(name, id string) *exec.Cmd {
		t.Helper()
		c := &exec.Cmd{Path: "/bin/sh", Args: []string{name, "-c", "read forever", "-uuid", id}}
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(); _ = c.Wait() })
		return c
	}
	guest := spawn("/usr/bin/qemu-system-x86_64", mine)
	spared := []*exec.Cmd{spawn("/usr/bin/qemu-system-x86_64", other), spawn("/usr/bin/less", mine)}
	if killed, err := killGuest(mine); !killed || err != nil {
		t.Fatalf("killed %t, %v", killed, err)
	}
	if err := guest.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the guest ended with %v", err)
	}
	for _, c := range spared {
		if err := c.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%v was killed", c.Args)
		}
	}
	if killed, err := killGuest(mine); killed || err != nil {
		t.Errorf("again: killed %t, %v", killed, err)
	}
}
