package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoDisk says that a host's disk is a directory of this machine (Spec.DiskMiB is 0).
var ErrNoDisk = errors.New("its disk is no file system of its own")

const (
	// ioctl_fsfreeze(2): linux/fs.h.
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
	// EXT4_IOC_SHUTDOWN, and its EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h): from now
	// on nothing is written, not even the journal.
	ext4Shutdown   = 0x8004587d
	ext4NoLogFlush = 2
	// thawed is how long writes go through between two hangs of a slow disk.
	thawed = 10 * time.Millisecond
)

// image is the file with the host's file system; empty: it has none.
func (h *Host) image() string {
	if h.diskMiB == 0 {
		return ""
	}
	return filepath.Join(h.Dir(), "disk.img")
}

// makeImage makes the file system from what was installed, and leaves an empty
// directory, on which boot.sh mounts it.
func (h *Host) makeImage(ctx context.Context) error {
	if h.image() == "" {
		return nil
	}
	dir := filepath.Join(h.Dir(), "disk")
	err := run(ctx, "mkfs.ext4", "-q", "-d", dir, "-L", "lab", h.image(), fmt.Sprintf("%dM", h.diskMiB))
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755))
}

// onDisk does an ioctl on the host's file system.
func (h *Host) onDisk(request uint, arg int) error {
	if h.image() == "" {
		return ErrNoDisk
	}
	init := h.started()
	if init == nil {
		return ErrOff
	}
	fd, err := unix.Open(filepath.Join(rootOf(init), h.Dir(), "disk"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetPointerInt(fd, request, arg), unix.Close(fd))
}

// HangDisk makes everything that writes to the disk, or syncs it, wait until ThawDisk,
// in a way that no signal ends; reads go on. What was written before is synced. It may
// be repeated. It fails with ErrNoDisk, ErrOff.
func (h *Host) HangDisk() error {
	h.stopSlowing()
	if err := h.freeze(); err != nil {
		return fmt.Errorf("host %q: hang disk: %w", h.name, err)
	}
	return nil
}

// ThawDisk is the inverse of HangDisk and SlowDisk. Where neither was, it does nothing.
func (h *Host) ThawDisk() error {
	h.stopSlowing()
	if h.image() == "" {
		return nil
	}
	if err := h.thaw(); err != nil {
		return fmt.Errorf("host %q: thaw disk: %w", h.name, err)
	}
	return nil
}

func (h *Host) freeze() error {
	if err := h.onDisk(fiFreeze, 0); !errors.Is(err, unix.EBUSY) { // it is
		return err
	}
	return nil
}

func (h *Host) thaw() error {
	if err := h.onDisk(fiThaw, 0); !errors.Is(err, unix.EINVAL) { // it is
		return err
	}
	return nil
}

// slowDisk is a disk that hangs again and again.
type slowDisk struct{ stop, done chan struct{} }

// SlowDisk makes a write to the disk wait for up to delay, and most of the time for
// some of it, until ThawDisk, HangDisk or Kill. It fails with ErrNoDisk, ErrOff.
func (h *Host) SlowDisk(delay time.Duration) error {
	if err := h.HangDisk(); err != nil {
		return err
	}
	s := &slowDisk{stop: make(chan struct{}), done: make(chan struct{})}
	h.mu.Lock()
	h.slow = s
	h.mu.Unlock()
	go func() {
		defer close(s.done)
		h.keepSlow(s.stop, delay)
	}()
	return nil
}

// keepSlow returns with the disk hung or not, or once it has gone.
func (h *Host) keepSlow(stop <-chan struct{}, delay time.Duration) {
	for {
		for _, phase := range []struct {
			wait time.Duration
			then func() error
		}{{delay, h.thaw}, {thawed, h.freeze}} {
			if !wait(stop, phase.wait) || phase.then() != nil {
				return
			}
		}
	}
}

// wait reports false if stop was closed before the time was over.
func wait(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-timer.C:
		return true
	}
}

// stopSlowing ends SlowDisk's goroutine, with the disk hung or not.
func (h *Host) stopSlowing() {
	h.mu.Lock()
	s := h.slow
	h.slow = nil
	h.mu.Unlock()
	if s != nil {
		close(s.stop)
		<-s.done
	}
}

// cutDisk loses what was not synced, and lets end what hangs in it.
func (h *Host) cutDisk() error {
	if h.image() == "" {
		return nil
	}
	if err := h.onDisk(ext4Shutdown, ext4NoLogFlush); err != nil {
		return fmt.Errorf("disk: shut down: %w", err)
	}
	return h.thaw()
}

// awaitImage returns when the kernel has let go of the file system: a mount before
// that would find the old one, which is shut down.
func (h *Host) awaitImage(ctx context.Context) error {
	if h.image() == "" {
		return nil
	}
	err := await(ctx, func() (bool, error) {
		files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
		return !slices.ContainsFunc(files, h.isImage), err
	})
	if err != nil {
		return fmt.Errorf("host %q: wait for its disk, in which a file may be open, to be unmounted: %w", h.name, err)
	}
	return nil
}

func (h *Host) isImage(backing string) bool {
	b, err := os.ReadFile(backing)
	return err == nil && strings.TrimSpace(string(b)) == h.image()
}
