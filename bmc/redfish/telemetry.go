package redfish

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenks/bmc"
	"tenks/bmc/sensor"
)

const (
	telemetryPath         = rootPath + "/TelemetryService"
	metricDefinitionsPath = telemetryPath + "/MetricDefinitions"
	reportDefinitionsPath = telemetryPath + "/MetricReportDefinitions"
	metricReportsPath     = telemetryPath + "/MetricReports"
	// telemetryKey is where what clients set of a system's reports is kept.
	telemetryKey = "redfish/telemetry"
	// minReportInterval and maxReportInterval bound, and reportInterval is, how often the
	// periodic report comes.
	minReportInterval = 10 * time.Second
	maxReportInterval = time.Hour
	reportInterval    = time.Minute
)

// The reports of each system: all its sensors when somebody asks, and to subscribers.
const (
	reportOnRequest = "Sensors"
	reportPeriodic  = "PeriodicSensors"
)

var reportKinds = []string{reportOnRequest, reportPeriodic}

// keptTelemetry is what clients set of the periodic report.
type keptTelemetry struct {
	// Off says that it is disabled; Seconds is how often it comes, 0: reportInterval.
	Off     bool  `json:",omitempty"`
	Seconds int64 `json:",omitempty"`
}

func (k keptTelemetry) interval() time.Duration {
	if k.Seconds == 0 {
		return reportInterval
	}
	return time.Duration(k.Seconds) * time.Second
}

// telemetryTable has reports of sensors. They are made when they are read, or for who has
// subscribed: nothing is collected otherwise.
func telemetryTable() []Resource {
	of := func(r *Request) string { id, _, _ := splitReport(r.Var("report")); return id }
	present := func(r *Request) bool { _, _, found := splitReport(r.Var("report")); return found }
	return []Resource{
		{Path: telemetryPath, Type: "#TelemetryService.v1_4_0.TelemetryService", Link: "TelemetryService",
			Get: func(*Request) (Object, error) {
				return Object{{"Id", "TelemetryService"}, {"Name", "Telemetry Service"}, {"Status", healthy()}, {"ServiceEnabled", true},
					{"MinCollectionInterval", duration(minReportInterval)}, {"SupportedCollectionFunctions", []string{}}}, nil
			}},
		{Path: metricDefinitionsPath, Type: "#MetricDefinitionCollection.MetricDefinitionCollection", Link: "MetricDefinitions", Name: "Metric Definitions",
			Members: func(*Request) ([]string, error) {
				ids := []string{}
				for _, one := range describedSensors() {
					ids = append(ids, one.uriName())
				}
				return ids, nil
			}},
		{Path: metricDefinitionsPath + "/{metric}", Type: "#MetricDefinition.v1_3_4.MetricDefinition", Get: getMetricDefinition,
			Present: func(r *Request) bool { _, found := describedSensor(r.Var("metric")); return found }},
		{Path: reportDefinitionsPath, Type: "#MetricReportDefinitionCollection.MetricReportDefinitionCollection", Link: "MetricReportDefinitions", Name: "Metric Report Definitions", Members: reportIDs},
		{Path: reportDefinitionsPath + "/{report}", Type: "#MetricReportDefinition.v1_4_6.MetricReportDefinition", Get: getReportDefinition, SystemOf: of, Present: present,
			Writable: Rules{"MetricReportDefinitionEnabled": {Kind: Bool},
				"Schedule": {Kind: Nested, Properties: Rules{"RecurrenceInterval": {Kind: String, Check: isReportInterval}}}},
			Patch: patchReportDefinition},
		{Path: metricReportsPath, Type: "#MetricReportCollection.MetricReportCollection", Link: "MetricReports", Name: "Metric Reports", Members: reportIDs},
		{Path: metricReportsPath + "/{report}", Type: "#MetricReport.v1_5_1.MetricReport", SystemOf: of, Present: present, Volatile: []string{"Timestamp", "MetricValues"},
			Get: func(r *Request) (Object, error) {
				_, kind, _ := splitReport(r.Var("report"))
				return r.Service.report(r.System, kind), nil
			}},
	}
}

// reportIDs are the reports of the caller's systems, also those at other peers.
func reportIDs(r *Request) ([]string, error) {
	out := make([]string, 0, len(reportKinds)*len(r.Caller.Systems()))
	for _, id := range r.Caller.Systems() {
		for _, kind := range reportKinds {
			out = append(out, id+"-"+kind)
		}
	}
	return out, nil
}

