package ipmi

import (
	"context"
	"encoding/binary"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc/sensor"
)

// sensorCommands are IPMI v2.0 §35, without what would change a reading or a type.
var sensorCommands = []command{
	{is: types.CommandGetSensorReadingFactors, privilege: types.PrivilegeLevelUser, min: 2, max: 2, handle: getReadingFactors},
	{is: types.CommandSetSensorHysteresis, privilege: types.PrivilegeLevelOperator, min: 4, max: 4, handle: setHysteresis},
	{is: types.CommandGetSensorHysteresis, privilege: types.PrivilegeLevelUser, min: 2, max: 2, handle: getHysteresis},
	{is: types.CommandSetSensorThresholds, privilege: types.PrivilegeLevelOperator, min: 8, max: 8, handle: setThresholds},
	{is: types.CommandGetSensorThresholds, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getThresholds},
	{is: types.CommandSetSensorEventEnable, privilege: types.PrivilegeLevelOperator, min: 2, max: 6, handle: setEventEnable},
	{is: types.CommandGetSensorEventEnable, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getEventEnable},
	{is: types.CommandRearmSensorEvents, privilege: types.PrivilegeLevelOperator, min: 2, max: 6, handle: rearmSensor},
	{is: types.CommandGetSensorEventStatus, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getEventStatus},
	{is: types.CommandGetSensorReading, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getReading},
	{is: types.CommandGetSensorType, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getSensorType},
}

const (
	// Flags of a reading (§35.14) and of the event commands.
	eventsOn, scanningOn, noReadingNow = 0x80, 0x40, 0x20
	// statusUnused are bits that are always set in a comparison with thresholds.
	statusUnused = 0xc0
	statesUnused = 0x80

	wrongSensor = refused(types.CodeIllegalCommand)
)

// target is the sensor that a request is about: one with a reading, or one with states.
type target struct {
	number byte
	// analog is zero if discrete is not nil.
	analog   sensor.Sensor
	discrete *discrete
	set      tuning
}

