package ipmi

import (
	"context"
	"slices"
	"time"
)

// selKey is where the log is kept in the chassis' memory.
const selKey = "ipmi/sel"

// maxPending bounds the entries that wait to be kept, should the disk hang.
const maxPending = 64

// selState is the part of the System Event Log that is not in the chassis' memory. The
// log itself is not held here: an idle BMC has nothing of it but this. It is guarded by
// the engine's mu.
type selState struct {
	// pending are entries that are to be kept; lost says that there were too many, dropped
	// how many had to go.
	pending []pendingEntry
	lost    bool
	dropped int
	// unsaved is the log if it is newer than what is kept: while it is being kept, or after
	// that failed.
	unsaved []byte
	// moves counts how often pending entries became part of unsaved.
	moves uint64
	// soon says that keepSEL will run.
	soon bool
	// reservation is the valid one, 0 for none; lastReservation the last one given.
	reservation, lastReservation uint16
	// off: the BMC's own events are not logged.
	off bool
}

type pendingEntry struct {
	at    time.Time
	entry entry
}

// logEvents adds the BMC's own events to the log. It does not wait: they are kept soon,
// together, and seen at once. The caller holds mu.
func (e *engine) logEvents(at time.Time, events ...event) {
	s := &e.sel
	if len(events) == 0 || s.off || e.enables&logEnabled == 0 {
		return
	}
	for _, v := range events {
		r := v.entry()
		s.pending = append(s.pending, pendingEntry{at, r})
		if v.filtered() {
			e.soon(func(ctx context.Context) { e.filterEvents(ctx, at, r) })
		}
	}
	if more := len(s.pending) - maxPending; more > 0 {
		s.pending, s.lost = slices.Delete(s.pending, 0, more), true
		s.dropped += more
	}
	s.reservation = 0 // IPMI v2.0 §31.4.2: a new entry ends it
	if !s.soon {
		s.soon = true
		e.soon(e.keepSEL)
	}
}

// selNow is the log at a moment.
type selNow struct {
	selLog
	// pending of the newest entries are not part of unsaved yet.
	pending int
	unsaved []byte
	// dropped is selState's.
	dropped int
}

// readSEL returns the log as it is now, whether or not all of it is kept yet.
func (e *engine) readSEL() selNow {
	for {
		e.mu.Lock()
		moves, unsaved, pending, lost, dropped := e.sel.moves, e.sel.unsaved, slices.Clone(e.sel.pending), e.sel.lost, e.sel.dropped
		e.mu.Unlock()
		kept := unsaved
		if kept == nil {
			kept = e.chassis.Recall(selKey)
		}
		e.mu.Lock()
		same := moves == e.sel.moves
		e.mu.Unlock()
		if !same {
			continue // what was kept meanwhile has the pending ones in it
		}
		now := selNow{parseSEL(kept), len(pending), unsaved, dropped}
		now.overflow = now.overflow || lost
		for _, p := range pending {
			now.add(p.entry, p.at)
		}
		return now
	}
}

// changeSEL changes the log, one at a time, and keeps it. What is pending is kept with
// it, also if do fails. do may be nil.
func (e *engine) changeSEL(ctx context.Context, do func(*selLog) error) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	before := e.readSEL()
	after := before.selLog
	if do != nil {
		if err := do(&after); err != nil {
			return err
		}
	}
	if before.pending > 0 {
		before.unsaved = before.bytes()
	}
	e.mu.Lock()
	// Others see the log as it was before, until it is kept. Of what was pending then,
	// some may have been dropped meanwhile.
	gone := e.sel.dropped - before.dropped
	e.sel.unsaved, e.sel.lost = before.unsaved, gone > before.pending
	e.sel.pending = slices.Delete(e.sel.pending, 0, max(before.pending-gone, 0))
	if len(e.sel.pending) == 0 {
		e.sel.pending = nil
	}
	e.sel.moves++
	e.mu.Unlock()
	if err := e.chassis.Keep(ctx, selKey, after.bytes()); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sel.unsaved = nil
	return nil
}

// keepSEL keeps what is pending.
func (e *engine) keepSEL(ctx context.Context) {
	e.mu.Lock()
	e.sel.soon = false
	none := len(e.sel.pending) == 0 && e.sel.unsaved == nil
	e.mu.Unlock()
	if none {
		return // a command was sooner
	}
	if err := e.changeSEL(ctx, nil); err != nil {
		e.log.WarnContext(ctx, "bmc: event log not kept; will retry with the next event", "node", e.uuid, "err", err)
	}
}
