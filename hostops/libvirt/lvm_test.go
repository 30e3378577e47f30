package libvirt

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func declared(all ...state.Volume) []volume {
	return volumesOf("/pool", driver.Spec{Name: "tk0", Machine: state.Machine{Volumes: all}})
}

func TestVolumesArePutIntoAVolumeGroup(t *testing.T) {
	want := declared(state.Volume{CapacityBytes: 5 << 20}, state.Volume{CapacityBytes: 6, Path: "/dev/sdb"}, state.Volume{CapacityBytes: 7, Image: "/i", Copy: true},
		state.Volume{CapacityBytes: 8, Pool: "other"}, state.Volume{CapacityBytes: 9})
	there := declared(state.Volume{CapacityBytes: 5})[0]
	there.Name, there.Path = "vol4", "/pool/tk0vol4"
	if err := placeInGroup("vg-1", want, []volume{there}); err != nil {
		t.Fatal(err)
	}
	if _, err := planVolumes([]volume{there}, want); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range want {
		got = append(got, strings.Join([]string{v.Path, v.Group, v.format()}, " "))
	}
	if want := []string{"/dev/vg-1/tenks-tk0vol0 vg-1 raw", "/dev/sdb  raw", "/dev/vg-1/tenks-tk0vol2 vg-1 raw", "/pool/tk0vol3  raw", "/pool/tk0vol4  raw"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for name, tt := range map[string]struct {
		group, node string
		v           state.Volume
		want        string
	}{
		"qcow2":        {"vg", "tk0", state.Volume{CapacityBytes: 1, Format: "qcow2"}, "volume vol0: this host has volumes in the volume group vg (pool_type: logical), which are raw: take format: raw, or none"},
		"a difference": {"vg", "tk0", state.Volume{CapacityBytes: 1, Image: "/i"}, "which cannot be a difference to an image: give image and copy: true"},
		"a long name":  {"vg", strings.Repeat("a-", 60), state.Volume{CapacityBytes: 1}, "is too long for one"},
		"files":        {"", "tk0", state.Volume{CapacityBytes: 1, Image: "/i", Format: "qcow2"}, ""},
	} {
		all := volumesOf("/pool", driver.Spec{Name: tt.node, Machine: state.Machine{Volumes: []state.Volume{tt.v}}})
		err := placeInGroup(tt.group, all, nil)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !errors.Is(err, state.ErrUnsupported)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestALogicalVolumeStaysAsItIs(t *testing.T) {
	have := declared(state.Volume{CapacityBytes: 1 << 30, Image: "/i", Copy: true})
	if err := placeInGroup("vg", have, nil); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		v       state.Volume
		surplus int
		want    string
	}{
		"the same": {state.Volume{CapacityBytes: 1 << 30, Image: "/i", Copy: true}, 0, ""},
		"larger":   {state.Volume{CapacityBytes: 2 << 30, Image: "/i", Copy: true}, 0, "libvirt cannot make a logical volume larger"},
		"qcow2":    {state.Volume{CapacityBytes: 1 << 30, Image: "/i", Copy: true, Format: "qcow2"}, 0, "because it is a logical volume"},
		"smaller":  {state.Volume{CapacityBytes: 1 << 20, Image: "/i", Copy: true}, 0, "cannot shrink"},
		"anew":     {state.Volume{CapacityBytes: 1 << 20, Made: 1}, 1, ""},
	} {
		want := declared(tt.v)
		err := placeInGroup("vg", want, have)
		var surplus []string
		if err == nil {
			surplus, err = planVolumes(have, want)
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || len(surplus) != tt.surplus {
			t.Errorf("%s: surplus %q, %v, want %q", name, surplus, err, tt.want)
		}
		if err == nil && tt.surplus == 0 && (want[0].Path != have[0].Path || want[0].Group != "vg" || !want[0].Block) {
			t.Errorf("%s: %+v", name, want[0])
		}
	}
	if err := have[0].movable(); !errors.Is(err, state.ErrUnsupported) {
		t.Errorf("it moves: %v", err)
	}
	if got := (record{Volumes: have}); !got.owns("/dev/vg/tenks-tk0vol0") {
		t.Error("it is not counted as the node's")
	}
	whole := record{Volumes: have}
	for name, tt := range map[string]struct {
		old  record
		want []string
	}{
		"it is made":          {record{}, []string{"vol0"}},
		"it is there":         {whole, nil},
		"it was to go":        {record{Surplus: []string{have[0].Path}}, nil},
		"it was being filled": {record{Filling: []string{"vol0"}}, nil}, // and is so
	} {
		if got := toFill(whole, tt.old); !slices.Equal(got, tt.want) {
			t.Errorf("%s: to be filled: %q, want %q", name, got, tt.want)
		}
	}
	if got := stillFilling([]string{"vol0", "vol1"}, have); !slices.Equal(got, []string{"vol0"}) {
		t.Errorf("still to be filled: %q", got)
	}
}

// A logical volume is ours only if it is called so, whatever a record or a domain says.
func TestOnlyLogicalVolumesCalledAsOursAreOurs(t *testing.T) {
	for path, want := range map[string]string{"/dev/vg/tenks-tk0vol0": "vg", "/dev/vg/root": "", "/dev/vg/tk0vol0": "", "/dev/tenks-x": "", "/dev/shm/tenks-x": "",
		"/dev/a/b/tenks-x": "", "/dev/mapper/vg-tenks--x": "", "/var/vg/tenks-x": "", "/dev/vg/../tenks-x": "", "tenks-x": ""} {
		if group, ours := isLV(path); ours != (want != "") || ours && group != want {
			t.Errorf("%s: %q, %t, want %q", path, group, ours, want)
		}
	}
	def := &libvirtxml.Domain{Name: "tk0", Devices: &libvirtxml.DomainDeviceList{}}
	for i, path := range []string{"/dev/vg/tenks-tk0vol0-3", "/dev/vg/tenks-tk1vol0", "/dev/vg/tk0vol1"} {
		def.Devices.Disks = append(def.Devices.Disks, libvirtxml.DomainDisk{Device: "disk", Target: &libvirtxml.DomainDiskTarget{Dev: "vd" + string(rune('a'+i)), Bus: "virtio"},
			Source: &libvirtxml.DomainDiskSource{Block: &libvirtxml.DomainDiskSourceBlock{Dev: path}}, Driver: &libvirtxml.DomainDiskDriver{Type: "raw"}})
	}
	all := adopt(def, "/pool")
	if r := (record{Volumes: all}); !slices.Equal(r.paths()[:1], []string{"/dev/vg/tenks-tk0vol0-3"}) || all[0].Group != "vg" || all[0].Made != 3 || !all[1].Keep {
		t.Errorf("would delete %q of %+v", r.paths(), all)
	}
}

func TestXMLOfALogicalVolumeAndItsPool(t *testing.T) {
	pool, err := groupPoolXML("vg1")
	if err != nil {
		t.Fatal(err)
	}
	v := declared(state.Volume{CapacityBytes: 3 << 30})
	if err := placeInGroup("vg1", v, nil); err != nil {
		t.Fatal(err)
	}
	vol, err := lvXML(v[0])
	if err != nil {
		t.Fatal(err)
	}
	b := blueprintOf(spec())
	b.Volumes = v
	domain, err := build(t, b, nil).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, disk, _ := strings.Cut(domain, "<disk")
	disk, _, _ = strings.Cut(disk, "</disk>")
	golden(t, filepath.Join("testdata", "logical.xml"), pool+"\n"+vol+"\n    <disk"+disk+"</disk>\n")
	if of, err := groupOfPool(pool); err != nil || of != "vg1" {
		t.Errorf("pool of %q, %v", of, err)
	}
	if of, err := groupOfPool("<pool type='dir'><name>vg1</name></pool>"); err != nil || of != "" {
		t.Errorf("a directory is a pool of %q, %v", of, err)
	}
	args, err := fillArgs(v[0], image{Format: formatQcow, Size: 1 << 30})
	if err != nil || !slices.Equal(args, []string{"convert", "-q", "-n", "-f", "qcow2", "-O", "raw", "", "/dev/vg1/tenks-tk0vol0"}) {
		t.Errorf("%q, %v", args, err)
	}
	if _, err := fillArgs(v[0], image{Size: 4 << 30}); err == nil || !strings.Contains(err.Error(), "are less than the") {
		t.Errorf("an image that is too large: %v", err)
	}
}

func TestOptionsOfAVolumeGroup(t *testing.T) {
	for name, tt := range map[string]struct {
		given map[string]string
		want  string
	}{
		"both":           {map[string]string{"pool_type": "logical", "pool_source": "vg1"}, ""},
		"a directory":    {map[string]string{"pool_type": "dir"}, ""},
		"no source":      {map[string]string{"pool_type": "logical"}, "one needs the other"},
		"only a source":  {map[string]string{"pool_source": "vg1"}, "one needs the other"},
		"another type":   {map[string]string{"pool_type": "zfs"}, "must be dir or logical"},
		"a path as name": {map[string]string{"pool_type": "logical", "pool_source": "../vg"}, "must be the name of a volume group"},
	} {
		o, err := parseOptions(tt.given, false)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && o.group != tt.given["pool_source"] {
			t.Errorf("%s: %+v, %v, want %q", name, o, err, tt.want)
		}
	}
}
