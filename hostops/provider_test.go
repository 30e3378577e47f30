package hostops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// provider is a driver in memory whose nodes behave.
type provider struct {
	delay time.Duration
	// breaks says that consoles can send a break.
	breaks bool

	mu     sync.Mutex
	nodes  map[string]*guest
	writes int
	calls  []string // "on a pxe", "ensure a", "remove a"
	fail   func(op, uuid string) error
	down   error
	// firmware is what it says of a node's; nil: nothing.
	firmware func(*guest) map[string]string
	// asked counts the calls of Loads.
	asked int
	// hangs is a call that ends with its context only.
	hangs    string
	watchers map[chan driver.Event]bool
	ttys     []*tty
	running  int
	busiest  int
}

type guest struct {
	spec    driver.Spec
	digest  string
	power   state.Power
	pending []string
	boot    state.Boot
	// began is what it was last started from.
	began      driver.Spec
	media, usb string
	// cpu is what it used since it began.
	cpu time.Duration
}

func newProvider() *provider {
	return &provider{nodes: map[string]*guest{}, watchers: map[chan driver.Event]bool{}}
}

func (p *provider) enter(ctx context.Context, op, uuid, call string) error {
	p.mu.Lock()
	p.writes++
	if op == "loads" { // made all the time
		p.asked++
	} else {
		p.calls = append(p.calls, call)
	}
	p.running++
	p.busiest = max(p.busiest, p.running)
	err := p.down
	if err == nil && p.fail != nil {
		err = p.fail(op, uuid)
	}
	hangs := p.hangs == op
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running--
	}()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if err != nil || p.delay == 0 {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(p.delay):
		return nil
	}
}

func (p *provider) Info(context.Context) (driver.Info, error) { return driver.Info{Name: "test"}, nil }

func (p *provider) Instances(context.Context) ([]driver.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil {
		return nil, p.down
	}
	var out []driver.Instance
	for _, g := range p.nodes {
		i := driver.Instance{UUID: g.spec.UUID, Name: g.spec.Name, Epoch: g.spec.Epoch, Power: g.power, Digest: g.digest, Pending: slices.Clone(g.pending), Media: g.media, USB: g.usb}
		if p.firmware != nil {
			i.Firmware = p.firmware(g)
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b driver.Instance) int { return cmp.Compare(a.UUID, b.UUID) })
	return out, nil
}

func (p *provider) Ensure(ctx context.Context, s driver.Spec) error {
	if err := p.enter(ctx, "ensure", s.UUID, "ensure "+s.UUID); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.nodes[s.UUID]
	if g == nil {
		g = &guest{power: state.PowerOff}
		p.nodes[s.UUID] = g
	}
	if g.power == state.PowerOn && g.spec.Machine.MemoryMB != s.Machine.MemoryMB {
		g.pending = []string{"memory"}
	}
	g.spec, g.digest = s, s.Digest()
	p.tell(driver.Event{Type: driver.EventChanged, UUID: s.UUID})
	return nil
}

func (p *provider) Remove(ctx context.Context, uuid string) error {
	if err := p.enter(ctx, "remove", uuid, "remove "+uuid); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes, uuid)
	return nil
}

func (p *provider) Power(ctx context.Context, uuid string, q driver.PowerRequest) error {
	call := fmt.Sprintf("%s %s", q.Action, uuid)
	if starts(q.Action) && q.Boot.Device != "" {
		call += " " + string(q.Boot.Device)
	}
	if err := p.enter(ctx, "power", uuid, call); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.nodes[uuid]
	if g == nil {
		return state.ErrNotFound
	}
	switch q.Action {
	case state.ActionOn:
		g.boot = q.Boot
		p.turn(g, state.PowerOn, driver.CauseRequest)
	case state.ActionOff:
		p.turn(g, state.PowerOff, driver.CauseRequest)
	case state.ActionCycle:
		g.boot = q.Boot
		p.turn(g, state.PowerOff, driver.CauseRequest)
		p.turn(g, state.PowerOn, driver.CauseRequest)
	case state.ActionReset:
		g.boot = q.Boot
		p.tell(driver.Event{Type: driver.EventReboot, UUID: uuid})
	}
	return nil
}

func (p *provider) turn(g *guest, power state.Power, cause driver.Cause) {
	if g.power == power {
		return
	}
	g.power, g.pending, g.cpu = power, nil, 0
	if power == state.PowerOn {
		g.began = g.spec
	}
	p.hangUp(g.spec.UUID)
	p.tell(driver.Event{Type: driver.EventPower, UUID: g.spec.UUID, Power: power, Cause: cause})
}

