package redfish

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

const (
	// mediaWait is how long an answer waits for an image; then it is a task. Clients that
	// take a 202 for the end wait for an answer for 60 s (sushy from 5.0 on) or for ever.
	mediaWait = 50 * time.Second
	// startWait is how long a start from a drive waits for the image that is on its way.
	startWait = 50 * time.Second
	// mediaMost is how long an image may take.
	mediaMost = 2 * time.Hour
)

// insertions are the images on their way into drives, and what became of the last one of
// each.
type insertions struct {
	mu sync.Mutex // guards the rest, and the insertions' untold
	by map[driveKey]*insertion
}

// driveKey is a drive of a system.
type driveKey struct{ system, slot string }

// An insertion is shared by all who ask for the same image while it is fetched.
type insertion struct {
	want   wanted
	cancel context.CancelFunc
	// done is closed once err is set.
	done chan struct{}
	err  error
	// untold says that err was in a task only, which not all clients look at.
	untold bool
}

// beginInsert begins to put an image into a drive, in place of one that is on its way; the
// same one again is joined. It goes on without the client.
func (s *Service) beginInsert(sys System, slot mediaSlot, want wanted) (*insertion, error) {
	is, key := &s.insertions, driveKey{sys.ID, slot.id}
	is.mu.Lock()
	defer is.mu.Unlock()
	if in := is.by[key]; in != nil && !in.ended() && reflect.DeepEqual(in.want.Media, want.Media) {
		return in, nil
	}
	in := &insertion{want: want, done: make(chan struct{}), untold: true}
	begun := make(chan struct{})
	started := s.spawn(func(ctx context.Context) {
		ctx, in.cancel = context.WithTimeout(ctx, mediaMost)
		defer in.cancel()
		close(begun)
		in.err = s.insertImage(ctx, sys, slot, want)
		close(in.done)
	})
	if !started {
		return nil, unavailable(busyRetry)
	}
	<-begun
	if is.by == nil {
		is.by = map[driveKey]*insertion{}
	}
	is.by[key] = in
	return in, nil
}

func (in *insertion) ended() bool {
	select {
	case <-in.done:
		return true
	default:
		return false
	}
}

// told is what became of an insertion that has ended, for a client that sees it.
func (is *insertions) told(in *insertion) error {
	is.mu.Lock()
	defer is.mu.Unlock()
	in.untold = false
	return in.err
}

// of returns the insertion that a start has to know of: under way, or failed with nobody
// told.
func (is *insertions) of(system string, slot mediaSlot) *insertion {
	is.mu.Lock()
	defer is.mu.Unlock()
	in := is.by[driveKey{system, slot.id}]
	if in == nil || in.ended() && (in.err == nil || !in.untold) {
		return nil
	}
	return in
}

// last says that an insertion is the last one that was asked for.
func (is *insertions) last(system string, slot mediaSlot, in *insertion) bool {
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.by[driveKey{system, slot.id}] == in
}

// forget has starts know of no insertion any more: the drive is to be empty.
func (is *insertions) forget(system string, slot mediaSlot) {
	is.mu.Lock()
	defer is.mu.Unlock()
	delete(is.by, driveKey{system, slot.id})
}

// awaitMedia has a start from a drive wait for the image on its way there. sushy takes
// the 202 of InsertMedia for its end, so that Ironic would start from an empty drive; for
// the same reason an image that failed meanwhile keeps the node from starting, once.
func awaitMedia(r *Request) error {
	wait := time.NewTimer(startWait)
	defer wait.Stop()
	for {
		slot, fromDrive := slotOf(r.Chassis().Status().Boot.Device)
		in := r.Service.insertions.of(r.System.ID, slot)
		if !fromDrive || in == nil {
			break
		}
		select {
		case <-in.done:
		case <-wait.C:
			return unavailable(busyRetry)
		case <-r.Context().Done():
			return unavailable(busyRetry)
		}
		err := r.Service.insertions.told(in)
		if err == nil || errors.Is(err, context.Canceled) || !r.Service.insertions.last(r.System.ID, slot, in) {
			continue // ended by somebody: by another image, or none
		}
		if errors.Is(err, state.ErrBusy) {
			return unavailable(busyRetry)
		}
		return &Error{Status: http.StatusInternalServerError, Messages: []Message{msg("CouldNotEstablishConnection", brief(in.want.shown))}, Cause: err}
	}
	if bmc.AwaitsMedia(r.Chassis()) {
		return unavailable(busyRetry)
	}
	return nil
}
