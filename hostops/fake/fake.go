// Package fake is a driver of nodes without a VM: they have power, boot order and
// believable timing, and nothing else. It is for trying Ironic with more nodes than
// a host can hold, and for tests. What it knows is in one file in its data
// directory, so it outlives the agent. It starts a goroutine only for a guest that
// shuts down; Close waits for those.
package fake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Name is what agent.yml and cluster files call this driver.
const Name = "fake"

// softTime is how many delays a guest takes to shut down when it is asked to.
const softTime = 3

// Driver implements driver.Driver. It is safe for concurrent use.
type Driver struct {
	mesh  string
	file  string
	delay time.Duration
	guest sync.WaitGroup
	stop  context.CancelFunc
	alive context.Context //nolint:containedctx // the life of guests is that of the driver, not of a call

	// mu guards what follows.
	mu       sync.Mutex
	nodes    map[string]*node
	watchers map[chan driver.Event]bool
	failures []error
}

// node is one node as the file has it.
type node struct {
	Mesh   string      `json:"mesh"`
	Spec   driver.Spec `json:"spec"`
	Digest string      `json:"digest"`
	// Live is the digest that the running guest was started with.
	Live  string      `json:"live,omitempty"`
	Power state.Power `json:"power"`
	Boot  state.Boot  `json:"boot"`
}

// Open returns the driver of a data directory. The option delay is how long making
// a node and a power change take (default 20ms).
func Open(c driver.Config) (*Driver, error) {
	d := &Driver{mesh: c.Mesh, file: filepath.Join(c.DataDir, "nodes.json"), delay: 20 * time.Millisecond,
		nodes: map[string]*node{}, watchers: map[chan driver.Event]bool{}}
	if text := c.Options["delay"]; text != "" {
		delay, err := time.ParseDuration(text)
		if err != nil {
			return nil, fmt.Errorf("driver fake: delay: %w", err)
		}
		d.delay = delay
	}
	b, err := os.ReadFile(d.file)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("driver fake: %w", err)
	default:
		if err := json.Unmarshal(b, &d.nodes); err != nil {
			return nil, fmt.Errorf("driver fake: %s: %w", d.file, err)
		}
	}
	d.alive, d.stop = context.WithCancel(context.Background()) //nolint:forbidigo // guests live for as long as the driver
	return d, nil
}

// Close ends guests that are shutting down, and waits.
func (d *Driver) Close() {
	d.stop()
	d.guest.Wait()
}

// FailNext makes the next Ensure, Remove or Power fail with err.
func (d *Driver) FailNext(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures = append(d.failures, err)
}

// begin takes the time of an operation, and its failure if one is due.
func (d *Driver) begin(ctx context.Context) error {
	d.mu.Lock()
	var err error
	if len(d.failures) > 0 {
		err, d.failures = d.failures[0], d.failures[1:]
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return sleep(ctx, d.delay)
}

func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("driver fake: %w: %w", state.ErrBusy, ctx.Err())
	case <-timer.C:
		return nil
	}
}

// save writes the file whole or not at all; mu is held.
func (d *Driver) save() error {
	b, err := json.Marshal(d.nodes)
	if err != nil {
		return fmt.Errorf("driver fake: %w", err)
	}
	tmp := d.file + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("driver fake: %w", err)
	}
	return os.Rename(tmp, d.file)
}

// tell sends an event to every watcher; mu is held. A watcher that does not read
// misses it, as it would from a real provider whose queue is full.
func (d *Driver) tell(e driver.Event) {
	for w := range d.watchers {
		select {
		case w <- e:
		default:
		}
	}
}

// Info implements driver.Driver.
func (d *Driver) Info(context.Context) (driver.Info, error) {
	return driver.Info{Name: Name, Version: "1", Facts: map[string]string{"delay": d.delay.String()}}, nil
}

// Instances implements driver.Driver.
func (d *Driver) Instances(context.Context) ([]driver.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []driver.Instance
	for _, n := range d.nodes {
		if n.Mesh != d.mesh {
			continue
		}
		i := driver.Instance{UUID: n.Spec.UUID, Name: n.Spec.Name, Epoch: n.Spec.Epoch, Power: n.Power, Digest: n.Digest}
		if n.Power == state.PowerOn && n.Live != n.Digest {
			i.Pending = []string{"hardware changed"}
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b driver.Instance) int { return cmp.Compare(a.UUID, b.UUID) })
	return out, nil
}

