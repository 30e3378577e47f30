package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patchTries is how often a process is stopped anew because one of its threads is in
// the few bytes that are written over.
const patchTries = 100

// ShiftProcessClock makes a process see a wall clock that is ahead by a time, or behind,
// until it executes another program: CLOCK_REALTIME, _COARSE, _ALARM and CLOCK_TAI of
// clock_gettime(2), gettimeofday(2) and time(2), where they are called as everybody
// calls them, which is by the vDSO (vdso(7)). Monotonic clocks, files' times and what
// waits for a moment in the kernel go by the true clock. Another shift takes the place
// of the one before; 0 undoes it. It works on amd64. Errors: ESRCH, there is no such
// process.
func ShiftProcessClock(pid int, by time.Duration) error {
	own, err := readVDSO(strconv.Itoa(os.Getpid()))
	if err != nil {
		return fmt.Errorf("this process: %w", err)
	}
	plan, err := planShift(own.image, by)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err = halted(pid, func() error { return plan.apply(pid, by == 0) })
		if !errors.Is(err, errBusy) || try == patchTries {
			break
		}
		wait(nil, haltPoll) // it went on
	}
	if err != nil {
		return fmt.Errorf("process %d: shift its clock: %w", pid, err)
	}
	return nil
}

// errBusy says that a thread is where something is to be written.
var errBusy = errors.New("a thread is at the begin of a function of the vdso")

// apply patches a process that stands still, or undoes that.
func (p patch) apply(pid int, undo bool) error {
	v, err := readVDSO(strconv.Itoa(pid))
	if err != nil {
		return err
	}
	if !p.fits(v.image) {
		return errors.New("its vdso is not that of this process: is it a 32-bit program?")
	}
	edits := append([]edit{p.code}, p.entries...)
	if undo {
		edits = p.undo()
	}
	for _, e := range p.entries {
		begin := v.begin + uint64(e.offset) //nolint:gosec // an offset is never negative
		in, err := midway(pid, begin, begin+uint64(len(e.bytes)))
		if err != nil {
			return err
		}
		if in {
			return errBusy
		}
	}
	// Mapped read-only, but the kernel lets a debugger write, and makes a copy of the
	// page for this process.
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, e := range edits {
		if _, err := mem.WriteAt(e.bytes, int64(v.begin)+int64(e.offset)); err != nil { //nolint:gosec // a user's address has 47 bits
			return errors.Join(err, mem.Close())
		}
	}
	return mem.Close()
}

// truthful are programs, by the begins of their names, that a host's wrong clock is kept
// from: they are in C, and wait by absolute times of the wall clock, which the kernel
// would compare with the true one. They would wait for an hour, or not at all.
var truthful = []string{"libvirtd", "virtlogd", "virtlockd", "qemu"}

func (p process) isTruthful() bool {
	for _, name := range truthful {
		if strings.HasPrefix(p.name, name) {
			return true
		}
	}
	return false
}

// ShiftClock makes the host's wall clock be ahead by a time, or behind: that of every
// process in it, as ShiftProcessClock does, but for libvirtd and guests. What is
// executed later is shifted, too, within milliseconds after its begin. Another shift
// takes the place of the one before; 0 undoes it. It outlives a boot, as a clock does.
// It fails with ErrOff, but for 0.
func (h *Host) ShiftClock(by time.Duration) error {
	if err := h.shiftClock(by); err != nil {
		return fmt.Errorf("host %q: shift its clock: %w", h.name, err)
	}
	return nil
}

func (h *Host) shiftClock(by time.Duration) error {
	h.stopClock()
	c := &clock{namespaces: h.inside(), by: by, done: make(chan struct{})}
	if by == 0 {
		h.mu.Lock()
		was := h.ahead
		h.ahead = 0
		h.mu.Unlock()
		if was == 0 || c.namespaces == nil {
			return nil
		}
		return c.shiftAll()
	}
	if c.namespaces == nil {
		return ErrOff
	}
	if err := c.listen(filepath.Join(h.Dir(), "log", "clock.log")); err != nil {
		return err
	}
	h.mu.Lock()
	h.ahead, h.clock = by, c
	h.mu.Unlock()
	err := c.shiftAll()
	go c.run()
	return err
}

// stopClock ends what follows the processes that are started. It undoes nothing.
func (h *Host) stopClock() {
	h.mu.Lock()
	c := h.clock
	h.clock = nil
	h.mu.Unlock()
	c.close()
}

// clock shifts the clocks of a host's processes.
type clock struct {
	namespaces map[string]bool
	by         time.Duration
	execs      *execs
	log        *os.File
	done       chan struct{}
}

// listen begins to note what is executed, before a look at what there is.
func (c *clock) listen(log string) error {
	var err error
	if c.execs, err = listenExecs(); err != nil {
		return fmt.Errorf("listen to what is executed: %w", err)
	}
	c.log, err = os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return errors.Join(err, c.execs.close())
	}
	return nil
}

// run follows what is executed, until close.
func (c *clock) run() {
	defer close(c.done)
	for {
		pid, err := c.execs.next()
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, unix.ENOBUFS): // some were missed
			err = c.shiftAll()
		case err == nil:
			err = c.shift(pid)
		}
		if err != nil {
			fmt.Fprintln(c.log, err)
		}
	}
}

// close ends it and returns when it has ended. A nil one does nothing.
func (c *clock) close() {
	if c == nil {
		return
	}
	_ = c.execs.close() // next ends with os.ErrClosed
	<-c.done
	_ = c.log.Close()
}

// shiftAll shifts what runs in the host, until it finds nothing new: a process that is
// shifted may have made another before.
func (c *clock) shiftAll() error {
	var errs error
	for seen, news := map[int]bool{}, true; news; {
		news = false
		all, err := processes(c.namespaces)
		if err != nil {
			return err
		}
		for _, p := range all {
			if !seen[p.pid] {
				seen[p.pid], news = true, true
				errs = errors.Join(errs, c.shift(p.pid))
			}
		}
	}
	return errs
}

// shift shifts a process of the host. Any other, and one that has ended, is no error.
func (c *clock) shift(pid int) error {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // empty if it has ended
	p := process{pid: pid, name: strings.TrimSpace(string(comm))}
	if p.isTruthful() || !c.has(pid) {
		return nil
	}
	if err := ShiftProcessClock(pid, c.by); err != nil && c.has(pid) {
		return fmt.Errorf("%w (%s)", err, p.name)
	}
	return nil
}

// has reports whether a process is in the host, and lives.
func (c *clock) has(pid int) bool { return inside(pid, c.namespaces) && stateOf(pid) != 'Z' }
