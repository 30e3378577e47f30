package histories

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tenks/cluster/consensus"
	"tenks/cluster/transport/memnet"
)

// size is how many peers there are.
const size = 5

// plan is what a seed decides.
type plan struct {
	seed  uint64
	zones int
	rules consensus.Rules
	// snapshots are taken rarely, or so often that who was away gets one.
	snapshots consensus.Snapshots
	// delay is how long packets take at most, one way; loss the part of datagrams that
	// gets lost.
	delay time.Duration
	loss  float64
	// pace is how long a client waits between two operations, on average.
	pace time.Duration
	// steps are of two, who do not know of each other.
	steps [2][]fault
}

// kind says what breaks.
type kind string

// The faults. The network's:
const (
	parted    kind = "parted"    // some hosts from the others
	oneWay    kind = "one way"   // nothing passes from a host to some others
	isolated  kind = "isolated"  // a leader from all
	deaf      kind = "deaf"      // nothing passes from the others to a leader
	congested kind = "congested" // some links take long
	bridged   kind = "bridged"   // two halves with one host in both
	// Those of hosts and disks:
	killed     kind = "killed"
	killedLead kind = "leader killed"
	stopped    kind = "stopped"
	slowDisks  kind = "slow disks"
	hungLeader kind = "leader's disk hangs"
	hungOther  kind = "disk hangs"
	moved      kind = "all addresses change"
	transfer   kind = "leadership handed over"
)

// fault is one step of a plan.
type fault struct {
	after time.Duration
	kind  kind
	hosts []int
	lasts time.Duration
	// lost is what becomes of a write that hangs when its host is killed.
	lost bool
}

func (f fault) String() string {
	return fmt.Sprintf("%v later: %s %v for %v", f.after, f.kind, f.hosts, f.lasts)
}

func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d zones, rules %+v, snapshots %+v, delay %v, loss %.2f, pace %v\n", p.seed, p.zones, p.rules, p.snapshots, p.delay, p.loss, p.pace)
	for i, steps := range p.steps {
		for _, f := range steps {
			fmt.Fprintf(&b, "  %d: %v\n", i, f)
		}
	}
	return b.String()
}

// newPlan draws what happens.
func newPlan(seed uint64, length time.Duration) plan {
	r := rand.New(rand.NewPCG(seed, 1))
	ms := func(least, most int) time.Duration {
		return time.Duration(least+r.IntN(most-least+1)) * time.Millisecond
	}
	p := plan{seed: seed, zones: []int{1, 3, 5, 5}[r.IntN(4)], delay: ms(1, 10), loss: []float64{0, 0.02, 0.1}[r.IntN(3)],
		pace: ms(30, 150)}
	if r.IntN(2) == 0 {
		p.rules = consensus.Rules{Stable: ms(1000, 3000), Gone: ms(4000, 10000)}
	}
	if r.IntN(2) == 0 {
		p.snapshots = consensus.Snapshots{Interval: ms(500, 4000), Threshold: uint64(20 + r.IntN(100)), Trailing: uint64(10 + r.IntN(60))}
	}
	kinds := [2][]kind{
		{parted, parted, oneWay, oneWay, isolated, isolated, deaf, congested, bridged},
		{killed, killed, killedLead, killedLead, stopped, slowDisks, hungLeader, hungOther, transfer, transfer},
	}
	for i := range p.steps {
		for total := time.Duration(0); total < length; {
			k := kinds[i][r.IntN(len(kinds[i]))]
			f := fault{after: ms(200, 5000), kind: k, hosts: r.Perm(size)[:1+r.IntN(2)], lasts: ms(300, 9000), lost: r.IntN(2) == 0}
			total += f.after + f.lasts
			p.steps[i] = append(p.steps[i], f)
		}
	}
	// Each has a leader whose disk hangs for longer than is watched for, and one move.
	steps := p.steps[1]
	steps[r.IntN(len(steps))] = fault{after: ms(200, 5000), kind: hungLeader, hosts: []int{0}, lasts: ms(5500, 12000), lost: r.IntN(2) == 0}
	at := r.IntN(len(steps) + 1)
	p.steps[1] = slices.Insert(steps, at, fault{after: ms(200, 5000), kind: moved, lasts: ms(0, 3000), lost: r.IntN(2) == 0})
	return p
}

// nemesis carries out the steps of one of the two until ctx ends.
func (w *world) nemesis(ctx context.Context, steps []fault) {
	for _, f := range steps {
		pause(ctx, f.after)
		if ctx.Err() != nil {
			return
		}
		w.log.Info("fault", "kind", string(f.kind), "hosts", f.hosts, "lasts", f.lasts)
		w.faults.Add(1)
		w.act(ctx, f)
	}
}

