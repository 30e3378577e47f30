package redfish

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

const (
	storage = sys1 + "/Storage/1"
	volumes = storage + "/Volumes"
)

// withDisks gives the first system disks of these sizes.
func (f *fixture) withDisks(sizes ...uint64) {
	h := f.chassis[first].Hardware()
	h.Disks = nil
	for _, size := range sizes {
		h.Disks = append(h.Disks, bmc.Disk{CapacityBytes: size})
	}
	f.chassis[first].SetHardware(h)
}

// drives is what Links has for these disks.
func drives(ids ...string) string {
	out := ""
	for _, id := range ids {
		out += `,{"@odata.id":"` + storage + `/Drives/` + id + `"}`
	}
	return `"Links":{"Drives":[` + out[1:] + `]}`
}

func TestStorage(t *testing.T) {
	f := newFixture(t)
	f.withDisks(1<<30, 1<<30, 2<<30)
	run(t, f, []exchange{
		{name: "storage", method: get, path: storage, status: 200, has: map[string]any{"Drives@odata.count": 3.0, "Drives/2/@odata.id": storage + "/Drives/Disk3",
			"StorageControllers/0/MemberId": "0", "StorageControllers/0/SupportedRAIDTypes/2": "RAID5", "StorageControllers/0/SupportedRAIDTypes/3": nil}},
		{name: "a drive", method: get, path: storage + "/Drives/Disk3", status: 200, has: map[string]any{"CapacityBytes": float64(2 << 30), "Links/Volumes/0/@odata.id": volumes + "/3", "Protocol": "SAS"}},
		{name: "no drive", method: get, path: storage + "/Drives/Disk4", status: 404},
		{name: "its indicator", method: patch, path: storage + "/Drives/Disk2", body: `{"IndicatorLED":"Lit"}`, status: 200, has: map[string]any{"LocationIndicatorActive": true}},
		{name: "of another", method: get, path: storage + "/Drives/Disk1", status: 200, has: map[string]any{"IndicatorLED": "Off"}},
		{name: "off again", method: patch, path: storage + "/Drives/Disk2", body: `{"LocationIndicatorActive":false}`, status: 200, has: map[string]any{"IndicatorLED": "Off"}},
		{name: "a volume for each", method: get, path: volumes, status: 200, has: map[string]any{"Members@odata.count": 3.0, "@Redfish.OperationApplyTimeSupport/SupportedValues/1": "OnReset"}},
		{name: "its properties", method: get, path: volumes + "/3", status: 200, has: map[string]any{"RAIDType": "RAID0", "CapacityBytes": float64(2 << 30), "Links/Drives/0/@odata.id": storage + "/Drives/Disk3"}},
		{name: "no room", method: post, path: volumes, body: `{"RAIDType":"RAID1",` + drives("Disk1", "Disk2") + `}`, status: 400, message: "PropertyValueOutOfRange"},
		{name: "nowhere", method: post, path: volumes, body: `{"RAIDType":"RAID1"}`, status: 400, message: "PropertyValueConflict"},
		{name: "delete", method: remove, path: volumes + "/1", status: 204},
		{name: "delete with a time", method: remove, path: volumes + "/2", body: `{"@Redfish.OperationApplyTime":"Immediate"}`, status: 204},
		{name: "delete at another", method: remove, path: volumes + "/3", body: `{"@Redfish.OperationApplyTime":"AtMaintenanceWindowStart"}`, status: 400, message: "PropertyValueNotInList"},
		{name: "delete with nonsense", method: remove, path: volumes + "/3", body: `{`, status: 400, message: "MalformedJSON"},
		{name: "gone", method: get, path: volumes + "/1", status: 404},
		{name: "free", method: get, path: storage + "/Drives/Disk1", status: 200, has: map[string]any{"Links/Volumes@odata.count": 0.0}},
		{name: "no type", method: post, path: volumes, body: `{"CapacityBytes":1024}`, status: 400, message: "CreateFailedMissingReqProperties"},
		{name: "too many", method: post, path: volumes, body: `{"RAIDType":"RAID1",` + drives("Disk1", "Disk2", "Disk3") + `}`, status: 400, message: "PropertyValueConflict"},
		{name: "twice the same", method: post, path: volumes, body: `{"RAIDType":"RAID1",` + drives("Disk1", "Disk1") + `}`, status: 400, message: "PropertyValueNotInList"},
		{name: "another's", method: post, path: volumes, body: `{"RAIDType":"RAID0","Links":{"Drives":[{"@odata.id":"/redfish/v1/Systems/x/Storage/1/Drives/Disk1"}]}}`, status: 400, message: "PropertyValueNotInList"},
		{name: "too large", method: post, path: volumes, body: `{"RAIDType":"RAID1","CapacityBytes":1073741825,` + drives("Disk1", "Disk2") + `}`, status: 400, message: "PropertyValueOutOfRange"},
		{name: "encrypted", method: post, path: volumes, body: `{"RAIDType":"RAID1","Encrypted":true,` + drives("Disk1", "Disk2") + `}`, status: 400, message: "PropertyValueIncorrect"},
		{name: "a mirror", method: post, path: volumes, body: `{"RAIDType":"RAID1","Name":"root","CapacityBytes":536870912,` + drives("Disk1", "Disk2") + `,"@Redfish.OperationApplyTime":"Immediate"}`,
			status: 201, header: map[string]string{"Location": volumes + "/4"}, has: map[string]any{"Name": "root", "RAIDType": "RAID1", "CapacityBytes": 536870912.0, "Links/Drives@odata.count": 2.0}},
		{name: "the rest", method: post, path: volumes, body: `{"VolumeType":"Mirrored"}`, status: 201, has: map[string]any{"CapacityBytes": 536870912.0}},
		{name: "a name", method: patch, path: volumes + "/4", body: `{"DisplayName":"system"}`, status: 200, has: map[string]any{"DisplayName": "system", "Name": "root"}},
		{name: "initialize", method: post, path: volumes + "/4/Actions/Volume.Initialize", body: `{"InitializeType":"Fast","@Redfish.OperationApplyTime":"Immediate"}`, status: 204},
		{name: "in two volumes", method: get, path: storage + "/Drives/Disk1", status: 200, has: map[string]any{"Links/Volumes@odata.count": 2.0}},
	})
	// What a disk that was taken out was part of is gone.
	f.withDisks(1 << 30)
	if got := f.want(200, get, volumes, nil).at("Members@odata.count"); got != 0.0 {
		t.Errorf("%v volumes", got)
	}
}

