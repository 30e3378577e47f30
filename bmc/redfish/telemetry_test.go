package redfish

import (
	"strings"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"PT60S": time.Minute, "PT1M": time.Minute, "P1DT2H3M4.0S": 26*time.Hour + 3*time.Minute + 4*time.Second, "PT0S": 0,
		"P": -1, "PT": -1, "P1DT": -1, "60": -1, "PT1.5S": -1, "P1Y": -1, "PT99999999S": -1, "": -1, "-PT1S": -1} {
		if got, fine := parseDuration(text); fine != (want >= 0) || fine && got != want {
			t.Errorf("%q: got %s, %t, want %s", text, got, fine, want)
		}
	}
}

func TestTelemetry(t *testing.T) {
	f := newFixture(t)
	report, definition := metricReportsPath+"/"+first+"-", reportDefinitionsPath+"/"+first+"-"
	f.chassis[first].SetLoad(bmc.Load{CPU: 0.5})
	usage := map[string]any{"MetricValues/10/MetricId": "CPUUsage", "MetricValues/10/MetricValue": "50", "MetricValues/10/Timestamp": "2026-03-01T12:00:00Z",
		"MetricValues/10/MetricProperty": chassisPath + "/" + first + "/Sensors/CPUUsage/Reading", "Timestamp": "2026-03-01T12:00:00Z"}
	run(t, f, []exchange{
		{name: "service", method: get, path: telemetryPath, status: 200, has: map[string]any{"ServiceEnabled": true, "MetricReports/@odata.id": metricReportsPath}},
		{name: "from the root", method: get, path: rootPath, status: 200, has: map[string]any{"TelemetryService/@odata.id": telemetryPath}},
		{name: "definitions", method: get, path: metricDefinitionsPath, status: 200, has: map[string]any{"Members@odata.count": 11.0}},
		{name: "a definition", method: get, path: metricDefinitionsPath + "/PSUInput", status: 200, has: map[string]any{"Units": "W", "MetricType": "Gauge", "Implementation": "Synthesized",
			"Wildcards/0/Values/1": second, "MetricProperties/0": chassisPath + "/{Chassis}/Sensors/PSUInput/Reading"}},
		{name: "no definition", method: get, path: metricDefinitionsPath + "/Humidity", status: 404},
		{name: "reports", method: get, path: metricReportsPath, status: 200, has: map[string]any{"Members@odata.count": 4.0, "Members/0/@odata.id": report + "Sensors"}},
		{name: "what is off reads little", method: get, path: report + "Sensors", status: 200, has: map[string]any{"MetricReportDefinition/@odata.id": definition + "Sensors", "MetricValues/10": nil}},
		{name: "on", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`, status: 204},
		{name: "on request", method: get, path: report + "Sensors", status: 200, has: usage},
		{name: "the periodic one", method: get, path: report + "PeriodicSensors", status: 200, has: usage},
		{name: "another's", method: get, path: metricReportsPath + "/" + other + "-Sensors", status: 404},
		{name: "no report", method: get, path: report + "Fans", status: 404},
		{name: "defined", method: get, path: definition + "PeriodicSensors", status: 200, has: map[string]any{"MetricReportDefinitionType": "Periodic", "Schedule/RecurrenceInterval": "PT60S",
			"MetricReport/@odata.id": report + "PeriodicSensors", "ReportActions/1": "RedfishEvent", "MetricReportDefinitionEnabled": true}},
		{name: "set", method: patch, path: definition + "PeriodicSensors", body: `{"Schedule":{"RecurrenceInterval":"PT2M"},"MetricReportDefinitionEnabled":false}`, status: 200,
			has: map[string]any{"Schedule/RecurrenceInterval": "PT120S", "MetricReportDefinitionEnabled": false}},
		{name: "not the other's", method: get, path: reportDefinitionsPath + "/" + second + "-PeriodicSensors", status: 200, has: map[string]any{"Schedule/RecurrenceInterval": "PT60S"}},
		{name: "too often", method: patch, path: definition + "PeriodicSensors", body: `{"Schedule":{"RecurrenceInterval":"PT1S"}}`, status: 400, message: "PropertyValueFormatError"},
		{name: "on request has no schedule", method: patch, path: definition + "Sensors", body: `{"Schedule":{"RecurrenceInterval":"PT2M"}}`, status: 400, message: "PropertyNotWritable"},
		{name: "nor an end", method: patch, path: definition + "Sensors", body: `{"MetricReportDefinitionEnabled":false}`, status: 400, message: "PropertyValueIncorrect"},
		{name: "another property", method: patch, path: definition + "PeriodicSensors", body: `{"ReportActions":[]}`, status: 400, message: "PropertyNotWritable"},
	})
}

func TestReportsAreDelivered(t *testing.T) {
	f := newFixture(t)
	f.events.second = time.Millisecond
	url, got := listener(t)
	body := map[string]any{"Destination": url, "Protocol": "Redfish", "Context": "mine", "EventFormatType": "MetricReport",
		"MetricReportDefinitions": []any{map[string]string{"@odata.id": reportDefinitionsPath + "/" + second + "-PeriodicSensors"}}}
	a := f.want(201, post, subscriptionsPath, body)
	if a.at("EventFormatType") != "MetricReport" || a.at("MetricReportDefinitions/0/@odata.id") != reportDefinitionsPath+"/"+second+"-PeriodicSensors" {
		t.Errorf("subscription: %s", a.Body)
	}
	f.chassis[second].SetPower(state.PowerOn) // which is no report
	for range 3 {
		e := answer{json: <-got}
		if e.at("Context") != "mine" || e.at("@odata.id") != metricReportsPath+"/"+second+"-PeriodicSensors" || e.at("MetricValues/0/MetricId") != "InletTemp" {
			t.Fatalf("report: %v", e.json)
		}
	}
	f.want(200, patch, reportDefinitionsPath+"/"+second+"-PeriodicSensors", `{"MetricReportDefinitionEnabled":false}`)
	f.want(204, remove, a.Header().Get("Location"), nil)

	delete(body, "MetricReportDefinitions")
	f.want(201, post, subscriptionsPath, body)
	for range 3 {
		if e := (answer{json: <-got}); !strings.Contains(e.at("@odata.id").(string), first) && !strings.Contains(e.at("@odata.id").(string), second) {
			t.Fatalf("report: %v", e.json)
		}
	}
}

func TestSubscriptionsToReportsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ extra, message string }{
		{`"EventFormatType":"MetricReport","EventTypes":["Alert"]`, "PropertyValueConflict"},
		{`"EventFormatType":"MetricReport","OriginResources":[{"@odata.id":"` + sys1 + `"}]`, "PropertyValueConflict"},
		{`"MetricReportDefinitions":[{"@odata.id":"` + reportDefinitionsPath + "/" + first + `-PeriodicSensors"}]`, "PropertyValueConflict"},
		{`"EventFormatType":"MetricReport","MetricReportDefinitions":[{"@odata.id":"` + reportDefinitionsPath + "/" + first + `-Sensors"}]`, "PropertyValueNotInList"},
		{`"EventFormatType":"MetricReport","MetricReportDefinitions":[{"@odata.id":"` + reportDefinitionsPath + "/" + other + `-PeriodicSensors"}]`, "PropertyValueNotInList"},
		{`"EventFormatType":"MetricReport","MetricReportDefinitions":[{"@odata.id":"` + sys1 + `"}]`, "PropertyValueNotInList"},
		{`"EventFormatType":"Tweet"`, "PropertyValueNotInList"},
	} {
		if a := f.want(400, post, subscriptionsPath, `{"Destination":"http://192.0.2.1/","Protocol":"Redfish",`+c.extra+`}`); a.message() != c.message {
			t.Errorf("%s: %s, want %s", c.extra, a.message(), c.message)
		}
	}
}