// leader is the host whose peer leads, or else the first of a fault's.
func (w *world) leader(f fault) *host {
	for _, h := range w.hosts {
		if p := h.up(); p != nil && p.mesh.IsLeader() {
			return h
		}
	}
	return w.hosts[f.hosts[0]]
}

func (w *world) act(ctx context.Context, f fault) {
	chosen := []*host{}
	for _, i := range f.hosts {
		chosen = append(chosen, w.hosts[i])
	}
	switch f.kind {
	case parted, oneWay, isolated, deaf, congested, bridged:
		w.disturb(f, chosen)
		pause(ctx, f.lasts)
		w.calm()
	case killed, stopped:
		w.restart(ctx, f, chosen)
	case killedLead:
		w.restart(ctx, f, []*host{w.leader(f)})
	case slowDisks:
		for _, h := range chosen {
			h.disk.slow(f.lasts / 50)
		}
		pause(ctx, f.lasts)
		for _, h := range chosen {
			h.disk.slow(0)
		}
	case hungLeader, hungOther:
		h := chosen[0]
		if f.kind == hungLeader {
			h = w.leader(f)
		}
		h.disk.hang()
		pause(ctx, f.lasts)
		h.disk.goOn(false)
	case moved:
		w.move(ctx, f)
	case transfer:
		if p := w.leader(f).up(); p != nil {
			bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
			_ = p.mesh.Transfer(bounded, "")
			cancel()
		}
	}
}

// disturb breaks the network. It does not know who is killed meanwhile.
func (w *world) disturb(f fault, chosen []*host) {
	w.wires.Lock()
	defer w.wires.Unlock()
	if f.kind == isolated || f.kind == deaf {
		chosen = []*host{w.leader(f)}
	}
	for _, a := range w.hosts {
		for _, b := range w.hosts {
			inside, outside := slices.Contains(chosen, a), !slices.Contains(chosen, b)
			if !inside || !outside {
				continue
			}
			switch f.kind {
			case parted, isolated:
				w.net.Partition(a.at(), b.at(), memnet.BothWays)
			case oneWay:
				w.net.Partition(a.at(), b.at(), memnet.OneWay)
			case deaf:
				w.net.Partition(b.at(), a.at(), memnet.OneWay)
			case congested:
				w.net.SetDelay(a.at(), b.at(), 100*time.Millisecond+f.lasts/20)
			}
		}
	}
	if f.kind == bridged {
		rest := slices.DeleteFunc(slices.Clone(w.hosts), func(h *host) bool { return h == chosen[0] })
		for _, a := range rest[:2] {
			for _, b := range rest[2:] {
				w.net.Partition(a.at(), b.at(), memnet.BothWays)
			}
		}
	}
}

// calm makes the network whole.
func (w *world) calm() {
	w.wires.Lock()
	defer w.wires.Unlock()
	for i, a := range w.hosts {
		for _, b := range w.hosts[:i] {
			w.net.Heal(a.at(), b.at())
		}
	}
	w.delays()
}

// delays sets those of a network that is well.
func (w *world) delays() {
	for i, a := range w.hosts {
		for j, b := range w.hosts[:i] {
			w.net.SetDelay(a.at(), b.at(), w.plan.delay*time.Duration(1+(i*7+j*3)%5)/5)
			w.net.SetLoss(a.at(), b.at(), w.plan.loss)
		}
	}
}

// end ends a peer, as a fault does.
func (w *world) end(h *host, f fault) {
	var err error
	if f.kind == stopped || f.kind == moved && !f.lost {
		err = h.stop()
	} else {
		err = h.kill(f.lost)
	}
	if err != nil {
		w.log.Info("the end of a peer", "name", h.name, "err", err) // it was cut off from the network
	}
}

func (w *world) start(h *host) {
	if h.up() != nil {
		return
	}
	if err := h.start(w.t.Context()); err != nil {
		w.t.Errorf("%s: start: %v", h.name, err)
	}
}

// restart ends peers and starts them again.
func (w *world) restart(ctx context.Context, f fault, chosen []*host) {
	for _, h := range chosen {
		w.end(h, f)
	}
	pause(ctx, f.lasts)
	for _, h := range chosen {
		w.start(h)
	}
}

// move ends all peers, gives each the address that another had, or one that is new, and
// starts them again.
func (w *world) move(ctx context.Context, f fault) {
	for _, h := range w.hosts {
		w.end(h, f)
	}
	w.wires.Lock()
	w.net.HealAll()
	w.moves++
	for i, h := range w.hosts {
		h.mu.Lock()
		h.address = address((i + w.moves) % (size + 1))
		h.mu.Unlock()
	}
	w.delays()
	w.wires.Unlock()
	pause(ctx, f.lasts)
	for _, h := range w.hosts {
		w.start(h)
	}
}

func address(i int) string { return fmt.Sprintf("10.0.0.%d", i+1) }
