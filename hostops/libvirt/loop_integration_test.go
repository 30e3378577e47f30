//go:build cgo && libvirt_dlopen

package libvirt

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	lv "libvirt.org/go/libvirt"
)

// watched is one end of a connection whose other end the event loop watches.
type watched struct {
	mine, theirs, watch int
	// reads says whether the callback reads a byte.
	reads atomic.Bool
	calls atomic.Int64
	hung  atomic.Bool
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	if err := eventLoop(); err != nil {
		t.Skip(err)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{mine: ends[0], theirs: ends[1]}
	w.watch, err = lv.EventAddHandle(w.theirs, lv.EVENT_HANDLE_READABLE, func(_, fd int, events lv.EventHandleType) {
		w.calls.Add(1)
		if events&lv.EVENT_HANDLE_HANGUP != 0 {
			w.hung.Store(true)
		}
		if w.reads.Load() {
			_, _ = unix.Read(fd, make([]byte, 1))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lv.EventRemoveHandle(w.watch); err != nil {
			t.Error(err)
		}
		_, _ = unix.Close(w.mine), unix.Close(w.theirs) // one may be closed
	})
	return w
}

func (w *watched) write(t *testing.T, text string) {
	t.Helper()
	if _, err := unix.Write(w.mine, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A call of another thread has the socket: libvirt's callback leaves what is in it to that thread.
func TestIntegrationEventLoopDoesNotSpinOnWhatAThreadIsToRead(t *testing.T) {
	w := newWatched(t)
	w.write(t, "answer")
	eventually(t, "the first call", func() bool { return w.calls.Load() > 0 })
	const looks = 20
	<-time.After(looks * parkTime)
	if n := w.calls.Load(); n > 2*looks {
		t.Errorf("called %d times in %s", n, looks*parkTime)
	}
	before := w.calls.Load()
	eventually(t, "a call although nobody updated it", func() bool { return w.calls.Load() > before })
	w.reads.Store(true)
	lv.EventUpdateHandle(w.watch, lv.EVENT_HANDLE_READABLE)
	eventually(t, "all to be read", func() bool { return unread(w.theirs) == 0 })
}

func TestIntegrationEventLoopTellsOfEveryMessage(t *testing.T) {
	w := newWatched(t)
	w.reads.Store(true)
	w.write(t, "many events")
	eventually(t, "all to be read", func() bool { return unread(w.theirs) == 0 })
	if n := w.calls.Load(); n < int64(len("many events")) {
		t.Errorf("%d calls", n)
	}
}

func TestIntegrationEventLoopLooksOnlyWhereItIsTold(t *testing.T) {
	w := newWatched(t)
	lv.EventUpdateHandle(w.watch, 0)
	w.write(t, "answer")
	if err := unix.Close(w.mine); err != nil { // epoll(7) tells of that whatever is asked for
		t.Fatal(err)
	}
	<-time.After(4 * parkTime)
	if n := w.calls.Load(); n != 0 {
		t.Errorf("called %d times", n)
	}
	lv.EventUpdateHandle(w.watch, lv.EVENT_HANDLE_READABLE)
	eventually(t, "the end of the connection", func() bool { return w.hung.Load() })
}

func TestIntegrationEventLoopTimers(t *testing.T) {
	if err := eventLoop(); err != nil {
		t.Skip(err)
	}
	var calls atomic.Int64
	id, err := lv.EventAddTimeout(-1, func(int) { calls.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(20 * time.Millisecond)
	if calls.Load() != 0 {
		t.Error("called although it is off")
	}
	lv.EventUpdateTimeout(id, 1)
	eventually(t, "several calls", func() bool { return calls.Load() > 2 })
	lv.EventUpdateTimeout(id, 3_600_000)
	<-time.After(10 * time.Millisecond) // one may be under way
	before := calls.Load()
	<-time.After(20 * time.Millisecond)
	if calls.Load() != before {
		t.Error("called before its time")
	}
	lv.EventUpdateTimeout(id, 0)
	eventually(t, "a call at once", func() bool { return calls.Load() > before })
	if err := lv.EventRemoveTimeout(id); err != nil {
		t.Fatal(err)
	}
}
