package ipmi

import (
	"encoding/binary"
	"math"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
	"tenks/bmc/sensor"
	"tenks/raftfsm/state"
)

// Numbers of the discrete sensors; those that have readings of their own are numbered as
// in package sensor. Clients keep them.
const (
	numberSupply = iota + 0x40
	numberPowerUnit
	numberWatchdog
	numberIntrusion
	numberOSBoot
	numberBoot
	numberLog
	numberMedia
)

// discrete is a sensor that has states instead of a reading: one bit each, by the
// offsets of IPMI v2.0 Table 42-3.
type discrete struct {
	number   byte
	name     string
	kind     types.SensorType
	entity   types.EntityID
	instance byte
	states   uint16
	// now returns the present states; nil: the sensor makes events only.
	now func(bmc.Chassis) (states uint16, ok bool)
}

func calm(bmc.Chassis) (uint16, bool) { return 0, true }

var discretes = []discrete{
	{numberSupply, "PSU Status", types.SensorTypePowerSupply, entitySupply, 1, 1 << 0,
		func(bmc.Chassis) (uint16, bool) { return 1 << 0, true }}, // present
	{numberPowerUnit, "Power Unit", types.SensorTypePowerUnit, entityPower, 1, 1 << powerUnitOff, powerUnit},
	{numberWatchdog, "Watchdog", types.SensorTypeWatchdog2, entityBoard, 1, 0x010f, calm},
	{numberIntrusion, "Intrusion", types.SensorTypePhysicalSecurity, entityChassis, 1, 1 << 0, calm},
	{numberOSBoot, "OS Boot", types.SensorTypeBaseOSBootInstallationStatus, entityOS, 1, 0x007f, calm},
	{numberMedia, "Virtual Media", types.SensorTypeSlotConnector, entityBoard, 1, 1 << slotInstalled, media},
	{numberBoot, "System Boot", types.SensorTypeSystemBootRestartInitiated, entityFirmware, 1, 0, nil},
	{numberLog, "Event Log", types.SensorTypeEventLoggingDisabled, entityBoard, 1, 0, nil},
}

// Entity IDs of IPMI v2.0 Table 43-13.
const (
	entityCPU      = 0x03
	entityBoard    = 0x07
	entitySupply   = 0x0a
	entityPower    = 0x13
	entityChassis  = 0x17
	entityFan      = 0x1d
	entityFirmware = 0x22
	entityOS       = 0x23
	entityInlet    = 0x37
)

func powerUnit(c bmc.Chassis) (uint16, bool) {
	switch c.Status().Power {
	case state.PowerOn:
		return 0, true
	case state.PowerOff:
		return 1 << powerUnitOff, true
	}
	return 0, false
}

func media(c bmc.Chassis) (uint16, bool) {
	if c.Media().Inserted {
		return 1 << slotInstalled, true
	}
	return 0, true
}

// What package sensor's words are in IPMI's.
var (
	entities = [...]byte{sensor.Inlet: entityInlet, sensor.CPU: entityCPU, sensor.Board: entityBoard, sensor.Fan: entityFan, sensor.Supply: entitySupply}
	kinds    = [...]types.SensorType{sensor.Celsius: types.SensorTypeTemperature, sensor.RPM: types.SensorTypeFan,
		sensor.Watts: types.SensorTypePowerSupply, sensor.Volts: types.SensorTypeVoltage, sensor.Percent: types.SensorTypeOtherUnitsbased}
	units = [...]types.SensorUnitType{sensor.Celsius: types.SensorUnitType_DegreesC, sensor.RPM: types.SensorUnitType_RPM,
		sensor.Watts: types.SensorUnitType_Watts, sensor.Volts: types.SensorUnitType_Volts, sensor.Percent: types.SensorUnitType_Unspecified}
	// thresholdOrder is that of the bits and bytes of Get Sensor Thresholds (§35.9).
	thresholdOrder = [sensor.Levels]sensor.Level{sensor.LowerCaution, sensor.LowerCritical, sensor.LowerFatal, sensor.UpperCaution, sensor.UpperCritical, sensor.UpperFatal}
)

// Record types of IPMI v2.0 §43.
const (
	recordFull        = 0x01
	recordCompact     = 0x02
	recordEventOnly   = 0x03
	recordFRULocator  = 0x11
	recordMCLocator   = 0x12
	recordHeadLen     = 5
	initialised       = 0x7f // by the SDRs, all of it; events and scanning are on at first
	rearmsItself      = 0x40
	perThreshold      = 0x28 // thresholds and hysteresis can be read and set
	noEvents          = 0x03
	asPercentage      = 0x01
	noReading         = 0xc0 // sensor units: no numbers
	nominalGiven      = 0x01
	ascii             = 0xc0 // type of an ID string: 8-bit ASCII
	logicalFRU        = 0x80
	typeOfLogicalFRU  = 0x10
	thresholdsAboveAt = 3 // upper thresholds follow three lower ones in every mask
)