// Ensure implements driver.Driver.
func (d *Driver) Ensure(ctx context.Context, spec driver.Spec) error {
	digest := spec.Digest()
	d.mu.Lock()
	old := d.nodes[spec.UUID]
	same := old != nil && old.Digest == digest && old.Spec.Epoch == spec.Epoch
	d.mu.Unlock()
	if same {
		return nil
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[spec.UUID]
	if n == nil {
		n = &node{Mesh: d.mesh, Power: state.PowerOff}
		d.nodes[spec.UUID] = n
	}
	n.Spec, n.Digest = spec, digest
	d.tell(driver.Event{Type: driver.EventChanged, UUID: spec.UUID})
	return d.save()
}

// Remove implements driver.Driver.
func (d *Driver) Remove(ctx context.Context, uuid string) error {
	d.mu.Lock()
	_, ok := d.nodes[uuid]
	d.mu.Unlock()
	if !ok {
		return nil
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.nodes, uuid)
	d.tell(driver.Event{Type: driver.EventChanged, UUID: uuid})
	return d.save()
}

// Power implements driver.Driver.
func (d *Driver) Power(ctx context.Context, uuid string, req driver.PowerRequest) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[uuid]
	if n == nil {
		return fmt.Errorf("driver fake: node %s: %w", uuid, state.ErrNotFound)
	}
	if n.Power != state.PowerOn && req.Action != state.ActionOn && req.Action != state.ActionOff {
		return fmt.Errorf("driver fake: node %s is off: %w", n.Spec.Name, state.ErrWrongState)
	}
	switch req.Action {
	case state.ActionOn:
		if n.Power == state.PowerOn {
			return nil
		}
		return d.turn(n, state.PowerOn, req.Boot, driver.CauseRequest)
	case state.ActionOff:
		if n.Power == state.PowerOff {
			return nil
		}
		return d.turn(n, state.PowerOff, n.Boot, driver.CauseRequest)
	case state.ActionCycle:
		if err := d.turn(n, state.PowerOff, n.Boot, driver.CauseRequest); err != nil {
			return err
		}
		return d.turn(n, state.PowerOn, req.Boot, driver.CauseRequest)
	case state.ActionReset:
		n.Boot = req.Boot
		d.tell(driver.Event{Type: driver.EventReboot, UUID: uuid})
		return d.save()
	case state.ActionSoft:
		d.guest.Go(func() { d.shutDown(uuid) }) // ends in Close
		return nil
	case state.ActionDiag:
		return nil
	}
	return fmt.Errorf("driver fake: power %q: %w", req.Action, state.ErrUnsupported)
}

// turn switches a node; mu is held.
func (d *Driver) turn(n *node, power state.Power, boot state.Boot, cause driver.Cause) error {
	n.Power, n.Boot, n.Live = power, boot, ""
	if power == state.PowerOn {
		n.Live = n.Digest
	}
	d.tell(driver.Event{Type: driver.EventPower, UUID: n.Spec.UUID, Power: power, Cause: cause})
	return d.save()
}

// shutDown is what a guest does that was asked to.
func (d *Driver) shutDown(uuid string) {
	if sleep(d.alive, softTime*d.delay) != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.nodes[uuid]; n != nil && n.Power == state.PowerOn {
		// What cannot be saved is told to the next caller.
		if err := d.turn(n, state.PowerOff, n.Boot, driver.CauseGuest); err != nil {
			d.failures = append(d.failures, err)
		}
	}
}

// Console implements driver.Driver: it echoes what is typed.
func (d *Driver) Console(_ context.Context, uuid string) (io.ReadWriteCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[uuid]
	switch {
	case n == nil:
		return nil, fmt.Errorf("driver fake: node %s: %w", uuid, state.ErrNotFound)
	case n.Power != state.PowerOn:
		return nil, fmt.Errorf("driver fake: node %s is off: %w", n.Spec.Name, state.ErrWrongState)
	}
	r, w := io.Pipe()
	return &echo{r, w}, nil
}

type echo struct {
	*io.PipeReader
	w *io.PipeWriter
}

func (e *echo) Write(b []byte) (int, error) { return e.w.Write(b) }

func (e *echo) Close() error { return errors.Join(e.PipeReader.Close(), e.w.Close()) }

// watchQueue is how many events a watcher may lag behind; one of a thousand nodes
// switched at once must not lose any.
const watchQueue = 4096

// Watch implements driver.Driver.
func (d *Driver) Watch(ctx context.Context, on func(driver.Event)) error {
	events := make(chan driver.Event, watchQueue)
	d.mu.Lock()
	d.watchers[events] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, events)
	}()
	on(driver.Event{Type: driver.EventReady})
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			on(e)
		}
	}
}