func (p *provider) tell(e driver.Event) {
	for w := range p.watchers {
		w <- e
	}
}

// change turns a node behind the reconciler's back.
func (p *provider) change(uuid string, power state.Power, cause driver.Cause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(p.nodes[uuid], power, cause)
}

// reboot is a guest that restarts.
func (p *provider) reboot(uuid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(driver.Event{Type: driver.EventReboot, UUID: uuid})
}

// crash is what the end of the host does: all is off, and nobody says so.
func (p *provider) crash() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.nodes {
		g.power, g.pending = state.PowerOff, nil
	}
}

// undefine loses a node.
func (p *provider) undefine(uuid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes, uuid)
	p.tell(driver.Event{Type: driver.EventChanged, UUID: uuid})
}

// lose makes everything fail with err; nil: it works again. Watches end.
func (p *provider) lose(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = err
	for w := range p.watchers {
		close(w)
		delete(p.watchers, w)
	}
}

func (p *provider) failWith(fail func(op, uuid string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

func (p *provider) hang(op string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs = op
}

func (p *provider) healthy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

// powers returns the calls so far that are about power.
func (p *provider) powers() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, c := range p.calls {
		op, _, _ := strings.Cut(c, " ")
		if !slices.Contains([]string{"ensure", "remove", "console", "media"}, op) {
			out = append(out, c)
		}
	}
	return out
}

func (p *provider) power(uuid string) state.Power {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.nodes[uuid]; g != nil {
		return g.power
	}
	return ""
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.nodes)
}

// SetMedia records "media a path".
func (p *provider) SetMedia(ctx context.Context, uuid string, slot driver.Slot, path string) error {
	if err := p.enter(ctx, "media", uuid, "media "+uuid+" "+path); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.nodes[uuid]
	if g == nil {
		return state.ErrNotFound
	}
	if slot == driver.SlotUSB {
		g.usb = path
	} else {
		g.media = path
	}
	return nil
}

// Loads implements driver.Driver.
func (p *provider) Loads(ctx context.Context) ([]driver.Load, error) {
	if err := p.enter(ctx, "loads", "", "loads"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []driver.Load
	for uuid, g := range p.nodes {
		if g.power == state.PowerOn {
			out = append(out, driver.Load{UUID: uuid, CPU: g.cpu})
		}
	}
	return out, nil
}

// works makes a guest use its CPUs.
func (p *provider) works(uuid string, cpu time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes[uuid].cpu += cpu
}

// media is the file in a node's slot.
func (p *provider) media(uuid string, slot driver.Slot) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.nodes[uuid]; g != nil {
		return driver.Instance{Media: g.media, USB: g.usb}.In(slot)
	}
	return ""
}

// tty is a guest's end of a console.
type tty struct {
	net.Conn
	uuid string
}

// Console attaches once at a time: who was attached before is thrown out.
func (p *provider) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	if err := p.enter(ctx, "console", uuid, "console "+uuid); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.nodes[uuid]; g == nil || g.power != state.PowerOn {
		return nil, state.ErrWrongState
	}
	p.hangUp(uuid)
	ours, guest := net.Pipe()
	p.ttys = append(p.ttys, &tty{guest, uuid})
	if p.breaks {
		return breakConsole{ours}, nil
	}
	return ours, nil
}

// breakConsole sends a break as a word.
type breakConsole struct{ net.Conn }

func (c breakConsole) SendBreak(context.Context) error {
	_, err := c.Write([]byte("(break)"))
	return err
}

// hangUp ends a node's console; mu is held.
func (p *provider) hangUp(uuid string) {
	p.ttys = slices.DeleteFunc(p.ttys, func(t *tty) bool {
		if t.uuid == uuid {
			_ = t.Close() // a pipe's does not fail
		}
		return t.uuid == uuid
	})
}

// tty returns the guest's end of a node's console, once somebody is attached.
func (p *provider) tty(uuid string) net.Conn {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.ttys {
		if t.uuid == uuid {
			return t
		}
	}
	return nil
}

func (p *provider) Watch(ctx context.Context, on func(driver.Event)) error {
	events := make(chan driver.Event, 1000)
	p.mu.Lock()
	if p.down != nil {
		p.mu.Unlock()
		return errors.New("provider is down")
	}
	p.watchers[events] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watchers, events)
	}()
	on(driver.Event{Type: driver.EventReady})
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return errors.New("provider is lost")
			}
			on(e)
		}
	}
}
