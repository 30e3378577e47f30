//go:build cgo && libvirt_dlopen

package libvirt

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	lv "libvirt.org/go/libvirt"
)

// parkTime is how long a file is not looked at that nobody read from when it was readable.
const parkTime = 5 * time.Millisecond

// loop is an event loop for libvirt: virEventRegisterImpl. Calls of many threads over one connection
// take its socket from the loop, hand it on, and give it back. Where an answer is there before the
// thread runs that is to read it, libvirt's own loop calls libvirt for nothing again and again,
// which costs as much as all else of the calls. This one leaves the socket to that thread, which says when it is
// done. It is safe for concurrent use. libvirt calls its methods with locks of its own held, so they
// call nothing of libvirt's, and what they hold is never held over a callback.
type loop struct {
	poll, wakeup int

	// mu guards what follows.
	mu sync.Mutex
	// last is the last number that was given to a handle or a timer.
	last    int
	handles map[int]*handle
	timers  map[int]*timer
	// parked are handles of which libvirt did not read; look is when they are looked at again.
	parked map[int]*handle
	look   time.Time
	// dead are what libvirt no longer needs; it wants to hear of them from the loop.
	dead []info
	// until is when the loop looks next by itself; zero: not.
	until time.Time
}

// info is what libvirt wants to be called with.
type info interface{ Free() }

type handle struct {
	fd int
	// events are those that libvirt wants, armed those that the kernel watches for.
	events, armed lv.EventHandleType
	call          *lv.EventHandleCallbackInfo
}

type timer struct {
	// every is the time between two calls; negative: there are none.
	every time.Duration
	next  time.Time
	call  *lv.EventTimeoutCallbackInfo
}

func newLoop() (*loop, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, wakeup, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 0})
	}
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	return &loop{poll: poll, wakeup: wakeup, handles: map[int]*handle{}, timers: map[int]*timer{}, parked: map[int]*handle{}}, nil
}

// AddHandleFunc implements lv.EventLoop; a file can be watched once.
func (l *loop) AddHandleFunc(fd int, events lv.EventHandleType, call *lv.EventHandleCallbackInfo) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	h := &handle{fd: fd, call: call}
	if l.watch(l.last, h, events) != nil {
		return -1
	}
	l.handles[l.last] = h
	return l.last
}

// UpdateHandleFunc implements lv.EventLoop.
func (l *loop) UpdateHandleFunc(watch int, events lv.EventHandleType) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.handles[watch]; ok {
		_ = l.watch(watch, h, events) // it is there, and so can be watched
	}
}

// RemoveHandleFunc implements lv.EventLoop.
func (l *loop) RemoveHandleFunc(watch int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.handles[watch]
	if !ok {
		return -1
	}
	_ = l.watch(watch, h, 0) // a file that is closed already is not watched either
	delete(l.handles, watch)
	l.bury(h.call)
	return 0
}

// watch has the kernel look for events, whether it was parked or not; l.mu is held.
func (l *loop) watch(watch int, h *handle, events lv.EventHandleType) error {
	h.events = events
	delete(l.parked, watch)
	return l.arm(watch, h, events)
}

// arm says what the kernel watches for; l.mu is held. Without any event it does not look at the file
// at all: epoll_ctl(2) would tell of its end also then.
func (l *loop) arm(watch int, h *handle, events lv.EventHandleType) error {
	if events == h.armed {
		return nil
	}
	op := unix.EPOLL_CTL_MOD
	switch {
	case events == 0:
		op = unix.EPOLL_CTL_DEL
	case h.armed == 0:
		op = unix.EPOLL_CTL_ADD
	}
	err := unix.EpollCtl(l.poll, op, h.fd, &unix.EpollEvent{Events: pollEvents(events), Fd: int32(watch)}) //nolint:gosec // a small number
	if err == nil {
		h.armed = events // else the next update tries again
	}
	return err
}

func pollEvents(events lv.EventHandleType) (out uint32) {
	if events&lv.EVENT_HANDLE_READABLE != 0 {
		out |= unix.EPOLLIN
	}
	if events&lv.EVENT_HANDLE_WRITABLE != 0 {
		out |= unix.EPOLLOUT
	}
	return out // EPOLLERR and EPOLLHUP always come
}

func handleEvents(events uint32) (out lv.EventHandleType) {
	for bit, event := range map[uint32]lv.EventHandleType{unix.EPOLLIN: lv.EVENT_HANDLE_READABLE, unix.EPOLLOUT: lv.EVENT_HANDLE_WRITABLE,
		unix.EPOLLERR: lv.EVENT_HANDLE_ERROR, unix.EPOLLHUP: lv.EVENT_HANDLE_HANGUP} {
		if events&bit != 0 {
			out |= event
		}
	}
	return out
}

