package hostops

import (
	"maps"
	"slices"
	"sync"
	"time"

	"tenks/raftfsm/state"
)

// ChassisEvent is something that happened to a chassis.
type ChassisEvent struct {
	At   time.Time
	Kind ChassisEventKind
	// ByCommand says that a BMC command was the reason.
	ByCommand bool
}

// ChassisEventKind says what happened.
type ChassisEventKind string

// The kinds of events.
const (
	ChassisOn    ChassisEventKind = "on"    // power came
	ChassisOff   ChassisEventKind = "off"   // power went
	ChassisReset ChassisEventKind = "reset" // the machine began anew under power

	ChassisInsert ChassisEventKind = "insert" // an image was put into the drive
	ChassisEject  ChassisEventKind = "eject"  // the drive was emptied
	ChassisPlug   ChassisEventKind = "plug"   // a USB stick was plugged in
	ChassisUnplug ChassisEventKind = "unplug" // it was unplugged
)

// softTime is how long a guest may take to obey a command to shut down, so that its end
// counts as the command's.
const softTime = 5 * time.Minute

// Subscribe calls on for each event of a node's chassis, in order and one at a time,
// until cancel was called; a call that is under way then may go on. on may call whatever
// it likes, but while it waits no other is called for this node. A subscription outlives
// the chassis, and so a node that goes and comes back.
func (h *Host) Subscribe(uuid string, on func(ChassisEvent)) (cancel func()) {
	return h.events.subscribe(uuid, on)
}

// announcer hands events of chassis to subscribers. It is safe for concurrent use.
type announcer struct {
	// start runs a function in a goroutine, or reports that it is too late for that.
	start func(func()) bool

	// mu guards what follows; nobody is called while it is held, but start.
	mu    sync.Mutex
	nodes map[string]*audience
	next  int
}

// audience is who hears of one node; the announcer's mu guards it.
type audience struct {
	subscribers map[int]func(ChassisEvent)
	// queue has what they have not heard yet. It is bounded by how often a node's power
	// can change while a subscriber works.
	queue []ChassisEvent
	// running says that a goroutine works on the queue.
	running bool
}

func (a *announcer) subscribe(uuid string, on func(ChassisEvent)) (cancel func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nodes == nil {
		a.nodes = map[string]*audience{}
	}
	if a.nodes[uuid] == nil {
		a.nodes[uuid] = &audience{subscribers: map[int]func(ChassisEvent){}}
	}
	id := a.next
	a.next++
	a.nodes[uuid].subscribers[id] = on
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := a.nodes[uuid]; n != nil {
			delete(n.subscribers, id)
			a.clean(uuid)
		}
	}
}

// clean forgets an audience that is none; a.mu is held.
func (a *announcer) clean(uuid string) {
	if n := a.nodes[uuid]; len(n.subscribers) == 0 && !n.running {
		delete(a.nodes, uuid)
	}
}

// tell does not wait.
func (a *announcer) tell(uuid string, e ChassisEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.nodes[uuid]
	if n == nil {
		return
	}
	n.queue = append(n.queue, e)
	if !n.running {
		n.running = a.start(func() { a.drain(uuid, n) })
	}
}

func (a *announcer) drain(uuid string, n *audience) {
	for {
		e, ids, ok := a.take(uuid, n)
		if !ok {
			return
		}
		for _, id := range ids {
			if on := a.subscriber(n, id); on != nil {
				on(e)
			}
		}
	}
}

// take returns the oldest event and who was subscribed by now; none ends the goroutine.
func (a *announcer) take(uuid string, n *audience) (e ChassisEvent, ids []int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(n.queue) == 0 {
		n.running = false
		a.clean(uuid)
		return e, nil, false
	}
	e = n.queue[0]
	n.queue = n.queue[1:]
	return e, slices.Sorted(maps.Keys(n.subscribers)), true
}

func (a *announcer) subscriber(n *audience, id int) func(ChassisEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return n.subscribers[id]
}

// tell tells subscribers what happened; c.mu is held.
func (c *Chassis) tell(kind ChassisEventKind, byCommand bool) {
	c.host.events.tell(c.uuid, ChassisEvent{At: time.Now(), Kind: kind, ByCommand: byCommand})
}

// turned tells subscribers of power that is not as it was last told; c.mu is held. A
// change of the host's own, on the way to what the event says, is not told.
func (c *Chassis) turned(cause origin) {
	if c.power == c.told || c.power == state.PowerUnknown || c.quiet() {
		return
	}
	first := c.told == state.PowerUnknown
	c.told = c.power
	if first { // it is as it was before the agent knew
		return
	}
	kind, byCommand := ChassisOn, cause == originCommand
	if c.power == state.PowerOff {
		kind = ChassisOff
		byCommand = byCommand || time.Now().Before(c.softUntil)
		if c.job != nil {
			c.job.wentOff = true
		}
	}
	c.softUntil = time.Time{}
	c.tell(kind, byCommand)
}

// softly remembers until when a guest's end is what a command asked for; before the
// driver is called, for the guest may be faster than its answer.
func (c *Chassis) softly(j *job, until time.Time) {
	if j.action != state.ActionSoft || j.origin != originCommand {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.softUntil = until
}

// quiet reports whether what is under way is one event: a reset may need a new process,
// and so may a guest's restart; c.mu is held.
func (c *Chassis) quiet() bool {
	return c.job != nil && (c.job.action == state.ActionReset || c.job.origin == originReboot)
}

// asked is who asked for the power change that is being seen; c.mu is held.
func (c *Chassis) asked() origin {
	if c.job == nil {
		return originNone
	}
	return c.job.origin
}

// tellDone tells subscribers what a request did that drivers do not report, or later than
// they will be believed; c.mu is held, and power is what it is now.
func (c *Chassis) tellDone(j *job) {
	switch j.action {
	case state.ActionReset:
		c.tell(ChassisReset, j.origin == originCommand)
	case state.ActionCycle:
		if !j.wentOff && j.origin != originReboot && c.told == state.PowerOn {
			c.tell(ChassisOff, j.origin == originCommand)
			c.tell(ChassisOn, j.origin == originCommand)
		}
	}
	c.turned(j.origin)
}
