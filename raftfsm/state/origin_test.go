package state

import (
	"errors"
	"strings"
	"testing"
)

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

// pinned is a mesh of which tk1 is pinned to h1, tk2 was found there, and tk4 waits for it.
func pinned(t *testing.T) *log {
	l := newLog(t)
	l.must(SetMesh{Mesh{ID: "m1", Name: "lab", Generation: 1}}, PutPeer{peer("h1")}, token("t0", func(k *Token) { k.Uses, k.ExpiresMilli = -1, 0 }),
		AdmitPeer{peer("h2"), "t0", hash(1)}, hypervisor("h1"), hypervisor("h2"))
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{with(declared(1), func(n *Node) { n.Pin = "h1" }),
		with(declared(2), func(n *Node) {
			n.Origin = &Origin{Hypervisor: "h1", Volumes: []OriginVolume{{"/a", "raw"}}}
		}), declared(3), with(declared(4), func(n *Node) { n.Pin = "h1" })}},
		place("u1", "h1", 6230), place("u2", "h1", 6231), place("u3", "h1", 6232))
	return l
}

func TestADrainSaysWhatIsPinned(t *testing.T) {
	l := pinned(t)
	err := l.try(DrainPeer{ID: "h1", Draining: true, Pins: PinsRefuse})
	if want := "peer hvh1: specs.nodes.hypervisor pins 1 node to it (tk1): tenks peer drain --ignore-pins hvh1 moves them, too"; !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if l.peer("h1").Draining {
		t.Error("it drains all the same")
	}
	l.must(DrainPeer{ID: "h1", Draining: true, Pins: PinsForget})
	if n := l.node("tk1"); !l.peer("h1").Draining || n.Pinned() != "" || n.Placement == nil {
		t.Errorf("with their pins forgotten: %+v", n)
	}
	if n := l.node("tk2"); n.Pinned() != "h1" || n.PinnedTo("h1") {
		t.Errorf("where a node was found is forgotten before it has left: %+v", n.Origin)
	}
	// A command of before there were policies does what it did.
	l = pinned(t)
	l.must(DrainPeer{ID: "h1", Draining: true})
	if n := l.node("tk1"); !l.peer("h1").Draining || n.Pinned() != "h1" {
		t.Errorf("without a policy: %+v", n)
	}
	l.must(DrainPeer{ID: "h1"}, DrainPeer{ID: "h2", Draining: true, Pins: PinsRefuse})
}

func TestPinsHoldUntilTheyAreDeclaredOtherwise(t *testing.T) {
	legacy := func(n *Node) { n.Pin, n.Origin = "", &Origin{Hypervisor: "h1", BMCPort: 6230} }
	for name, change := range map[string]func(*Node){"declared": func(*Node) {}, "as it once was": legacy} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.must(hypervisor("h1"), hypervisor("h2"), ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{with(declared(1), func(n *Node) { n.Pin = "h1"; change(n) })}},
				place("u1", "h2", 6230))
			n := l.node("tk1")
			if n.Placement != nil || n.Pinned() != "h1" || !n.PinnedTo("h1") || n.PinnedTo("") {
				t.Errorf("placed elsewhere: %+v", n)
			}
			again := func(pin *string) ApplyCluster {
				c, _ := l.snap().Cluster("demo")
				return ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: c.ModifyIndex, Change: []NodeChange{{UUID: "u1", Spec: n.Spec, Machine: n.Machine, Ports: n.Ports, BMC: n.BMC, Pin: pin}}}
			}
			to, none := "h2", ""
			l.must(again(nil))
			if n := l.node("tk1"); n.Pinned() != "h1" {
				t.Errorf("a change that says nothing of it: pinned to %q", n.Pinned())
			}
			l.must(again(&to), place("u1", "h1", 6230))
			if n := l.node("tk1"); n.Placement != nil || n.Pinned() != "h2" {
				t.Errorf("pinned to %q, placed %+v", n.Pinned(), n.Placement)
			}
			l.must(place("u1", "h2", 6230), again(&none))
			if n := l.node("tk1"); n.Placement == nil || n.Pinned() != "" {
				t.Errorf("pinned to %q, placed %+v", n.Pinned(), n.Placement)
			}
		})
	}
}

