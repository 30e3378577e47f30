package redfish

import (
	"cmp"
	"math"
	"strings"

	"tenks/bmc"
	"tenks/bmc/sensor"
)

// chassisTable has the box of each system.
func chassisTable() []Resource {
	return []Resource{
		{Path: chassisPath, Type: "#ChassisCollection.ChassisCollection", Link: "Chassis", Name: "Chassis Collection", Members: systemIDs},
		{Path: chassisPath + "/{system}", Type: "#Chassis.v1_25_0.Chassis", Get: getChassis,
			Writable: Rules{"AssetTag": {Kind: String, Max: 63, Null: true}, "IndicatorLED": {Kind: String, Values: indicators}, "LocationIndicatorActive": {Kind: Bool}},
			Patch: func(r *Request, v Values) error {
				if _, given := v["AssetTag"]; given {
					tag, _ := v.String("AssetTag")
					if err := alter(r, func(s *settings) { s.ChassisTag = tag }); err != nil {
						return err
					}
				}
				return patchIndicator(r, v)
			},
			Actions: []Action{resetAction("Chassis.Reset")}},
	}
}

func getChassis(r *Request) (Object, error) {
	power, set := r.Chassis().Status().Power, recall[settings](r.System, settingsKey)
	id := r.Chassis().Hardware().Identity
	var tag any
	if id.Asset != "" {
		tag = id.Asset
	}
	if set.ChassisTag != "" {
		tag = set.ChassisTag
	}
	return Object{
		{"Id", r.System.ID}, {"Name", "Chassis of " + r.System.Name}, {"ChassisType", "RackMount"}, {"UUID", r.System.ID},
		{"Manufacturer", cmp.Or(id.Manufacturer, manufacturer)}, {"Model", cmp.Or(id.Product, model)}, {"SerialNumber", cmp.Or(id.Serial, r.System.ID)}, {"AssetTag", tag},
		{"PowerState", powerState(power)}, {"Status", systemStatus(power)},
		{"LocationIndicatorActive", set.Lit}, {"IndicatorLED", indicator(set.Lit)},
		{"Links", Object{{"ComputerSystems", links(r.systemPath())}, {"ComputerSystems@odata.count", 1}, {"ManagedBy", links(r.managerPath())}, {"ManagedBy@odata.count", 1}}},
	}, nil
}

// reading is a sensor of a chassis with what it reads now.
type reading struct {
	sensor.Sensor
	value any // float64, or nil where there is nothing to read
}

// readings returns the sensors of a unit, in the order of their numbers.
func readings(r *Request, unit sensor.Unit) []reading {
	var out []reading
	for _, one := range allReadings(r) {
		if one.Unit == unit {
			out = append(out, one)
		}
	}
	return out
}

func allReadings(r *Request) []reading { return readingsOf(r.Chassis()) }

func readingsOf(c bmc.Chassis) []reading {
	node := sensor.At(c)
	var out []reading
	for id := sensor.ID(1); int(id) <= sensor.Count; id++ {
		s, _ := sensor.Of(node.Hardware, id)
		one := reading{Sensor: s}
		if v, known := node.Read(id); known {
			one.value = rounded(v, s.Step)
		}
		out = append(out, one)
	}
	return out
}

// rounded gives a value in steps, without the noise of binary fractions.
func rounded(v, step float64) float64 {
	return math.Round(math.Round(v/step)*step*1000) / 1000
}

// uriName is the sensor's name in a URI.
func (s reading) uriName() string { return strings.ReplaceAll(s.Name, " ", "") }

// most is the highest reading.
func (s reading) most() float64 {
	if s.Unit == sensor.Percent {
		return 100
	}
	return rounded(s.Max(), 0.001)
}

// status says whether the sensor has something to read, and how that is.
func (s reading) status() Object {
	v, known := s.value.(float64)
	if !known {
		return Object{{"State", "StandbyOffline"}, {"Health", nil}}
	}
	crossed := sensor.Crossed(v, s.Limits, s.Hysteresis, 0)
	health := ok
	for level := range sensor.Levels {
		if crossed>>uint(level)&1 == 0 {
			continue
		}
		if level != sensor.LowerCaution && level != sensor.UpperCaution {
			health = critical
		} else if health == ok {
			health = warning
		}
	}
	return Object{{"State", "Enabled"}, {"Health", health}}
}

