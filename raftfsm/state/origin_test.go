package state

import "testing"

func TestOriginGoesWithTheHostExceptForIronicsUUID(t *testing.T) {
	o := &Origin{Hypervisor: "hv1", BMCPort: 6230, IronicUUID: "U", Volumes: []OriginVolume{{"/a", "raw"}}}
	if got, want := o.elsewhere(), (&Origin{IronicUUID: "U"}); !got.Equal(want) {
		t.Errorf("elsewhere: %+v, want %+v", got, want)
	}
	o.IronicUUID = ""
	if got := o.elsewhere(); got != nil {
		t.Errorf("elsewhere: %+v, want nothing", got)
	}
	if got := (*Origin)(nil).elsewhere(); got != nil {
		t.Errorf("nothing elsewhere: %+v", got)
	}
}
