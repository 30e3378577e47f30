package driver

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
)

func TestDisks(t *testing.T) {
	disks := []state.Volume{{CapacityBytes: 10, Image: "/i"}, {CapacityBytes: 20}, {CapacityBytes: 30}}
	for _, c := range []struct {
		name    string
		volumes []RAIDVolume
		want    []Disk
	}{
		{"no volumes", nil, []Disk{{"vol0", 10, "/i", "", disks[0]}, {"vol1", 20, "", "", disks[1]}, {"vol2", 30, "", "", disks[2]}}},
		{"a mirror", []RAIDVolume{{Disks: []int{0, 1}, CapacityBytes: 10, Serial: "s", Made: 4}}, []Disk{{"raid4", 10, "", "s", state.Volume{}}, {"vol2", 30, "", "", disks[2]}}},
		{"of the last ones", []RAIDVolume{{Disks: []int{2, 1}, CapacityBytes: 20, Made: 1}}, []Disk{{"vol0", 10, "/i", "", disks[0]}, {"raid1", 20, "", "", state.Volume{}}}},
		{"two on the same", []RAIDVolume{{Disks: []int{0, 1}, CapacityBytes: 6, Made: 9}, {Disks: []int{0, 1}, CapacityBytes: 4, Made: 2}},
			[]Disk{{"raid2", 4, "", "", state.Volume{}}, {"raid9", 6, "", "", state.Volume{}}, {"vol2", 30, "", "", disks[2]}}},
		{"of a disk that is gone", []RAIDVolume{{Disks: []int{1, 3}, Made: 1}, {Made: 2}, {Disks: []int{-1}, Made: 3}},
			[]Disk{{"vol0", 10, "/i", "", disks[0]}, {"vol1", 20, "", "", disks[1]}, {"vol2", 30, "", "", disks[2]}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Spec{Machine: state.Machine{Volumes: disks}, Setup: Setup{Volumes: c.volumes}}
			if diff := cmp.Diff(c.want, s.Disks()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
