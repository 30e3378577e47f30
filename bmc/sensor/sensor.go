// Package sensor is the model of a chassis' sensors that every BMC protocol shows: which
// there are, in what ranges, and what they read. Nothing is measured but the guest's use
// of its CPUs; the rest follows from that, from the hardware, and from small differences
// between nodes that stay the same. The package is pure and starts nothing.
package sensor

import (
	"math"

	"tenks/bmc"
)

// ID numbers a sensor. Clients keep the numbers, so that they never change: a new sensor
// gets one at the end.
type ID int

// The sensors of every chassis.
const (
	InletTemp ID = iota + 1
	CPUTemp
	SystemTemp
	Fan1
	Fan2
	PowerIn
	PowerOut
	Volt12
	Volt5
	Volt3
	CPUUsage
)

// Unit is what a reading is given in.
type Unit int

// The units of readings.
const (
	Celsius Unit = iota
	RPM
	Watts
	Volts
	Percent
)

// Part is what a sensor watches.
type Part int

// The parts with sensors.
const (
	Inlet Part = iota
	CPU
	Board
	Fan
	Supply
)

// Level orders the thresholds of a sensor from below to above, as Redfish names them.
type Level int

// The levels. IPMI calls fatal "non-recoverable" and caution "non-critical".
const (
	LowerFatal Level = iota
	LowerCritical
	LowerCaution
	UpperCaution
	UpperCritical
	UpperFatal
	Levels
)

// Limits are thresholds by Level; NaN stands for none.
type Limits [Levels]float64

// Has reports whether there is a threshold.
func (l Limits) Has(at Level) bool { return !math.IsNaN(l[at]) }

// Sensor describes a sensor.
type Sensor struct {
	ID ID
	// Name has 1 to 16 bytes of ASCII.
	Name string
	Unit Unit
	Part Part
	// Instance counts the sensors' parts of a kind, from 1.
	Instance int
	// Step is the resolution: readings go from 0 to 255 steps.
	Step float64
	// Nominal is what it reads on an idle node, about.
	Nominal float64
	Limits  Limits
	// Hysteresis is how far a reading goes back before a threshold counts as left.
	Hysteresis float64
}

// steps is how many there are: the converters have 8 bits.
const steps = 255

// Max is the highest reading; the lowest one is 0.
func (s Sensor) Max() float64 { return steps * s.Step }

// none is a threshold that there is not.
var none = math.NaN()

// fixed are the sensors that are the same in every chassis. Power depends on its size.
var fixed = []Sensor{
	{ID: InletTemp, Name: "Inlet Temp", Unit: Celsius, Part: Inlet, Instance: 1, Step: 1, Nominal: 22, Hysteresis: 1,
		Limits: Limits{none, 3, 8, 38, 42, 47}},
	{ID: CPUTemp, Name: "CPU Temp", Unit: Celsius, Part: CPU, Instance: 1, Step: 1, Nominal: 38, Hysteresis: 2,
		Limits: Limits{none, none, none, 85, 95, 100}},
	{ID: SystemTemp, Name: "System Temp", Unit: Celsius, Part: Board, Instance: 1, Step: 1, Nominal: 29, Hysteresis: 1,
		Limits: Limits{none, none, none, 60, 70, 80}},
	{ID: Fan1, Name: "Fan 1", Unit: RPM, Part: Fan, Instance: 1, Step: 100, Nominal: 3600, Hysteresis: 100,
		Limits: Limits{none, 800, 1200, none, none, none}},
	{ID: Fan2, Name: "Fan 2", Unit: RPM, Part: Fan, Instance: 2, Step: 100, Nominal: 3600, Hysteresis: 100,
		Limits: Limits{none, 800, 1200, none, none, none}},
	{ID: PowerIn, Name: "PSU Input", Unit: Watts, Part: Supply, Instance: 1},
	{ID: PowerOut, Name: "PSU Output", Unit: Watts, Part: Supply, Instance: 1},
	{ID: Volt12, Name: "12 V", Unit: Volts, Part: Board, Instance: 1, Step: 0.06, Nominal: 12, Hysteresis: 0.06,
		Limits: Limits{none, 10.8, 11.4, 12.6, 13.2, none}},
	{ID: Volt5, Name: "5 V", Unit: Volts, Part: Board, Instance: 1, Step: 0.025, Nominal: 5, Hysteresis: 0.025,
		Limits: Limits{none, 4.5, 4.75, 5.25, 5.5, none}},
	{ID: Volt3, Name: "3.3 V", Unit: Volts, Part: Board, Instance: 1, Step: 0.016, Nominal: 3.3, Hysteresis: 0.016,
		Limits: Limits{none, 2.96, 3.136, 3.472, 3.632, none}},
	{ID: CPUUsage, Name: "CPU Usage", Unit: Percent, Part: CPU, Instance: 1, Step: 1,
		Limits: Limits{none, none, none, none, none, none}},
}

// Count is how many sensors a chassis has; their IDs are 1 to Count.
const Count = int(CPUUsage)

// Of returns the description of a sensor in a chassis; ok is false for no such ID.
func Of(h bmc.Hardware, id ID) (s Sensor, ok bool) {
	if id < 1 || int(id) > Count {
		return Sensor{}, false
	}
	s = fixed[id-1]
	if s.Unit == Watts {
		s = s.rated(modelOf(h))
	}
	return s, true
}

// rated sets what depends on how much power the chassis may need.
func (s Sensor) rated(m model) Sensor {
	s.Step = math.Ceil(m.rating / steps)
	s.Nominal = m.idle
	s.Hysteresis = s.Step
	s.Limits = Limits{none, none, none, quantised(m.rating*0.9, s.Step), quantised(m.rating*0.97, s.Step), none}
	return s
}

// quantised rounds a value to whole steps.
func quantised(v, step float64) float64 { return math.Round(v/step) * step }
