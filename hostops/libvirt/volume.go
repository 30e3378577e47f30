package libvirt

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tenks/hostops/driver"
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
}

func (v volume) format() string {
	switch {
	case v.Format != "":
		return v.Format
	case v.Image == "":
		return formatRaw
	}
	return formatQcow
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

// nameFor is the name of the i-th disk of a domain that there is no record of, and how
// often it was made anew.
func nameFor(node, path string, i int) (string, uint64) {
	file, ours := strings.CutPrefix(filepath.Base(path), node)
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
		out = append(out, volume{Name: k.Name, Path: filepath.Join(pool, madeFile(s.Name+k.Name, madeOf(s, k.Name))), Capacity: k.CapacityBytes, Image: k.Image, Serial: k.Serial, Made: madeOf(s, k.Name)})
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
		case i < 0 || h.Made != want[i].Made:
			surplus = append(surplus, h.Path)
			continue
		case h.Format == "" && h.Image != want[i].Image:
			return nil, fmt.Errorf("volume %s: its image cannot change from %s to %s: destroy and create the node", h.Path, imageText(h.Image), imageText(want[i].Image))
		case want[i].Capacity < h.Capacity:
			return nil, fmt.Errorf("volume %s: cannot shrink from %d to %d bytes, that would cut off data: destroy and create the node", h.Path, h.Capacity, want[i].Capacity)
		}
		want[i].Path, want[i].Format = h.Path, h.Format
	}
	return surplus, nil
}

func imageText(image string) string {
	if image == "" {
		return "blank"
	}
	return image
}
