package hostops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// mediaTimeout bounds what a driver may take to change media.
const mediaTimeout = 20 * time.Second

// MediaStatus is what is in a drive.
type MediaStatus struct {
	Inserted bool
	// URL is where it came from, without user and password; Name is the last part of its path.
	URL, Name string
	// Fetching says that an image is being fetched, of which Fetched bytes are here.
	Fetching bool
	Fetched  uint64
}

// savedMedia is what is in a drive, as the row has it.
type savedMedia struct {
	// File is the image's, in Config.MediaDir.
	File string `json:"file"`
	URL  string `json:"url"`
}

func (m *savedMedia) equal(o *savedMedia) bool { return m == o || m != nil && o != nil && *m == *o }

// Drive is a drive of a chassis. It is safe for concurrent use.
type Drive struct {
	c    *Chassis
	slot driver.Slot
	// changing holds one while what is in the drive is changed.
	changing chan struct{}
	// fetching is the image on its way into the drive, nil: none; c.mu guards it.
	fetching *fetching
}

func newDrive(c *Chassis, slot driver.Slot) *Drive {
	return &Drive{c: c, slot: slot, changing: make(chan struct{}, 1)}
}

// What differs between drives.
var (
	// suffixes are of the images' files, so that people see what is what.
	suffixes     = map[driver.Slot]string{driver.SlotCD: ".iso", driver.SlotUSB: ".img"}
	driveNames   = map[driver.Slot]string{driver.SlotCD: "CD-ROM", driver.SlotUSB: "USB"}
	insertEvents = map[driver.Slot]ChassisEventKind{driver.SlotCD: ChassisInsert, driver.SlotUSB: ChassisPlug}
	ejectEvents  = map[driver.Slot]ChassisEventKind{driver.SlotCD: ChassisEject, driver.SlotUSB: ChassisUnplug}
)

// USB is where a USB stick is plugged in: inserting an image plugs one in that has it,
// ejecting unplugs it. The CD-ROM drive is the Chassis' own.
func (c *Chassis) USB() *Drive { return c.usb }

func (c *Chassis) drives() []*Drive { return []*Drive{c.Drive, c.usb} }

// in is what a row has of a slot.
func (r *row) in(slot driver.Slot) **savedMedia {
	if slot == driver.SlotUSB {
		return &r.Stick
	}
	return &r.Media
}

// remembered is what is to be in the drive.
func (d *Drive) remembered() *savedMedia {
	r := d.c.remembered()
	return *r.in(d.slot)
}

// fetching is an image on its way.
type fetching struct {
	cancel context.CancelCauseFunc
	count  atomic.Uint64
}

// errSuperseded ends the fetch of an image that is no longer wanted: it can be asked for again.
var errSuperseded = fmt.Errorf("%w: another image, or none, was asked for meanwhile", state.ErrBusy)

// Media returns what is in the drive, from memory.
func (d *Drive) Media() MediaStatus {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	var s MediaStatus
	if m := *d.c.row.in(d.slot); m != nil {
		s.Inserted, s.URL, s.Name = true, m.URL, nameOf(m.URL)
	}
	if d.fetching != nil {
		s.Fetching, s.Fetched = true, d.fetching.count.Load()
	}
	return s
}

// nameOf is the last part of a URL's path.
func nameOf(shown string) string {
	m := Media{URL: shown}
	u, _, err := m.location()
	if err != nil {
		return ""
	}
	if name := path.Base(u.Path); name != "." && name != "/" {
		return name
	}
	return ""
}

