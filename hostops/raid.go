package hostops

import (
	"context"
	"slices"

	"tenks/hostops/driver"
)

// maxPastVolumes is how many RAID volumes that are no longer set are known again.
const maxPastVolumes = 32

// SetVolumes has the guest see the volumes in place of their disks from its next start on;
// their Made does not count. A volume that is set is blank, unless it is set already, or was
// and no start came in between; it is the same if all else of it is. Errors: state.ErrBusy.
func (c *Chassis) SetVolumes(ctx context.Context, volumes []driver.RAIDVolume) error {
	return c.changeKeptSetup(ctx, func(k *keptSetup) error {
		was := slices.Concat(k.Volumes, k.Past)
		k.Volumes, k.Past = nil, nil
		for _, v := range volumes {
			v.Disks = slices.Clone(v.Disks)
			if i := slices.IndexFunc(was, func(w driver.RAIDVolume) bool { return sameVolume(v, w) }); i >= 0 {
				v.Made = was[i].Made
				was = slices.Delete(was, i, i+1)
			} else {
				k.Made++
				v.Made = k.Made
			}
			k.Volumes = append(k.Volumes, v)
		}
		// The driver deletes a volume with the start that does without it, or before.
		k.Past = was[:min(len(was), maxPastVolumes)]
		return nil
	})
}

// sameVolume compares all but the number.
func sameVolume(a, b driver.RAIDVolume) bool {
	return a.ID == b.ID && a.Level == b.Level && a.CapacityBytes == b.CapacityBytes && a.Serial == b.Serial && slices.Equal(a.Disks, b.Disks)
}