// splitReport takes the ID of a report or its definition apart.
func splitReport(id string) (system, kind string, found bool) {
	system, kind, _ = cutLast(id, "-")
	return system, kind, slices.Contains(reportKinds, kind)
}

// describedSensors are the sensors of every chassis, without what depends on its hardware.
func describedSensors() []reading {
	out := make([]reading, 0, sensor.Count)
	for id := sensor.ID(1); int(id) <= sensor.Count; id++ {
		s, _ := sensor.Of(bmc.Hardware{}, id)
		out = append(out, reading{Sensor: s})
	}
	return out
}

func describedSensor(name string) (reading, bool) {
	all := describedSensors()
	i := slices.IndexFunc(all, func(s reading) bool { return s.uriName() == name })
	if i < 0 {
		return reading{}, false
	}
	return all[i], true
}

// getMetricDefinition says what the readings of a sensor are. Only the use of the CPUs is
// measured (package sensor).
func getMetricDefinition(r *Request) (Object, error) {
	s, _ := describedSensor(r.Var("metric"))
	implementation := "Synthesized"
	if s.ID == sensor.CPUUsage {
		implementation = "PhysicalSensor"
	}
	return Object{{"Id", s.uriName()}, {"Name", s.Name}, {"MetricType", "Gauge"}, {"MetricDataType", "Decimal"}, {"Units", units[s.Unit].unit}, {"Implementation", implementation},
		{"Calculable", "NonSummable"}, {"IsLinear", true}, {"PhysicalContext", contexts[s.Part]},
		{"Wildcards", []Object{{{"Name", "Chassis"}, {"Values", r.Caller.Systems()}}}},
		{"MetricProperties", []string{chassisPath + "/{Chassis}/Sensors/" + s.uriName() + "/Reading"}}}, nil
}

func getReportDefinition(r *Request) (Object, error) {
	id, kind, _ := splitReport(r.Var("report"))
	set := recall[keptTelemetry](r.System, telemetryKey)
	properties := []string{}
	for _, s := range describedSensors() {
		properties = append(properties, r.chassisPath()+"/Sensors/"+s.uriName()+"/Reading")
	}
	out := Object{{"Id", r.Var("report")}, {"Name", "Sensors of " + r.System.Name}, {"Status", healthy()}, {"ReportUpdates", "Overwrite"},
		{"MetricProperties", properties}, {"MetricReport", link(metricReportsPath + "/" + id + "-" + kind)}}
	if kind == reportOnRequest {
		return append(out, Object{{"MetricReportDefinitionType", "OnRequest"}, {"ReportActions", []string{"LogToMetricReportsCollection"}}, {"MetricReportDefinitionEnabled", true}}...), nil
	}
	return append(out, Object{{"MetricReportDefinitionType", "Periodic"}, {"ReportActions", []string{"LogToMetricReportsCollection", "RedfishEvent"}},
		{"MetricReportDefinitionEnabled", !set.Off}, {"Schedule", Object{{"RecurrenceInterval", duration(set.interval())}}}}...), nil
}

func patchReportDefinition(r *Request, v Values) error {
	if _, kind, _ := splitReport(r.Var("report")); kind == reportOnRequest {
		// It costs nothing until it is read: there is nothing to turn off.
		if enabled, given := v.Bool("MetricReportDefinitionEnabled"); given && !enabled {
			return fail(http.StatusBadRequest, msg("PropertyValueIncorrect", "MetricReportDefinitionEnabled", "false").about("MetricReportDefinitionEnabled"))
		}
		if _, given := v["Schedule"]; given {
			return fail(http.StatusBadRequest, msg("PropertyNotWritable", "Schedule").about("Schedule"))
		}
		return nil
	}
	return revise(r.Context(), r.Service, r.System, telemetryKey, func(k *keptTelemetry) error {
		if enabled, given := v.Bool("MetricReportDefinitionEnabled"); given {
			k.Off = !enabled
		}
		if text, given := v.String("Schedule/RecurrenceInterval"); given {
			d, _ := parseDuration(text)
			k.Seconds = int64(d / time.Second)
		}
		return nil
	})
}

