package libvirt

import (
	"fmt"
	"path/filepath"
	"strconv"

	"tenks/hostops/driver"
)

// volume is one disk of a node as it is recorded.
type volume struct {
	Path string `json:"path"`
	// Capacity is in bytes.
	Capacity uint64 `json:"capacity"`
	// Image backs the volume; empty: a blank one.
	Image string `json:"image,omitempty"`
}

func (v volume) format() string {
	if v.Image == "" {
		return formatRaw
	}
	return formatQcow
}

// volumesOf returns the volumes that a node should have, with files in pool.
func volumesOf(pool string, s driver.Spec) []volume {
	var out []volume
	for i, v := range s.Machine.Volumes {
		out = append(out, volume{Path: filepath.Join(pool, s.Name+"vol"+strconv.Itoa(i)), Capacity: v.CapacityBytes, Image: v.Image})
	}
	return out
}

// planVolumes decides which files a node no longer needs once it has the volumes of
// want; a volume that cannot become what is wanted is an error. Volumes get larger,
// and files go, only while the guest is off.
func planVolumes(have, want []volume) (surplus []string, err error) {
	for i, h := range have {
		switch {
		case i >= len(want):
			surplus = append(surplus, h.Path)
		case h.Image != want[i].Image:
			return nil, fmt.Errorf("volume %s: its image cannot change from %s to %s: destroy and create the node", h.Path, imageText(h.Image), imageText(want[i].Image))
		case want[i].Capacity < h.Capacity:
			return nil, fmt.Errorf("volume %s: cannot shrink from %d to %d bytes, that would cut off data: destroy and create the node", h.Path, h.Capacity, want[i].Capacity)
		}
	}
	return surplus, nil
}

func imageText(image string) string {
	if image == "" {
		return "blank"
	}
	return image
}
