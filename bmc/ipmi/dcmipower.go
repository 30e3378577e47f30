package ipmi

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"tenks/bmc/sensor"
)

// dcmiKey is where what clients set by DCMI is kept.
const dcmiKey = "ipmi/dcmi"

// dcmiSettings are what clients set by DCMI.
type dcmiSettings struct {
	// ControllerID ends with a zero byte once all of it was written.
	ControllerID string `json:"controllerId,omitempty"`
	// Limit is the data of Set Power Limit behind its reserved bytes; empty: none was set.
	Limit []byte `json:"limit,omitempty"`
	// Limiting says that the limit is active. Nothing is done about it: how much a virtual
	// machine may use is its flavor's matter.
	Limiting bool `json:"limiting,omitempty"`
	// Thermal is the data of Set Thermal Limit behind the entity: exception actions, limit
	// in degrees Celsius, exception time in s (2); empty: none was set. Nothing is done about
	// it either: the inlet's temperature is a model.
	Thermal []byte `json:"thermal,omitempty"`
}

const (
	// systemPower as mode of Get Power Reading asks for what there is, enhancedPower for
	// averages over a fixed time.
	systemPower, enhancedPower = 0x01, 0x02
	// measuring is the state of power measurement.
	measuring = 0x40

	activateLimit, deactivateLimit = 1, 0

	noLimit          = refused(0x80)
	limitOutOfRange  = refused(0x84)
	timeOutOfRange   = refused(0x85)
	periodOutOfRange = refused(0x89)
	// maxException is the highest exception action: log only.
	maxException = 0x11
)

// powerStatistics are over the readings that clients took: nothing is measured between.
// They are guarded by the engine's mu.
type powerStatistics struct {
	since        time.Time
	lowest, most uint16
	sum          uint64
	count        uint64
	// taken are readings of the longest period, thinned out, oldest first.
	taken []powerSample
}

// powerSample is a reading that a client took.
type powerSample struct {
	at    time.Time
	watts uint16
}

// powerPeriods are what averages are offered over, with their codes (DCMI v1.5 Table 6-3):
// units of minutes or hours, and the number.
var powerPeriods = []struct {
	code byte
	time time.Duration
}{{0x40 | 1, time.Minute}, {0x40 | 15, 15 * time.Minute}, {0x80 | 1, time.Hour}}

// maxTaken bounds the readings that are remembered.
const maxTaken = 128

func periodCodes() (codes []byte) {
	for _, p := range powerPeriods {
		codes = append(codes, p.code)
	}
	return codes
}

// remember keeps a reading for averages. What is older than the longest period goes, and
// every second one when there are too many.
func (s *powerStatistics) remember(watts uint16, now time.Time) {
	oldest := now.Add(-powerPeriods[len(powerPeriods)-1].time)
	s.taken = slices.DeleteFunc(s.taken, func(one powerSample) bool { return one.at.Before(oldest) })
	if len(s.taken) >= maxTaken {
		i := 0
		s.taken = slices.DeleteFunc(s.taken, func(powerSample) bool { i++; return i%2 == 0 })
	}
	s.taken = append(s.taken, powerSample{now, watts})
}

// over is the statistics of the readings that were taken within a time.
func (s *powerStatistics) over(period time.Duration, now time.Time) powerStatistics {
	var out powerStatistics
	for _, one := range s.taken {
		if now.Sub(one.at) <= period {
			out.add(one.watts, one.at)
		}
	}
	out.since = now.Add(-period)
	return out
}

func (s *powerStatistics) add(watts uint16, now time.Time) {
	if s.count == 0 {
		s.since, s.lowest, s.most = now, watts, watts
	}
	s.lowest, s.most = min(s.lowest, watts), max(s.most, watts)
	s.sum += uint64(watts)
	s.count++
}

