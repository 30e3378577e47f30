//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"fmt"
	"slices"
	"time"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// unplugTimeout is how long a guest gets to let go of a NIC, after the 5 s that libvirt
// waits itself.
const unplugTimeout = 3 * time.Second

// replug gives a running guest NICs with a connection instead of those whose link was
// deleted. QEMU keeps the old end open and cannot be given another one, so the guest
// has to let go of the NIC and gets one with the same MAC at the same place. A guest
// that does not (firmware, a halted system) keeps a dead NIC until a power cycle.
func (d *Driver) replug(ctx context.Context, rec record, f *found) error {
	live, now, err := f.live()
	if err != nil {
		return err
	}
	wait := time.Duration(0)
	for _, i := range now.lostNICs(linkExists) {
		n := live.Devices.Interfaces[i]
		if n.Source == nil || n.Source.Direct == nil || !linkExists(n.Source.Direct.Dev) || slices.Contains(rec.Replug, n.MAC.Address) {
			continue // there is nothing to plug it into, or the guest has been asked
		}
		if err := d.unplug(&rec, f, n); err != nil {
			return err
		}
		wait = unplugTimeout
	}
	return d.plugBack(ctx, rec, f, wait)
}

// unplug asks the guest to let go of a NIC.
func (d *Driver) unplug(rec *record, f *found, n libvirtxml.DomainInterface) error {
	rec.Replug = append(slices.Clone(rec.Replug), n.MAC.Address)
	if err := d.records.put(*rec); err != nil {
		return err
	}
	text, err := n.Marshal()
	if err != nil {
		return fmt.Errorf("domain %s: NIC %s: %w", f.def.Name, n.MAC.Address, err)
	}
	if err := f.dom.DetachDeviceFlags(text, lv.DOMAIN_DEVICE_MODIFY_LIVE); err != nil && !gone(err) {
		return fmt.Errorf("domain %s: NIC %s: unplug: %w", f.def.Name, n.MAC.Address, err)
	}
	return nil
}

// plugBack waits a while for the guest to let go of NICs, and plugs them in again. One
// that is let go of later is plugged in by the next Ensure.
func (d *Driver) plugBack(ctx context.Context, rec record, f *found, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for len(rec.Replug) > 0 {
		live, _, err := f.live()
		if err != nil {
			return err
		}
		for _, mac := range slices.Clone(rec.Replug) {
			if nicOf(live, mac) != nil {
				continue
			}
			if err := d.plug(&rec, f, mac); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil // Instance.Pending says so
		case <-ticker.C:
		}
	}
	return nil
}

func (d *Driver) plug(rec *record, f *found, mac string) error {
	if n := nicOf(f.def, mac); n != nil {
		one := *n
		one.Boot = nil // the boot order was used up when it started
		text, err := one.Marshal()
		if err != nil {
			return fmt.Errorf("domain %s: NIC %s: %w", f.def.Name, mac, err)
		}
		if err := f.dom.AttachDeviceFlags(text, lv.DOMAIN_DEVICE_MODIFY_LIVE); err != nil {
			return fmt.Errorf("domain %s: NIC %s: plug in: %w", f.def.Name, mac, err)
		}
	}
	rec.Replug = slices.DeleteFunc(slices.Clone(rec.Replug), func(m string) bool { return m == mac })
	return d.records.put(*rec)
}

func nicOf(d *libvirtxml.Domain, mac string) *libvirtxml.DomainInterface {
	for i, n := range d.Devices.Interfaces {
		if n.MAC != nil && n.MAC.Address == mac {
			return &d.Devices.Interfaces[i]
		}
	}
	return nil
}
