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

// InsertMedia implements bmc.Chassis: it takes any http or https URL, and fetches nothing.
func (c *Chassis) InsertMedia(ctx context.Context, m bmc.Media) error {
	return c.request(ctx, "insert media", func() error {
		u, err := url.Parse(m.URL)
		if err != nil || !slices.Contains([]string{"http", "https"}, strings.ToLower(u.Scheme)) || u.Host == "" {
			return fmt.Errorf("not the URL of an image: %w", state.ErrRefused)
		}
		u.User = nil
		c.media = bmc.MediaStatus{Inserted: true, URL: u.String(), Name: path.Base(u.Path)}
		c.inserted = append(c.inserted, m)
		c.tell(bmc.EventInsert, true)
		return nil
	})
}

// EjectMedia implements bmc.Chassis.
func (c *Chassis) EjectMedia(ctx context.Context) error {
	return c.request(ctx, "eject media", func() error {
		if c.media.Inserted {
			c.tell(bmc.EventEject, true)
		}
		c.media = bmc.MediaStatus{}
		return nil
	})
}

// Media implements bmc.Chassis.
func (c *Chassis) Media() bmc.MediaStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.media
}

// Inserted returns what was put into the drive, oldest first.
func (c *Chassis) Inserted() []bmc.Media {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.inserted)
}

// SetFetching says whether an image is on its way into the drive.
func (c *Chassis) SetFetching(fetching bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.media.Fetching = fetching
}
