package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
	"tenks/sched"
)

// Draining.
const (
	// drainEvery is how often draining peers are looked at, and drainRetry how long the
	// pause is after that went wrong.
	drainEvery, drainRetry = time.Second, 3 * time.Second
	// movesAtOnce bounds how many nodes leave a host at a time, and how many come to one.
	// A move that does not go on is not counted where it leaves.
	movesAtOnce = 2
	// targetPatience is how long a move waits for a lost host that it goes to.
	targetPatience = 5 * time.Minute
)

// drain moves nodes away from draining peers for as long as this peer leads.
func (a *agent) drain(ctx context.Context) error {
	stops := map[string]time.Time{}
	for ctx.Err() == nil {
		pause := drainEvery
		if err := a.drainOnce(ctx, stops); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "draining does not go on; will retry", "err", err)
			pause = drainRetry
		}
		sleep(ctx, pause)
	}
	return nil
}

func (a *agent) drainOnce(ctx context.Context, stops map[string]time.Time) error {
	snap, _ := a.source.Snapshot()
	d := drainer{snap: snap, now: time.Now(), stops: stops, powers: a.drainedPowers(ctx, snap)}
	d.decide()
	if len(d.cancel.Moves) > 0 {
		if _, err := a.propose(ctx, "", d.cancel); err != nil {
			return err
		}
	}
	if len(d.start.Moves)+len(d.start.Waits) > 0 {
		if _, err := a.propose(ctx, "", d.start); err != nil {
			return err
		}
	}
	var errs error
	for _, o := range d.power {
		if o.action == state.ActionSoft {
			stops[o.node.UUID] = d.now
		}
		a.log.InfoContext(ctx, "guest of a draining peer is stopped", "node", o.node.Name, "action", string(o.action))
		if err := a.powerAt(ctx, o.node, o.action); err != nil && !errors.Is(err, state.ErrWrongState) {
			errs = errors.Join(errs, fmt.Errorf("node %s: power %s: %w", o.node.Name, o.action, err))
		}
	}
	return errs
}

// drainedPowers are the power states of the nodes on draining peers.
func (a *agent) drainedPowers(ctx context.Context, snap *state.Snapshot) map[string]state.Power {
	var others []string
	out := map[string]state.Power{}
	for _, p := range snap.Peers() {
		switch {
		case !p.Draining || p.Lost || p.Removed || len(snap.NodesOn(p.ID)) == 0:
		case p.ID == a.mesh.ID():
			out = a.host.Powers()
		default:
			others = append(others, p.ID)
		}
	}
	if len(others) == 0 {
		return out
	}
	all := a.PeerPowers(ctx, others)
	for uuid, p := range out {
		all[uuid] = p
	}
	return all
}