// InsertMedia fetches an image and puts it into the drive, in place of what is there. It
// waits for that; the end of ctx, EjectMedia or another InsertMedia ends the fetch. Errors:
// state.ErrRefused (what asking again does not help with), state.ErrBusy,
// state.ErrUnsupported, and what the image's server said.
func (d *Drive) InsertMedia(ctx context.Context, m Media) error {
	if err := d.insertable(ctx, &m); err != nil {
		return fmt.Errorf("node %s: insert media: %w", d.c.uuid, err)
	}
	done := make(chan error, 1) // one result
	if !d.c.host.start(func() { done <- d.insert(ctx, m) }) {
		return fmt.Errorf("node %s: insert media: %w: the agent is stopping", d.c.uuid, state.ErrBusy)
	}
	if err := <-done; err != nil {
		return fmt.Errorf("node %s: insert media: %w", d.c.uuid, err)
	}
	return nil
}

func (d *Drive) insertable(ctx context.Context, m *Media) error {
	if d.c.host.cfg.MediaDir == "" {
		return fmt.Errorf("%w: this host takes no media", state.ErrUnsupported)
	}
	if _, _, err := m.location(); err != nil {
		return err
	}
	if err := d.c.host.leaving(d.c.uuid); err != nil {
		return err
	}
	return ctx.Err()
}

func (d *Drive) insert(ctx context.Context, m Media) (err error) {
	ctx, end, err := d.beginFetch(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, shown, err := m.location()
	if err != nil {
		return err
	}
	file, err := d.fetchImage(ctx, m)
	if err != nil {
		return err
	}
	if err = d.take(ctx); err == nil {
		defer d.release()
		err = d.c.host.leaving(d.c.uuid)
	}
	if err == nil {
		err = d.setMedia(ctx, &savedMedia{File: file, URL: shown}, insertEvents[d.slot])
	}
	if err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

// beginFetch ends the fetch that is under way.
func (d *Drive) beginFetch(ctx context.Context) (context.Context, func(), error) {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	if d.c.stopped {
		return nil, nil, fmt.Errorf("%w: the node is being taken down", state.ErrBusy)
	}
	if d.fetching != nil {
		d.fetching.cancel(errSuperseded)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	f := &fetching{cancel: cancel}
	d.fetching = f
	return ctx, func() {
		cancel(nil)
		d.c.mu.Lock()
		defer d.c.mu.Unlock()
		if d.fetching == f {
			d.fetching = nil
		}
	}, nil
}

// stopFetch ends the fetch that is under way, if any.
func (d *Drive) stopFetch() {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	if d.fetching != nil {
		d.fetching.cancel(errSuperseded)
	}
}

// fetchImage returns the path of a file that is the image.
func (d *Drive) fetchImage(ctx context.Context, m Media) (file string, err error) {
	d.c.mu.Lock()
	f := d.fetching
	d.c.mu.Unlock()
	if f == nil {
		return "", errSuperseded
	}
	// The users of hypervisors pass through it to files that they are given.
	if err := os.MkdirAll(d.c.host.cfg.MediaDir, 0o711); err != nil { //nolint:gosec // see above
		return "", fmt.Errorf("media directory: %w", err)
	}
	to, err := os.CreateTemp(d.c.host.cfg.MediaDir, d.c.uuid+".*"+suffixes[d.slot])
	if err != nil {
		return "", fmt.Errorf("media: %w", err)
	}
	err = d.c.host.fetcher.fetch(ctx, m, to, &f.count)
	if err = errors.Join(err, to.Close()); err != nil {
		return "", errors.Join(err, os.Remove(to.Name()))
	}
	return to.Name(), nil
}

// EjectMedia empties the drive, whatever the guest says, and ends a fetch; an empty drive
// is no error. Errors: state.ErrBusy, state.ErrUnsupported.
func (d *Drive) EjectMedia(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		d.stopFetch()
		err = d.take(ctx)
	}
	if err != nil {
		return fmt.Errorf("node %s: eject media: %w", d.c.uuid, err)
	}
	defer d.release()
	if d.remembered() == nil {
		return nil
	}
	if err := d.setMedia(ctx, nil, ejectEvents[d.slot]); err != nil {
		return fmt.Errorf("node %s: eject media: %w", d.c.uuid, err)
	}
	return nil
}

// take makes the drive the caller's until release.
func (d *Drive) take(ctx context.Context) error {
	select {
	case d.changing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if ctx.Err() != nil {
		d.release()
		return context.Cause(ctx)
	}
	return nil
}

func (d *Drive) release() { <-d.changing }

// setMedia changes what is in the drive, which is the caller's. It is remembered first:
// if the agent ends meanwhile, a pass makes the drive so. What fails leaves it as it was, or
// a pass does.
func (d *Drive) setMedia(ctx context.Context, next *savedMedia, kind ChassisEventKind) error {
	old := d.remembered()
	if err := d.c.save(func(r *row) { *r.in(d.slot) = next }); err != nil {
		return err
	}
	if err := d.tellDrive(ctx, next); err != nil {
		d.c.remember(ctx, func(r *row) { *r.in(d.slot) = old })
		d.c.host.wakeSoon()
		return err
	}
	d.c.removeImage(ctx, old)
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	d.c.tell(kind, true)
	return nil
}

// tellDrive makes the driver's drive what it should be. What was begun is not cut short by
// who asked for it.
func (d *Drive) tellDrive(ctx context.Context, m *savedMedia) error {
	provider, err := d.c.host.driverOf(d.c.driverName())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mediaTimeout)
	defer cancel()
	err = provider.SetMedia(ctx, d.c.uuid, d.slot, m.file())
	if errors.Is(err, state.ErrNotFound) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", state.ErrBusy, err)
	}
	return err
}

func (m *savedMedia) file() string {
	if m == nil {
		return ""
	}
	return m.File
}

// removeImage deletes the file of what was in the drive.
func (c *Chassis) removeImage(ctx context.Context, m *savedMedia) {
	if m == nil {
		return
	}
	if err := os.Remove(m.File); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.host.log.WarnContext(ctx, "image not deleted", "node", c.uuid, "file", m.File, "err", err)
	}
}

