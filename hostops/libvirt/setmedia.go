//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// device is how media get into a domain.
type device struct {
	name string
	// in is what a domain has; live changes it under a running guest, next in a definition.
	in   func(*libvirtxml.Domain) string
	live func(f *found, live *libvirtxml.Domain, path string) error
	next func(d *libvirtxml.Domain, path string) error
}

var devices = map[driver.Slot]device{
	driver.SlotCD: {
		name: "CD-ROM drive", in: func(d *libvirtxml.Domain) string { return mediaIn(drive(d)) }, live: loadLive,
		next: func(d *libvirtxml.Domain, path string) error {
			k := drive(d)
			if k == nil {
				return fmt.Errorf("it has none: %w", state.ErrUnsupported)
			}
			load(k, path)
			return nil
		}},
	driver.SlotUSB: {
		name: "USB stick", in: func(d *libvirtxml.Domain) string { return mediaIn(stick(d)) }, live: plugLive,
		next: func(d *libvirtxml.Domain, path string) error {
			plugStick(d, path)
			return nil
		}},
}

// SetMedia implements driver.Driver. A running guest's drive is opened by force: a guest
// that has locked it does not keep a medium in.
func (d *Driver) SetMedia(ctx context.Context, uuid string, slot driver.Slot, path string) error {
	dev, able := devices[slot]
	if !able {
		return fmt.Errorf("libvirt: node %s: slot %q: %w", uuid, slot, state.ErrUnsupported)
	}
	if path != "" && !filepath.IsAbs(path) {
		return fmt.Errorf("libvirt: node %s: media %q: must be an absolute path", uuid, path)
	}
	return d.change(ctx, uuid, func(_ context.Context, s *session) error {
		f, err := d.find(s, uuid)
		if err != nil {
			return err
		}
		if f == nil {
			return fmt.Errorf("libvirt: node %s: %w", uuid, state.ErrNotFound)
		}
		defer f.free()
		if f.running {
			live, _, err := f.live()
			if err == nil && dev.in(live) != path {
				err = dev.live(f, live, path)
			}
			if err != nil {
				return fmt.Errorf("domain %s: %s: %w", f.def.Name, dev.name, err)
			}
		}
		if !f.persistent || dev.in(f.def) == path { // the next Ensure defines it, with what is live
			return nil
		}
		if err := dev.next(f.def, path); err != nil {
			return fmt.Errorf("domain %s: %s: %w", f.def.Name, dev.name, err)
		}
		dom, err := define(s, f.def)
		if err != nil {
			return err
		}
		return dom.Free()
	})
}

// loadLive changes what is in a running guest's drive.
func loadLive(f *found, live *libvirtxml.Domain, path string) error {
	k := drive(live)
	if k == nil {
		return fmt.Errorf("the running guest has none: power cycle it: %w", state.ErrUnsupported)
	}
	load(k, path)
	text, err := k.Marshal()
	if err != nil {
		return err
	}
	if err := f.dom.UpdateDeviceFlags(text, lv.DOMAIN_DEVICE_MODIFY_LIVE|lv.DOMAIN_DEVICE_MODIFY_FORCE); err != nil && !gone(err) {
		return fmt.Errorf("change media: %w", err)
	}
	return nil // one that went off meanwhile has it from its next start on
}

// plugLive changes what stick a running guest has. A stick goes at once, as in hardware:
// unlike a NIC, it does not wait for the guest to let go of it.
func plugLive(f *found, live *libvirtxml.Domain, path string) error {
	if old := stick(live); old != nil {
		text, err := old.Marshal()
		if err != nil {
			return err
		}
		if err := f.dom.DetachDeviceFlags(text, lv.DOMAIN_DEVICE_MODIFY_LIVE); err != nil && !gone(err) {
			return fmt.Errorf("unplug: %w", err)
		}
	}
	plugStick(live, path)
	k := stick(live)
	switch {
	case k == nil:
		return nil
	case !hasUSB(live):
		return fmt.Errorf("the running guest has no USB controller: power cycle it: %w", state.ErrUnsupported)
	}
	text, err := k.Marshal()
	if err != nil {
		return err
	}
	if err := f.dom.AttachDeviceFlags(text, lv.DOMAIN_DEVICE_MODIFY_LIVE); err != nil && !gone(err) {
		return fmt.Errorf("plug in: %w", err)
	}
	return nil // as in loadLive
}

// Loads implements driver.Driver. libvirtd is asked once, and asks no guest.
func (d *Driver) Loads(ctx context.Context) ([]driver.Load, error) {
	return call(ctx, d.conns, func(_ context.Context, s *session) ([]driver.Load, error) {
		all, err := s.conn.GetAllDomainStats(nil, lv.DOMAIN_STATS_CPU_TOTAL,
			lv.CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE|lv.CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
		if err != nil {
			return nil, fmt.Errorf("libvirt: domain statistics: %w", err)
		}
		var out []driver.Load
		for _, one := range all {
			uuid, err := one.Domain.GetUUIDString()
			if err == nil && one.Cpu != nil && one.Cpu.TimeSet && d.known(uuid) {
				out = append(out, driver.Load{UUID: uuid, CPU: time.Duration(one.Cpu.Time), VCPUs: d.cache.vcpus(uuid)}) //nolint:gosec // 292 years
			}
			_ = one.Domain.Free() // a handle of ours
		}
		return out, nil
	})
}

// vcpus is how many CPUs a running guest has, as it was last read; 0: not known.
func (c *cache) vcpus(uuid string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.views[uuid+" live"].view.hardware.VCPUs) //nolint:gosec // a guest has few CPUs
}