// TestStorageOnReset has operations wait for the next start, as tasks.
func TestStorageOnReset(t *testing.T) {
	f := newFixture(t)
	f.withDisks(1<<30, 1<<30)
	later := `"@Redfish.OperationApplyTime":"OnReset"`
	drop := f.want(202, remove, volumes+"/1", `{`+later+`}`).Header().Get("Location")
	f.want(202, remove, volumes+"/2", `{`+later+`}`)
	makeIt := f.want(202, post, volumes, `{"RAIDType":"RAID1",`+later+`}`)
	if makeIt.Body.Len() > 0 {
		t.Errorf("202 with %s", makeIt.Body)
	}
	back := f.want(202, post, volumes+"/1/Actions/Volume.Initialize", `{`+later+`}`).Header().Get("Location")
	f.want(202, get, drop, nil)
	if got := f.want(200, get, volumes, nil).at("Members@odata.count"); got != 2.0 {
		t.Errorf("%v volumes before the start", got)
	}
	f.want(204, remove, back, nil)
	pending := func() int {
		return len(recall[keptStorage](System{ID: first, Chassis: f.chassis[first]}, storageKey).Pending)
	}
	eventually(t, "it was taken back", func() bool { return pending() == 3 })
	f.want(204, post, sys1+"/Actions/ComputerSystem.Reset", `{"ResetType":"On"}`)
	for _, monitor := range []string{drop, makeIt.Header().Get("Location")} {
		eventually(t, "the task has ended", func() bool { return f.do(get, monitor, nil).Code == 200 })
		if got := f.want(200, get, monitor, nil).at("TaskState"); got != "Completed" {
			t.Errorf("the task is %v", got)
		}
	}
	members := f.want(200, get, volumes, nil)
	path, _ := members.at("Members/0/@odata.id").(string)
	if members.at("Members@odata.count") != 1.0 || f.want(200, get, path, nil).at("RAIDType") != "RAID1" {
		t.Errorf("volumes %s", members.Body)
	}
}

// raidChassis makes volumes real.
type raidChassis struct {
	bmc.Chassis

	mu      sync.Mutex // guards what follows
	volumes []bmc.Volume
	calls   int
	err     error
}

func (c *raidChassis) SetVolumes(_ context.Context, v []bmc.Volume) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.volumes = v
		c.calls++
	}
	return c.err
}