// AddTimeoutFunc implements lv.EventLoop; ms is between two calls, negative for none.
func (l *loop) AddTimeoutFunc(ms int, call *lv.EventTimeoutCallbackInfo) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	t := &timer{call: call}
	l.timers[l.last] = t
	l.set(t, ms)
	return l.last
}

// UpdateTimeoutFunc implements lv.EventLoop.
func (l *loop) UpdateTimeoutFunc(id, ms int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.timers[id]; ok {
		l.set(t, ms)
	}
}

// RemoveTimeoutFunc implements lv.EventLoop.
func (l *loop) RemoveTimeoutFunc(id int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.timers[id]
	if !ok {
		return -1
	}
	delete(l.timers, id)
	l.bury(t.call)
	return 0
}

// set begins a timer anew; l.mu is held. The loop is woken only if it would sleep too long.
func (l *loop) set(t *timer, ms int) {
	t.every = time.Duration(ms) * time.Millisecond
	t.next = time.Now().Add(t.every)
	if ms >= 0 && (l.until.IsZero() || t.next.Before(l.until)) {
		l.until = t.next // once is enough
		l.wake()
	}
}

// bury has the loop tell libvirt that what it gave is no longer used; l.mu is held.
func (l *loop) bury(i info) {
	l.dead = append(l.dead, i)
	l.wake()
}

func (l *loop) wake() {
	_, _ = unix.Write(l.wakeup, binary.NativeEndian.AppendUint64(nil, 1)) // full: it wakes anyway
}

// turn waits for something to happen, and calls libvirt.
func (l *loop) turn() error {
	events := make([]unix.EpollEvent, 16)
	n, err := unix.EpollWait(l.poll, events, l.sleep())
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("event loop: %w", err)
	}
	for _, e := range events[:n] {
		l.happened(int(e.Fd), e.Events)
	}
	now := time.Now()
	l.unpark(now)
	l.ring(now)
	l.free()
	return nil
}

// sleep is how long there is nothing to do, in milliseconds; negative: for ever.
func (l *loop) sleep() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Time{}
	for _, t := range l.timers {
		if t.every >= 0 && (l.until.IsZero() || t.next.Before(l.until)) {
			l.until = t.next
		}
	}
	if len(l.dead) > 0 {
		return 0
	}
	if len(l.parked) > 0 && (l.until.IsZero() || l.look.Before(l.until)) {
		l.until = l.look
	}
	if l.until.IsZero() {
		return -1
	}
	return max(0, int((time.Until(l.until)+time.Millisecond-1)/time.Millisecond)) // not too early
}

func (l *loop) happened(watch int, events uint32) {
	if watch == 0 {
		_, _ = unix.Read(l.wakeup, make([]byte, 8)) // empty: another turn took it
		return
	}
	l.mu.Lock()
	h, ok := l.handles[watch]
	ok = ok && h.events != 0 // it may have been taken meanwhile
	before := 0
	if ok {
		before = unread(h.fd)
	}
	l.mu.Unlock()
	if !ok {
		return
	}
	h.call.Invoke(watch, h.fd, handleEvents(events))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handles[watch] != h {
		return
	}
	if after := unread(h.fd); after > 0 && after >= before { // a thread has it, and will update it
		_ = l.arm(watch, h, 0)
		if len(l.parked) == 0 {
			l.look = time.Now().Add(parkTime)
		}
		l.parked[watch] = h
	}
}

// unread is how much can be read of a file, in bytes; 0 if that is not known.
func unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// unpark looks again at what nobody updated.
func (l *loop) unpark(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.look) {
		return
	}
	for watch, h := range l.parked {
		_ = l.watch(watch, h, h.events) // as UpdateHandleFunc
	}
}

// ring calls timers that are due.
func (l *loop) ring(now time.Time) {
	l.mu.Lock()
	due := map[int]*timer{}
	for id, t := range l.timers {
		if t.every >= 0 && !t.next.After(now) {
			t.next = now.Add(t.every)
			due[id] = t
		}
	}
	l.mu.Unlock()
	for id, t := range due {
		l.mu.Lock()
		_, ok := l.timers[id] // one may remove another
		l.mu.Unlock()
		if ok {
			t.call.Invoke(id)
		}
	}
}

// free lets libvirt free what it removed. Nothing of it is being called: all that is called is
// called here.
func (l *loop) free() {
	l.mu.Lock()
	dead := l.dead
	l.dead = nil
	l.mu.Unlock()
	for _, i := range slices.DeleteFunc(dead, func(i info) bool { return !frees(i) }) {
		i.Free()
	}
}

// frees reports whether libvirt gave a function to call, which it need not; Free would call
// nothing, and so crash.
func frees(i info) bool { return reflect.ValueOf(i).Elem().FieldByName("free").Uint() != 0 }
