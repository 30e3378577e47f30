package redfish

import (
	"slices"
	"strconv"
	"strings"

	"tenks/bmc/sensor"
)

// sorted orders properties by name.
func sorted(o Object) Object {
	slices.SortFunc(o, func(a, b Property) int { return strings.Compare(a.Key, b.Key) })
	return o
}

// thermalTable has fans and temperatures: Thermal for clients of the old schema (Ironic),
// ThermalSubsystem for the new one.
func thermalTable() []Resource {
	base := chassisPath + "/{system}"
	fans := func(r *Request) []reading { return readings(r, sensor.RPM) }
	return []Resource{
		{Path: base + "/Thermal", Type: "#Thermal.v1_7_3.Thermal", Link: "Thermal", Get: getThermal},
		{Path: base + "/ThermalSubsystem", Type: "#ThermalSubsystem.v1_3_2.ThermalSubsystem", Link: "ThermalSubsystem",
			Get: func(*Request) (Object, error) {
				return Object{{"Id", "ThermalSubsystem"}, {"Name", "Thermal Subsystem"}, {"Status", healthy()}}, nil
			}},
		{Path: base + "/ThermalSubsystem/ThermalMetrics", Type: "#ThermalMetrics.v1_3_2.ThermalMetrics", Link: "ThermalMetrics", Get: getThermalMetrics},
		{Path: base + "/ThermalSubsystem/Fans", Type: "#FanCollection.FanCollection", Link: "Fans", Name: "Fans",
			Members: func(r *Request) ([]string, error) { return counted("Fan", len(fans(r))), nil }},
		{Path: base + "/ThermalSubsystem/Fans/{fan}", Type: "#Fan.v1_5_2.Fan",
			Present: func(r *Request) bool { return nth("Fan", r.Var("fan"), len(fans(r))) >= 0 },
			Get: func(r *Request) (Object, error) {
				list := fans(r)
				one := list[nth("Fan", r.Var("fan"), len(list))]
				return Object{{"Id", r.Var("fan")}, {"Name", one.Name}, {"PhysicalContext", contexts[one.Part]}, {"Manufacturer", manufacturer},
					{"SpeedPercent", Object{{"DataSourceUri", r.chassisPath() + "/Sensors/" + one.uriName()}, {"Reading", percent(one)}, {"SpeedRPM", one.value}}},
					{"Status", one.status()}}, nil
			}},
	}
}

// percent is how fast a fan is, of what it can be.
func percent(s reading) any {
	v, known := s.value.(float64)
	if !known {
		return nil
	}
	return rounded(100*v/s.Max(), 1)
}

// member is what all entries of Thermal and Power begin with.
func member(r *Request, list string, i int, name string) Object {
	id := strconv.Itoa(i)
	return Object{{"@odata.id", r.Path + "#/" + list + "/" + id}, {"MemberId", id}, {"Name", name}}
}

func getThermal(r *Request) (Object, error) {
	temperatures, fans := []Object{}, []Object{}
	for i, s := range readings(r, sensor.Celsius) {
		temperatures = append(temperatures, append(member(r, "Temperatures", i, s.Name), Object{
			{"SensorNumber", int(s.ID)}, {"ReadingCelsius", s.value}, {"PhysicalContext", contexts[s.Part]},
			{"MinReadingRangeTemp", 0}, {"MaxReadingRangeTemp", int(s.Max())},
			{"LowerThresholdNonCritical", s.limit(sensor.LowerCaution)}, {"LowerThresholdCritical", s.limit(sensor.LowerCritical)},
			{"UpperThresholdNonCritical", s.limit(sensor.UpperCaution)}, {"UpperThresholdCritical", s.limit(sensor.UpperCritical)},
			{"UpperThresholdFatal", s.limit(sensor.UpperFatal)}, {"Status", s.status()},
		}...))
	}
	for i, s := range readings(r, sensor.RPM) {
		fans = append(fans, append(member(r, "Fans", i, s.Name), Object{
			{"SensorNumber", int(s.ID)}, {"Reading", whole(s.value)}, {"ReadingUnits", "RPM"}, {"PhysicalContext", contexts[s.Part]},
			{"MinReadingRange", 0}, {"MaxReadingRange", int(s.Max())},
			{"LowerThresholdNonCritical", whole(s.limit(sensor.LowerCaution))}, {"LowerThresholdCritical", whole(s.limit(sensor.LowerCritical))},
			{"SerialNumber", serial(r, "F", s.Instance)}, {"Manufacturer", manufacturer}, {"Status", s.status()},
		}...))
	}
	return Object{{"Id", "Thermal"}, {"Name", "Thermal"}, {"Status", healthy()},
		{"Temperatures@odata.count", len(temperatures)}, {"Temperatures", temperatures}, {"Fans@odata.count", len(fans)}, {"Fans", fans}}, nil
}

// whole makes an integer of a number, and leaves what is none.
func whole(v any) any {
	if f, isNumber := v.(float64); isNumber {
		return int(f)
	}
	return v
}

// serial is the serial number of a part: the first block of the node's, and the part.
func serial(r *Request, part string, n int) string {
	head, _, _ := strings.Cut(r.System.ID, "-")
	return strings.ToUpper(head) + part + strconv.Itoa(n)
}

func getThermalMetrics(r *Request) (Object, error) {
	o := Object{{"Id", "ThermalMetrics"}, {"Name", "Thermal Metrics"}}
	all := []Object{}
	var summary Object
	for _, s := range readings(r, sensor.Celsius) {
		uri := r.chassisPath() + "/Sensors/" + s.uriName()
		all = append(all, Object{{"DataSourceUri", uri}, {"DeviceName", s.Name}, {"PhysicalContext", contexts[s.Part]}, {"Reading", s.value}})
		if s.ID == sensor.InletTemp {
			summary = append(summary, Property{"Intake", Object{{"DataSourceUri", uri}, {"Reading", s.value}}})
		}
	}
	return append(o, Property{"TemperatureSummaryCelsius", summary}, Property{"TemperatureReadingsCelsius@odata.count", len(all)},
		Property{"TemperatureReadingsCelsius", all}), nil
}
