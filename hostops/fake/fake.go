// Package fake is a driver of nodes without a VM: they have power, boot order and
// believable timing, and nothing else. It is for trying Ironic with more nodes than
// a host can hold, and for tests. What it knows is in one file in its data
// directory, so it outlives the agent. It starts a goroutine only for a guest that
// shuts down; Close ends those and waits.
package fake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// defaultDelay is how long a change takes if the option delay does not say.
const defaultDelay = 20 * time.Millisecond

// keysDefault are the keys that a node begins with.
const keysDefault = "default"

// Driver implements driver.Driver. It is safe for concurrent use.
type Driver struct {
	mesh  string
	file  string
	delay time.Duration
	// guests are those that shut down. alive ends in Close.
	guests sync.WaitGroup
	stop   context.CancelFunc
	alive  context.Context //nolint:containedctx // the life of guests is that of the driver, not of a call

	// mu guards what follows.
	mu       sync.Mutex
	nodes    map[string]*node
	watchers map[*watcher]bool
	consoles map[*console]string
	failures []error
	closed   bool
	// version counts changes.
	version uint64

	// saving is held while the file is written; it guards saved, the version in it.
	saving sync.Mutex
	saved  uint64
}

// node is one node as the file has it.
type node struct {
	Mesh   string      `json:"mesh"`
	Spec   driver.Spec `json:"spec"`
	Digest string      `json:"digest"`
	// Running is what the running guest was started from.
	Running *driver.Spec `json:"running,omitempty"`
	Power   state.Power  `json:"power"`
	// Staged says that the node is still to be imported.
	Staged bool       `json:"staged,omitempty"`
	Boot   state.Boot `json:"boot"`
	// Media is the file in the CD-ROM drive, USB the one that is a USB stick.
	Media string `json:"media,omitempty"`
	USB   string `json:"usb,omitempty"`
	// Keys are those in the firmware's variables, as a start leaves them; empty: default.
	Keys string `json:"keys,omitempty"`
	// Began is when the running guest was started.
	Began time.Time `json:"began,omitzero"`
}

