package driver

import (
	"cmp"
	"slices"
	"strconv"

	"tenks/raftfsm/state"
)

// Disk is a disk that the guest sees.
type Disk struct {
	// Name is a word that no other disk of the node has or had: "vol0" for the first of
	// Machine.Volumes, "raid3" for the RAIDVolume with the number 3.
	Name          string
	CapacityBytes uint64
	// Image is what is on it at first; empty: nothing.
	Image string
	// Serial is the guest's serial number for it; empty: it has none.
	Serial string
	// Volume is what was declared, its Bus and Cache those of the type where it has none of
	// its own; of a RAID volume only these two.
	Volume state.Volume
}

// Disks are the disks that the guest sees, in order: a RAID volume in the place of the
// first disk that it is made of, the newer one last if they share that, and disks that are
// in no volume. A volume of disks that the node does not have is none.
func (s Spec) Disks() []Disk {
	volumes := s.raid()
	slices.SortFunc(volumes, func(a, b RAIDVolume) int { return cmp.Compare(a.Made, b.Made) })
	var out []Disk
	for i, v := range s.Machine.Volumes {
		for _, r := range volumes {
			if slices.Min(r.Disks) == i {
				out = append(out, Disk{Name: "raid" + strconv.FormatUint(r.Made, 10), CapacityBytes: r.CapacityBytes, Serial: r.Serial, Volume: s.onBus(state.Volume{})})
			}
		}
		if !s.InRAID(i) {
			out = append(out, Disk{Name: "vol" + strconv.Itoa(i), CapacityBytes: v.CapacityBytes, Image: v.Image, Serial: v.Serial, Volume: s.onBus(v)})
		}
	}
	return out
}

// onBus is a volume with the type's bus and cache where it has none of its own.
func (s Spec) onBus(v state.Volume) state.Volume {
	v.Bus, v.Cache = cmp.Or(v.Bus, s.Machine.Hardware.DiskBus), cmp.Or(v.Cache, s.Machine.Hardware.DiskCache)
	return v
}

// InRAID reports whether one of Machine.Volumes is part of a RAID volume: the guest does
// not see it, and what was on it is lost.
func (s Spec) InRAID(disk int) bool {
	return slices.ContainsFunc(s.raid(), func(v RAIDVolume) bool { return slices.Contains(v.Disks, disk) })
}

// raid are the volumes of disks that there are.
func (s Spec) raid() []RAIDVolume {
	return slices.DeleteFunc(slices.Clone(s.Setup.Volumes), func(v RAIDVolume) bool {
		return len(v.Disks) == 0 || slices.ContainsFunc(v.Disks, func(i int) bool { return i < 0 || i >= len(s.Machine.Volumes) })
	})
}
