package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// watchBuffer holds the kernel's messages, in bytes, while they wait to be read: a
	// change of a link is some 1.5 kB.
	watchBuffer = 4 << 20
	// watchRest is between two looks at whether there are messages. A node's links are some ten of them.
	watchRest = 10 * time.Millisecond
)

// Watch calls wake after every change of a link, our own too, until ctx ends (nil).
// It first calls wake once it can miss none. wake must not block; one call is for all changes
// of some 10 ms, and the caller makes one call of many.
func (h *Host) Watch(ctx context.Context, wake func()) error {
	if err := h.watch(ctx, wake); err != nil {
		return fmt.Errorf("links: watch: %w", err)
	}
	return nil
}

func (h *Host) watch(ctx context.Context, wake func()) error {
	f, err := h.subscribe()
	if err != nil {
		return err
	}
	defer f.Close()                                                                   // only read
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }) // ends a read
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wake()
		timer.Reset(watchRest)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := skip(f); ctx.Err() == nil && err != nil {
			return err
		}
	}
}

// skip waits for messages and takes all that there are, unread: what changed is seen by looking. Nor does it
// matter that the buffer did not hold them all (ENOBUFS).
func skip(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) (done bool) {
		for {
			_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_DONTWAIT|unix.MSG_TRUNC) //nolint:gosec // a file descriptor
			switch {
			case err == nil, errors.Is(err, unix.ENOBUFS):
				done = true
			case errors.Is(err, unix.EAGAIN):
				return done
			case !errors.Is(err, unix.EINTR):
				failed = err
				return true
			}
		}
	})
	return errors.Join(err, failed)
}

// subscribe returns a socket for messages of changes of links (rtnetlink(7)). It enters the namespace only
// if the caller is in another one, which needs CAP_SYS_ADMIN.
func (h *Host) subscribe() (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	current, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer current.Close() // only read
	if current.Equal(h.ns) {
		return openWatch()
	}
	if err := netns.Set(h.ns); err != nil {
		return nil, err
	}
	f, err := openWatch()
	if back := netns.Set(current); back != nil {
		runtime.LockOSThread() // once more: the thread ends with its goroutine, for it is in a wrong namespace
		err = errors.Join(err, back)
	}
	return f, err
}

func openWatch() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, watchBuffer)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "links"), nil //nolint:gosec // a file descriptor
}
