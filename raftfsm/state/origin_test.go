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

func TestIronicsUUIDIsTheNodesUnlessARecordWasThere(t *testing.T) {
	n := &Node{UUID: "n"}
	for _, c := range []struct {
		origin *Origin
		want   string
	}{{nil, "n"}, {&Origin{}, "n"}, {&Origin{IronicUUID: "ABC"}, "abc"}} {
		n.Origin = c.origin
		if got := n.IronicUUID(); got != c.want {
			t.Errorf("origin %+v: %s, want %s", c.origin, got, c.want)
		}
	}
}
