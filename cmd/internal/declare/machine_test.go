package declare

import (
	"reflect"
	"testing"

	"tenks/raftfsm/state"
)

func TestEveryFieldOfAMachineThatDiffersIsSaid(t *testing.T) {
	other := map[string]any{
		"Arch": "aarch64", "MachineType": "virt", "CPUMode": "custom", "CPUModel": "m", "Topology": state.Topology{Sockets: 1, Cores: 2, Threads: 1},
		"ClockOffset": "localtime", "DiskBus": "scsi", "DiskCache": "unsafe", "NICModel": "e1000", "NoConsoleLog": true, "NewConsoleLog": true,
		"ConsoleLogBytes": uint64(1 << 20), "ConsoleLogKeep": 2, "VNC": true, "Spice": true, "GuestAgent": true, "VolumePrefix": "disk",
		"SMBIOS": state.SMBIOS{Serial: "s"}, "USBDevices": []state.USBDevice{{Vendor: "0403", Product: "6001"}}, "TrustGuestRXFilters": true,
		"CDROMs": []state.CDROM{{Image: "/i.iso"}}, "XMLOverlay": "<domain/>",
	}
	now := map[string]bool{"ConsoleLogBytes": true, "ConsoleLogKeep": true, "VolumePrefix": true}
	for i, typ := 0, reflect.TypeFor[state.Hardware](); i < typ.NumField(); i++ {
		name := typ.Field(i).Name
		if other[name] == nil {
			t.Errorf("%s is not in this test", name)
			continue
		}
		var w state.Machine
		reflect.ValueOf(&w.Hardware).Elem().Field(i).Set(reflect.ValueOf(other[name]))
		changes := func(o, w state.Machine) []Difference {
			return compare(machineRows, AtPowerOn, nil, &state.Node{Machine: o}, &state.Node{Machine: w})
		}
		got := changes(state.Machine{}, w)
		if len(got) != 1 || (got[0].When != AtPowerOn) != now[name] {
			t.Errorf("%s: got %+v, want one change, at the next power-on: %v", name, got, !now[name])
		}
		if back := changes(w, state.Machine{}); len(back) != 1 {
			t.Errorf("%s taken back: got %+v, want one change", name, back)
		}
		if same := changes(w, w); len(same) != 0 {
			t.Errorf("%s: the same machine differs: %+v", name, same)
		}
	}
}

func TestChangesOfVolumesAreSaidInFull(t *testing.T) {
	o := state.Machine{Volumes: []state.Volume{{CapacityBytes: 1 << 30}}}
	w := state.Machine{Volumes: []state.Volume{{CapacityBytes: 1 << 30, Image: "/i", Copy: true, Cache: "unsafe", Bus: "scsi"}}}
	got := differences(&state.Node{Machine: o}, &state.NodeChange{Machine: w})
	want := "volumes[0] 1 GiB → 1 GiB copied from /i on scsi cache unsafe (made anew: DATA IS LOST)"
	if len(got) != 1 || got[0].String() != want || got[0].When != AtPowerOn {
		t.Errorf("got %+v, want %q at the next power-on", got, want)
	}
}
