package hostops

import (
	"errors"
	"slices"
	"testing"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// takenNode is a node that was taken over, as link names and bridge are those of another tool.
func takenNode(uuid string) *state.Node {
	return placed(uuid, func(n *state.Node) {
		n.Origin = &state.Origin{Volumes: []state.OriginVolume{{Path: "/old/" + uuid, Format: "raw"}},
			Links: []state.OriginLink{{Tap: "p-" + uuid + "-7-tap", Peer: "p-" + uuid + "-7-br", PeerMAC: "7a:00:00:00:00:0" + uuid[len(uuid)-1:], Bridge: "brtenks0", BridgeMAC: "7a:00:00:00:00:99"}}}
	}, "p1")
}

// madeByOthers puts the links of an adopted node here as the other tool made them.
func madeByOthers(k *kernel, n *state.Node) {
	l := n.Origin.Links[0]
	k.have.Links[l.Bridge] = link.Link{Name: l.Bridge, Kind: "bridge", MAC: l.BridgeMAC, MTU: 1500, Up: true}
	k.have.Links[l.Peer] = link.Link{Name: l.Peer, Kind: "veth", MAC: l.PeerMAC, MTU: 1500, Up: true, Master: l.Bridge, Peer: l.Tap}
	k.have.Links[l.Tap] = link.Link{Name: l.Tap, Kind: "veth", MAC: n.Ports[0].MAC, MTU: 1500, Up: true, Peer: l.Peer}
}

// takenOver are two nodes of another tool in one bridge, of which the first is ours by now.
func takenOver(t *testing.T) (k *kernel, one, two *state.Node) {
	t.Helper()
	k, one, two = newKernel(), takenNode("tk0"), takenNode("tk1")
	madeByOthers(k, one)
	madeByOthers(k, two)
	h := present(k, made(one, nil))
	p, err := plan(wanted(k, nil, one), h)
	if err != nil {
		t.Fatal(err)
	}
	carryOut(k, h, p)
	if left, err := plan(wanted(k, nil, one), present(k, made(one, nil))); err != nil || len(summary(left)) > 0 || !k.have.Links["brtenks0"].Ours() || !k.have.Links["p-tk0-7-br"].Ours() {
		t.Fatalf("left %v, %v; links %v", summary(left), err, k.have.Links)
	}
	return k, one, two
}

// A node that was taken over keeps its links while its driver does not answer: its guest runs.
func TestLinksThatWereTakenOverStayWhileTheDriverIsDown(t *testing.T) {
	k, one, _ := takenOver(t)
	h := present(k)
	h.instances = map[string]map[string]driver.Instance{"other": {}}
	h.down["test"] = errors.New("libvirtd is being restarted")
	p, err := plan(wanted(k, nil, one), h)
	if got := summary(p); err != nil || len(got) > 0 {
		t.Errorf("plan %v, %v", got, err)
	}
}

// A bridge that was taken over with one node stays as long as others are in it, whose turn has
// not come yet, or never does.
func TestABridgeThatWasTakenOverStaysForTheOthersInIt(t *testing.T) {
	for name, also := range map[string]bool{"to be taken over": true, "left as it is": false} {
		t.Run(name, func(t *testing.T) {
			k, one, two := takenOver(t)
			gone := *one
			gone.Removing = true
			nodes := []*state.Node{&gone}
			h := present(k, made(one, nil))
			if also {
				nodes = append(nodes, two)
			}
			for range 3 {
				p, err := plan(wanted(k, nil, nodes...), h)
				if err != nil {
					t.Fatal(err)
				}
				p.nodes = slices.DeleteFunc(p.nodes, func(w work) bool { return w.node == "tk1" }) // its driver has not got to it
				h = carryOut(k, h, p)
			}
			if l := k.have.Links; l["p-tk1-7-br"].Master != "brtenks0" || l["brtenks0"].Name == "" || l["p-tk0-7-br"].Name != "" {
				t.Errorf("links %v", l)
			}
		})
	}
}
