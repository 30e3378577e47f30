package redfish

import (
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"tenks/bmc"
)

// keptVolume is a volume. Disks are indices of the node's disks.
type keptVolume struct {
	ID, Name string
	Display  string `json:",omitempty"`
	Type     string // the RAIDType
	Disks    []int
	Capacity uint64 // in bytes
}

func (v keptVolume) shownName() string {
	if v.Display == "" {
		return v.Name
	}
	return v.Display
}

// perDisk is how much of each disk the volume takes, in bytes.
func (v keptVolume) perDisk() uint64 {
	kind, _ := raidOf(v.Type)
	data := uint64(kind.data(len(v.Disks))) //nolint:gosec // not negative
	if data == 0 {
		return 0
	}
	return (v.Capacity + data - 1) / data
}

// volumeUUID follows from the system's and what makes the volume: another one under the same
// ID has another UUID.
func volumeUUID(system string, v keptVolume) string {
	id, err := uuid.Parse(system)
	if err != nil {
		return system
	}
	return uuid.NewSHA1(id, []byte("volume "+v.ID+" "+v.Name)).String()
}

// volumeSerial is the serial number that a guest sees of a volume: virtio-blk has room for
// 20 bytes (VIRTIO 1.2 §5.2.6.2).
func volumeSerial(system string, v keptVolume) string {
	text := strings.ReplaceAll(volumeUUID(system, v), "-", "")
	return text[:min(20, len(text))]
}

// initial reports whether a volume is the one that its disk came with. Others have IDs
// after those of all disks.
func (v keptVolume) initial() bool {
	return v.Type == raidKinds[0].name && len(v.Disks) == 1 && v.ID == strconv.Itoa(v.Disks[0]+1)
}

// A raidKind is a RAIDType: how many disks it may have, and how many of n hold data.
type raidKind struct {
	name, level string
	// volume is the VolumeType that stands for it in older requests.
	volume string
	least  int
	even   bool // an even number of disks
	most   int  // 0: any
	data   func(n int) int
}

// raidKinds are all that are supported, in the order of what is preferred for a VolumeType.
var raidKinds = []raidKind{
	{name: "RAID0", level: "0", volume: "NonRedundant", least: 1, data: func(n int) int { return n }},
	{name: "RAID1", level: "1", volume: "Mirrored", least: 2, most: 2, data: func(int) int { return 1 }},
	{name: "RAID5", level: "5", volume: "StripedWithParity", least: 3, data: func(n int) int { return n - 1 }},
	{name: "RAID6", level: "6", least: 4, data: func(n int) int { return n - 2 }},
	{name: "RAID10", level: "10", volume: "SpannedMirrors", least: 4, even: true, data: func(n int) int { return n / 2 }},
	{name: "RAID50", level: "50", volume: "SpannedStripesWithParity", least: 6, even: true, data: func(n int) int { return n - 2 }},
	{name: "RAID60", level: "60", least: 8, even: true, data: func(n int) int { return n - 4 }},
}

func raidOf(name string) (raidKind, bool) {
	i := slices.IndexFunc(raidKinds, func(k raidKind) bool { return k.name == name })
	if i < 0 {
		return raidKind{data: func(int) int { return 0 }}, false
	}
	return raidKinds[i], true
}

// fits says whether the kind may have n disks.
func (k raidKind) fits(n int) bool {
	return n >= k.least && (k.most == 0 || n <= k.most) && (!k.even || n%2 == 0)
}

// raidTypes are the RAIDTypes that n disks are enough for.
func raidTypes(n int) []string {
	out := []string{}
	for _, k := range raidKinds {
		if n >= k.least {
			out = append(out, k.name)
		}
	}
	return out
}

// initialVolumes are one for each disk.
func initialVolumes(disks []bmc.Disk) []keptVolume {
	out := make([]keptVolume, len(disks))
	for i, id := range counted("", len(disks)) {
		out[i] = keptVolume{ID: id, Name: "Volume " + id, Type: "RAID0", Disks: []int{i}, Capacity: disks[i].CapacityBytes}
	}
	return out
}

// present are the volumes of disks that the node has; those of disks that were taken out
// are gone.
func (k keptStorage) present(disks []bmc.Disk) []keptVolume {
	if !k.Set {
		return initialVolumes(disks)
	}
	return slices.DeleteFunc(slices.Clone(k.Volumes), func(v keptVolume) bool {
		return slices.ContainsFunc(v.Disks, func(i int) bool { return i >= len(disks) })
	})
}

// free is how many bytes of each disk are in no volume.
func free(disks []bmc.Disk, volumes []keptVolume) []uint64 {
	out := make([]uint64, len(disks))
	for i, d := range disks {
		out[i] = d.CapacityBytes
	}
	for _, v := range volumes {
		for _, i := range v.Disks {
			out[i] -= min(out[i], v.perDisk())
		}
	}
	return out
}

// choose returns as few disks as the kind may have that have room for capacity bytes (0:
// any), or nil.
func choose(kind raidKind, room []uint64, capacity uint64) []int {
	order := make([]int, len(room))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case room[a] > room[b]:
			return -1
		case room[a] < room[b]:
			return 1
		}
		return 0
	})
	for n := kind.least; n <= len(order); n++ {
		disks := slices.Sorted(slices.Values(order[:n]))
		if most := capacityOf(kind, room, disks); kind.fits(n) && most > 0 && most >= capacity {
			return disks
		}
	}
	return nil
}

// capacityOf is how large a volume on these disks can be.
func capacityOf(kind raidKind, room []uint64, disks []int) uint64 {
	least := ^uint64(0)
	for _, i := range disks {
		least = min(least, room[i])
	}
	if len(disks) == 0 {
		return 0
	}
	return least / blockSize * blockSize * uint64(max(kind.data(len(disks)), 0)) //nolint:gosec // not negative
}
