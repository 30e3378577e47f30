package ipmi

import (
	"context"
	"time"

	"tenks/raftfsm/state"
)

// pefOrder are the actions that exclude each other, the first one first (IPMI v2.0 Table
// 17-1).
var pefOrder = []struct {
	bit    byte
	action state.PowerAction
}{{pefPowerDown, state.ActionOff}, {pefCycle, state.ActionCycle}, {pefReset, state.ActionReset}, {pefDiag, state.ActionDiag}}

// filterEvents does what the filters say of events (IPMI v2.0 §17.7). It may wait for the
// chassis; mu is not held. Those of power itself, and of the drive, are not given to it: a
// filter for all events would switch the node for ever.
func (e *engine) filterEvents(ctx context.Context, now time.Time, events ...entry) {
	s := decode[pefSettings](e.chassis.Recall(pefKey))
	e.mu.Lock()
	postponed := e.postpone.left(now) != 0
	e.mu.Unlock()
	if s.Control&pefEnable == 0 || postponed {
		return
	}
	var actions byte
	for _, r := range events {
		for n := byte(1); n <= maxFilters; n++ {
			if f := s.filter(n); f[0]&0x80 != 0 && filterMatches(f, r) {
				actions |= f[1] & s.Global
			}
		}
	}
	for _, o := range pefOrder {
		if actions&o.bit == 0 {
			continue
		}
		e.log.InfoContext(ctx, "bmc: event filter acts", "node", e.uuid, "action", o.action)
		if err := e.chassis.Power(ctx, o.action); err != nil {
			e.log.WarnContext(ctx, "bmc: event filter could not act", "node", e.uuid, "action", o.action, "err", err)
		}
		return
	}
}

// filterMatches compares a filter (Table 17-2, behind its number) with an event of the log.
// The event trigger is compared with the direction: a filter for what begins is not one for its end.
func filterMatches(f []byte, r entry) bool {
	const whatever = 0xff
	is := func(want, have byte) bool { return want == whatever || want == have }
	data := r[13:16]
	offsets := uint16(f[9]) | uint16(f[10])<<8
	return r[2] == typeEvent && is(f[4], r[7]) && is(f[5], r[8]) && is(f[6], r[10]) && is(f[7], r[11]) && is(f[8], r[12]) &&
		offsets>>(data[0]&0x0f)&1 == 1 && dataMatches(f[11:14], data[0]) && dataMatches(f[14:17], data[1]) && dataMatches(f[17:20], data[2])
}

// dataMatches compares a byte of an event's data by AND mask and the two compares of
// §17.8: bits of the first must be as in the second; of the others that are set in the
// second, one must be set.
func dataMatches(by []byte, data byte) bool {
	masked, exact, value := data&by[0], by[1], by[2]
	if (masked^value)&exact != 0 {
		return false
	}
	some := value &^ exact
	return some == 0 || masked&some != 0
}
