package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

func TestIntegrationLabDelaysFrames(t *testing.T) {
	RequireFaults(t)
	l := newLab(t)
	hosts, err := l.Add(t.Context(), Spec{Name: "a"}, Spec{Name: "b"})
	must(t, err)
	a, b := hosts[0], hosts[1]
	echo(t, b)
	const delay = 50 * time.Millisecond
	must(t, b.Delay(t.Context(), delay))
	if took := roundTrip(t, a, b, 100); took < 2*delay {
		t.Errorf("round trip: got %s, want at least %s", took, 2*delay)
	}
	// What the kernel hands over in one piece, and without checksums, arrives as well.
	roundTrip(t, a, b, 4<<20)
	// Faults are as they were without it.
	ra, rb := radioOf(t, a), radioOf(t, b)
	must(t, b.Delay(t.Context(), 20*time.Millisecond))
	hears(t, ra, rb, true)
	must(t, l.Partition(t.Context(), a, b))
	hears(t, ra, rb, false)
	must(t, l.Heal(t.Context(), a, b))
	hears(t, ra, rb, true)
	must(t, b.Unplug(t.Context()))
	hears(t, ra, rb, false)
	must(t, b.Plug(t.Context()))
	hears(t, ra, rb, true)

	must(t, b.Kill(t.Context()))
	must(t, b.Boot(t.Context()))
	echo(t, b)
	if took := roundTrip(t, a, b, 100); took < 40*time.Millisecond {
		t.Errorf("round trip after a boot: got %s, want at least 40ms", took)
	}
	must(t, l.HealAll(t.Context()))
	eventually(t, "round trips to be short", func() bool { return roundTrip(t, a, b, 100) < 20*time.Millisecond })
}

// echo serves TCP on the host: what comes goes back.
func echo(t *testing.T, h *Host) {
	t.Helper()
	var l net.Listener
	must(t, h.InNetns(func() (err error) {
		var lc net.ListenConfig
		l, err = lc.Listen(t.Context(), "tcp4", ":7778")
		return err
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				// The other end may have been cut off, and never say that it has enough.
				defer context.AfterFunc(ctx, func() { _ = c.Close() })()
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		serving.Wait()
	})
}

// roundTrip sends bytes and gets them back, over a connection that was open before.
func roundTrip(t *testing.T, from, to *Host, size int) time.Duration {
	t.Helper()
	var c net.Conn
	must(t, from.InNetns(func() (err error) {
		d := net.Dialer{Timeout: 10 * time.Second}
		c, err = d.DialContext(t.Context(), "tcp4", to.Address()+":7778")
		return err
	}))
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	sent, got := make([]byte, size), make([]byte, size)
	_, _ = rand.Read(sent) // never fails
	start := time.Now()
	wrote := make(chan error, 1)
	go func() { _, err := c.Write(sent); wrote <- err }()
	_, err := io.ReadFull(c, got)
	must(t, err)
	must(t, <-wrote)
	if !bytes.Equal(got, sent) {
		t.Error("what came back is not what was sent")
	}
	return time.Since(start)
}
