package config

import "strings"

// Bounds of disks on a bus: sda and sdb are the BMC's drives, IDE has two channels of two, and
// each NVMe disk is a PCI device.
const (
	maxSD   = 24
	maxIDE  = 4
	maxNVMe = 16
)

// checkHardware has the rules between the keys of a node type that say what the machine is
// like.
func (r *reader) checkHardware(t NodeType, at *node) {
	r.checkCPU(t, at)
	r.checkArchitecture(t, at)
	r.checkVolumes(t, at)
	if !t.ConsoleLogEnabled {
		for _, key := range []string{"console_log_append", "console_log_size", "console_log_keep"} {
			if n, ok := at.get(key); ok {
				r.fault(n, "does not go with console_log_enabled: false")
			}
		}
	}
}

func (r *reader) checkCPU(t NodeType, at *node) {
	mode, hasMode := at.get("cpu_mode")
	switch model, ok := at.get("cpu_model"); {
	case ok && t.CPUMode != "custom" && (!hasMode || t.CPUMode != ""):
		r.fault(model, "only goes with cpu_mode: custom")
	case !ok && t.CPUMode == "custom":
		r.fault(mode, "needs cpu_model too")
	}
	n, ok := at.get("cpu_topology")
	p := t.CPUTopology
	if !ok || n.kind != mapping || t.VCPUs == 0 || p.Sockets*p.Cores*p.Threads == t.VCPUs {
		return
	}
	r.fault(n, "%d sockets of %d cores of %d threads are %d, and vcpus is %d", p.Sockets, p.Cores, p.Threads, p.Sockets*p.Cores*p.Threads, t.VCPUs)
}

// armMachine reports whether a machine type is one of ARM's; the others are PCs.
func armMachine(machine string) bool {
	return machine == "virt" || strings.HasPrefix(machine, "virt-")
}

// oldPC reports whether a machine type has IDE.
func oldPC(machine string) bool {
	return machine == "pc" || strings.HasPrefix(machine, "pc-i440fx") || strings.HasPrefix(machine, "pc-0") || strings.HasPrefix(machine, "pc-1")
}

func (r *reader) checkArchitecture(t NodeType, at *node) {
	arm := t.Architecture == "aarch64"
	if n, ok := at.get("machine"); ok && t.MachineType != "" && armMachine(t.MachineType) != arm {
		r.fault(n, "%s is no machine of architecture %s", quote(t.MachineType), t.Architecture)
	}
	if !arm {
		return
	}
	arch, ok := at.get("architecture")
	if !ok {
		return
	}
	if t.BootMode == "bios" {
		r.fault(arch, "aarch64 has no boot_mode bios: take uefi")
	}
	if t.SecureBoot {
		r.fault(arch, "aarch64 does not go with secure_boot: its firmware has none")
	}
}

// busOf is the bus that a volume is on.
func busOf(t NodeType, v Volume) string {
	switch {
	case v.Bus != "":
		return v.Bus
	case v.CDROM() && oldPC(t.MachineType) && t.DiskBus == "ide":
		return "ide"
	case v.CDROM():
		return "sata"
	case t.DiskBus != "":
		return t.DiskBus
	}
	return "virtio"
}

func (r *reader) checkVolumes(t NodeType, at *node) {
	all, ok := at.get("volumes")
	if !ok || all.kind != list {
		return
	}
	count := map[string]int{}
	paths := map[string]*node{}
	for i, v := range t.Volumes {
		n := all.items[i]
		if n.kind != mapping {
			continue
		}
		if path, ok := n.get("path"); ok && v.Path != "" {
			if first := paths[v.Path]; first != nil {
				r.fault(path, "%s is the path of line %d already", quote(v.Path), first.line)
			}
			paths[v.Path] = path
		}
		r.checkVolume(t, v, n)
		switch bus := busOf(t, v); bus {
		case "virtio":
			count["vd"]++
		case "ide":
			count["hd"]++
		case "nvme":
			count["nvme"]++
		default:
			count["sd"]++
		}
	}
	if count["sd"] > maxSD {
		r.fault(all, "%d volumes on scsi, sata and usb: at most %d", count["sd"], maxSD)
	}
	if count["hd"] > maxIDE {
		r.fault(all, "%d volumes on ide: at most %d", count["hd"], maxIDE)
	}
	if count["nvme"] > maxNVMe {
		r.fault(all, "%d volumes on nvme: at most %d", count["nvme"], maxNVMe)
	}
}

// notFor refuses keys of a volume, and says what they do not go with.
func (r *reader) notFor(n *node, with string, keys ...string) {
	for _, key := range keys {
		if k, ok := n.get(key); ok {
			r.fault(k, "does not go with %s", with)
		}
	}
}

func (r *reader) checkVolume(t NodeType, v Volume, n *node) {
	_, capacity := n.get("capacity")
	image, hasImage := n.get("image")
	_, hasBacking := n.get("backing_image")
	_, hasPath := n.get("path")
	switch {
	case v.CDROM():
		if !hasImage {
			r.fault(&node{up: n, name: "image", line: n.line}, "missing: what is in the drive")
		}
		r.notFor(n, "device: cdrom", "capacity", "backing_image", "copy", "format", "cache", "discard", "path", "pool", "serial", "wwn")
	case hasPath:
		r.notFor(n, "path", "image", "backing_image", "copy", "checksum", "pool")
	case !capacity:
		r.fault(&node{up: n, name: "capacity", line: n.line}, "missing")
	}
	if !v.CDROM() && !hasPath {
		r.checkImage(v, n, image, hasImage, hasBacking)
	}
	r.checkBus(t, v, n)
}

func (r *reader) checkImage(v Volume, n, image *node, hasImage, hasBacking bool) {
	switch {
	case hasImage && hasBacking:
		r.fault(image, "does not go with backing_image: give one of them")
	case hasBacking && v.Copy:
		r.notFor(n, "backing_image: give image", "copy")
	case !hasImage && v.Copy:
		r.notFor(n, "a blank volume: give image", "copy")
	}
	if !hasImage && !hasBacking {
		r.notFor(n, "a blank volume: give image", "checksum")
	}
	if (hasImage || hasBacking) && !v.Copy && v.Format == "raw" {
		r.notFor(n, "a difference to an image: give copy: true, or format: qcow2", "format")
	}
}

func (r *reader) checkBus(t NodeType, v Volume, n *node) {
	bus := busOf(t, v)
	at, own := n.get("bus")
	if !own {
		at = n
	}
	if v.CDROM() && (bus == "virtio" || bus == "nvme") {
		r.fault(at, "a CD-ROM has no bus %s: take sata or scsi", bus)
	}
	if bus == "ide" && !oldPC(t.MachineType) {
		r.fault(at, "only machine: pc has bus ide")
	}
	if w, ok := n.get("wwn"); ok && v.WWN != "" && bus != "scsi" && bus != "ide" {
		r.fault(w, "only goes with bus scsi or ide")
	}
}
