// Package address gives this host the addresses of its nodes' BMCs, each on the device that
// is in its network: Host.Keep adds them, after it has asked that nobody has them, tells
// the network, and removes what it added before and is no longer wanted. What it adds is
// noted in a file first, so that nothing of it is left behind, and nothing else removed.
// Keep starts goroutines that repeat announcements; Host.Close ends them and waits. The
// addresses stay when the agent stops; Clear removes them.
package address

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Config says how a Host finds its devices.
type Config struct {
	// File has the addresses that are ours.
	File string
	// BootID is the host's present boot: what was added before it is gone.
	BootID string
	// Device is the only one that gets addresses; empty: whichever is in their network.
	Device string
	// Network is one that Device is in without an address of it. Optional.
	Network netip.Prefix
	Log     *slog.Logger
}

// Host is the links of one network namespace. Keep and Close are called by one goroutine
// at a time; the other methods are safe for concurrent use with them.
type Host struct {
	cfg    Config
	kernel kernel
	// ours are the entries of the file.
	ours map[netip.Addr]entry

	// settled is what was wanted when nothing was left to do, at that time.
	settled   []netip.Addr
	settledAt time.Time

	late sync.WaitGroup
	stop chan struct{}

	// mu guards held.
	mu   sync.Mutex
	held []netip.Addr
}

// kernel is what a Host needs of the operating system.
type kernel interface {
	// devices returns all devices with their addresses.
	devices() ([]device, error)
	// add adds an address alone to a device; unix.EEXIST: it is there.
	add(index int, a netip.Addr) error
	// remove takes it away; one that is not there is no error.
	remove(index int, a netip.Addr) error
	// probe asks each device's network for the addresses, all at the same time, and returns
	// who has one already. The errors are of what could not be asked.
	probe(ctx context.Context, all []addition, own []device) map[netip.Addr]error
	// announce tells the networks whose the addresses are now.
	announce(ctx context.Context, all []addition) (again func(), err error)
	close()
}

// announceAgain is when announcements are repeated (RFC 5227 §1.1, ANNOUNCE_INTERVAL).
const announceAgain = 2 * time.Second

// lookAgain is how long it is taken for granted that what is wanted is there: listing all
// links and addresses with each change of the mesh's state would cost more than it shows.
const lookAgain = 5 * time.Second

// Open binds to the network namespace of the calling thread, and reads the file.
func Open(cfg Config) (*Host, error) {
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	return open(cfg, k)
}

func open(cfg Config, k kernel) (*Host, error) {
	ours, err := readRecord(cfg.File, cfg.BootID)
	if err != nil {
		k.close()
		return nil, err
	}
	return &Host{cfg: cfg, kernel: k, ours: ours, stop: make(chan struct{})}, nil
}

// Close ends announcements. The addresses stay.
func (h *Host) Close() {
	close(h.stop)
	h.late.Wait()
	h.kernel.close()
}

// Clear removes every address that is ours by a file, from the network namespace of the
// calling thread.
func Clear(ctx context.Context, cfg Config) error {
	h, err := Open(cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.clear(ctx)
}

func (h *Host) clear(ctx context.Context) error {
	if len(h.ours) == 0 {
		return nil
	}
	if _, err := h.Keep(ctx, nil); err != nil {
		return err
	}
	if n := len(h.ours); n > 0 {
		return fmt.Errorf("%d BMC addresses are left on this host", n)
	}
	return nil
}

// Held returns the addresses that this host has for BMCs, as of the last Keep.
func (h *Host) Held() []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.held)
}

// devices returns the host's devices, with the networks that addresses may be in.
func (h *Host) devices() ([]device, error) {
	all, err := h.kernel.devices()
	if err != nil {
		return nil, err
	}
	// Ours are no networks of the host: they are single addresses.
	return choose(all, h.cfg.Device, h.cfg.Network)
}

// mostNetworks bounds what a host tells of its networks.
const mostNetworks = 64

// Networks returns the networks that addresses may be in, sorted: the host's own address
// with the prefix's length, or the prefix.
func (h *Host) Networks() ([]string, error) {
	devices, err := h.devices()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range devices {
		for _, n := range d.networks {
			if d.up {
				out = append(out, n.String())
			}
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), mostNetworks)], nil
}

