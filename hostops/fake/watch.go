package fake

import (
	"context"
	"errors"

	"tenks/hostops/driver"
)

// watchQueue is how many events a watcher may lag behind: a thousand nodes that are
// cycled at once are no reason to lose it.
const watchQueue = 4096

// watcher is one call of Watch.
type watcher struct {
	events chan driver.Event
	// lost is closed when it did not keep up.
	lost chan struct{}
}

// tell sends an event to every watcher; mu is held. One that lags too far behind is
// lost, and has to begin again.
func (d *Driver) tell(e driver.Event) {
	for w := range d.watchers {
		select {
		case w.events <- e:
		default:
			close(w.lost)
			delete(d.watchers, w)
		}
	}
}

// Watch implements driver.Driver.
func (d *Driver) Watch(ctx context.Context, on func(driver.Event)) error {
	w := &watcher{events: make(chan driver.Event, watchQueue), lost: make(chan struct{})}
	d.mu.Lock()
	d.watchers[w] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, w)
	}()
	on(driver.Event{Type: driver.EventReady})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.lost:
			return errors.New("driver fake: watch: too far behind")
		case <-d.alive.Done():
			return errors.New("driver fake: watch: closed")
		case e := <-w.events:
			on(e)
		}
	}
}
