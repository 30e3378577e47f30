package ipmi

import (
	"math"

	"tenks/bmc/sensor"
)

// tuning is how a sensor is set. Sensors that are as their SDRs say are not stored: an
// idle BMC has none. As on a real BMC, the SDRs say again how they are when it restarts.
type tuning struct {
	// limits are the thresholds, in steps.
	limits sensor.Limits
	// positive and negative are the hystereses of upper and lower thresholds, in steps.
	positive, negative byte
	// quiet: no event messages; still: not scanned.
	quiet, still bool
	// assert and deassert are the events that are made, by offset.
	assert, deassert uint16
	// crossed has the thresholds that were at the last look, by sensor.Level.
	crossed uint8
}

// tuningOf returns how a sensor is set. The caller holds mu.
func (e *engine) tuningOf(t target) tuning {
	if s, ok := e.sensors[t.number]; ok {
		return *s
	}
	s := tuning{assert: t.events(), deassert: t.events()}
	if t.discrete != nil {
		return s
	}
	s.positive = t.analog.Raw(t.analog.Hysteresis)
	s.negative = s.positive
	for at := range t.analog.Limits {
		s.limits[at] = math.NaN()
		if l := sensor.Level(at); t.analog.Limits.Has(l) {
			s.limits[at] = float64(t.analog.Raw(t.analog.Limits[l]))
		}
	}
	return s
}

// change stores how a sensor is set, and looks what that changes.
func (c *call) change(t target) {
	c.mu.Lock()
	if c.sensors == nil {
		c.sensors = map[byte]*tuning{}
	}
	c.sensors[t.number] = &t.set
	c.mu.Unlock()
	c.checkThresholds()
}

// raw are the thresholds as Get Sensor Thresholds returns them.
func (s tuning) raw() (raw [sensor.Levels]byte) {
	for i, at := range thresholdOrder {
		if s.limits.Has(at) {
			raw[i] = byte(s.limits[at])
		}
	}
	return raw
}

// compare says which thresholds a reading is beyond, by sensor.Level.
func (s tuning) compare(raw byte) uint8 {
	const lower = 1<<sensor.UpperCaution - 1
	return sensor.Crossed(float64(raw), s.limits, float64(s.positive), s.crossed)&^lower |
		sensor.Crossed(float64(raw), s.limits, float64(s.negative), s.crossed)&lower
}

// checkThresholds logs the thresholds that were crossed since the last look. It looks
// only at sensors that somebody has set, because none crosses the thresholds it has by
// itself; and it does so when somebody reads sensors or the log, because 10,000 idle BMCs
// that look by themselves would keep a host busy for nobody.
func (c *call) checkThresholds() {
	c.mu.Lock()
	none := len(c.sensors) == 0
	c.mu.Unlock()
	if none {
		return
	}
	node := sensor.At(c.chassis)
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := sensor.ID(1); int(id) <= sensor.Count; id++ {
		set, ok := c.sensors[byte(id)]
		if !ok || set.still {
			continue
		}
		s, _ := sensor.Of(node.Hardware, id)
		if raw, ok := node.Steps(s); ok {
			c.logEvents(c.now, set.look(s, raw)...)
		}
	}
}

// look notes a reading and returns the events that it makes.
func (s *tuning) look(of sensor.Sensor, raw byte) []event {
	now := s.compare(raw)
	changed := now ^ s.crossed
	s.crossed = now
	if s.quiet {
		return nil
	}
	var out []event
	limits := s.raw()
	for i, at := range thresholdOrder {
		direction, enabled := byte(deasserted), s.deassert
		if now&(1<<at) != 0 {
			direction, enabled = 0, s.assert
		}
		if offset := eventOffset(i); changed&(1<<at) != 0 && enabled&(1<<offset) != 0 {
			out = append(out, event{byte(of.ID), kinds[of.Unit], byThreshold | direction,
				[3]byte{readingInByte2 | thresholdInByte3 | offset, raw, limits[i]}})
		}
	}
	return out
}