// Keep makes the host have these addresses, and no others of ours. It may be repeated; what
// is there already is neither asked for nor told again, and looked at every few seconds.
// It takes a third of a second if something is added. The errors are of single addresses; the last one is of all.
func (h *Host) Keep(ctx context.Context, want []Want) (map[netip.Addr]error, error) {
	if len(want) == 0 && len(h.ours) == 0 {
		return nil, nil
	}
	list := make([]netip.Addr, len(want))
	for i, w := range want {
		list[i] = w.Address
	}
	if slices.Equal(list, h.settled) && time.Since(h.settledAt) < lookAgain {
		return nil, nil
	}
	h.settled = nil
	errs, err := h.keep(ctx, want)
	if len(errs) == 0 && err == nil && ctx.Err() == nil {
		h.settled, h.settledAt = list, time.Now()
	}
	return errs, err
}

func (h *Host) keep(ctx context.Context, want []Want) (map[netip.Addr]error, error) {
	devices, err := h.devices()
	if err != nil && !errors.Is(err, errDevice) {
		return nil, err
	}
	p := plan(want, devices, h.ours)
	errs := p.errs
	next := maps.Clone(p.keep)
	for _, e := range p.remove {
		if err := h.kernel.remove(e.Index, e.Address); err != nil {
			next[e.Address] = e // it is still ours
			errs[e.Address] = fmt.Errorf("%s: remove from %s: %w", e.Address, e.Device, err)
			h.cfg.Log.WarnContext(ctx, "address of a BMC not removed; will retry", "address", e.Address, "device", e.Device, "err", err)
			continue
		}
		h.cfg.Log.InfoContext(ctx, "address of a BMC removed", "address", e.Address, "device", e.Device)
	}
	if len(p.add) > 0 {
		taken := h.kernel.probe(ctx, p.add, devices)
		maps.Copy(errs, taken)
		p.add = slices.DeleteFunc(p.add, func(a addition) bool { return errs[a.address] != nil })
	}
	for _, a := range p.add {
		next[a.address] = entry{a.address, a.device.name, a.device.index}
	}
	if ctx.Err() != nil { // nobody was waited for
		p.add, next = nil, maps.Clone(h.ours)
	}
	if err := h.note(next); err != nil {
		return errs, err
	}
	h.addAll(ctx, p.add, errs)
	held := sorted(maps.Keys(h.ours))
	h.mu.Lock()
	h.held = held
	h.mu.Unlock()
	if len(held) < len(next) { // some could not be added
		return errs, writeRecord(h.cfg.File, h.cfg.BootID, h.ours)
	}
	return errs, nil
}

// addAll adds addresses that are in the record, and tells the network. What cannot be
// added is no longer ours.
func (h *Host) addAll(ctx context.Context, all []addition, errs map[netip.Addr]error) {
	var added []addition
	for _, a := range all {
		err := h.kernel.add(a.device.index, a.address)
		switch {
		case errors.Is(err, unix.EEXIST):
			err = fmt.Errorf("%s is this host's own, on %s: take it out of bmc.addresses", a.address, a.device.name)
		case err != nil:
			err = fmt.Errorf("%s: add to %s: %w", a.address, a.device.name, err)
		default:
			added = append(added, a)
			h.cfg.Log.InfoContext(ctx, "address of a BMC added", "address", a.address, "device", a.device.name)
			continue
		}
		errs[a.address] = err
		delete(h.ours, a.address)
	}
	if len(added) == 0 {
		return
	}
	again, err := h.kernel.announce(ctx, added)
	if err != nil {
		h.cfg.Log.WarnContext(ctx, "the network is not told of a BMC's address", "err", err)
	}
	h.late.Go(func() {
		timer := time.NewTimer(announceAgain)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-h.stop:
		}
		again()
	})
}

// note writes down what is ours.
func (h *Host) note(next map[netip.Addr]entry) error {
	if maps.Equal(next, h.ours) {
		return nil
	}
	if err := writeRecord(h.cfg.File, h.cfg.BootID, next); err != nil {
		return err
	}
	h.ours = maps.Clone(next)
	return nil
}