// limit is a threshold, or Omit.
func (s reading) limit(level sensor.Level) any {
	if !s.Limits.Has(level) {
		return Omit
	}
	return rounded(s.Limits[level], 0.001)
}

// contexts are the parts as PhysicalContext.
var contexts = map[sensor.Part]string{sensor.Inlet: "Intake", sensor.CPU: "CPU", sensor.Board: "SystemBoard", sensor.Fan: "Fan", sensor.Supply: "PowerSupply"}

// units are the units as a Sensor's ReadingType and ReadingUnits.
var units = map[sensor.Unit]struct{ kind, unit string }{
	sensor.Celsius: {"Temperature", "Cel"}, sensor.RPM: {"Rotational", "{rev}/min"}, sensor.Watts: {"Power", "W"}, sensor.Volts: {"Voltage", "V"}, sensor.Percent: {"Percent", "%"},
}

// sensorTable has all sensors in the present schema.
func sensorTable() []Resource {
	find := func(r *Request) (reading, bool) {
		for _, one := range allReadings(r) {
			if one.uriName() == r.Var("sensor") {
				return one, true
			}
		}
		return reading{}, false
	}
	base := chassisPath + "/{system}/Sensors"
	return []Resource{
		{Path: base, Type: "#SensorCollection.SensorCollection", Link: "Sensors", Name: "Sensors", Members: func(r *Request) ([]string, error) {
			var ids []string
			for _, one := range allReadings(r) {
				ids = append(ids, one.uriName())
			}
			return ids, nil
		}},
		{Path: base + "/{sensor}", Type: "#Sensor.v1_9_0.Sensor", Volatile: []string{"Reading", "Status"},
			Present: func(r *Request) bool { _, found := find(r); return found },
			Get: func(r *Request) (Object, error) {
				one, _ := find(r)
				return one.object(), nil
			}},
		{Path: chassisPath + "/{system}/EnvironmentMetrics", Type: "#EnvironmentMetrics.v1_3_2.EnvironmentMetrics", Link: "EnvironmentMetrics",
			Get: func(r *Request) (Object, error) {
				o := Object{{"Id", "EnvironmentMetrics"}, {"Name", "Environment Metrics"}}
				for _, one := range allReadings(r) {
					excerpt := Object{{"DataSourceUri", r.chassisPath() + "/Sensors/" + one.uriName()}, {"Reading", one.value}}
					switch one.ID {
					case sensor.InletTemp:
						o = append(o, Property{"TemperatureCelsius", excerpt})
					case sensor.PowerIn:
						o = append(o, Property{"PowerWatts", excerpt})
					}
				}
				return o, nil
			}},
	}
}

func (s reading) object() Object {
	unit := units[s.Unit]
	var thresholds Object
	for level, name := range map[sensor.Level]string{
		sensor.LowerFatal: "LowerFatal", sensor.LowerCritical: "LowerCritical", sensor.LowerCaution: "LowerCaution",
		sensor.UpperCaution: "UpperCaution", sensor.UpperCritical: "UpperCritical", sensor.UpperFatal: "UpperFatal",
	} {
		if s.Limits.Has(level) {
			thresholds = append(thresholds, Property{name, Object{{"Reading", s.limit(level)}}})
		}
	}
	out := Object{{"Id", s.uriName()}, {"Name", s.Name}, {"ReadingType", unit.kind}, {"ReadingUnits", unit.unit}, {"Reading", s.value},
		{"ReadingRangeMin", 0}, {"ReadingRangeMax", s.most()}, {"PhysicalContext", contexts[s.Part]}, {"Status", s.status()}}
	if thresholds != nil {
		out = append(out, Property{"Thresholds", sorted(thresholds)})
	}
	return out
}