func TestRealVolumes(t *testing.T) {
	f := newFixture(t)
	f.withDisks(1<<30, 1<<30)
	c := &raidChassis{Chassis: f.chassis[first]}
	f.replaceChassis(wrapped{c})
	f.want(204, remove, volumes+"/1", nil)
	f.want(204, remove, volumes+"/2", nil)
	if c.calls > 0 {
		t.Errorf("%d calls for volumes that their disks came with", c.calls)
	}
	f.want(201, post, volumes, `{"RAIDType":"RAID1"}`)
	if len(c.volumes) != 1 || c.volumes[0].Level != "1" || !slices.Equal(c.volumes[0].Disks, []int{0, 1}) || c.volumes[0].CapacityBytes != 1<<30 {
		t.Errorf("volumes %+v", c.volumes)
	}
	durable, _ := f.want(200, get, volumes+"/3", nil).at("Identifiers/0/DurableName").(string)
	if want := strings.ReplaceAll(durable, "-", "")[:20]; c.volumes[0].Serial != want {
		t.Errorf("serial number %q, want %q", c.volumes[0].Serial, want)
	}
	c.err = state.ErrWrongState
	f.want(409, remove, volumes+"/3", nil)
	f.want(200, get, volumes+"/3", nil)
	c.err = nil
	f.want(204, remove, volumes+"/3", nil)
	if len(c.volumes) != 0 {
		t.Errorf("after all are gone: %+v", c.volumes)
	}
}

// TestRealVolumesOfARunningGuest change with its next start, and only then.
func TestRealVolumesOfARunningGuest(t *testing.T) {
	f := newFixture(t)
	f.withDisks(1<<30, 1<<30, 1<<30)
	c := &raidChassis{Chassis: f.chassis[first]}
	f.replaceChassis(wrapped{c})
	f.want(204, post, sys1+"/Actions/ComputerSystem.Reset", `{"ResetType":"On"}`)
	if got := f.want(200, get, volumes, nil).at("@Redfish.OperationApplyTimeSupport/SupportedValues"); len(got.([]any)) != 1 || got.([]any)[0] != "OnReset" {
		t.Errorf("apply times %v", got)
	}
	f.want(400, remove, volumes+"/1", `{"@Redfish.OperationApplyTime":"Immediate"}`)
	f.want(202, remove, volumes+"/1", nil)
	f.want(202, remove, volumes+"/2", nil)
	back := f.want(202, post, volumes, `{"RAIDType":"RAID1"}`).Header().Get("Location")
	calls := func(n, volumes int) func() bool {
		return func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.calls == n && len(c.volumes) == volumes
		}
	}
	if !calls(1, 1)() {
		t.Errorf("the chassis was not told before the start: %+v", c.volumes)
	}
	f.want(204, remove, back, nil)
	eventually(t, "it was taken back", calls(2, 0))
	makeIt := f.want(202, post, volumes, `{"RAIDType":"RAID1","CapacityBytes":536870912}`).Header().Get("Location")
	if got := f.want(200, get, volumes, nil).at("Members@odata.count"); got != 3.0 {
		t.Errorf("%v volumes before the start", got)
	}
	f.want(204, post, sys1+"/Actions/ComputerSystem.Reset", `{"ResetType":"ForceRestart"}`)
	eventually(t, "the task has ended", func() bool { return f.do(get, makeIt, nil).Code == 200 })
	if got := f.want(200, get, volumes, nil).at("Members@odata.count"); got != 2.0 || !calls(3, 1)() {
		t.Errorf("%v volumes after the start, %+v", got, c)
	}
}

func TestRAIDKinds(t *testing.T) {
	for _, c := range []struct {
		kind     string
		room     []uint64
		capacity uint64
		disks    []int
		most     uint64
	}{
		{"RAID0", []uint64{10 * blockSize, 20 * blockSize}, 0, []int{1}, 20 * blockSize},
		{"RAID0", []uint64{10 * blockSize, 20 * blockSize}, 21 * blockSize, nil, 0},
		{"RAID0", []uint64{20 * blockSize, 20 * blockSize}, 21 * blockSize, []int{0, 1}, 40 * blockSize},
		{"RAID1", []uint64{10 * blockSize, 0, 20 * blockSize}, 0, []int{0, 2}, 10 * blockSize},
		{"RAID1", []uint64{10 * blockSize, 0}, 0, nil, 0},
		{"RAID5", []uint64{1023, 1024, 1025}, 0, []int{0, 1, 2}, 2 * blockSize},
		{"RAID6", slices.Repeat([]uint64{blockSize}, 4), 0, []int{0, 1, 2, 3}, 2 * blockSize},
		{"RAID10", slices.Repeat([]uint64{blockSize}, 7), 3 * blockSize, []int{0, 1, 2, 3, 4, 5}, 3 * blockSize},
		{"RAID50", slices.Repeat([]uint64{blockSize}, 6), 0, []int{0, 1, 2, 3, 4, 5}, 4 * blockSize},
		{"RAID60", slices.Repeat([]uint64{blockSize}, 7), 0, nil, 0},
	} {
		kind, _ := raidOf(c.kind)
		got := choose(kind, c.room, c.capacity)
		if !slices.Equal(got, c.disks) || capacityOf(kind, c.room, got) != c.most {
			t.Errorf("%s of %v: got %v with %d bytes, want %v with %d", c.kind, c.room, got, capacityOf(kind, c.room, got), c.disks, c.most)
		}
	}
}
