package nettest

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tenks/hostops/ovs/ovstest"
)

// queueTimeout bounds how long a marker is waited for.
const queueTimeout = 20 * time.Second

// Queue says when frames that were sent have come to where they go. The kernel hands what
// goes through a veth pair over by a queue per processor, first in first out. So a marker that is sent after
// them on each processor, through a pair of the Queue's own, comes after them. It is not safe for
// concurrent use.
type Queue struct {
	tb        testing.TB
	near, far *ovstest.Tap
	sent      int
}

// NewQueue makes the pair, in the namespace of the calling thread.
func NewQueue(tb testing.TB) *Queue {
	tb.Helper()
	const near, far = "marker", "marker.far"
	q := &Queue{tb: tb}
	q.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: near, Flags: net.FlagUp}, PeerName: far}))
	l, err := netlink.LinkByName(far)
	q.must(err)
	q.must(netlink.LinkSetUp(l))
	q.near, err = ovstest.OpenTap(near)
	q.must(err)
	q.far, err = ovstest.OpenTap(far)
	q.must(err)
	tb.Cleanup(func() {
		q.must(q.near.Close())
		q.must(q.far.Close())
	})
	return q
}

func (q *Queue) must(err error) {
	q.tb.Helper()
	if err != nil {
		q.tb.Fatal(err)
	}
}

// Drain returns once what was sent before has gone through hops veth pairs and switches, each of
// which may queue it anew. Probe returns when a switch in userspace has handled all that it
// could read before; nil: there is none.
func (q *Queue) Drain(ctx context.Context, hops int, probe func(ctx context.Context) error) {
	q.tb.Helper()
	for range hops {
		q.kernel()
		if probe == nil {
			continue
		}
		// Twice: the first may be answered by a round of its loop that had begun before.
		for range 2 {
			q.must(probe(ctx))
		}
	}
	q.kernel()
}

// kernel sends a marker on each processor and waits for it.
func (q *Queue) kernel() {
	q.tb.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	q.must(unix.SchedGetaffinity(0, &all))
	defer func() { q.must(unix.SchedSetaffinity(0, &all)) }()
	for cpu := range runtime.NumCPU() * 8 { // numbers may have gaps
		if !all.IsSet(cpu) {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		q.must(unix.SchedSetaffinity(0, &one))
		q.sent++
		text := fmt.Sprintf("marker %d", q.sent)
		q.must(q.near.Send(text))
		for deadline := time.Now().Add(queueTimeout); !q.far.Received(text); <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				q.tb.Fatalf("%s did not come within %v", text, queueTimeout)
			}
		}
	}
}
