//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	lv "libvirt.org/go/libvirt"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// watchQueue is how many events may wait; all nodes of a large host switched at once
// fit.
const watchQueue = 8192

// rawEvent is what libvirt reports. A reboot has no kind.
type rawEvent struct {
	uuid   string
	reboot bool
	kind   lv.DomainEventType
	detail int
}

// watcher is one Watch.
type watcher struct {
	s      *session
	events chan rawEvent
	// full is set when an event did not fit.
	full atomic.Bool
	// shutdowns are the last reasons of guests that are shutting down.
	shutdowns map[string]lv.DomainEventShutdownDetailType
}

// Watch implements driver.Driver.
func (d *Driver) Watch(ctx context.Context, on func(driver.Event)) error {
	w, err := d.register(ctx)
	if err != nil {
		return err
	}
	defer d.deregister(w)
	on(driver.Event{Type: driver.EventReady})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.s.lost:
			return fmt.Errorf("libvirt: connection to %s lost: %w", d.opts.uri, state.ErrBusy)
		case e := <-w.events:
			if w.full.Load() {
				return errors.New("libvirt: events came faster than they were read")
			}
			if !d.known(e.uuid) {
				continue
			}
			if out, ok := w.translate(e); ok {
				on(out)
			}
		}
	}
}

// known reports whether a domain is ours, without asking libvirt.
func (d *Driver) known(uuid string) bool {
	return d.records.known(uuid) || d.cache.ours(uuid)
}

// register holds the connection until deregister.
func (d *Driver) register(ctx context.Context) (*watcher, error) {
	return call(ctx, d.conns, func(ctx context.Context, s *session) (*watcher, error) {
		w := &watcher{s: s, events: make(chan rawEvent, watchQueue), shutdowns: map[string]lv.DomainEventShutdownDetailType{}}
		if err := s.fan.add(s.conn, w); err != nil {
			return nil, fmt.Errorf("libvirt: watch: %w", err)
		}
		if ctx.Err() != nil { // nobody waits for it any longer
			s.fan.drop(s.conn, w)
			return nil, hung(ctx)
		}
		d.conns.hold(s)
		return w, nil
	})
}

func (d *Driver) deregister(w *watcher) {
	done := func() { w.s.fan.drop(w.s.conn, w); d.conns.release(w.s) }
	// libvirtd may hang: the caller need not wait for that.
	if !d.conns.start(done) {
		done()
	}
}

// push does not block.
func (w *watcher) push(e rawEvent) {
	select {
	case w.events <- e:
	default:
		w.full.Store(true)
	}
}

// translate says what an event means for a node.
func (w *watcher) translate(e rawEvent) (driver.Event, bool) {
	if e.reboot {
		return driver.Event{Type: driver.EventReboot, UUID: e.uuid}, true
	}
	switch e.kind {
	case lv.DOMAIN_EVENT_DEFINED, lv.DOMAIN_EVENT_UNDEFINED:
		return driver.Event{Type: driver.EventChanged, UUID: e.uuid}, true
	case lv.DOMAIN_EVENT_STARTED:
		delete(w.shutdowns, e.uuid)
		return driver.Event{Type: driver.EventPower, UUID: e.uuid, Power: state.PowerOn, Cause: driver.CauseRequest}, true
	case lv.DOMAIN_EVENT_SHUTDOWN:
		w.shutdowns[e.uuid] = lv.DomainEventShutdownDetailType(e.detail)
	case lv.DOMAIN_EVENT_STOPPED:
		last, told := w.shutdowns[e.uuid]
		delete(w.shutdowns, e.uuid)
		return driver.Event{Type: driver.EventPower, UUID: e.uuid, Power: state.PowerOff,
			Cause: stopCause(lv.DomainEventStoppedDetailType(e.detail), last, told)}, true
	}
	return driver.Event{}, false
}

// stopCause says who stopped a guest. QEMU that was told to end by a signal (a host
// that shuts down) reports that as the reason of a shutdown.
func stopCause(detail lv.DomainEventStoppedDetailType, last lv.DomainEventShutdownDetailType, told bool) driver.Cause {
	switch detail {
	case lv.DOMAIN_EVENT_STOPPED_CRASHED, lv.DOMAIN_EVENT_STOPPED_FAILED:
		return driver.CauseHost
	case lv.DOMAIN_EVENT_STOPPED_SHUTDOWN:
		if told && last == lv.DOMAIN_EVENT_SHUTDOWN_HOST {
			return driver.CauseHost
		}
		return driver.CauseGuest
	}
	return driver.CauseRequest
}
