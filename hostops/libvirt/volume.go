package libvirt

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// volume is one disk of a node, that its guest sees, as it is recorded.
type volume struct {
	// Name is that of driver.Disk.
	Name string `json:"name,omitempty"`
	Path string `json:"path"`
	// Capacity is in bytes.
	Capacity uint64 `json:"capacity"`
	// Image backs the volume; empty: a blank one.
	Image string `json:"image,omitempty"`
	// Serial is the guest's serial number for it; empty: none.
	Serial string `json:"serial,omitempty"`
	// Format is what is in a volume that was there before; empty: raw, or qcow2 with an Image.
	Format string `json:"format,omitempty"`
	// Made is that of state.Volume.
	Made uint64 `json:"made,omitempty"`
	// Copy says that it is a copy of the image, Base which file of this host the image is, if
	// that is another than Image.
	Copy bool   `json:"copy,omitempty"`
	Base string `json:"base,omitempty"`
	// Checksum is that of the image; empty: it is not checked.
	Checksum string `json:"checksum,omitempty"`
	// As is the format that was declared, raw or qcow2; empty: none was.
	As string `json:"as,omitempty"`
	// Keep says that Path is somebody's, which is not made, changed or deleted; Block that it
	// is a block device.
	Keep  bool `json:"keep,omitempty"`
	Block bool `json:"block,omitempty"`
	// Pool is the storage pool that it is in; empty: ours.
	Pool string `json:"pool,omitempty"`
	// Group is the volume group that Path is a logical volume of; empty: it is a file.
	Group string `json:"group,omitempty"`
	// Bus, Cache, Discard and WWN are as in state.Volume.
	Bus     string `json:"bus,omitempty"`
	Cache   string `json:"cache,omitempty"`
	Discard string `json:"discard,omitempty"`
	WWN     string `json:"wwn,omitempty"`
}

func (v volume) format() string {
	switch {
	case v.Format != "":
		return v.Format
	case v.Group != "":
		return formatRaw
	case v.As != "":
		return v.As
	case v.Image == "" || v.Keep:
		return formatRaw
	}
	return formatQcow
}

func (v volume) bus() string { return cmp.Or(v.Bus, busVirtio) }

// base is the file that the image is.
func (v volume) base() string { return cmp.Or(v.Base, v.Image) }

// backing is the image that the volume is a difference to; empty: none.
func (v volume) backing() string {
	if v.Copy {
		return ""
	}
	return v.base()
}

// volumeName is the name of a declared disk.
func volumeName(i int) string { return "vol" + strconv.Itoa(i) }

// named gives names to volumes that were recorded before they had any: nothing but what
// was declared.
func named(all []volume) []volume {
	for i := range all {
		if all[i].Name == "" {
			all[i].Name = volumeName(i)
		}
	}
	return all
}

var diskFile = regexp.MustCompile(`^((?:vol|raid)[0-9]+)(?:-([0-9]+))?$`)

// fileOf is the name of a disk's file. A RAID volume has its own word.
func fileOf(s driver.Spec, disk string) string {
	if number, declared := strings.CutPrefix(disk, "vol"); declared {
		return s.Name + cmp.Or(s.Machine.Hardware.VolumePrefix, "vol") + number
	}
	return s.Name + disk
}

// madeFile is the name of a disk's file, which is another one each time it is made anew.
func madeFile(name string, made uint64) string {
	if made == 0 {
		return name
	}
	return name + "-" + strconv.FormatUint(made, 10)
}

// madeOf is how often a declared disk was made anew; a RAID volume never is.
func madeOf(s driver.Spec, disk string) uint64 {
	for i, v := range s.Machine.Volumes {
		if volumeName(i) == disk {
			return v.Made
		}
	}
	return 0
}

// adopt returns the volumes of a domain of ours that there is no record of. Files that are not
// called as a node's are somebody's: a path of the node's type, or a disk of its overlay.
func adopt(def *libvirtxml.Domain, pool string) []volume {
	var out []volume
	for i, k := range hardwareOf(def).Disks {
		if k.Path == "" {
			continue
		}
		v := volume{Path: k.Path, Keep: !isOwnFile(def.Name, pool, k.Path)}
		if group, lv := isLV(k.Path); lv && !v.Keep {
			v.Group, v.Block = group, true
		}
		v.Name, v.Made = nameFor(def.Name, k.Path, i)
		if k.Format == formatQcow && !v.Keep {
			if img, err := backingOf(k.Path); err == nil {
				v.Image = img
			}
		}
		out = append(out, v)
	}
	return out
}

// isOwnFile reports whether a file is called as that of a node's disk: another prefix than the
// usual one is told from a person's file by the pool.
func isOwnFile(node, pool, path string) bool {
	_, lv := isLV(path)
	if lv {
		path = strings.TrimPrefix(filepath.Base(path), lvPrefix)
	}
	file, named := strings.CutPrefix(filepath.Base(path), node)
	return named && (diskFile.MatchString(file) || filepath.Dir(path) == filepath.Clean(pool))
}

// nameFor is the name of the i-th disk of a domain that there is no record of, and how
// often it was made anew.
func nameFor(node, path string, i int) (string, uint64) {
	file, ours := strings.CutPrefix(strings.TrimPrefix(filepath.Base(path), lvPrefix), node)
	if m := diskFile.FindStringSubmatch(file); ours && m != nil {
		made, _ := strconv.ParseUint(m[2], 10, 64) // nothing: 0
		return m[1], made
	}
	return volumeName(i), 0
}

