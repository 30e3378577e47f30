// Package nettest gives a test a network namespace of its own, without a name: it goes with
// the test. It starts nothing.
package nettest

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
)

// Namespace moves the test into a new network namespace until it ends, and locks it to its
// thread. It skips the test where there can be none. Subtests have other threads, in the
// namespace that the test came from.
func Namespace(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root: network namespaces")
	}
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		tb.Fatal(err)
	}
	ns, err := netns.New()
	if err != nil {
		tb.Skipf("no network namespace: %v", err)
	}
	tb.Cleanup(func() {
		tb.Helper()
		if err := errors.Join(netns.Set(home), ns.Close(), home.Close()); err != nil {
			tb.Fatal(err) // and the thread stays locked, and ends with the test
		}
		runtime.UnlockOSThread()
	})
}
