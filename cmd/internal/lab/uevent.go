package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// kernelUevents is the multicast group of what the kernel says of devices.
	kernelUevents = 1
	// maxUevent is more than the longest message has (UEVENT_BUFFER_SIZE is 2048).
	maxUevent = 8192
)

// validTap are the names of macvtap devices' nodes: they become paths.
var validTap = regexp.MustCompile(`^tap[0-9]{1,10}$`)

// uevent is a macvtap device's node that came or went.
type uevent struct {
	name  string
	added bool
	dev   uint64 // as mknod(2) takes it
}

// parseUevent decodes a message of the kernel (kobject_uevent_env in lib/kobject_uevent.c:
// a headline and KEY=VALUE, each ended by a zero byte); false: about something else.
func parseUevent(message []byte) (uevent, bool) {
	values := map[string]string{}
	for field := range bytes.SplitSeq(message, []byte{0}) {
		if key, value, ok := strings.Cut(string(field), "="); ok {
			values[key] = value
		}
	}
	e := uevent{name: values["DEVNAME"], added: values["ACTION"] == "add"}
	if values["SUBSYSTEM"] != "macvtap" || !e.added && values["ACTION"] != "remove" || !validTap.MatchString(e.name) {
		return uevent{}, false
	}
	dev, err := parseDev(values["MAJOR"] + ":" + values["MINOR"])
	e.dev = dev
	return e, err == nil
}

// parseDev reads "major:minor", as sysfs has it.
func parseDev(text string) (uint64, error) {
	a, b, _ := strings.Cut(text, ":")
	major, err := strconv.ParseUint(a, 10, 12) // the kernel's limits: MINORBITS is 20
	if err != nil {
		return 0, err
	}
	minor, err := strconv.ParseUint(b, 10, 20)
	return unix.Mkdev(uint32(major), uint32(minor)), err
}

// udev makes the nodes of macvtap devices in a host's /dev, and removes them.
type udev struct {
	events *os.File
	// dev and taps are the host's /dev and /sys/class/macvtap, as this machine sees them.
	dev, taps string
	log       *os.File
	done      chan struct{}
}

// startUdev listens to the kernel in the host's network namespace, until close.
func startUdev(h *Host, dev, log string) (*udev, error) {
	u := &udev{dev: dev, taps: filepath.Join(dev, "../sys/class/macvtap"), done: make(chan struct{})}
	err := h.InNetns(func() (err error) {
		u.events, err = listenUevents()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen to uevents: %w", err)
	}
	u.log, err = os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, errors.Join(err, u.events.Close())
	}
	go u.run()
	return u, nil
}

func listenUevents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelUevents}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "uevents"), nil
}

// close ends it and returns when it has ended. A nil one does nothing.
func (u *udev) close() {
	if u == nil {
		return
	}
	_ = u.events.Close() // a read ends with os.ErrClosed
	<-u.done
	_ = u.log.Close()
}

func (u *udev) run() {
	defer close(u.done)
	buffer := make([]byte, maxUevent)
	for {
		n, err := u.events.Read(buffer)
		switch {
		case errors.Is(err, os.ErrClosed), errors.Is(err, io.EOF):
			return
		case errors.Is(err, unix.ENOBUFS): // some were missed
			err = u.catchUp()
		case err == nil:
			if e, ok := parseUevent(buffer[:n]); ok {
				err = u.handle(e)
			}
		}
		if err != nil {
			fmt.Fprintln(u.log, err)
		}
	}
}

// handle may be repeated.
func (u *udev) handle(e uevent) error {
	path := filepath.Join(u.dev, e.name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if !e.added {
		return nil
	}
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(e.dev)); err != nil {
		return fmt.Errorf("device %s: mknod: %w", e.name, err)
	}
	return nil
}

// catchUp makes the nodes of all devices that are there, and removes all others.
func (u *udev) catchUp() error {
	old, err := filepath.Glob(filepath.Join(u.dev, "tap[0-9]*"))
	if err != nil {
		return err
	}
	var errs error
	for _, path := range old {
		if _, err := os.Stat(filepath.Join(u.taps, filepath.Base(path))); err != nil {
			errs = errors.Join(errs, os.Remove(path))
		}
	}
	entries, err := os.ReadDir(u.taps)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(errs, err)
	}
	for _, entry := range entries {
		number, err := os.ReadFile(filepath.Join(u.taps, entry.Name(), "dev"))
		if err != nil || !validTap.MatchString(entry.Name()) {
			continue // it has gone
		}
		dev, err := parseDev(strings.TrimSpace(string(number)))
		if err == nil {
			err = u.handle(uevent{name: entry.Name(), added: true, dev: dev})
		}
		errs = errors.Join(errs, err)
	}
	return errs
}
