package conform

import (
	"encoding/json"
	"strings"
	"testing"
)

// goodWidget is right in every respect.
const goodWidget = `{
	"@odata.id": "/redfish/v1/Widgets/1", "@odata.type": "#Widget.v1_1_0.Widget", "@odata.etag": "W/\"1\"",
	"@odata.context": "/redfish/v1/$metadata#Widget.Widget",
	"Id": "1", "Name": "Widget", "Size": 5, "Weight": 1.5, "On": true, "Made": "2026-11-27T10:00:00+01:00", "Life": "P1DT2H3.5S",
	"UUID": "6b1f9a3e-8f0a-5c57-9d0e-2f6a4e1c7b10", "Facing": "Left", "Facing@Redfish.AllowableValues": ["Left", "Right"],
	"Material": "IA-64", "MAC": "52:54:00:00:00:01", "Page": "https://example.org/", "Tag": "", "Key": null,
	"Parts": [{"Label": "a", "Colour": "red"}], "Parts@odata.count": 1, "Notes": [null, "x"], "Attributes": {"FAST": true},
	"Other": {"@odata.id": "/redfish/v1/Widgets/2"}, "Power": {"Reading": 1, "Peak": 2, "DataSourceUri": "/redfish/v1/Widgets/1"},
	"Fans": [{"@odata.id": "/redfish/v1/Widgets/1#/Fans/0", "MemberId": "0", "Speed": 3}],
	"@Redfish.Settings": {"SettingsObject": {"@odata.id": "/redfish/v1/Widgets/1/Settings"}},
	"Oem": {"Acme": {"@odata.type": "#Gauge.v1_0_0.Gauge", "Id": "1", "Name": "Gauge"}},
	"Actions": {"#Widget.Spin": {"target": "/redfish/v1/Widgets/1/Actions/Widget.Spin", "title": "Spin", "Direction@Redfish.AllowableValues": ["Left"]}}}`

func TestPayloadThatIsRight(t *testing.T) {
	r := checkWidget(t, folder(t), "", nil)
	if len(r.Failures)+len(r.Warnings) > 0 {
		t.Errorf("a good payload: %s", r)
	}
	for _, kind := range []string{"properties", "values", "objects", "annotations", "actions", "links", "resources"} {
		if r.Checked[kind] == 0 {
			t.Errorf("no %s were counted", kind)
		}
	}
}

// checkWidget checks the good widget with one member set to the JSON value, or
// without it where that is "-".
func checkWidget(t *testing.T, dir, member string, value any) Report {
	t.Helper()
	body, err := decode([]byte(goodWidget))
	if err != nil {
		t.Fatal(err)
	}
	if member != "" {
		set(body, strings.Split(member, "/"), value)
	}
	r := Report{Checked: map[string]int{}}
	checkPayload(openSchemas(dir), &r, "/redfish/v1/Widgets/1", body)
	return r
}

func set(obj map[string]any, path []string, value any) {
	if len(path) > 1 {
		inner, _ := obj[path[0]].(map[string]any)
		if list, ok := obj[path[0]].([]any); ok {
			inner, _ = list[0].(map[string]any)
		}
		set(inner, path[1:], value)
		return
	}
	if value == "-" {
		delete(obj, path[0])
		return
	}
	obj[path[0]] = value
}