// drifted reports whether the drive of an instance is not as it should be, while nobody
// is changing it. Media that are not ours, a person's, are left alone.
func (d *Drive) drifted(i driver.Instance) bool {
	if d.c.host.cfg.MediaDir == "" || len(d.changing) > 0 {
		return false
	}
	want := d.remembered().file()
	if want == "" {
		return strings.HasPrefix(i.In(d.slot), d.c.host.cfg.MediaDir+string(filepath.Separator))
	}
	return i.In(d.slot) != want
}

// mendDrive makes the drive as it should be. An image that is gone is not in it.
func (d *Drive) mendDrive(ctx context.Context) error {
	select {
	case d.changing <- struct{}{}:
	default:
		return nil // somebody changes it
	}
	defer d.release()
	m := d.remembered()
	if m != nil {
		if _, err := os.Stat(m.File); errors.Is(err, os.ErrNotExist) {
			m = nil
			if err := d.c.save(func(r *row) { *r.in(d.slot) = nil }); err != nil {
				return err
			}
		}
	}
	d.c.host.driverWrites.Add(1)
	if err := d.tellDrive(ctx, m); err != nil {
		return fmt.Errorf("%s drive: %w", driveNames[d.slot], err)
	}
	return nil
}

// sweepMedia deletes images that are in no drive: of a fetch, or an eject, that the end of
// the agent cut short.
func (h *Host) sweepMedia() error {
	if h.cfg.MediaDir == "" {
		return nil
	}
	files, err := os.ReadDir(h.cfg.MediaDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("media directory: %w", err)
	}
	inserted := map[string]bool{}
	for _, c := range h.all() {
		for _, d := range c.drives() {
			inserted[d.remembered().file()] = true
		}
	}
	for _, f := range files {
		file := filepath.Join(h.cfg.MediaDir, f.Name())
		if !inserted[file] && f.Type().IsRegular() && slices.Contains(slices.Collect(maps.Values(suffixes)), filepath.Ext(file)) {
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("media: %w", err)
			}
		}
	}
	return nil
}
