//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	lv "libvirt.org/go/libvirt"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// SetMedia implements driver.Driver. A running guest's drive is opened by force: a guest
// that has locked it does not keep a medium in.
func (d *Driver) SetMedia(ctx context.Context, uuid, path string) error {
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
			if err := setLive(f, path); err != nil {
				return fmt.Errorf("domain %s: CD-ROM drive: %w", f.def.Name, err)
			}
		}
		k := drive(f.def)
		switch {
		case k == nil:
			return fmt.Errorf("domain %s: CD-ROM drive: it has none: %w", f.def.Name, state.ErrUnsupported)
		case !f.persistent, mediaIn(k) == path: // the next Ensure defines it, with what is live
			return nil
		}
		load(k, path)
		dom, err := define(s, f.def)
		if err != nil {
			return err
		}
		return dom.Free()
	})
}

// setLive changes what is in a running guest's drive.
func setLive(f *found, path string) error {
	live, _, err := f.live()
	if err != nil {
		return err
	}
	k := drive(live)
	if k == nil {
		return fmt.Errorf("the running guest has none: power cycle it: %w", state.ErrUnsupported)
	}
	if mediaIn(k) == path {
		return nil
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