// record makes an SDR of its body; the IDs count from 1.
func record(id uint16, kind byte, body []byte, name string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, id)
	b = append(b, storageVersion, kind, byte(len(body)+1+len(name)))
	b = append(b, body...)
	return append(append(b, ascii|byte(len(name))), name...)
}

// firstAnalog is the ID of the record of sensor 1; the locators of BMC and FRU are
// before it, the discrete sensors behind.
const firstAnalog = 3

// records is how many there are.
var records = firstAnalog - 1 + sensor.Count + len(discretes)

// sdr makes the record with an ID.
func sdr(h bmc.Hardware, id uint16) (b []byte, ok bool) {
	switch i := int(id) - firstAnalog; {
	case id == 0 || int(id) > records:
		return nil, false
	case id == 1:
		return record(id, recordMCLocator, []byte{bmcAddress, 0, 0, deviceSupport, 0, 0, 0, entityBoard, 1, 0}, "Tenks BMC"), true
	case id == 2:
		return record(id, recordFRULocator, []byte{bmcAddress, 0, logicalFRU, 0, 0, typeOfLogicalFRU, 0, entityBoard, 1, 0}, "System"), true
	case i < sensor.Count:
		s, _ := sensor.Of(h, sensor.ID(i+1))
		return full(id, s), true
	default:
		return discretes[i-sensor.Count].record(id), true
	}
}

func (d discrete) record(id uint16) []byte {
	b := []byte{bmcAddress, 0, d.number, byte(d.entity), d.instance}
	if d.now == nil {
		return record(id, recordEventOnly, append(b, byte(d.kind), sensorSpecific, 1, 0, 0, 0), d.name)
	}
	b = append(b, initialised&^0x18, rearmsItself, byte(d.kind), sensorSpecific)
	for range 3 { // events of both directions, and states that can be read
		b = binary.LittleEndian.AppendUint16(b, d.states)
	}
	return record(id, recordCompact, append(b, noReading, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0), d.name)
}

// full makes a Full Sensor Record (IPMI v2.0 Table 43-1).
func full(id uint16, s sensor.Sensor) []byte {
	m := masksOf(s.Limits)
	b := []byte{bmcAddress, 0, byte(s.ID), entities[s.Part], byte(s.Instance), initialised, rearmsItself | perThreshold, byte(kinds[s.Unit]), byThreshold}
	if m.thresholds == 0 {
		b[5], b[6] = initialised&^0x18, rearmsItself|noEvents
	}
	b = binary.LittleEndian.AppendUint16(b, m.events|m.lower)
	b = binary.LittleEndian.AppendUint16(b, m.events|m.upper)
	b = append(b, m.thresholds, m.thresholds)
	percentage := byte(0)
	if s.Unit == sensor.Percent {
		percentage = asPercentage
	}
	b = append(b, percentage, byte(units[s.Unit]), 0, 0) // unsigned, linear
	b = append(b, factorsOf(s)...)
	b = append(b, nominalGiven, s.Raw(s.Nominal), 0, 0, 0xff, 0)
	raw := rawLimits(s, s.Limits)
	for _, i := range []int{5, 4, 3, 2, 1, 0} { // upper fatal first, lower caution last
		b = append(b, raw[i])
	}
	h := s.Raw(s.Hysteresis)
	return record(id, recordFull, append(b, h, h, 0, 0, 0), s.Name)
}

// masks say which thresholds a sensor has.
type masks struct {
	thresholds byte
	// events that the thresholds make: low ones going low, high ones going high.
	events uint16
	// lower and upper are the comparisons that Get Sensor Reading returns.
	lower, upper uint16
}

func masksOf(l sensor.Limits) masks {
	var m masks
	for i, at := range thresholdOrder {
		if !l.Has(at) {
			continue
		}
		m.thresholds |= 1 << i
		m.events |= 1 << eventOffset(i)
		if i < thresholdsAboveAt {
			m.lower |= 1 << (12 + i)
		} else {
			m.upper |= 1 << (12 + i - thresholdsAboveAt)
		}
	}
	return m
}

// eventOffset is the event of crossing the i-th threshold: each has two, going low and
// going high (Table 42-2).
func eventOffset(i int) byte {
	if i < thresholdsAboveAt {
		return byte(2 * i)
	}
	return byte(2*i + 1)
}

// rawLimits are thresholds in steps, in thresholdOrder; 0 for one that there is not.
func rawLimits(s sensor.Sensor, l sensor.Limits) (raw [sensor.Levels]byte) {
	for i, at := range thresholdOrder {
		if l.Has(at) {
			raw[i] = s.Raw(l[at])
		}
	}
	return raw
}

// factorsOf are the six bytes that say what a step is: M and the exponent of the
// result, without offset, tolerance and inaccuracy (IPMI v2.0 §36.3).
func factorsOf(s sensor.Sensor) []byte {
	m, exponent := s.Step, 0
	for ; math.Abs(m-math.Round(m)) > 1e-6 && exponent > -8; exponent-- {
		m *= 10
	}
	n := int(math.Round(m))
	return []byte{byte(n), byte(n >> 8 << 6), 0, 0, 0, byte(exponent << 4)}
}
