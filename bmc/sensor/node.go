package sensor

import (
	"hash/fnv"
	"math"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// Node is what readings follow from, at one moment.
type Node struct {
	Hardware bmc.Hardware
	Power    state.Power
	// Load counts if Known says so: a node that was just switched on has none yet.
	Load  bmc.Load
	Known bool
}

// At asks a chassis for all that readings follow from.
func At(c bmc.Chassis) Node {
	n := Node{Hardware: c.Hardware(), Power: c.Status().Power}
	n.Load, n.Known = c.Load()
	return n
}

// Read returns what a sensor reads, not rounded to its steps; ok is false where there is
// nothing to read: most sensors have no power while the machine is off, and only the
// inlet's is independent of whether that is known.
func (n Node) Read(id ID) (v float64, ok bool) {
	switch {
	case id == InletTemp:
		return n.inlet(), true
	case id == PowerIn && n.Power == state.PowerOff:
		return standbyWatts, true
	case id == CPUUsage:
		return 100 * n.use(), n.Power == state.PowerOn && n.Known
	case n.Power != state.PowerOn:
		return 0, false
	}
	return n.running(id)
}

// running is Read for a machine that is on.
func (n Node) running(id ID) (v float64, ok bool) {
	use, own := n.use(), n.offset(id)
	switch id {
	case CPUTemp:
		return n.inlet() + 15 + 36*use + 2*own, true
	case SystemTemp:
		return n.inlet() + 7 + 8*use + own, true
	case Fan1, Fan2:
		return 3600 + 5400*use + 150*own, true
	case PowerIn:
		return n.watts() / efficiency, true
	case PowerOut:
		return n.watts(), true
	case Volt12:
		return 12.12 - 0.12*use + 0.06*own, true
	case Volt5:
		return 5.05 - 0.05*use + 0.025*own, true
	case Volt3:
		return 3.328 - 0.016*use + 0.016*own, true
	}
	return 0, false
}

// Watts is what the chassis takes from the mains, and 0 while its power is not known.
func (n Node) Watts() float64 {
	v, _ := n.Read(PowerIn)
	return v
}

// Steps is Read as the sensor's 8-bit converter gives it.
func (n Node) Steps(s Sensor) (raw byte, ok bool) {
	v, ok := n.Read(s.ID)
	return s.Raw(v), ok
}

// Raw is a value in whole steps, the nearest one there is.
func (s Sensor) Raw(v float64) byte {
	return byte(min(max(math.Round(v/s.Step), 0), steps))
}

// use is the share of its CPUs that the node uses, 0 to 1.
func (n Node) use() float64 {
	if !n.Known || math.IsNaN(n.Load.CPU) {
		return 0
	}
	return min(max(n.Load.CPU, 0), 1)
}

func (n Node) inlet() float64 { return 22 + 2*n.offset(InletTemp) }

// watts is what the running machine takes from its power supply.
func (n Node) watts() float64 {
	m := modelOf(n.Hardware)
	return m.idle + m.busy*n.use() + 2*n.offset(PowerOut)
}

const (
	// standbyWatts is what a BMC needs while the machine is off.
	standbyWatts = 6
	// efficiency is of the power supply.
	efficiency = 0.92
)

// model is how much power a machine needs, in watts: idle, and at most on top of that.
// rating is what its power supply gives, with something to spare.
type model struct{ idle, busy, rating float64 }

func modelOf(h bmc.Hardware) model {
	vcpus, gib := float64(max(h.VCPUs, 1)), float64(h.MemoryMB)/1024
	m := model{idle: 40 + 3*vcpus + 0.4*gib + 5*float64(len(h.Disks)) + 3*float64(len(h.NICs)), busy: 9 * vcpus}
	m.rating = math.Ceil((m.idle+m.busy)/efficiency*1.4/50) * 50
	return m
}

// offset is how far a node's sensor is from those of others, from -1 to 1.
func (n Node) offset(id ID) float64 {
	h := fnv.New32a()
	h.Write([]byte(n.Hardware.UUID))
	h.Write([]byte{byte(id)})
	return float64(h.Sum32())/math.MaxUint32*2 - 1
}
