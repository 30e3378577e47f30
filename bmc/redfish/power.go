package redfish

import (
	"tenks/bmc/sensor"
)

// lineVolts is what the mains give.
const lineVolts = 230

// powerTable has power supplies and what they give: Power for clients of the old schema
// (Ironic), PowerSubsystem for the new one.
func powerTable() []Resource {
	base := chassisPath + "/{system}"
	return []Resource{
		{Path: base + "/Power", Type: "#Power.v1_7_3.Power", Link: "Power", Get: getPower},
		{Path: base + "/PowerSubsystem", Type: "#PowerSubsystem.v1_1_2.PowerSubsystem", Link: "PowerSubsystem",
			Get: func(r *Request) (Object, error) {
				return Object{{"Id", "PowerSubsystem"}, {"Name", "Power Subsystem"}, {"CapacityWatts", rating(r)}, {"Status", healthy()}}, nil
			}},
		{Path: base + "/PowerSubsystem/PowerSupplies", Type: "#PowerSupplyCollection.PowerSupplyCollection", Link: "PowerSupplies", Name: "Power Supplies",
			Members: func(*Request) ([]string, error) { return counted("PSU", 1), nil }},
		{Path: base + "/PowerSubsystem/PowerSupplies/{supply}", Type: "#PowerSupply.v1_6_0.PowerSupply",
			Present: func(r *Request) bool { return nth("PSU", r.Var("supply"), 1) >= 0 },
			Get: func(r *Request) (Object, error) {
				return Object{{"Id", "PSU1"}, {"Name", "Power Supply 1"}, {"PowerSupplyType", "AC"}, {"PowerCapacityWatts", rating(r)},
					{"Manufacturer", manufacturer}, {"Model", "Virtual PSU"}, {"SerialNumber", serial(r, "P", 1)}, {"LineInputStatus", "Normal"}, {"Status", healthy()}}, nil
			}},
	}
}

// rating is what the power supply can give, in watts: where its sensor ends.
func rating(r *Request) int {
	s, _ := sensor.Of(r.Chassis().Hardware(), sensor.PowerOut)
	return int(s.Max())
}

func getPower(r *Request) (Object, error) {
	var in, out any
	voltages := []Object{}
	for _, s := range allReadings(r) {
		switch {
		case s.ID == sensor.PowerIn:
			in = s.value
		case s.ID == sensor.PowerOut:
			out = s.value
		case s.Unit == sensor.Volts:
			voltages = append(voltages, append(member(r, "Voltages", len(voltages), s.Name), Object{
				{"SensorNumber", int(s.ID)}, {"ReadingVolts", s.value}, {"PhysicalContext", contexts[s.Part]},
				{"MinReadingRange", 0}, {"MaxReadingRange", rounded(s.Max(), 0.001)},
				{"LowerThresholdNonCritical", s.limit(sensor.LowerCaution)}, {"LowerThresholdCritical", s.limit(sensor.LowerCritical)},
				{"UpperThresholdNonCritical", s.limit(sensor.UpperCaution)}, {"UpperThresholdCritical", s.limit(sensor.UpperCritical)}, {"Status", s.status()},
			}...))
		}
	}
	control := append(member(r, "PowerControl", 0, "System Power Control"), Object{
		{"PowerConsumedWatts", in}, {"PowerCapacityWatts", rating(r)}, {"PhysicalContext", "SystemBoard"}, {"Status", healthy()},
	}...)
	supply := append(member(r, "PowerSupplies", 0, "Power Supply 1"), Object{
		{"PowerSupplyType", "AC"}, {"LineInputVoltageType", "AC240V"}, {"LineInputVoltage", lineVolts}, {"PowerCapacityWatts", rating(r)},
		{"PowerInputWatts", in}, {"LastPowerOutputWatts", out}, {"Manufacturer", manufacturer}, {"Model", "Virtual PSU"},
		{"SerialNumber", serial(r, "P", 1)}, {"Status", healthy()},
	}...)
	return Object{{"Id", "Power"}, {"Name", "Power"},
		{"PowerControl@odata.count", 1}, {"PowerControl", []Object{control}},
		{"PowerSupplies@odata.count", 1}, {"PowerSupplies", []Object{supply}},
		{"Voltages@odata.count", len(voltages)}, {"Voltages", voltages}}, nil
}