// target returns the sensor with the number that the request begins with.
func (c *call) target() (target, error) {
	t := target{number: c.data[0]}
	var ok bool
	if t.analog, ok = sensor.Of(c.chassis.Hardware(), sensor.ID(t.number)); !ok {
		for i := range discretes {
			if discretes[i].number == t.number && discretes[i].now != nil {
				t.discrete = &discretes[i]
			}
		}
		if t.discrete == nil {
			return t, notPresent
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.set = c.tuningOf(t)
	return t, nil
}

// thresholds is target for commands that only sensors with thresholds know.
func (c *call) thresholds() (target, error) {
	t, err := c.target()
	if err == nil && (t.discrete != nil || masksOf(t.analog.Limits).thresholds == 0) {
		err = wrongSensor
	}
	return t, err
}

// flags are those of the answers about readings and events.
func (t target) flags() byte {
	f := byte(eventsOn | scanningOn)
	if t.set.quiet {
		f &^= eventsOn
	}
	if t.set.still {
		f &^= scanningOn
	}
	return f
}

func getReading(_ context.Context, c *call) ([]byte, error) {
	c.checkThresholds()
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	if t.discrete != nil {
		states, ok := t.discrete.now(c.chassis)
		if !ok || t.set.still {
			return []byte{0, t.flags() | noReadingNow, 0, statesUnused}, nil
		}
		return []byte{0, t.flags(), byte(states), statesUnused | byte(states>>8)}, nil
	}
	raw, ok := sensor.At(c.chassis).Steps(t.analog)
	if !ok || t.set.still {
		return []byte{0, t.flags() | noReadingNow, statusUnused}, nil
	}
	status := byte(statusUnused)
	for i, at := range thresholdOrder {
		if t.set.compare(raw)&(1<<at) != 0 {
			status |= 1 << i
		}
	}
	return []byte{raw, t.flags(), status}, nil
}

// getReadingFactors is §35.5: the same factors for every reading.
func getReadingFactors(_ context.Context, c *call) ([]byte, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	if t.discrete != nil {
		return nil, wrongSensor
	}
	return append([]byte{0}, factorsOf(t.analog)...), nil
}

func getHysteresis(_ context.Context, c *call) ([]byte, error) {
	t, err := c.thresholds()
	if err != nil {
		return nil, err
	}
	return []byte{t.set.positive, t.set.negative}, nil
}

func setHysteresis(_ context.Context, c *call) ([]byte, error) {
	t, err := c.thresholds()
	if err != nil {
		return nil, err
	}
	t.set.positive, t.set.negative = c.data[2], c.data[3]
	c.change(t)
	return nil, nil
}

func getThresholds(_ context.Context, c *call) ([]byte, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	if t.discrete != nil {
		return nil, wrongSensor
	}
	raw := t.set.raw()
	return append([]byte{masksOf(t.analog.Limits).thresholds}, raw[:]...), nil
}

// setThresholds is §35.8. Their order is not checked: clients set one after another, and
// on the way they may be out of order.
func setThresholds(_ context.Context, c *call) ([]byte, error) {
	t, err := c.thresholds()
	if err != nil {
		return nil, err
	}
	which := c.data[1]
	if which&^masksOf(t.analog.Limits).thresholds != 0 {
		return nil, badField
	}
	for i, at := range thresholdOrder {
		if which&(1<<i) != 0 {
			t.set.limits[at] = float64(c.data[2+i])
		}
	}
	c.change(t)
	return nil, nil
}

// Actions of Set Sensor Event Enable.
const (
	eventActionMask = 0x30
	enableEvents    = 0x10
	disableEvents   = 0x20
)

// setEventEnable is §35.10.
func setEventEnable(_ context.Context, c *call) ([]byte, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	how := c.data[1]
	var which [4]byte
	copy(which[:], c.data[2:])
	assert, deassert := binary.LittleEndian.Uint16(which[:]), binary.LittleEndian.Uint16(which[2:])
	t.set.quiet, t.set.still = how&eventsOn == 0, how&scanningOn == 0
	switch how & eventActionMask {
	case 0:
	case enableEvents:
		t.set.assert, t.set.deassert = (t.set.assert|assert)&t.events(), (t.set.deassert|deassert)&t.events()
	case disableEvents:
		t.set.assert, t.set.deassert = t.set.assert&^assert, t.set.deassert&^deassert
	default:
		return nil, badField
	}
	c.change(t)
	return nil, nil
}

// events are those that a sensor can make, by offset.
func (t target) events() uint16 {
	if t.discrete != nil {
		return t.discrete.states
	}
	return masksOf(t.analog.Limits).events
}

func getEventEnable(_ context.Context, c *call) ([]byte, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	b := binary.LittleEndian.AppendUint16([]byte{t.flags()}, t.set.assert)
	return binary.LittleEndian.AppendUint16(b, t.set.deassert), nil
}

// rearmSensor is §35.12: what is crossed now counts as not crossed, and is logged anew.
func rearmSensor(_ context.Context, c *call) ([]byte, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	if t.set.crossed != 0 {
		t.set.crossed = 0
		c.change(t)
	}
	return nil, nil
}

func getEventStatus(_ context.Context, c *call) ([]byte, error) {
	c.checkThresholds()
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	var active uint16
	if t.discrete != nil {
		active, _ = t.discrete.now(c.chassis)
	}
	for i, at := range thresholdOrder {
		if t.set.crossed&(1<<at) != 0 {
			active |= 1 << eventOffset(i)
		}
	}
	b := binary.LittleEndian.AppendUint16([]byte{t.flags()}, active)
	return append(b, 0, 0), nil
}

func getSensorType(_ context.Context, c *call) ([]byte, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	if t.discrete != nil {
		return []byte{byte(t.discrete.kind), sensorSpecific}, nil
	}
	return []byte{byte(kinds[t.analog.Unit]), byThreshold}, nil
}