func TestAPinIsForgottenByAMoveAwayFromIt(t *testing.T) {
	l := newLog(t)
	l.must(hypervisor("h1"), hypervisor("h2"), ApplyCluster{Cluster: Cluster{Name: "demo"}, Create: []Node{with(declared(1), func(n *Node) { n.Pin = "h2" })}},
		place("u1", "h2", 6230))
	move := func(to string) {
		l.must(StartMoves{Moves: []NodeMove{{UUID: "u1", Epoch: l.node("tk1").Placement.Epoch, To: to, BMC: Endpoint{"192.0.2.1", 6233}}}})
		l.must(FinishMove{UUID: "u1", Start: l.node("tk1").Move.Start})
	}
	n := l.node("tk1")
	to := "h1"
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: n.CreateIndex, Change: []NodeChange{{UUID: "u1", Spec: n.Spec, Machine: n.Machine, Ports: n.Ports, BMC: n.BMC, Pin: &to}}})
	move("h1")
	if n := l.node("tk1"); n.Placement.Hypervisor != "h1" || n.Pin != "h1" {
		t.Errorf("where it is pinned to: %+v", n)
	}
	l.must(ReportDiscarded{Hypervisor: "h2", Nodes: []string{"u1"}}, StartMoves{Moves: []NodeMove{{UUID: "u1", Epoch: l.node("tk1").Placement.Epoch, To: "h2", BMC: Endpoint{"192.0.2.1", 6234}}}})
	c, _ := l.snap().Cluster("demo")
	third := "h3"
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: c.ModifyIndex, Change: []NodeChange{{UUID: "u1", Spec: n.Spec, Machine: n.Machine, Ports: n.Ports, BMC: n.BMC, Pin: &third}}},
		FinishMove{UUID: "u1", Start: l.node("tk1").Move.Start})
	if n := l.node("tk1"); n.Placement.Hypervisor != "h2" || n.Pin != "h3" {
		t.Errorf("pinned elsewhere while it moved: %+v", n)
	}
	c, _ = l.snap().Cluster("demo")
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: c.ModifyIndex, Change: []NodeChange{{UUID: "u1", Spec: n.Spec, Machine: n.Machine, Ports: n.Ports, BMC: n.BMC, Pin: &to}}},
		ReportDiscarded{Hypervisor: "h1", Nodes: []string{"u1"}})
	move("h1")
	l.must(ReportDiscarded{Hypervisor: "h2", Nodes: []string{"u1"}})
	move("h2")
	if n := l.node("tk1"); n.Placement.Hypervisor != "h2" || n.Pin != "" {
		t.Errorf("elsewhere: %+v", n)
	}
}

// A pin is about another host until the node is there: the loss of the one that it is on says
// nothing of that.
func TestAPinToAnotherHostOutlivesTheOneThatIsLost(t *testing.T) {
	for pin, want := range map[string]string{"h1": "", "h2": "h2"} {
		l := pinned(t)
		n := l.node("tk1")
		c, _ := l.snap().Cluster("demo")
		l.must(ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: c.ModifyIndex, Change: []NodeChange{{UUID: "u1", Spec: n.Spec, Machine: n.Machine, Ports: n.Ports, BMC: n.BMC, Pin: &pin}}},
			RemovePeer{ID: "h1", Force: true})
		if n := l.node("tk1"); n.Placement != nil || n.Pinned() != want {
			t.Errorf("pinned to %s: pinned to %q afterwards, want %q; placed %+v", pin, n.Pinned(), want, n.Placement)
		}
	}
}