func TestPayload(t *testing.T) {
	dir := folder(t)
	for _, row := range []struct {
		member, value string // JSON, or "-" to leave it out
		rule, where   string // "warn:" before the rule is a warning; "" is right
	}{
		{"@odata.type", `"Widget"`, "odata-type", "@odata.type"},
		{"@odata.type", `"#Widget.v9_9_9.Widget"`, "odata-type", "@odata.type"},
		{"@odata.type", `"#Widget.Widget"`, "odata-type", "@odata.type"},
		{"@odata.id", `"/redfish/v1/Widgets/1/"`, "odata-id", "@odata.id"},
		{"@odata.id", "-", "odata-id", "@odata.id"},
		{"@odata.type", `"#Gauge.v1_0_0.Gauge"`, "property-unknown", ""},
		{"@odata.etag", `"1"`, "odata", "@odata.etag"},
		{"@odata.context", `"x"`, "odata", "@odata.context"},
		{"Id", `"2"`, "id", "Id"},
		{"Name", "-", "required", "Name"},
		{"Name", `null`, "null", "Name"},
		{"Size", `null`, "", ""},
		{"Size", `"5"`, "type", "Size"},
		{"Size", `5.5`, "type", "Size"},
		{"Size", `0`, "range", "Size"},
		{"Size", `10`, "range", "Size"},
		{"Weight", `1e-3`, "", ""},
		{"Weight", `true`, "type", "Weight"},
		{"On", `"true"`, "type", "On"},
		{"On", `null`, "null", "On"},
		{"Made", `"2026-11-27"`, "format", "Made"},
		{"Made", `"2026-13-27T10:00:00Z"`, "format", "Made"},
		{"Made", `"2026-11-27T10:00:00Z"`, "", ""},
		{"Life", `"P1M"`, "format", "Life"},
		{"Life", `"PT"`, "format", "Life"},
		{"Life", `"PT0.5S"`, "", ""},
		{"UUID", `"6b1f9a3e"`, "format", "UUID"},
		{"Facing", `"Up"`, "enum", "Facing"},
		{"Facing", `1`, "type", "Facing"},
		{"Facing", `"Around"`, "version", "Facing"},
		{"Facing@Redfish.AllowableValues", `["Right"]`, "warn:allowable", "Facing@Redfish.AllowableValues"},
		{"Facing@Redfish.AllowableValues", `["Left","Left"]`, "allowable", "Facing@Redfish.AllowableValues"},
		{"Facing@Redfish.AllowableValues", `["Left","Up"]`, "enum", "Facing@Redfish.AllowableValues"},
		{"Facing@Redfish.AllowableValues", `"Left"`, "type", "Facing@Redfish.AllowableValues"},
		{"Material", `"wood"`, "enum", "Material"},
		{"MAC", `"52-54"`, "pattern", "MAC"},
		{"MAC", `""`, "empty-string", "MAC"},
		{"Page", `"no page"`, "url", "Page"},
		{"Page", `"/page"`, "", ""},
		{"Key", `"secret"`, "secret", "Key"},
		{"Old", `"x"`, "warn:deprecated", "Old"},
		{"Sise", `1`, "property-unknown", "Sise"},
		{"Parts", `{}`, "type", "Parts"},
		{"Parts", `[null]`, "null", "Parts[0]"},
		{"Parts/Label", "-", "required", "Parts[0].Label"},
		{"Parts/Shape", `"round"`, "property-unknown", "Parts[0].Shape"},
		{"Parts@odata.count", `2`, "count", "Parts@odata.count"},
		{"Parts@odata.count", `"1"`, "count", "Parts@odata.count"},
		{"Notes", `null`, "type", "Notes"},
		{"Notes", `[1]`, "type", "Notes[0]"},
		{"Attributes/slow", `1`, "property-unknown", "Attributes.slow"},
		{"Attributes/FAST", `{}`, "type", "Attributes.FAST"},
		{"Attributes", `[]`, "type", "Attributes"},
		{"Other", `"/redfish/v1/Widgets/2"`, "type", "Other"},
		{"Other", `null`, "null", "Other"},
		{"Other/Name", `"x"`, "reference", "Other.Name"},
		{"Other/@odata.id", `"/redfish/v1/Widgets/2/"`, "link", "Other"},
		{"Other/@odata.id", `"/redfish/v1/Widgets/a%20b"`, "link", "Other"},
		{"Other/@odata.id", `"http://x/redfish/v1/Widgets/2"`, "link", "Other"},
		{"Other/@odata.id", "-", "link", "Other"},
		{"Power/Serial", `"1"`, "excerpt", "Power.Serial"},
		{"Power/Volume", `1`, "property-unknown", "Power.Volume"},
		{"Power/@odata.id", `"/redfish/v1/Widgets/1"`, "excerpt", "Power.@odata.id"},
		{"Power/Reading", `"1"`, "type", "Power.Reading"},
		{"Fans/MemberId", "-", "required", "Fans[0].MemberId"},
		{"Fans/@odata.id", "-", "link", "Fans[0]"},
		{"Fans/@odata.type", `"#Gauge.v1_0_0.Gauge"`, "odata-type", "Fans[0].@odata.type"},
		{"@Redfish.Settings/Other", `1`, "property-unknown", "@Redfish.Settings.Other"},
		{"@Redfish.Copyright", `"x"`, "annotation", "@Redfish.Copyright"},
		{"@Redfish.NoSuch", `"x"`, "annotation", "@Redfish.NoSuch"},
		{"@Message.ExtendedInfo", `[{}]`, "required", "@Message.ExtendedInfo[0].MessageId"},
		{"NoSuch@odata.count", `1`, "annotation", "NoSuch@odata.count"},
		{"Fans@odata.nextLink", `"x"`, "odata", "Fans@odata.nextLink"},
		{"Oem/Acme/@odata.type", "-", "oem", "Oem.Acme.@odata.type"},
		{"Oem/Acme/@odata.type", `"#Acme.v1_0_0.Acme"`, "warn:oem", "Oem.Acme"},
		{"Oem/Acme/Size", `1`, "property-unknown", "Oem.Acme.Size"},
		{"Actions/#Widget.Spin/target", `"/Spin"`, "action", "Actions.#Widget.Spin.target"},
		{"Actions/#Widget.Spin/more", `1`, "action", "Actions.#Widget.Spin.more"},
		{"Actions/#Widget.Spin/Speed@Redfish.AllowableValues", `["1"]`, "action", "Actions.#Widget.Spin.Speed@Redfish.AllowableValues"},
		{"Actions/#Widget.Spin/Direction@Redfish.AllowableValues", `[]`, "allowable", "Actions.#Widget.Spin.Direction@Redfish.AllowableValues"},
		{"Actions/#Widget.Spin/Direction@Redfish.AllowableValues", "-", "warn:allowable", "Actions.#Widget.Spin"},
		{"Actions/#Widget.Spin/@Redfish.ActionInfo", `1`, "action-info", "Actions.#Widget.Spin.@Redfish.ActionInfo"},
		{"Actions/#Widget.Fly", `{}`, "action", "Actions.#Widget.Fly"},
		{"Actions/#Widget.Melt", `{"target":"/redfish/v1/Widgets/1/Actions/Widget.Melt"}`, "version", "Actions.#Widget.Melt"},
		{"Actions/Spin", `{}`, "property-unknown", "Actions.Spin"},
	} {
		var value any = "-"
		if row.value != "-" {
			d := json.NewDecoder(strings.NewReader(row.value))
			d.UseNumber()
			if err := d.Decode(&value); err != nil {
				t.Fatalf("%s: %v", row.value, err)
			}
		}
		r := checkWidget(t, dir, row.member, value)
		found, rule := r.Failures, row.rule
		if warning, ok := strings.CutPrefix(rule, "warn:"); ok {
			found, rule = r.Warnings, warning
			if len(r.Failures) > 0 {
				t.Errorf("%s = %s: failures %v, want a warning", row.member, row.value, r.Failures)
			}
		}
		switch {
		case rule == "" && len(r.Failures)+len(r.Warnings) > 0:
			t.Errorf("%s = %s: %v, want it taken", row.member, row.value, r)
		case rule != "" && !has(found, rule, row.where):
			t.Errorf("%s = %s: %v, want rule %s at %s", row.member, row.value, r, row.rule, row.where)
		}
	}
}

