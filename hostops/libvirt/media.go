package libvirt

import (
	"slices"

	"libvirt.org/go/libvirtxml"
)

// drive returns a domain's CD-ROM drive, or nil.
func drive(d *libvirtxml.Domain) *libvirtxml.DomainDisk {
	if d.Devices == nil {
		return nil
	}
	for i, k := range d.Devices.Disks {
		if k.Device == "cdrom" && k.Target != nil && k.Target.Dev == cdromDev {
			return &d.Devices.Disks[i]
		}
	}
	return nil
}

// mediaIn returns the file in a drive; empty: there is none.
func mediaIn(k *libvirtxml.DomainDisk) string {
	if k == nil || k.Source == nil || k.Source.File == nil {
		return ""
	}
	return k.Source.File.File
}

// isStick says whether a disk is the USB stick that clients of the BMC plug in.
func isStick(k libvirtxml.DomainDisk) bool {
	return k.Device == "disk" && k.Target != nil && k.Target.Dev == stickDev && k.Target.Bus == "usb"
}

// stick returns a domain's USB stick, or nil.
func stick(d *libvirtxml.Domain) *libvirtxml.DomainDisk {
	if d.Devices == nil {
		return nil
	}
	if i := slices.IndexFunc(d.Devices.Disks, isStick); i >= 0 {
		return &d.Devices.Disks[i]
	}
	return nil
}

// newStick is a stick with a file on it, started from after all else.
func newStick(d *libvirtxml.Domain, path string) *libvirtxml.DomainDisk {
	k := &libvirtxml.DomainDisk{
		Device:   "disk",
		Target:   &libvirtxml.DomainDiskTarget{Dev: stickDev, Bus: "usb", Removable: "on"},
		ReadOnly: &libvirtxml.DomainDiskReadOnly{},
		Boot:     &libvirtxml.DomainDeviceBoot{Order: lastPlace(d) + 1},
	}
	load(k, path)
	return k
}

// lastPlace is the last place in a domain's boot order that is taken.
func lastPlace(d *libvirtxml.Domain) (last uint) {
	for _, k := range d.Devices.Disks {
		if k.Boot != nil {
			last = max(last, k.Boot.Order)
		}
	}
	for _, n := range d.Devices.Interfaces {
		if n.Boot != nil {
			last = max(last, n.Boot.Order)
		}
	}
	return last
}

// plugStick changes what stick a domain has; an empty path: none.
func plugStick(d *libvirtxml.Domain, path string) {
	d.Devices.Disks = slices.DeleteFunc(d.Devices.Disks, isStick)
	if path != "" {
		d.Devices.Disks = append(d.Devices.Disks, *newStick(d, path))
	}
}

// hasUSB says whether a domain has a USB controller.
func hasUSB(d *libvirtxml.Domain) bool {
	return d.Devices != nil && slices.ContainsFunc(d.Devices.Controllers, func(c libvirtxml.DomainController) bool {
		return c.Type == "usb" && c.Model != "none"
	})
}

// load puts a file into a drive, or empties it.
func load(k *libvirtxml.DomainDisk, path string) {
	k.Driver = &libvirtxml.DomainDiskDriver{Name: "qemu", Type: formatRaw}
	k.Source, k.BackingStore = nil, nil
	if path != "" {
		// A guest whose file is gone starts with an empty drive, or without the stick,
		// instead of not at all.
		k.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}, StartupPolicy: "optional"}
	}
}