// volumesOf returns the volumes that a node should have, with files in pool.
func volumesOf(pool string, s driver.Spec) []volume {
	var out []volume
	for _, k := range s.Disks() {
		v := k.Volume
		one := volume{Name: k.Name, Path: filepath.Join(pool, madeFile(fileOf(s, k.Name), madeOf(s, k.Name))), Capacity: k.CapacityBytes, Image: k.Image, Serial: k.Serial,
			Copy: v.Copy, Checksum: v.Checksum, As: v.Format, Made: madeOf(s, k.Name), Pool: v.Pool, Bus: v.Bus, Cache: v.Cache, Discard: v.Discard, WWN: v.WWN}
		if v.Path != "" {
			one.Path, one.Keep = v.Path, true
		}
		out = append(out, one)
	}
	return out
}

// planVolumes decides which files a node no longer needs once it has the volumes of
// want; a volume that cannot become what is wanted is an error. Volumes get larger,
// and files go, only while the guest is off. Those of want that are there stay where they
// are; those that are made anew, because somebody agreed to lose what is on them, have
// another file.
func planVolumes(have, want []volume) (surplus []string, err error) {
	for _, h := range have {
		i := slices.IndexFunc(want, func(w volume) bool { return w.Name == h.Name })
		switch {
		case h.Keep:
			continue // it is somebody's and stays, whatever comes in its place
		case i < 0 || h.Made != want[i].Made:
			surplus = append(surplus, h.Path)
			continue
		}
		if err := h.cannotBecome(want[i]); err != nil {
			return nil, err
		}
		want[i].Path, want[i].Format, want[i].Base, want[i].Group, want[i].Block = h.Path, h.Format, h.Base, h.Group, h.Group != ""
	}
	return surplus, nil
}

// cannotBecome says why a volume that is there cannot be made what is wanted.
func (v volume) cannotBecome(w volume) error {
	w.Group = v.Group // it stays where it is
	switch {
	case v.Group != "" && w.As == formatQcow:
		return fmt.Errorf("volume %s: cannot become qcow2, because it is a logical volume: take format: raw, or none", v.Path)
	case v.Group != "" && w.Capacity > v.Capacity:
		return fmt.Errorf("volume %s: libvirt cannot make a logical volume larger: destroy and create the node", v.Path)
	case w.Keep:
		return fmt.Errorf("volume %s: cannot become %s: destroy and create the node", v.Path, w.Path)
	case v.Format == "" && v.Image != w.Image:
		return fmt.Errorf("volume %s: its image cannot change from %s to %s: destroy and create the node", v.Path, imageText(v.Image), imageText(w.Image))
	case v.Format == "" && (v.Copy != w.Copy || v.format() != w.format()):
		return fmt.Errorf("volume %s: cannot become %s: destroy and create the node", v.Path, w.kind())
	case v.Format == "" && v.Pool != w.Pool:
		return fmt.Errorf("volume %s: cannot move to %s: destroy and create the node", v.Path, cmp.Or(w.Pool, "the driver's pool"))
	case w.Capacity < v.Capacity:
		return fmt.Errorf("volume %s: cannot shrink from %d to %d bytes, that would cut off data: destroy and create the node", v.Path, v.Capacity, w.Capacity)
	}
	return nil
}

// kind says what a volume's file is.
func (v volume) kind() string {
	switch {
	case v.Copy:
		return v.format() + ", a copy of its image"
	case v.Image != "":
		return v.format() + ", a difference to its image"
	}
	return v.format()
}

// movable says why a volume cannot go to another host.
func (v volume) movable() error {
	switch {
	case v.Keep:
		return fmt.Errorf("volume %s: is this host's: the node cannot move: %w", v.Path, state.ErrUnsupported)
	case v.Group != "":
		return fmt.Errorf("volume %s: is a logical volume of this host: the node cannot move: %w", v.Path, state.ErrUnsupported)
	case !v.Copy && v.Base != "":
		return fmt.Errorf("volume %s: is a difference to an image that this host fetched: only a node with copy: true moves: %w", v.Path, state.ErrUnsupported)
	case v.Format == formatQcow:
		return v.alone()
	}
	return nil
}

// sharedDisk finds a disk of a node that is somebody's, and another node's as well, perhaps by
// another name; node is that one's name, and empty where there is none.
func sharedDisk(of record, all []record) (node, path string) {
	for _, v := range of.Volumes {
		if !v.Keep {
			continue
		}
		mine, _ := os.Stat(v.Path) // one that is not there is told later
		for _, r := range all {
			for _, o := range r.Volumes {
				theirs, _ := os.Stat(o.Path)
				if o.Path == v.Path || mine != nil && theirs != nil && sameDisk(mine, theirs) {
					return r.Name, v.Path
				}
			}
		}
	}
	return "", ""
}

// sameDisk reports whether two files are one, or stand for the same device.
func sameDisk(a, b os.FileInfo) bool {
	if os.SameFile(a, b) {
		return true
	}
	x, ok := a.Sys().(*syscall.Stat_t)
	y, too := b.Sys().(*syscall.Stat_t)
	return ok && too && a.Mode()&b.Mode()&os.ModeDevice != 0 && a.Mode().Type() == b.Mode().Type() && x.Rdev == y.Rdev
}

func imageText(image string) string {
	if image == "" {
		return "blank"
	}
	return image
}
