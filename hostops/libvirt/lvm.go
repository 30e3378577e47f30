package libvirt

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"tenks/raftfsm/state"
)

const (
	// lvPrefix is what the names of our logical volumes begin with.
	lvPrefix = "tenks-"
	// groupPool is what the names of our storage pools of volume groups begin with.
	groupPool = "tenks-"
	// maxMapped is how long the device mapper's name of a logical volume may be.
	maxMapped = 127
)

// groupName is what lvm(8) takes as the name of a volume group, short enough for volumes in it.
var groupName = regexp.MustCompile(`^[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,62}$`)

// groupDir is where the logical volumes of a volume group are.
func groupDir(group string) string { return filepath.Join("/dev", group) }

// isLV reports whether a path is that of a logical volume of ours, and which volume group it is
// in. No file of ours is called so: those are elsewhere.
func isLV(path string) (group string, ours bool) {
	dir, name := filepath.Split(path)
	group, ours = strings.CutPrefix(filepath.Clean(dir), "/dev/")
	return group, ours && groupName.MatchString(group) && group != "shm" && strings.HasPrefix(name, lvPrefix)
}

// placeInGroup puts those volumes into a volume group that are to be made; have are those that
// there are, which stay where they are. It refuses what a logical volume cannot be.
func placeInGroup(group string, want, have []volume) error {
	for i, w := range want {
		there := slices.ContainsFunc(have, func(h volume) bool { return h.Name == w.Name && h.Made == w.Made && !h.Keep })
		if group == "" || there || w.Keep || w.Pool != "" {
			continue
		}
		where := fmt.Sprintf("volume %s: this host has volumes in the volume group %s (pool_type: logical)", w.Name, group)
		name := lvPrefix + filepath.Base(w.Path)
		switch {
		case w.As == formatQcow:
			return fmt.Errorf("%s, which are raw: take format: raw, or none: %w", where, state.ErrUnsupported)
		case w.Image != "" && !w.Copy:
			return fmt.Errorf("%s, which cannot be a difference to an image: give image and copy: true: %w", where, state.ErrUnsupported)
		case len(mapped(group))+1+len(mapped(name)) > maxMapped:
			return fmt.Errorf("%s: the name %s is too long for one: %w", where, name, state.ErrUnsupported)
		}
		want[i].Group, want[i].Path, want[i].Block = group, filepath.Join(groupDir(group), name), true
	}
	return nil
}

// mapped is how the device mapper writes a part of a name.
func mapped(name string) string { return strings.ReplaceAll(name, "-", "--") }

// groupPoolXML is a storage pool of a volume group that there is: starting it makes its logical
// volumes usable, and changes nothing else.
func groupPoolXML(group string) (string, error) {
	return (&libvirtxml.StoragePool{Type: "logical", Name: groupPool + group,
		Source: &libvirtxml.StoragePoolSource{Name: group, Format: &libvirtxml.StoragePoolSourceFormat{Type: "lvm2"}},
		Target: &libvirtxml.StoragePoolTarget{Path: groupDir(group)}}).Marshal()
}

// groupOfPool is the volume group that a storage pool is of; empty: it is of another type.
func groupOfPool(text string) (string, error) {
	x := &libvirtxml.StoragePool{}
	if err := x.Unmarshal(text); err != nil || x.Type != "logical" {
		return "", err
	}
	if x.Source != nil && x.Source.Name != "" {
		return x.Source.Name, nil
	}
	return x.Name, nil // libvirt's own default
}

// lvXML is a logical volume with all of its room: a thin one could fill the volume group under
// running guests.
func lvXML(v volume) (string, error) {
	size := &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: v.Capacity}
	return (&libvirtxml.StorageVolume{Name: filepath.Base(v.Path), Capacity: size, Allocation: size}).Marshal()
}

// fillArgs are the arguments of qemu-img that copy an image to a logical volume; it is as large
// as the image at least.
func fillArgs(v volume, img image) ([]string, error) {
	if v.Capacity < img.Size {
		return nil, fmt.Errorf("volume %s: %d bytes are less than the %d of image %s", v.Path, v.Capacity, img.Size, v.Image)
	}
	return []string{"convert", "-q", "-n", "-f", img.Format, "-O", formatRaw, v.base(), v.Path}, nil
}

// toFill are the names of a node's logical volumes that are made and get an image. One that the node
// had before has what its guest wrote, whether it can be used now or not.
func toFill(rec, old record) []string {
	var out []string
	for _, v := range rec.Volumes {
		if v.Group != "" && v.Image != "" && !old.owns(v.Path) && !slices.Contains(old.Filling, v.Name) {
			out = append(out, v.Name)
		}
	}
	return out
}

// stillFilling are those of names that are of logical volumes with an image to be copied.
func stillFilling(names []string, all []volume) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return !slices.ContainsFunc(all, func(v volume) bool { return v.Name == name && v.Group != "" && v.Image != "" })
	})
}