// getPowerReading is §6.6.1.
func getPowerReading(_ context.Context, c *call) ([]byte, error) {
	period := time.Duration(0)
	for _, p := range powerPeriods {
		if c.data[1] == enhancedPower && c.data[2] == p.code {
			period = p.time
		}
	}
	if c.data[1] != systemPower && period == 0 {
		return nil, badField
	}
	watts := uint16(math.Round(sensor.At(c.chassis).Watts()))
	at := c.readSEL().time(c.now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watts.add(watts, c.now)
	c.watts.remember(watts, c.now)
	s := c.watts
	if period != 0 {
		s = s.over(period, c.now)
	}
	var b []byte
	for _, v := range []uint16{watts, s.lowest, s.most, uint16(s.sum / s.count)} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, at)
	took := min(max(c.now.Sub(s.since).Milliseconds(), 1000), math.MaxUint32)
	b = binary.LittleEndian.AppendUint32(b, uint32(took))
	return append(b, measuring), nil
}

// getPowerLimit is §6.6.2. The limit is in the answer also while it is not active, which
// is a completion code of its own.
func getPowerLimit(_ context.Context, c *call) ([]byte, error) {
	s := decode[dcmiSettings](c.chassis.Recall(dcmiKey))
	limit := s.Limit
	if len(limit) != limitLen {
		limit = unsetLimit
	}
	b := append([]byte{0, 0}, limit...)
	if !s.Limiting {
		return nil, refusedWith{noLimit, append([]byte{dcmiGroup}, b...)}
	}
	return b, nil
}

// limitLen is of exception action, limit in watts (2), correction time in ms (4), two
// reserved bytes and sampling period in s (2).
const limitLen = 11

// unsetLimit is what is read before a limit was set. Clients send back what they do not
// change, so that the times in it must be allowed: 1 s each.
var unsetLimit = []byte{0, 0, 0, 0xe8, 0x03, 0, 0, 0, 0, 1, 0}

// setPowerLimit is §6.6.3.
func setPowerLimit(ctx context.Context, c *call) ([]byte, error) {
	limit := c.data[4:]
	switch {
	case limit[0] > maxException:
		return nil, badField
	case binary.LittleEndian.Uint16(limit[1:]) == 0:
		return nil, limitOutOfRange
	case binary.LittleEndian.Uint32(limit[3:]) == 0:
		return nil, timeOutOfRange
	case binary.LittleEndian.Uint16(limit[9:]) == 0:
		return nil, periodOutOfRange
	}
	return nil, change(ctx, c.engine, dcmiKey, func(s *dcmiSettings) error {
		s.Limit = clone(limit)
		return nil
	})
}

// thermalLen is of exception actions, limit, and exception time.
const thermalLen = 4

// isInlet says whether a thermal limit is of the inlet: others are not offered (§6.7.1).
func (c *call) isInlet() bool {
	return dcmiEntities[c.data[1]] == sensor.InletTemp && c.data[2] == 1
}

// setThermalLimit is §6.7.1.
func setThermalLimit(ctx context.Context, c *call) ([]byte, error) {
	const powerOff, logOnly, nonvolatile = 0x40, 0x20, 0x80
	limit := c.data[3:]
	if !c.isInlet() || limit[0]&^(powerOff|logOnly|nonvolatile) != 0 {
		return nil, badField
	}
	return nil, change(ctx, c.engine, dcmiKey, func(s *dcmiSettings) error {
		s.Thermal = clone(limit)
		return nil
	})
}

// getThermalLimit is §6.7.2.
func getThermalLimit(_ context.Context, c *call) ([]byte, error) {
	if !c.isInlet() {
		return nil, badField
	}
	if limit := decode[dcmiSettings](c.chassis.Recall(dcmiKey)).Thermal; len(limit) == thermalLen {
		return limit, nil
	}
	return make([]byte, thermalLen), nil
}

// activatePowerLimit is §6.6.4.
func activatePowerLimit(ctx context.Context, c *call) ([]byte, error) {
	active := c.data[1] == activateLimit
	if !active && c.data[1] != deactivateLimit {
		return nil, badField
	}
	return nil, change(ctx, c.engine, dcmiKey, func(s *dcmiSettings) error {
		if active && len(s.Limit) == 0 {
			return noLimit
		}
		s.Limiting = active
		return nil
	})
}
