package ipmi

import (
	"context"
	"encoding/binary"
	"math"
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
}

const (
	// systemPower as mode of Get Power Reading asks for what there is; the other mode is of
	// averages over fixed times.
	systemPower = 0x01
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
}

func (s *powerStatistics) add(watts uint16, now time.Time) {
	if s.count == 0 {
		*s = powerStatistics{since: now, lowest: watts, most: watts}
	}
	s.lowest, s.most = min(s.lowest, watts), max(s.most, watts)
	s.sum += uint64(watts)
	s.count++
}

// getPowerReading is §6.6.1.
func getPowerReading(_ context.Context, c *call) ([]byte, error) {
	if c.data[1] != systemPower {
		return nil, badField
	}
	watts := uint16(math.Round(sensor.At(c.chassis).Watts()))
	at := c.readSEL().time(c.now)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.watts
	s.add(watts, c.now)
	var b []byte
	for _, v := range []uint16{watts, s.lowest, s.most, uint16(s.sum / s.count)} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, at)
	period := min(max(c.now.Sub(s.since).Milliseconds(), 1000), math.MaxUint32)
	b = binary.LittleEndian.AppendUint32(b, uint32(period))
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