// powerAt switches a node's power at the peer that has it.
func (a *agent) powerAt(ctx context.Context, n *state.Node, action state.PowerAction) error {
	if n.Placement.Hypervisor == a.mesh.ID() {
		c, ok := a.host.Chassis(n.UUID)
		if !ok {
			return state.ErrNotFound
		}
		return c.Power(ctx, action)
	}
	if a.peerHTTP == nil {
		return errNoPeers
	}
	body, err := json.Marshal(api.PowerRequest{Action: string(action)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, powersTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.Placement.Hypervisor+"/v1/nodes/"+n.UUID+"/power", bytes.NewReader(body))
	if err != nil {
		return err
	}
	api.Forward(req.Header, a.mesh.ID())
	resp, err := a.peerHTTP.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusConflict {
		return state.ErrWrongState
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return errors.New(resp.Status)
	}
	return nil
}

// drainer decides what is to be done about draining peers. It is pure.
type drainer struct {
	snap *state.Snapshot
	now  time.Time
	// powers are those of the nodes on draining peers that are known.
	powers map[string]state.Power
	// stops says when nodes were told to shut down; those of others are dropped.
	stops map[string]time.Time

	// What follows is decided.
	start  state.StartMoves
	cancel state.CancelMoves
	power  []powerOrder

	// leaving and coming count the moves of each peer.
	leaving, coming map[string]int
}

// powerOrder is a node that is to be switched off.
type powerOrder struct {
	node   *state.Node
	action state.PowerAction
}

func (d *drainer) decide() {
	d.leaving, d.coming = map[string]int{}, map[string]int{}
	for _, p := range d.snap.Peers() {
		d.judgeTarget(p)
	}
	stopping := map[string]bool{}
	for _, p := range d.snap.Peers() {
		if p.Draining && !p.Removed {
			d.drainPeer(p, stopping)
		}
	}
	for uuid := range d.stops {
		if !stopping[uuid] {
			delete(d.stops, uuid)
		}
	}
}

// judgeTarget counts the moves to a peer, or ends them if that takes no nodes.
func (d *drainer) judgeTarget(p *state.Peer) {
	why := p.Refuses()
	if p.Lost && !p.Fenced && !p.Draining && !p.Leaving && d.now.Sub(time.UnixMilli(p.LostMilli)) < targetPatience {
		why = "" // it may be back soon, with all that came so far
	}
	for _, n := range d.snap.MovingTo(p.ID) {
		if why != "" {
			d.end(n, fmt.Sprintf("peer %s %s", p.Name, why))
			continue
		}
		d.coming[p.ID]++
		if n.Move.Error == "" {
			d.leaving[n.Placement.Hypervisor]++
		}
	}
}

func (d *drainer) end(n *state.Node, reason string) {
	d.cancel.Moves = append(d.cancel.Moves, state.MoveCancel{UUID: n.UUID, Start: n.Move.Start, Reason: reason})
}

// drainPeer decides about the nodes of one draining peer.
func (d *drainer) drainPeer(p *state.Peer, stopping map[string]bool) {
	var ready []*state.Node
	for _, n := range d.snap.NodesOn(p.ID) {
		_, asked := d.stops[n.UUID]
		stopping[n.UUID] = asked && d.powers[n.UUID] == state.PowerOn
		switch {
		case n.Removing, n.Anew:
		case n.Moving():
			if d.powers[n.UUID] == state.PowerOn {
				d.end(n, "it was switched on")
			}
		case p.Lost:
			d.wait(n, fmt.Sprintf("cannot move: its hypervisor %s is lost", p.Name))
		case n.Host.Phase == "" || n.Host.Phase == state.HostCreating:
			d.wait(n, "moves once it is made")
		case d.powers[n.UUID] == state.PowerOn && p.StopMilli == 0:
			d.wait(n, "moves once it is off: it is on")
		case d.powers[n.UUID] != state.PowerOn && d.powers[n.UUID] != state.PowerOff:
			d.wait(n, "moves once its power state is known")
		default:
			ready = append(ready, n)
		}
	}
	d.leave(p, ready, stopping)
}

// leave begins the moves of nodes that are off, and stops those that are next and on.
func (d *drainer) leave(p *state.Peer, ready []*state.Node, stopping map[string]bool) {
	byUUID := map[string]*state.Node{}
	for _, n := range ready {
		byUUID[n.UUID] = n
	}
	r := sched.Move(d.snap, ready)
	for _, no := range r.Refusals {
		d.wait(byUUID[no.UUID], "cannot move: "+no.Reason)
	}
	for _, to := range r.Placements {
		n := byUUID[to.UUID]
		on := d.powers[n.UUID] == state.PowerOn
		if d.leaving[p.ID] >= movesAtOnce || d.coming[to.Hypervisor] >= movesAtOnce {
			d.wait(n, "moves when it is its turn")
			continue
		}
		d.leaving[p.ID]++
		d.coming[to.Hypervisor]++
		if !on {
			d.start.Moves = append(d.start.Moves, state.NodeMove{UUID: n.UUID, Epoch: n.Placement.Epoch, To: to.Hypervisor, BMC: to.BMC})
			continue
		}
		stopping[n.UUID] = true
		d.wait(n, "moves once it is off: it is being stopped")
		d.stop(p, n)
	}
}

// stop asks a guest to shut down, once, and switches it off when it did not in time.
func (d *drainer) stop(p *state.Peer, n *state.Node) {
	asked, done := d.stops[n.UUID]
	switch {
	case !done:
		d.power = append(d.power, powerOrder{n, state.ActionSoft})
	case d.now.Sub(asked) >= time.Duration(p.StopMilli)*time.Millisecond:
		d.power = append(d.power, powerOrder{n, state.ActionOff})
	}
}

// wait records what a node waits for, unless that is known.
func (d *drainer) wait(n *state.Node, reason string) {
	if n.Move == nil || n.Move.Error != reason {
		d.start.Waits = append(d.start.Waits, state.NodeWait{UUID: n.UUID, Epoch: n.Placement.Epoch, Reason: reason})
	}
}

// reportDiscarded records that nodes are gone which this host was to delete.
func (a *agent) reportDiscarded(ctx context.Context, nodes []string) error {
	_, err := a.propose(ctx, "", state.ReportDiscarded{Hypervisor: a.mesh.ID(), Nodes: nodes})
	return err
}
