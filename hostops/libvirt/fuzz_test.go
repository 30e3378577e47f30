//go:build cgo && libvirt_dlopen

package libvirt

import "testing"

// FuzzNoted is a domain that comes with a node from another host.
func FuzzNoted(f *testing.F) {
	f.Add([]byte(`<domain type="kvm"><os/><devices><emulator>/bin/x</emulator><disk device="cdrom"><source file="/x"/></disk></devices></domain>`))
	f.Add([]byte(`<domain/>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := noted(b)
		if err != nil || got == nil {
			return
		}
		if got.def.Devices.Emulator != "" {
			t.Errorf("it names the program %s", got.def.Devices.Emulator)
		}
		for _, d := range got.def.Devices.Disks {
			if d.Device == "cdrom" && d.Source != nil {
				t.Error("it names a file in the drive")
			}
		}
	})
}

func FuzzMark(f *testing.F) {
	f.Add(`<a xmlns="x"/>text<b><c/></b>`)
	f.Fuzz(func(t *testing.T, s string) {
		once, err := replaceMark(s, mark{})
		if err != nil {
			return
		}
		if again, err := replaceMark(once, mark{}); err == nil && again != once {
			t.Errorf("%q becomes %q, and that %q", s, once, again)
		}
	})
}
