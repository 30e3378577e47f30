package link

import (
	"context"
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// watchBuffer holds the kernel's messages, in bytes, while they wait to be read: a
// change of a link is some 1.5 kB.
const watchBuffer = 4 << 20

// Watch calls wake after every change of a link, our own too, until ctx ends (nil).
// It first calls wake once it can miss none. wake must not block; the caller makes
// one call of many.
func (h *Host) Watch(ctx context.Context, wake func()) error {
	for ctx.Err() == nil {
		if err := h.watch(ctx, wake); err != nil {
			return fmt.Errorf("links: watch: %w", err)
		}
	}
	return nil
}

// watch returns nil when ctx ended, or when the kernel had more messages than the
// buffer holds (ENOBUFS), which ends the subscription.
func (h *Host) watch(ctx context.Context, wake func()) error {
	updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
	lost := make(chan struct{}, 1) // a signal: something could not be read
	options := netlink.LinkSubscribeOptions{
		Namespace:         &h.ns,
		ReceiveBufferSize: watchBuffer,
		ErrorCallback: func(error) {
			select {
			case lost <- struct{}{}:
			default:
			}
		},
	}
	if err := h.subscribe(updates, done, options); err != nil {
		close(done)
		return err
	}
	// The subscription's goroutine has ended when updates is closed.
	defer func() {
		close(done)
		for range updates { // drained
		}
	}()
	wake()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-lost:
			wake()
		case _, ok := <-updates:
			wake()
			if !ok {
				return nil
			}
		}
	}
}

// subscribe enters the namespace only if the caller is in another one, which needs
// CAP_SYS_ADMIN.
func (h *Host) subscribe(updates chan netlink.LinkUpdate, done chan struct{}, options netlink.LinkSubscribeOptions) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	current, err := netns.Get()
	if err != nil {
		return err
	}
	defer current.Close() // only read
	if current.Equal(h.ns) {
		options.Namespace = nil
	}
	return netlink.LinkSubscribeWithOptions(updates, done, options)
}
