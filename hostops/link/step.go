package link

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Op is the kind of a Step.
type Op string

// The operations.
const (
	// OpConflict is not possible: Step.Reason says why. Applying it is an error.
	OpConflict Op = "conflict"
	// OpCreateBridge makes the bridge Link, marked and up.
	OpCreateBridge Op = "create bridge"
	// OpCreatePair makes the veth pair Link (in Bridge) and Peer (in PeerBridge, if
	// that is set), marked and up.
	OpCreatePair Op = "create pair"
	// OpCreateVLAN makes the link of Parent's VLAN, OpCreateVXLAN that of an overlay; in
	// Bridge, marked and up.
	OpCreateVLAN  Op = "create vlan"
	OpCreateVXLAN Op = "create vxlan"
	// OpAddRemote and OpDropRemote change whom the VXLAN link sends to.
	OpAddRemote  Op = "add remote"
	OpDropRemote Op = "drop remote"
	// OpSetVLAN makes Link, in a bridge that filters VLANs, an access port of VLAN.
	OpSetVLAN Op = "set vlan"
	// OpAdopt makes Link ours by its alias, if it is nobody's and has the address MAC.
	OpAdopt Op = "adopt"
	// OpMark sets the alias of Link.
	OpMark Op = "mark"
	// OpSetMAC, OpSetMTU and OpUp set one property of Link.
	OpSetMAC Op = "set mac"
	OpSetMTU Op = "set mtu"
	OpUp     Op = "set up"
	// OpComplete has the kernel complete the checksums of what Link passes on.
	OpComplete Op = "complete checksums"
	// OpRename gives Link the name Name; it is down for a moment.
	OpRename Op = "rename"
	// OpJoin puts Link into Bridge.
	OpJoin Op = "join"
	// OpPlug puts the mapped device Link into Bridge, unless the host speaks IP on it. With
	// Loose it only looks whether it may be, and sets it up.
	OpPlug Op = "plug in"
	// OpRelease takes the device Link out of Bridge and leaves it as it is otherwise.
	OpRelease Op = "release"
	// OpDelete deletes Link, and with it the other end of a veth pair.
	OpDelete Op = "delete"
)

// stage orders steps: bridges are there before nodes' ports and go after them.
type stage int

const (
	stageBridges stage = iota
	stageNodes
	stageRemovals
)

// Step is one change to a host's links. It may be repeated.
type Step struct {
	Op Op
	// Node is the UUID of the node that the step is for; empty: for the host. Steps
	// of different nodes may run at the same time.
	Node string
	// Link is the interface that the step changes.
	Link string
	// Bridge is the bridge that Link goes into, or out of.
	Bridge string
	// Peer and PeerBridge are the other end of a pair and the bridge it goes into.
	Peer, PeerBridge string
	// MAC is that of Link; of Peer for OpCreatePair.
	MAC string
	// Alias is that of Link, and of Peer.
	Alias string
	// MTU is in bytes.
	MTU int
	// Name is what Link is renamed to.
	Name string
	// Loose says that Open vSwitch puts Link into Bridge.
	Loose bool
	// Complete asks for complete checksums of both ends of a new pair.
	Complete bool
	// Parent and VLAN are what a VLAN link is of; VLAN also what OpSetVLAN sets, and that of
	// Peer for OpCreatePair.
	Parent string
	VLAN   int
	// Overlay is that of OpCreateVXLAN, without remotes.
	Overlay Overlay
	// Remote is that of OpAddRemote and OpDropRemote.
	Remote Remote
	// Reason says, for a conflict, what is in the way.
	Reason string

	stage stage
}

// String describes the step for people and logs.
func (s Step) String() string {
	switch s.Op {
	case OpConflict:
		return s.Reason
	case OpCreatePair:
		return fmt.Sprintf("%s %s–%s in %s", s.Op, s.Link, s.Peer, s.Bridge)
	case OpSetMAC:
		return fmt.Sprintf("%s %s %s", s.Op, s.Link, s.MAC)
	case OpCreateVLAN:
		return fmt.Sprintf("%s %s of %s in %s", s.Op, s.Link, s.Parent, s.Bridge)
	case OpCreateVXLAN:
		return fmt.Sprintf("%s %s VNI %d from %s in %s", s.Op, s.Link, s.Overlay.VNI, endpoint(s.Overlay.Local, s.Overlay.Port), s.Bridge)
	case OpAddRemote, OpDropRemote:
		return fmt.Sprintf("%s %s %s", s.Op, s.Link, endpoint(s.Remote.Address, s.Remote.Port))
	case OpSetVLAN:
		return fmt.Sprintf("%s %s %d", s.Op, s.Link, s.VLAN)
	case OpSetMTU:
		return fmt.Sprintf("%s %s %d", s.Op, s.Link, s.MTU)
	case OpMark, OpAdopt:
		return fmt.Sprintf("%s %s %s", s.Op, s.Link, s.Alias)
	case OpRename:
		return fmt.Sprintf("%s %s to %s", s.Op, s.Link, s.Name)
	case OpJoin, OpPlug, OpRelease:
		return fmt.Sprintf("%s %s %s", s.Op, s.Link, s.Bridge)
	}
	return fmt.Sprintf("%s %s", s.Op, s.Link)
}

func endpoint(address string, port int) string { return net.JoinHostPort(address, strconv.Itoa(port)) }

// Batches is a plan in the order that it may be carried out in: Before one by one,
// then each node's steps one by one with the nodes at the same time, then After.
type Batches struct {
	Before []Step
	Nodes  map[string][]Step
	After  []Step
}

// Batch splits a plan.
func Batch(steps []Step) Batches {
	b := Batches{Nodes: map[string][]Step{}}
	for _, s := range steps {
		switch s.stage {
		case stageBridges:
			b.Before = append(b.Before, s)
		case stageNodes:
			b.Nodes[s.Node] = append(b.Nodes[s.Node], s)
		default:
			b.After = append(b.After, s)
		}
	}
	return b
}

func sortedPorts(ports []Port) []Port {
	return slices.SortedStableFunc(slices.Values(ports), func(a, b Port) int {
		if a.Node != b.Node {
			return strings.Compare(a.Node, b.Node)
		}
		return a.Index - b.Index
	})
}