// Open returns the driver of a data directory. The option delay is how long making
// a node and a power change take, such as "500ms" (default 20ms).
func Open(c driver.Config) (*Driver, error) {
	d := &Driver{mesh: c.Mesh, file: filepath.Join(c.DataDir, "nodes.json"), delay: defaultDelay,
		nodes: map[string]*node{}, watchers: map[*watcher]bool{}, consoles: map[*console]string{}}
	if text := c.Options["delay"]; text != "" {
		delay, err := time.ParseDuration(text)
		if err != nil || delay < 0 {
			return nil, fmt.Errorf("driver fake: delay %q: want a time such as 500ms", text)
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

// Close ends guests that are shutting down, and waits. They are on when the driver
// is opened again, because nobody saw them go off.
func (d *Driver) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stop()
	d.guests.Wait()
}

// FailNext makes the next Ensure or SetMedia that changes something, Remove of a node
// that is there, or Power fail with err. Several calls are for as many operations.
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
	return pause(ctx, d.delay)
}

func pause(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	if ctx.Err() != nil {
		return fmt.Errorf("driver fake: %w: %w", state.ErrBusy, ctx.Err())
	}
	return nil
}

// mine returns a node of our mesh; mu is held.
func (d *Driver) mine(uuid string) (*node, error) {
	if n := d.nodes[uuid]; n != nil && n.Mesh == d.mesh {
		return n, nil
	}
	return nil, fmt.Errorf("driver fake: node %s: %w", uuid, state.ErrNotFound)
}

// change lets do change nodes, tells watchers what it returns, and returns once
// the file has it. An error of do means that it changed nothing; one of the file
// means that the change is not safe from the driver's end yet.
func (d *Driver) change(do func() ([]driver.Event, error)) error {
	d.mu.Lock()
	events, err := do()
	if err != nil || len(events) == 0 {
		d.mu.Unlock()
		return err
	}
	d.version++
	version := d.version
	for _, e := range events {
		d.tell(e)
	}
	d.mu.Unlock()
	return d.save(version)
}

// save returns once the file has a version. Changes made at the same time are
// written together: each writes all nodes.
func (d *Driver) save(version uint64) error {
	d.saving.Lock()
	defer d.saving.Unlock()
	if d.saved >= version {
		return nil
	}
	d.mu.Lock()
	version = d.version
	b, err := json.Marshal(d.nodes)
	d.mu.Unlock()
	if err == nil {
		err = write(d.file, b)
	}
	if err != nil {
		return fmt.Errorf("driver fake: save: %w", err)
	}
	d.saved = version
	return nil
}

// write replaces a file whole or not at all.
func write(file string, b []byte) (err error) {
	f, err := os.OpenFile(file+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}

// Info implements driver.Driver.
func (d *Driver) Info(context.Context) (driver.Info, error) {
	return driver.Info{Name: Name, Version: "1", Facts: map[string]string{"delay": d.delay.String(),
		driver.FactArchs: state.ArchARM + " " + state.ArchX86}}, nil
}

// Instances implements driver.Driver.
func (d *Driver) Instances(context.Context) ([]driver.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []driver.Instance
	for _, n := range d.nodes {
		if n.Mesh == d.mesh {
			out = append(out, n.instance())
		}
	}
	slices.SortFunc(out, func(a, b driver.Instance) int { return cmp.Compare(a.UUID, b.UUID) })
	return out, nil
}

func (n *node) instance() driver.Instance {
	if n.Staged {
		return driver.Instance{UUID: n.Spec.UUID, Name: n.Spec.Name, Epoch: n.Spec.Epoch, Power: n.Power}
	}
	i := driver.Instance{UUID: n.Spec.UUID, Name: n.Spec.Name, Epoch: n.Spec.Epoch, Power: n.Power, Digest: n.Digest, Media: n.Media, USB: n.USB}
	if n.Spec.Machine.BootMode == state.BootUEFI {
		i.Firmware = n.firmware()
	}
	if n.Running != nil {
		i.Pending = pending(*n.Running, n.Spec)
	}
	return i
}

// firmware is what there is to say of Secure Boot: that of a guest that checks no signatures.
func (n *node) firmware() map[string]string {
	keys := cmp.Or(n.Keys, keysDefault)
	boot := driver.SecureBootOff
	if n.Running != nil && n.Running.Setup.SecureBoot && keys == keysDefault {
		boot = driver.SecureBootEnforced
	}
	return map[string]string{driver.FirmwareSecureBoot: boot, driver.FirmwareKeys: keys}
}

// pending says what of want a guest that was started from have does not have yet.
func pending(have, want driver.Spec) []string {
	var out []string
	if have.Digest() == want.Digest() {
		return nil
	}
	h, w := have.Machine, want.Machine
	if h.MemoryMB != w.MemoryMB {
		out = append(out, fmt.Sprintf("memory %d MiB → %d MiB", h.MemoryMB, w.MemoryMB))
	}
	if h.VCPUs != w.VCPUs {
		out = append(out, fmt.Sprintf("vcpus %d → %d", h.VCPUs, w.VCPUs))
	}
	if h.BootMode != w.BootMode {
		out = append(out, fmt.Sprintf("boot mode %s → %s", h.BootMode, w.BootMode))
	}
	if !slices.Equal(h.Volumes, w.Volumes) {
		out = append(out, "volumes")
	}
	if !slices.Equal(have.Ports, want.Ports) {
		out = append(out, "ports")
	}
	if have.Setup.Print() != want.Setup.Print() {
		out = append(out, "setup")
	}
	if len(out) == 0 {
		out = append(out, "definition")
	}
	return out
}

// Ensure implements driver.Driver.
func (d *Driver) Ensure(ctx context.Context, spec driver.Spec) error {
	d.mu.Lock()
	old, err := d.check(spec)
	same := old != nil && old.Digest == spec.Digest() && old.Spec.Epoch == spec.Epoch && !old.Staged
	d.mu.Unlock()
	if err != nil || same {
		return err
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	return d.change(func() ([]driver.Event, error) {
		n, err := d.check(spec) // another may have been made meanwhile
		if err != nil {
			return nil, err
		}
		if n == nil {
			n = &node{Mesh: d.mesh, Power: state.PowerOff}
			d.nodes[spec.UUID] = n
		}
		if err := d.dropDisks(n, spec); err != nil {
			return nil, err
		}
		n.Spec, n.Digest, n.Staged = spec, spec.Digest(), false
		return []driver.Event{{Type: driver.EventChanged, UUID: spec.UUID}}, nil
	})
}

// check returns the node that spec describes, if there is one, or which foreign
// node is in its way; mu is held.
func (d *Driver) check(spec driver.Spec) (*node, error) {
	for uuid, n := range d.nodes {
		if uuid != spec.UUID && n.Spec.Name == spec.Name {
			return nil, fmt.Errorf("driver fake: node %q: its name is taken by node %s of mesh %s", spec.Name, uuid, n.Mesh)
		}
	}
	n := d.nodes[spec.UUID]
	if n != nil && n.Mesh != d.mesh {
		return nil, fmt.Errorf("driver fake: node %q: its UUID %s is taken by node %q of mesh %s", spec.Name, spec.UUID, n.Spec.Name, n.Mesh)
	}
	return n, nil
}

// Remove implements driver.Driver.
func (d *Driver) Remove(ctx context.Context, uuid string) error {
	d.mu.Lock()
	_, err := d.mine(uuid)
	d.mu.Unlock()
	if err != nil {
		return nil //nolint:nilerr // it is not there
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	return d.change(func() ([]driver.Event, error) {
		n, err := d.mine(uuid)
		if err == nil {
			err = d.removeFiles(n)
		}
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return nil, err
		}
		if err != nil {
			return nil, nil //nolint:nilerr // another call removed it
		}
		events := n.off(driver.CauseRequest)
		d.detach(uuid)
		delete(d.nodes, uuid)
		return append(events, driver.Event{Type: driver.EventChanged, UUID: uuid}), nil
	})
}
