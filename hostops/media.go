package hostops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
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

// fetching is an image on its way.
type fetching struct {
	cancel context.CancelCauseFunc
	count  atomic.Uint64
}

// errSuperseded ends the fetch of an image that is no longer wanted: it can be asked for again.
var errSuperseded = fmt.Errorf("%w: another image, or none, was asked for meanwhile", state.ErrBusy)

// Media returns what is in the drive, from memory.
func (c *Chassis) Media() MediaStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s MediaStatus
	if m := c.row.Media; m != nil {
		s.Inserted, s.URL, s.Name = true, m.URL, nameOf(m.URL)
	}
	if c.fetching != nil {
		s.Fetching, s.Fetched = true, c.fetching.count.Load()
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
func (c *Chassis) InsertMedia(ctx context.Context, m Media) error {
	if err := c.insertable(ctx, &m); err != nil {
		return fmt.Errorf("node %s: insert media: %w", c.uuid, err)
	}
	done := make(chan error, 1) // one result
	if !c.host.start(func() { done <- c.insert(ctx, m) }) {
		return fmt.Errorf("node %s: insert media: %w: the agent is stopping", c.uuid, state.ErrBusy)
	}
	if err := <-done; err != nil {
		return fmt.Errorf("node %s: insert media: %w", c.uuid, err)
	}
	return nil
}

func (c *Chassis) insertable(ctx context.Context, m *Media) error {
	if c.host.cfg.MediaDir == "" {
		return fmt.Errorf("%w: this host takes no media", state.ErrUnsupported)
	}
	if _, _, err := m.location(); err != nil {
		return err
	}
	if err := c.host.leaving(c.uuid); err != nil {
		return err
	}
	return ctx.Err()
}

func (c *Chassis) insert(ctx context.Context, m Media) (err error) {
	ctx, end, err := c.beginFetch(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, shown, err := m.location()
	if err != nil {
		return err
	}
	file, err := c.fetchImage(ctx, m)
	if err != nil {
		return err
	}
	if err = c.take(ctx); err == nil {
		defer c.release()
		err = c.host.leaving(c.uuid)
	}
	if err == nil {
		err = c.setMedia(ctx, &savedMedia{File: file, URL: shown}, ChassisInsert)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

// beginFetch ends the fetch that is under way.
func (c *Chassis) beginFetch(ctx context.Context) (context.Context, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil, nil, fmt.Errorf("%w: the node is being taken down", state.ErrBusy)
	}
	if c.fetching != nil {
		c.fetching.cancel(errSuperseded)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	f := &fetching{cancel: cancel}
	c.fetching = f
	return ctx, func() {
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.fetching == f {
			c.fetching = nil
		}
	}, nil
}

// stopFetch ends the fetch that is under way, if any.
func (c *Chassis) stopFetch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fetching != nil {
		c.fetching.cancel(errSuperseded)
	}
}

// fetchImage returns the path of a file that is the image.
func (c *Chassis) fetchImage(ctx context.Context, m Media) (file string, err error) {
	c.mu.Lock()
	f := c.fetching
	c.mu.Unlock()
	if f == nil {
		return "", errSuperseded
	}
	// The users of hypervisors pass through it to files that they are given.
	if err := os.MkdirAll(c.host.cfg.MediaDir, 0o711); err != nil { //nolint:gosec // see above
		return "", fmt.Errorf("media directory: %w", err)
	}
	to, err := os.CreateTemp(c.host.cfg.MediaDir, c.uuid+".*.iso")
	if err != nil {
		return "", fmt.Errorf("media: %w", err)
	}
	err = c.host.fetcher.fetch(ctx, m, to, &f.count)
	if err = errors.Join(err, to.Close()); err != nil {
		return "", errors.Join(err, os.Remove(to.Name()))
	}
	return to.Name(), nil
}

// EjectMedia empties the drive, whatever the guest says, and ends a fetch; an empty drive
// is no error. Errors: state.ErrBusy, state.ErrUnsupported.
func (c *Chassis) EjectMedia(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		c.stopFetch()
		err = c.take(ctx)
	}
	if err != nil {
		return fmt.Errorf("node %s: eject media: %w", c.uuid, err)
	}
	defer c.release()
	if c.remembered().Media == nil {
		return nil
	}
	if err := c.setMedia(ctx, nil, ChassisEject); err != nil {
		return fmt.Errorf("node %s: eject media: %w", c.uuid, err)
	}
	return nil
}

// take makes the drive the caller's until release.
func (c *Chassis) take(ctx context.Context) error {
	select {
	case c.drive <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if ctx.Err() != nil {
		c.release()
		return context.Cause(ctx)
	}
	return nil
}

func (c *Chassis) release() { <-c.drive }

// setMedia changes what is in the drive, which is the caller's. It is remembered first:
// if the agent ends meanwhile, a pass makes the drive so. What fails leaves it as it was, or
// a pass does.
func (c *Chassis) setMedia(ctx context.Context, next *savedMedia, kind ChassisEventKind) error {
	old := c.remembered().Media
	if err := c.save(func(r *row) { r.Media = next }); err != nil {
		return err
	}
	if err := c.tellDrive(ctx, next); err != nil {
		c.remember(ctx, func(r *row) { r.Media = old })
		c.host.wakeSoon()
		return err
	}
	c.removeImage(ctx, old)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(kind, true)
	return nil
}

// tellDrive makes the driver's drive what it should be. What was begun is not cut short by
// who asked for it.
func (c *Chassis) tellDrive(ctx context.Context, m *savedMedia) error {
	d, err := c.host.driverOf(c.driverName())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mediaTimeout)
	defer cancel()
	err = d.SetMedia(ctx, c.uuid, m.file())
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
func (c *Chassis) drifted(i driver.Instance) bool {
	if c.host.cfg.MediaDir == "" || len(c.drive) > 0 {
		return false
	}
	want := c.remembered().Media.file()
	if want == "" {
		return strings.HasPrefix(i.Media, c.host.cfg.MediaDir+string(filepath.Separator))
	}
	return i.Media != want
}

// mendDrive makes the drive as it should be. An image that is gone is not in it.
func (c *Chassis) mendDrive(ctx context.Context) error {
	select {
	case c.drive <- struct{}{}:
	default:
		return nil // somebody changes it
	}
	defer c.release()
	m := c.remembered().Media
	if m != nil {
		if _, err := os.Stat(m.File); errors.Is(err, os.ErrNotExist) {
			m = nil
			if err := c.save(func(r *row) { r.Media = nil }); err != nil {
				return err
			}
		}
	}
	c.host.driverWrites.Add(1)
	if err := c.tellDrive(ctx, m); err != nil {
		return fmt.Errorf("CD-ROM drive: %w", err)
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
		inserted[c.remembered().Media.file()] = true
	}
	for _, f := range files {
		file := filepath.Join(h.cfg.MediaDir, f.Name())
		if !inserted[file] && f.Type().IsRegular() && strings.HasSuffix(file, ".iso") {
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("media: %w", err)
			}
		}
	}
	return nil
}
