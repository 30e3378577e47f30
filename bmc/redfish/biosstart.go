package redfish

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// starts makes pending settings present ones when a system starts. A chassis' event may
// not wait for a disk, so it only notes the system here; what is pending is applied behind
// its back, or by who reads next.
type starts struct {
	service *Service
	kick    chan struct{} // holds a token while there is something to do

	mu sync.Mutex // guards noted
	// noted counts the starts of systems that have something to be done for.
	noted map[string]int
}

// appliers make what is pending of a system present. They may be called though nothing is
// pending, and write nothing then.
var appliers = []func(ctx context.Context, s *Service, sys System) error{applyBios, applyVolumes, applyFirmware}

func newStarts(s *Service) *starts {
	st := &starts{service: s, kick: make(chan struct{}, 1), noted: map[string]int{}}
	s.spawn(st.run)
	return st
}

// note says that a system has started. It does not wait.
func (st *starts) note(system string) {
	st.mu.Lock()
	st.noted[system]++
	st.mu.Unlock()
	st.poke()
}

func (st *starts) poke() {
	select {
	case st.kick <- struct{}{}:
	default:
	}
}

func (st *starts) count(system string) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.noted[system]
}

func (st *starts) list() []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Sorted(maps.Keys(st.noted))
}

// settle applies what is pending of a system that has started. Who reads may ignore the
// error: what is kept is shown then, and it is tried again.
func (st *starts) settle(ctx context.Context, sys System) error {
	if st.count(sys.ID) == 0 {
		return nil
	}
	unlock, err := st.service.locks.lock(ctx, "redfish/start"+sys.ID)
	if err != nil {
		return unavailable(busyRetry)
	}
	defer unlock()
	seen := st.count(sys.ID)
	if seen == 0 {
		return nil
	}
	for _, apply := range appliers {
		err = errors.Join(err, apply(ctx, st.service, sys))
	}
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.noted[sys.ID] == seen {
		delete(st.noted, sys.ID)
	} else {
		st.poke() // it has started again
	}
	return nil
}

func (st *starts) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-st.kick:
		}
		failed := false
		for _, id := range st.list() {
			sys, here := st.service.cfg.Systems.Lookup(id)
			if !here || sys.Chassis == nil {
				st.mu.Lock()
				delete(st.noted, id) // it is another peer's
				st.mu.Unlock()
				continue
			}
			if err := st.settle(ctx, sys); err != nil {
				failed = true
				st.service.cfg.Log.DebugContext(ctx, "redfish: pending settings not applied; will retry", "node", id, "err", err)
			}
		}
		if failed {
			select {
			case <-ctx.Done():
				return
			case <-time.After(logRetry):
				st.poke()
			}
		}
	}
}

// settle makes present what a start has. Whoever changes what is pending calls it first, so
// that a start before does not apply it.
func (r *Request) settle() {
	if err := r.Service.starts.settle(r.Context(), r.System); err != nil {
		r.Service.cfg.Log.DebugContext(r.Context(), "redfish: pending settings not applied yet", "node", r.System.ID, "err", err)
	}
}

// pendingOf returns what is kept under a key once what a start has made present is so.
func pendingOf[T any](r *Request, key string) T {
	r.settle()
	return recall[T](r.System, key)
}
