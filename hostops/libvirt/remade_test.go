package libvirt

import (
	"slices"
	"testing"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

func TestAVolumeThatIsMadeAnewHasAnotherFile(t *testing.T) {
	spec := func(made uint64, capacity uint64, image string) driver.Spec {
		return driver.Spec{Name: "tk0", Machine: state.Machine{Volumes: []state.Volume{{CapacityBytes: capacity, Image: image, Made: made}, {CapacityBytes: 7}}}}
	}
	have := volumesOf("/pool", spec(0, 10, ""))
	if have[0].Path != "/pool/tk0vol0" || have[1].Path != "/pool/tk0vol1" {
		t.Fatalf("files %q, %q", have[0].Path, have[1].Path)
	}
	for i, s := range []driver.Spec{spec(1, 5, ""), spec(2, 5, "/i"), spec(3, 10, "")} {
		want := volumesOf("/pool", s)
		surplus, err := planVolumes(have, want)
		if err != nil || !slices.Equal(surplus, []string{have[0].Path}) || want[0].Path == have[0].Path || want[1].Path != "/pool/tk0vol1" {
			t.Errorf("%d: surplus %q, %v; files %q, %q", i, surplus, err, want[0].Path, want[1].Path)
		}
		have = want
		if name, made := nameFor("tk0", want[0].Path, 5); name != "vol0" || made != uint64(i+1) {
			t.Errorf("%s is disk %q, made anew %d times", want[0].Path, name, made)
		}
	}
	// Without another number it would be a mistake.
	if _, err := planVolumes(have, volumesOf("/pool", spec(3, 5, ""))); err == nil {
		t.Error("a volume shrinks that nobody agreed to lose")
	}
}
