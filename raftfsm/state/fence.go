package state

import "time"

// FenceMargin is how much longer than a host the leader waits before it gives the host's
// nodes to another. It must cover, after stop_after: half a second until the host looks at
// its lease again, the stopping itself (a domain is destroyed within seconds), an agent
// that has to be started again, and clocks that run at different speeds (1,000 ppm of an
// hour are 4 s). All times are differences on one host's monotonic clock: no clock has to
// be right.
//
// That no node runs twice rests on the following.
//
//   - A host stops a node once it has had no lease for Node.StopAfter, counted from when it
//     asked for the last one that was confirmed. Time in which it slept counts.
//   - The leader records a lease later than it was asked for, and only if a majority of the
//     voters was in its term after that. So no former leader confirmed a lease that was asked
//     for after the present one was elected, and the leader takes its own election for the
//     last lease of a host that it has not heard of.
//   - It unplaces nodes Node.FencedAfter that, which is FenceMargin longer, and not while the
//     host may get a lease: none is given to it until the command is committed or refused.
//   - A host that was without a lease starts no such node before it has read a state that is
//     newer than its next lease, and so has that command.
//   - Both go by what the host promised in its report, not by what was declared meanwhile: a
//     host that is cut off does not hear of that. It keeps to a promise until the state has
//     another.
//
// What it cannot do: an agent that is dead stops nothing. The unit starts it again within
// seconds, and it counts from the lease before; one that is told to end first takes its
// promise back. A driver that hangs is helped out by killing what it does not stop. A host
// where that fails, too, must be powered off (DeclareLost) to be sure. A host that stood
// still as a whole (suspended, or a guest of a host that was) and goes on runs what it ran
// for up to a second, until it looks at its lease; while it stood still, nothing ran. And
// whoever changes a node between hold and rebuild twice within the flight of one report, and
// loses the host in that moment, may have a promise in the state that its host forgot.
const FenceMargin = 15 * time.Second

// Promise is what the host of a node shall report in HostStatus.StopAfterMilli.
func (n *Node) Promise() int64 {
	if n.OnHostLoss != LossRebuild || n.StopAfterMilli <= 0 {
		return 0
	}
	return n.StopAfterMilli
}

// StopAfter is how long the node's host may be without a lease until it stops the node: the
// less of what is promised and what is to be promised; 0: for ever.
func (n *Node) StopAfter() time.Duration {
	promised, wanted := n.Host.StopAfterMilli, n.Promise()
	if promised <= 0 || wanted > 0 && wanted < promised {
		promised = wanted
	}
	return time.Duration(promised) * time.Millisecond
}

// FencedAfter is how long the node's host must have been without a lease until it is sure
// that the node does not run there; false: it never is.
func (n *Node) FencedAfter() (time.Duration, bool) {
	if n.Host.StopAfterMilli <= 0 {
		return 0, false
	}
	return time.Duration(n.Host.StopAfterMilli)*time.Millisecond + FenceMargin, true
}
