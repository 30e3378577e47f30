//go:build cgo && libvirt_dlopen

package libvirt

import (
	"errors"
	"sync"

	lv "libvirt.org/go/libvirt"
)

// fan hands the events of one connection to its watchers: libvirt takes a callback only
// once per connection. It is registered while there are watchers. The zero value has
// none, and is safe for concurrent use.
type fan struct {
	// registering is held while libvirt is called, and guards ids. Callbacks do not take
	// it: libvirt may wait for them.
	registering sync.Mutex
	ids         []int

	// mu guards watchers. libvirt's event loop takes it, which must not be held up:
	// nothing that blocks is called while it is held.
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

// add makes w get events from now on.
func (f *fan) add(conn *lv.Connect, w *watcher) error {
	f.registering.Lock()
	defer f.registering.Unlock()
	if len(f.ids) == 0 {
		if err := f.register(conn); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers == nil {
		f.watchers = map[*watcher]struct{}{}
	}
	f.watchers[w] = struct{}{}
	return nil
}

// drop is the inverse of add.
func (f *fan) drop(conn *lv.Connect, w *watcher) {
	f.registering.Lock()
	defer f.registering.Unlock()
	if f.remove(w) == 0 {
		_ = f.deregister(conn) // what remains ends with the connection
	}
}

// remove returns how many watchers are left.
func (f *fan) remove(w *watcher) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
	return len(f.watchers)
}

// register is called with registering held.
func (f *fan) register(conn *lv.Connect) error {
	id, err := conn.DomainEventLifecycleRegister(nil, func(_ *lv.Connect, dom *lv.Domain, e *lv.DomainEventLifecycle) {
		f.push(dom, rawEvent{kind: e.Event, detail: e.Detail})
	})
	if err != nil {
		return err
	}
	f.ids = append(f.ids, id)
	id, err = conn.DomainEventRebootRegister(nil, func(_ *lv.Connect, dom *lv.Domain) {
		f.push(dom, rawEvent{reboot: true})
	})
	if err != nil {
		return errors.Join(err, f.deregister(conn))
	}
	f.ids = append(f.ids, id)
	return nil
}

// deregister is called with registering held.
func (f *fan) deregister(conn *lv.Connect) error {
	var errs []error
	for _, id := range f.ids {
		errs = append(errs, conn.DomainEventDeregister(id))
	}
	f.ids = nil
	return errors.Join(errs...)
}

// push is called from libvirt's event loop.
func (f *fan) push(dom *lv.Domain, e rawEvent) {
	uuid, err := dom.GetUUIDString()
	if err != nil {
		return // a domain without a UUID is none
	}
	e.uuid = uuid
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watchers {
		w.push(e)
	}
}
