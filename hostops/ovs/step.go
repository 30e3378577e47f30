package ovs

import "fmt"

// Op is the kind of a Step.
type Op string

// The operations.
const (
	// OpConflict is not possible: Step.Reason says why. Applying it is an error.
	OpConflict Op = "conflict"
	// OpBridge makes the bridge, or makes of one of ours what it should be.
	OpBridge Op = "set bridge"
	// OpPort makes the port, moves one of ours into its bridge, or makes of it what it
	// should be. What others set on it stays.
	OpPort Op = "set port"
	// OpClosePort has the interface of a port closed until OpPort, with all that is said of
	// the port. In the userspace datapath Open vSwitch does not notice that an interface
	// of that name was deleted and made anew.
	OpClosePort Op = "close port"
	// OpDeletePort deletes a port, and OpDeleteBridge a bridge with all its ports.
	OpDeletePort   Op = "delete port"
	OpDeleteBridge Op = "delete bridge"
)

// Stage orders steps among those of package link.
type Stage int

// The stages.
const (
	// StageFirst is before links are touched: it frees devices and names.
	StageFirst Stage = iota
	// StageBridges is after the host's links and before nodes'.
	StageBridges
	// StageGone is before the links of Step.Node, StageNodes after them.
	StageGone
	StageNodes
	// StageRemovals is after all nodes, and before links that are not wanted go.
	StageRemovals
)

// Step is one change to a host's Open vSwitch. It may be repeated.
type Step struct {
	Op Op
	// Node is the UUID of the node that the step is for; empty: for the host. Steps of
	// different nodes may run at the same time.
	Node  string
	Stage Stage
	// Bridge is what OpBridge makes, Port what OpPort makes; for deletions and conflicts
	// they have the names.
	Bridge Bridge
	Port   Port
	// Reason says, for a conflict, what is in the way.
	Reason string
}

// String describes the step for people and logs.
func (s Step) String() string {
	switch s.Op {
	case OpConflict:
		return s.Reason
	case OpBridge:
		return fmt.Sprintf("%s %s %s %s MTU %d", s.Op, s.Bridge.Name, s.Bridge.Datapath, s.Bridge.MAC, s.Bridge.MTU)
	case OpPort:
		text := fmt.Sprintf("%s %s in %s", s.Op, s.Port.Name, s.Port.Bridge)
		if s.Port.Peer != "" {
			text += " to " + s.Port.Peer
		}
		if s.Port.Tag != 0 {
			text += fmt.Sprintf(" VLAN %d", s.Port.Tag)
		}
		return text
	case OpDeletePort, OpClosePort:
		return fmt.Sprintf("%s %s", s.Op, s.Port.Name)
	}
	return fmt.Sprintf("%s %s", s.Op, s.Bridge.Name)
}

// Subject is the name of the bridge or port that the step is about.
func (s Step) Subject() string {
	if s.Port.Name != "" {
		return s.Port.Name
	}
	return s.Bridge.Name
}
