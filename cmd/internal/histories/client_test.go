package histories

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"tenks/cluster"
	"tenks/cmd/internal/declare"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// outcome is what a client knows of what it asked for.
type outcome int

const (
	// done: it was made.
	done outcome = iota
	// refused: it was in the log, and changed nothing.
	refused
	// never: it certainly was not made.
	never
	// unknown: it was made once, or will be, or never.
	unknown
)

func (o outcome) String() string { return [...]string{"done", "refused", "never", "unknown"}[o] }

// How long a client waits for one answer, and how often it repeats what may have been
// made.
const patience, tries = 12 * time.Second, 4

// propose proposes a command at a peer, and again, with the same request ID and perhaps
// elsewhere, for as long as its outcome is unknown.
func propose(ctx context.Context, request string, c state.Command, at func() *peer) (raftfsm.Result, outcome, error) {
	entry, err := raftfsm.Encode(state.Envelope{Request: request, UnixMilli: time.Now().UnixMilli(), Command: c})
	if err != nil {
		return raftfsm.Result{}, never, err
	}
	o := never
	for range tries {
		p := at()
		if p == nil {
			return raftfsm.Result{}, o, errNobody
		}
		var answer any
		answer, err = p.mesh.Propose(ctx, entry)
		switch {
		case err == nil:
			r, ok := answer.(raftfsm.Result)
			switch {
			case !ok:
				return r, unknown, fmt.Errorf("the log answered with a %T", answer)
			case r.Err != nil:
				return r, refused, r.Err
			}
			return r, done, nil
		case errors.Is(err, cluster.ErrNotLeader), errors.Is(err, ctx.Err()) && o == never && !errors.Is(err, cluster.ErrUnknown):
			// What was not proposed now may have been before.
			return raftfsm.Result{}, o, err
		}
		o = unknown
		if ctx.Err() != nil {
			break
		}
	}
	return raftfsm.Result{}, o, err
}

var errNobody = errors.New("no peer runs")

// client does one thing after another at random peers.
type client struct {
	world  *world
	id     int
	random *rand.Rand
	ops    int
}

func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		c.ops++
		key := c.random.IntN(len(clusterKeys) + len(registerKeys))
		// What it began it ends, though the test ends.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		switch draw := c.random.IntN(100); {
		case draw < 40:
			c.read(bounded, key)
		case draw < 95 && key < len(clusterKeys):
			c.apply(bounded, clusterKeys[key])
		case draw < 95:
			c.put(bounded, registerKeys[key-len(clusterKeys)])
		default:
			c.unplace(bounded)
		}
		cancel()
		pause(ctx, c.world.plan.pace/2+rand.N(c.world.plan.pace))
	}
}

// somewhere is a random peer that runs; nil: none does.
func (c *client) somewhere() *peer {
	var up []*peer
	for _, h := range c.world.hosts {
		if p := h.up(); p != nil {
			up = append(up, p)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[c.random.IntN(len(up))]
}

// value is one that nobody else writes.
func (c *client) value() string { return fmt.Sprintf("%d.%d", c.id, c.ops) }

// The keys: clusters are written if nobody else has meanwhile, registers without
// looking.
var (
	clusterKeys  = []string{"ca", "cb", "cc"}
	registerKeys = []string{"ra", "rb"}
)

// get is what a state says of a key.
func get(snap *state.Snapshot, key string) string {
	if key[0] == 'c' {
		if c, ok := snap.Cluster(key); ok {
			return c.Source
		}
		return ""
	}
	if h, ok := snap.Hypervisor(key); ok {
		return h.Name
	}
	return ""
}

// read is a linearizable read of one key.
func (c *client) read(ctx context.Context, i int) {
	key := append(append([]string{}, clusterKeys...), registerKeys...)[i]
	p := c.somewhere()
	if p == nil {
		return
	}
	op := c.world.history.begin(c.id, input{op: opRead, key: key})
	snap, err := p.current(ctx)
	if err != nil {
		return // nobody was told anything
	}
	op.end(done, get(snap, key), snap.Index())
}

// put writes a register.
func (c *client) put(ctx context.Context, key string) {
	value := c.value()
	op := c.world.history.begin(c.id, input{op: opPut, key: key, value: value})
	r, o, err := propose(ctx, uuid.NewString(), state.PutHypervisor{Hypervisor: state.Hypervisor{ID: key, Name: value}}, c.somewhere)
	c.ended(op, o, r, err)
}

// apply declares a cluster anew, as the API does.
func (c *client) apply(ctx context.Context, key string) {
	p := c.somewhere()
	if p == nil {
		return
	}
	snap := p.snap()
	if c.random.IntN(2) == 0 {
		var err error
		if snap, err = p.current(ctx); err != nil {
			return
		}
	}
	if snap.Index() == 0 {
		return // a peer that has just started: it knows nothing
	}
	value := c.value()
	machine := state.Machine{Driver: "fake", MemoryMB: 512 << c.random.IntN(3), VCPUs: 1, BootMode: state.BootUEFI, Physnets: []string{}}
	plan, err := declare.Cluster(snap, state.Cluster{Name: key, Source: value, Types: map[string]state.Machine{"small": machine},
		Specs: []state.Spec{{Key: "small", Type: "small", Count: c.random.IntN(4), Prefix: key + "n", OnHostLoss: state.LossHold}}},
		declare.Options{AllowUnplaced: true, Random: c.world.secrets})
	if err != nil {
		c.world.t.Errorf("plan: %v", err)
		return
	}
	op := c.world.history.begin(c.id, input{op: opApply, key: key, expect: get(snap, key), value: value})
	r, o, err := propose(ctx, uuid.NewString(), plan.Command, c.somewhere)
	if o == refused && !errors.Is(err, state.ErrConflict) {
		c.world.t.Errorf("apply of %s: %v", key, err)
	}
	c.ended(op, o, r, err)
}

func (c *client) ended(op *pending, o outcome, r raftfsm.Result, err error) {
	if err != nil && !errors.Is(err, cluster.ErrNotLeader) && !errors.Is(err, cluster.ErrUnknown) && o != refused && !errors.Is(err, errNobody) {
		c.world.odd(err)
	}
	op.end(o, "", r.Index)
}

// unplace takes a node off its host, so that it is placed anew.
func (c *client) unplace(ctx context.Context) {
	p := c.somewhere()
	if p == nil {
		return
	}
	nodes := p.snap().Nodes()
	if len(nodes) == 0 {
		return
	}
	n := nodes[c.random.IntN(len(nodes))]
	if n.Placement == nil {
		return
	}
	_, _, _ = propose(ctx, uuid.NewString(), state.UnplaceNodes{Nodes: []state.NodeUnplacement{
		{UUID: n.UUID, Epoch: n.Placement.Epoch, Reason: "a test"}}}, c.somewhere)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
