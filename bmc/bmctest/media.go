package bmctest

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// drive is one of a Chassis, which guards it.
type drive struct {
	chassis       *Chassis
	insert, eject bmc.EventKind
	// media is what is in it; inserted, all that ever was.
	media    bmc.MediaStatus
	inserted []bmc.Media
}

// InsertMedia implements bmc.Drive: it takes any http or https URL, and fetches nothing.
func (d *drive) InsertMedia(ctx context.Context, m bmc.Media) error {
	return d.chassis.request(ctx, "insert media", func() error {
		u, err := url.Parse(m.URL)
		if err != nil || !slices.Contains([]string{"http", "https"}, strings.ToLower(u.Scheme)) || u.Host == "" {
			return fmt.Errorf("not the URL of an image: %w", state.ErrRefused)
		}
		u.User = nil
		d.media = bmc.MediaStatus{Inserted: true, URL: u.String(), Name: path.Base(u.Path)}
		d.inserted = append(d.inserted, m)
		d.chassis.tell(d.insert, true)
		return nil
	})
}

// EjectMedia implements bmc.Drive.
func (d *drive) EjectMedia(ctx context.Context) error {
	return d.chassis.request(ctx, "eject media", func() error {
		if d.media.Inserted {
			d.chassis.tell(d.eject, true)
		}
		d.media = bmc.MediaStatus{}
		return nil
	})
}

// Media implements bmc.Drive.
func (d *drive) Media() bmc.MediaStatus {
	d.chassis.mu.Lock()
	defer d.chassis.mu.Unlock()
	return d.media
}

// InsertMedia implements bmc.Chassis.
func (c *Chassis) InsertMedia(ctx context.Context, m bmc.Media) error {
	return c.cd.InsertMedia(ctx, m)
}

// EjectMedia implements bmc.Chassis.
func (c *Chassis) EjectMedia(ctx context.Context) error { return c.cd.EjectMedia(ctx) }

// Media implements bmc.Chassis.
func (c *Chassis) Media() bmc.MediaStatus { return c.cd.Media() }

// USB implements bmc.USBPort.
func (c *Chassis) USB() bmc.Drive { return &c.usb }

// Inserted returns what was put into the CD-ROM drive, oldest first.
func (c *Chassis) Inserted() []bmc.Media {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.cd.inserted)
}

// Plugged returns what was plugged in as a USB stick, oldest first.
func (c *Chassis) Plugged() []bmc.Media {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.usb.inserted)
}

// SetFetching says whether an image is on its way into the CD-ROM drive.
func (c *Chassis) SetFetching(fetching bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cd.media.Fetching = fetching
}
