package redfish

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// recall returns what was kept of a system under a key, or the zero value. It is read
// from memory and decoded each time.
func recall[T any](sys System, key string) T {
	var out T
	if raw := sys.Chassis.Recall(key); raw != nil {
		if json.Unmarshal(raw, &out) != nil {
			var zero T
			return zero // of another version: as if nothing was kept
		}
	}
	return out
}

// maxKept is what bmc.Memory takes.
const maxKept = 64 << 10

// keep stores a value of a system under a key. What has grown too large is the client's
// to make smaller.
func keep[T any](ctx context.Context, sys System, key string, v T) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("system %s: %s: %w", sys.ID, key, err)
	}
	if len(raw) > maxKept {
		return fail(http.StatusBadRequest, msg("CreateLimitReachedForResource"))
	}
	if err := sys.Chassis.Keep(ctx, key, raw); err != nil {
		return fmt.Errorf("system %s: keep %s: %w", sys.ID, key, err)
	}
	return nil
}

// settings are what clients may write of a system, and that is nothing but text to us.
type settings struct {
	ChassisTag string `json:",omitempty"`
	// Lit says that the location indicator is on.
	Lit bool `json:",omitempty"`
	// ClockOffset is what a client set the manager's clock to, less the true time, in
	// seconds; Zone is the DateTimeLocalOffset.
	ClockOffset int64  `json:",omitempty"`
	Zone        string `json:",omitempty"`
	// PendingTarget is the boot target that was set while the override is disabled. HTTPBoot
	// says that the override is one of HTTP boot, which is the drive or the network to the
	// chassis. BootURI is HttpBootUri.
	PendingTarget, BootURI string `json:",omitempty"`
	HTTPBoot               bool   `json:",omitempty"`
}

// settingsKey is where they are kept.
const settingsKey = "redfish/settings"

// alter changes the settings of the request's system.
func alter(r *Request, change func(*settings)) error {
	unlock, err := r.Service.locks.lock(r.Context(), settingsKey+r.System.ID)
	if err != nil {
		return unavailable(busyRetry)
	}
	defer unlock()
	was := recall[settings](r.System, settingsKey)
	now := was
	change(&now)
	if now == was {
		return nil
	}
	return keep(r.Context(), r.System, settingsKey, now)
}

// revise changes what is kept of a system under a key, one change at a time. Nothing is
// written when change returns an error.
func revise[T any](ctx context.Context, s *Service, sys System, key string, change func(*T) error) error {
	unlock, err := s.locks.lock(ctx, key+sys.ID)
	if err != nil {
		return unavailable(busyRetry)
	}
	defer unlock()
	v := recall[T](sys, key)
	if err := change(&v); err != nil {
		return err
	}
	return keep(ctx, sys, key, v)
}
