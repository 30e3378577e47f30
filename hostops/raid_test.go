package hostops

import (
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func setVolumes(t *testing.T, c *Chassis, volumes ...driver.RAIDVolume) {
	t.Helper()
	if err := c.SetVolumes(t.Context(), volumes); err != nil {
		t.Fatal(err)
	}
}

// disks are the names of the disks that the guest was last started with.
func (e *env) disks(uuid string) (out string) {
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	for _, k := range e.nodes.nodes[uuid].began.Disks() {
		out += k.Name + " "
	}
	return out
}

func TestGuestsSeeVolumesFromTheirNextStart(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		n := node("a")
		n.Machine.Volumes = []state.Volume{{CapacityBytes: 10}, {CapacityBytes: 10}, {CapacityBytes: 10}}
		e.place(n)
		e.run()
		elapse(time.Second)
		c := e.chassis("a")
		mirror := driver.RAIDVolume{ID: "4", Level: "1", Disks: []int{0, 1}, CapacityBytes: 10}
		stripe := driver.RAIDVolume{ID: "5", Level: "0", Disks: []int{2}, CapacityBytes: 10}
		setVolumes(t, c, mirror)
		e.power("a", state.ActionOn)
		elapse(2 * time.Second)
		for i, step := range []struct {
			volumes []driver.RAIDVolume
			want    string
		}{
			{[]driver.RAIDVolume{mirror}, "raid1 vol2 "},
			{[]driver.RAIDVolume{mirror, stripe}, "raid1 raid2 "},
			{[]driver.RAIDVolume{stripe}, "vol0 vol1 raid2 "},
			{nil, "vol0 vol1 vol2 "},
			{[]driver.RAIDVolume{{ID: "6", Level: "1", Disks: []int{0, 1}, CapacityBytes: 10}}, "raid3 vol2 "},
			{[]driver.RAIDVolume{{ID: "6", Level: "1", Disks: []int{0, 1}, CapacityBytes: 9}}, "raid4 vol2 "},
		} {
			before := e.disks("a")
			setVolumes(t, c, step.volumes...)
			elapse(2 * time.Second)
			if got := e.disks("a"); got != before {
				t.Errorf("step %d: the running guest has %q, and had %q", i, got, before)
			}
			e.power("a", state.ActionReset)
			elapse(2 * time.Second)
			if got := e.disks("a"); got != step.want {
				t.Errorf("step %d: disks %q, want %q", i, got, step.want)
			}
		}
		// What was taken back before a start is the same volume.
		setVolumes(t, c)
		setVolumes(t, c, driver.RAIDVolume{ID: "6", Level: "1", Disks: []int{0, 1}, CapacityBytes: 9})
		if got := c.setup().Volumes[0].Made; got != 4 {
			t.Errorf("volume %d, want it as it was: 4", got)
		}
	})
}