// report is a MetricReport of now, without what the engine adds.
func (s *Service) report(sys System, kind string) Object {
	now := s.now()
	values := []Object{}
	for _, one := range readingsOf(sys.Chassis) {
		v, known := one.value.(float64)
		if !known {
			continue // the node is off
		}
		values = append(values, Object{{"MetricId", one.uriName()}, {"MetricValue", strconv.FormatFloat(v, 'f', -1, 64)}, {"Timestamp", now},
			{"MetricProperty", chassisPath + "/" + sys.ID + "/Sensors/" + one.uriName() + "/Reading"}})
	}
	id := sys.ID + "-" + kind
	return Object{{"Id", id}, {"Name", "Sensors of " + sys.Name}, {"Timestamp", now}, {"MetricReportDefinition", link(reportDefinitionsPath + "/" + id)}, {"MetricValues", values}}
}

// durations are those of the schema (ISO 8601-2), without years and months.
var durations = regexp.MustCompile(`^P(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})(?:\.0+)?S)?)?$`)

func parseDuration(s string) (d time.Duration, fine bool) {
	m := durations.FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, false
	}
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, err := strconv.Atoi("0" + m[i+1])
		if err != nil {
			return 0, false
		}
		d += time.Duration(n) * unit
	}
	return d, true
}

func duration(d time.Duration) string { return fmt.Sprintf("PT%dS", int64(d/time.Second)) }

func isReportInterval(v any) bool {
	s, _ := v.(string)
	d, fine := parseDuration(s)
	return fine && d >= minReportInterval && d <= maxReportInterval
}

// wantsReport says whether a subscription is to the periodic report of a system.
func (sub *subscription) wantsReport(system string) bool {
	_, has := slices.BinarySearch(sub.Systems, system)
	return has && (len(sub.Reports) == 0 || slices.Contains(sub.Reports, reportDefinitionsPath+"/"+system+"-"+reportPeriodic))
}

// checkReports refuses definitions that are never sent.
func checkReports(r *Request, paths []string) error {
	for i, path := range paths {
		id, below := strings.CutPrefix(path, reportDefinitionsPath+"/")
		system, kind, found := splitReport(id)
		if !below || !found || kind != reportPeriodic || !r.Caller.has(system) {
			name := fmt.Sprintf("MetricReportDefinitions/%d", i)
			return fail(http.StatusBadRequest, msg("PropertyValueNotInList", brief(path), name).about(name))
		}
	}
	return nil
}

// deliverReports sends the periodic reports of a subscription's systems, as far as they are
// at this peer.
func (es *events) deliverReports(ctx context.Context, k *sink) {
	due := map[string]time.Time{}
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		// What was set anew meanwhile is seen then.
		next := time.Now().Add(es.faster(minReportInterval))
		for _, id := range k.sub.Systems {
			sys, found := es.service.cfg.Systems.Lookup(id)
			if !found || sys.Chassis == nil || !k.sub.wantsReport(id) {
				delete(due, id)
				continue
			}
			set := recall[keptTelemetry](sys, telemetryKey)
			if set.Off {
				delete(due, id)
				continue
			}
			interval := es.faster(set.interval())
			if _, known := due[id]; !known {
				due[id] = time.Now().Add(interval)
			}
			due[id] = earlier(due[id], time.Now().Add(interval)) // it was shortened
			if !time.Now().Before(due[id]) {
				if !es.deliverReport(ctx, k, sys) {
					return
				}
				due[id] = time.Now().Add(interval)
			}
			next = earlier(next, due[id])
		}
		wait.Reset(time.Until(next))
	}
}

// faster is an interval in seconds that are as long as es.second.
func (es *events) faster(d time.Duration) time.Duration { return d / (time.Second / es.second) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// deliverReport reports false once the subscription has ended.
func (es *events) deliverReport(ctx context.Context, k *sink, sys System) bool {
	path := metricReportsPath + "/" + sys.ID + "-" + reportPeriodic
	rt, _ := es.service.match(path)
	doc, err := assemble(path, rt, append(es.service.report(sys, reportPeriodic), Property{"Context", k.sub.Context}))
	if err != nil {
		es.service.cfg.Log.WarnContext(ctx, "redfish: report not made", "node", sys.ID, "err", err)
		return true
	}
	return es.arrived(ctx, k, doc.body)
}
