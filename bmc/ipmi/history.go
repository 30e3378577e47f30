package ipmi

import (
	"context"
	"encoding/binary"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// history is what is kept of a chassis' power: how long it was on, and why it last began.
type history struct {
	// On is the time with power up to Since, when power came. Since is zero if it is off, or
	// was on already when the record began.
	On    time.Duration `json:"on,omitempty"`
	Since time.Time     `json:"since,omitzero"`
	// Began says that Cause is known.
	Began bool `json:"began,omitempty"`
	Cause byte `json:"cause,omitempty"`
}

// Restart causes of IPMI v2.0 §28.11.
const (
	causeUnknown   = 0x00
	causeCommand   = 0x01
	causeWatchdog  = 0x04
	causeSoftReset = 0x0a
)

// maxUntold bounds the events that wait for being kept.
const maxUntold = 64

// powerChange is an event with the cause.
type powerChange struct {
	bmc.Event
	cause byte
}

// notePower takes in an event of the chassis, and says why the machine began, if it did.
// The caller holds mu.
func (e *engine) notePower(ev bmc.Event) (cause byte) {
	switch ev.Kind {
	case bmc.EventOn, bmc.EventOff, bmc.EventReset:
	default:
		return causeUnknown
	}
	if ev.Kind == bmc.EventOff && e.watchdog.acts() && watchdogActions[e.watchdog.action] == state.ActionOff {
		e.watchdog.acted()
	}
	if ev.Kind != bmc.EventOn {
		// A machine that is off or begins anew feeds no watchdog.
		e.watchdog.stop()
	}
	e.acpi = nil
	cause = e.causeOf(ev)
	e.untold = append(e.untold, powerChange{ev, cause})
	if len(e.untold) > maxUntold {
		e.untold = e.untold[1:]
	}
	e.soon(e.keepHistory)
	return cause
}

// causeOf says why the machine began. The caller holds mu.
func (e *engine) causeOf(ev bmc.Event) byte {
	switch {
	case ev.Kind == bmc.EventOff:
		return causeUnknown
	case ev.ByCommand && e.watchdog.acts():
		e.watchdog.acted()
		return causeWatchdog
	case ev.ByCommand:
		return causeCommand
	case ev.Kind == bmc.EventReset:
		return causeSoftReset
	}
	return causeUnknown
}

// keepHistory writes what happened into the memory. Should that fail, the next event
// takes it along.
func (e *engine) keepHistory(ctx context.Context) {
	var told []powerChange
	err := change(ctx, e, historyKey, func(h *history) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		told, e.untold = e.untold, nil
		for _, c := range told {
			h.add(c, e.opened)
		}
		return nil
	})
	if err == nil {
		return
	}
	e.log.WarnContext(ctx, "bmc: power history not kept; the next power change will", "node", e.uuid, "err", err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.untold = append(told, e.untold...)
}

// add accounts for an event. Time from before the BMC was opened counts only if it is
// known when power came.
func (h *history) add(c powerChange, opened time.Time) {
	switch c.Kind {
	case bmc.EventOff:
		h.On, h.Since = h.on(true, c.At, opened), time.Time{}
		return
	case bmc.EventOn:
		h.Since = c.At
	}
	h.Began, h.Cause = true, c.cause
}

// on is the time with power until now.
func (h *history) on(power bool, now, opened time.Time) time.Duration {
	since := h.Since
	if since.IsZero() {
		since = opened
	}
	if !power || now.Before(since) {
		return h.On
	}
	return h.On + now.Sub(since)
}

// recallHistory returns what is kept and what is about to be.
func (e *engine) recallHistory() history {
	h := *decode[history](e.chassis.Recall(historyKey))
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.untold {
		h.add(c, e.opened)
	}
	return h
}

// getSystemRestartCause is IPMI v2.0 §28.11. Commands come over the LAN.
func getSystemRestartCause(_ context.Context, c *call) ([]byte, error) {
	h := c.recallHistory()
	if !h.Began && c.chassis.Status().LastOnByCommand {
		h.Cause = causeCommand
	}
	if h.Cause == causeCommand {
		return []byte{causeCommand, lanChannel}, nil
	}
	return []byte{h.Cause, 0}, nil
}

// minutesPerCount is the unit of the power-on hours counter.
const minutesPerCount = 60

// getPOHCounter is IPMI v2.0 §28.14: full hours with power.
func getPOHCounter(_ context.Context, c *call) ([]byte, error) {
	h := c.recallHistory()
	on := h.on(c.chassis.Status().Power == state.PowerOn, c.now, c.opened)
	return binary.LittleEndian.AppendUint32([]byte{minutesPerCount}, uint32(on/(minutesPerCount*time.Minute))), nil
}