// has says whether a finding of the rule is there; where "" is anywhere.
func has(found []Finding, rule, where string) bool {
	for _, f := range found {
		if f.Rule == rule && (where == "" || f.Property == where) {
			return true
		}
	}
	return false
}

func TestURIsAndPatterns(t *testing.T) {
	patterns := []string{"/redfish/v1/Widgets/{WidgetId}", "/redfish/v1/Box"}
	for uri, want := range map[string]string{
		"/redfish/v1/Widgets/1": patterns[0], "/redfish/v1/Widgets/1/Settings": patterns[0] + "/Settings", "/redfish/v1/Box": patterns[1],
		"/redfish/v1/Widgets": "", "/redfish/v1/Widgets/": "", "/redfish/v1/Widgets/1/2": "", "/redfish/v1/box": "",
	} {
		if got := fits(patterns, uri); got != want {
			t.Errorf("%s fits %q, want %q", uri, got, want)
		}
	}
}

func TestActionInfo(t *testing.T) {
	s := openSchemas(folder(t))
	spin := s.space("Widget").actions["Spin"]
	for parameters, want := range map[string]string{
		`[{"Name":"Direction","Required":true,"DataType":"String","AllowableValues":["Left"]},{"Name":"Turns","DataType":"Number"}]`: "",
		`[{"Name":"Turns"}]`:     "Parameters.Direction",
		`[{"Name":"Direction"}]`: "Parameters.Direction.Required",
		`[{"Name":"Direction","Required":true},{"Name":"Speed"}]`:    "Parameters.Speed",
		`[{"Name":"Direction","Required":true,"DataType":"Number"}]`: "Parameters.Direction.DataType",
	} {
		body, err := decode([]byte(`{"Parameters":` + parameters + `}`))
		if err != nil {
			t.Fatal(err)
		}
		r := Report{Checked: map[string]int{}}
		p := &payload{schemas: s, report: &r}
		p.checkActionInfo(spin, body)
		if (want == "") != (len(r.Failures) == 0) || want != "" && !has(r.Failures, "action-info", want) {
			t.Errorf("%s: %v, want a failure at %q", parameters, r.Failures, want)
		}
	}
}

func TestRepeatedMembers(t *testing.T) {
	for raw, want := range map[string]string{
		`{"a":1,"b":{"a":2},"c":[{"a":1},{"a":2}]}`: "", `{"a":"b","b":"a"}`: "", `{"a":{"b":1,"c":[],"b":2}}`: "b", `{"a":1,"a":1}`: "a",
		`[{"x":[1,"x","x"]},{"x":{}}]`: "",
	} {
		if got := repeated([]byte(raw)); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}
