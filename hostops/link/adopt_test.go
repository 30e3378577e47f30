package link

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// made are the links that another tool made for a port of node n1, and what is wanted of
// them.
func made() (Have, Want) {
	have := host(foreignBridge("braio"),
		Link{Name: "brtenks0", Kind: kindBridge, MAC: "7a:00:00:00:00:01", MTU: 1450, Up: true},
		Link{Name: "p-brtenks0-br", Kind: kindVeth, MAC: "7a:00:00:00:00:02", MTU: 1450, Up: true, Master: "brtenks0", Peer: "p-brtenks0-phy"},
		Link{Name: "p-brtenks0-phy", Kind: kindVeth, MAC: "7a:00:00:00:00:03", MTU: 1450, Up: true, Master: "braio", Peer: "p-brtenks0-br"},
		Link{Name: "p-tk0-7-br", Kind: kindVeth, MAC: "7a:00:00:00:00:04", MTU: 1450, Up: true, Master: "brtenks0", Peer: "p-tk0-7-tap"},
		Link{Name: "p-tk0-7-tap", Kind: kindVeth, MAC: "7a:00:00:00:00:05", MTU: 1450, Up: true, Peer: "p-tk0-7-br"})
	return have, Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0", Device: "braio", Adopt: true, MAC: "7a:00:00:00:00:01"}},
		Ports: []Port{{Node: "n1", Tap: "p-tk0-7-tap", Peer: "p-tk0-7-br", MAC: "7a:00:00:00:00:05", PeerMAC: "7a:00:00:00:00:04", Bridge: "brtenks0", Adopt: true}}}
}

func TestLinksThatAnotherToolMadeAreMarkedAndNothingElse(t *testing.T) {
	have, want := made()
	plan := Plan(want, have)
	adopted := map[string]bool{}
	for _, s := range plan {
		if s.Op != OpAdopt {
			t.Errorf("step %s", s)
		}
		adopted[s.Link] = true
	}
	if len(adopted) != 5 {
		t.Errorf("adopted %v", adopted)
	}
	now := after(want, have)
	if again := Plan(want, now); len(again) > 0 {
		t.Errorf("left to do:\n%s", words(again))
	}
	for name, l := range now.Links {
		if l.MAC != have.Links[name].MAC {
			t.Errorf("%s has another address", name)
		}
	}
	// Once they are ours they go as others do.
	if gone := after(Want{}, now).Ours(); len(gone) > 0 {
		t.Errorf("left: %v", gone)
	}
}

func TestLinksThatAreNotAsTheyWereAreNotAdoptedAndStay(t *testing.T) {
	for name, change := range map[string]func(map[string]Link, *Want){
		"another bridge": func(l map[string]Link, _ *Want) {
			one := l["p-tk0-7-br"]
			one.Master = "braio"
			l["p-tk0-7-br"] = one
		},
		"another address": func(_ map[string]Link, w *Want) { w.Ports[0].MAC = "7a:00:00:00:00:99" },
		"no pair":         func(l map[string]Link, _ *Want) { delete(l, "p-tk0-7-tap") },
		"no veth": func(l map[string]Link, _ *Want) {
			one := l["p-tk0-7-br"]
			one.Kind = "dummy"
			l["p-tk0-7-br"] = one
		},
		"nobody asked": func(_ map[string]Link, w *Want) { w.Ports[0].Adopt = false },
	} {
		t.Run(name, func(t *testing.T) {
			have, want := made()
			change(have.Links, &want)
			conflict := false
			for _, s := range Plan(want, have) {
				conflict = conflict || s.Op == OpConflict && s.Node == "n1"
				if strings.HasPrefix(s.Link, "p-tk0") && s.Op != OpConflict {
					t.Errorf("step %s", s)
				}
			}
			if !conflict {
				t.Error("no conflict")
			}
		})
	}
}

func TestIntegrationAdoptedLinksKeepIndexAndAddress(t *testing.T) {
	h := openHost(t)
	for _, name := range []string{"braio", "brtenks0"} {
		must(t, netlink.LinkSetUp(add(t, linuxBridge(name))))
	}
	join := func(name, bridge string) {
		must(t, netlink.LinkSetMaster(byName(t, name), byName(t, bridge)))
		must(t, netlink.LinkSetUp(byName(t, name)))
	}
	add(t, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "p-brtenks0-br"}, PeerName: "p-brtenks0-phy"})
	add(t, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "p-tk0-7-br"}, PeerName: "p-tk0-7-tap"})
	join("p-brtenks0-br", "brtenks0")
	join("p-brtenks0-phy", "braio")
	join("p-tk0-7-br", "brtenks0")
	must(t, netlink.LinkSetUp(byName(t, "p-tk0-7-tap")))
	before := observe(t, h)
	_, want := made()
	want.Bridges[0].MAC = before.Links["brtenks0"].MAC
	want.Ports[0].MAC, want.Ports[0].PeerMAC = before.Links["p-tk0-7-tap"].MAC, before.Links["p-tk0-7-br"].MAC
	index := byName(t, "p-tk0-7-tap").Attrs().Index

	now := converge(t, h, want)
	for name, l := range before.Links {
		if got := now.Links[name]; got.MAC != l.MAC || got.Master != l.Master {
			t.Errorf("%s was %+v and is %+v", name, l, got)
		}
	}
	if got := byName(t, "p-tk0-7-tap").Attrs().Index; got != index || !now.Links["p-tk0-7-tap"].Ours() {
		t.Errorf("the tap has index %d, had %d: %+v", got, index, now.Links["p-tk0-7-tap"])
	}
	converge(t, h, Want{})
	if _, err := netlink.LinkByName("braio"); err != nil {
		t.Errorf("the bridge that ours was joined to: %v", err)
	}
}
