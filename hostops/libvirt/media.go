package libvirt

import "libvirt.org/go/libvirtxml"

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

// load puts a file into a drive, or empties it.
func load(k *libvirtxml.DomainDisk, path string) {
	k.Driver = &libvirtxml.DomainDiskDriver{Name: "qemu", Type: formatRaw}
	k.Source, k.BackingStore = nil, nil
	if path != "" {
		// A guest whose file is gone starts with an empty drive, instead of not at all.
		k.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}, StartupPolicy: "optional"}
	}
}
