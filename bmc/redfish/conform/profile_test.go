package conform

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// miniature is a crawl that has read three resources.
func miniature(t *testing.T, s *schemas) *crawl {
	t.Helper()
	c := &crawl{schemas: s, resources: map[string]*resource{}, registry: map[string]*registry{
		"Base": {prefix: "Base", version: "1.19.0", messages: map[string]any{"Success": map[string]any{}}}}}
	c.report.Checked = map[string]int{}
	for uri, doc := range map[string]string{
		rootURI:               `{"@odata.type":"#ServiceRoot.v1_0_0.ServiceRoot","RedfishVersion":"1.6.0","ProtocolFeaturesSupported":{"SelectQuery":true,"ExpandQuery":{"ExpandAll":true}}}`,
		"/redfish/v1/Widgets": `{"@odata.type":"#WidgetCollection.WidgetCollection","Members":[{"@odata.id":"/redfish/v1/Widgets/1"}]}`,
		widgetURI: `{"@odata.type":"#Widget.v1_1_0.Widget","Size":5,"Facing":"Left","Facing@Redfish.AllowableValues":["Left","Right"],"Tag":"x",
			"Parts":[{"Label":"a"},{"Colour":"red"}],"Other":{"@odata.id":"/redfish/v1/Widgets/1"},"Notes":["a","b"],
			"Actions":{"#Widget.Spin":{"target":"/x","Direction@Redfish.AllowableValues":["Left"]}}}`,
	} {
		body, err := decode([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		name, _ := body["@odata.type"].(string)
		r := &resource{uri: uri, status: http.StatusOK, body: body, header: http.Header{"Allow": {"GET, HEAD"}}, payload: &payload{t: s.typ(name[1:])}}
		if uri == widgetURI {
			r.header.Set("Allow", "GET, HEAD, PATCH")
		}
		c.resources[uri] = r
	}
	return c
}

func TestProfile(t *testing.T) {
	s := openSchemas(folder(t))
	widget := func(properties string) string {
		return `{"Resources":{"Widget":{"PropertyRequirements":{` + properties + `}}}}`
	}
	for _, row := range []struct {
		profile, where string // where it is missed; "warn:" before it is a warning; "" is met
	}{
		{`{"Protocol":{"MinVersion":"1.6.0","SelectQuery":"Mandatory","ExpandQuery":"Mandatory","FilterQuery":"None"}}`, ""},
		{`{"Protocol":{"MinVersion":"1.10.0"}}`, "RedfishVersion"},
		{`{"Protocol":{"FilterQuery":"Mandatory"}}`, "ProtocolFeaturesSupported.FilterQuery"},
		{`{"Protocol":{"FilterQuery":"Recommended"}}`, "warn:ProtocolFeaturesSupported.FilterQuery"},
		{`{"Registries":{"Base":{"MinVersion":"1.0.0","Messages":{"Success":{}}}}}`, ""},
		{`{"Registries":{"Base":{"MinVersion":"1.20.0"}}}`, "Base"},
		{`{"Registries":{"Base":{"Messages":{"Failure":{}}}}}`, "Base.Failure"},
		{`{"Registries":{"Other":{}}}`, "Other"},
		{`{"Registries":{"Other":{"ReadRequirement":"Recommended"}}}`, "warn:Other"},
		{`{"Resources":{"Gauge":{}}}`, "Gauge"},
		{`{"Resources":{"Gauge":{"ReadRequirement":"Recommended"}}}`, "warn:Gauge"},
		{`{"Resources":{"Gauge":{"ReadRequirement":"IfImplemented"}}}`, ""},
		{`{"Resources":{"Widget":{"URIs":["/redfish/v1/Gadgets/{Id}"]}}}`, "Widget"},
		{`{"Resources":{"Widget":{"MinVersion":"1.1.0","UpdateResource":true}}}`, ""},
		{`{"Resources":{"Widget":{"MinVersion":"1.2.0"}}}`, "@odata.type"},
		{`{"Resources":{"WidgetCollection":{"CreateResource":true}}}`, "" + "/redfish/v1/Widgets"},
		{`{"Resources":{"Widget":{"ReadRequirement":"Excluded"}}}`, "/redfish/v1/Widgets/1"},
		{`{"Resources":{"WidgetCollection":{"PropertyRequirements":{"Members":{"MinCount":1}}}}}`, ""},
		{`{"Resources":{"WidgetCollection":{"PropertyRequirements":{"Members":{"MinCount":2}}}}}`, "Members"},
		{widget(`"Weight":{}`), "Weight"},
		{widget(`"Weight":{"ReadRequirement":"Recommended"}`), "warn:Weight"},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented"}`), ""},
		{widget(`"Weight":{"ReadRequirement":"Supported"}`), "Widget.Weight"},
		{widget(`"Size":{"ReadRequirement":"Supported"}`), ""},
		{widget(`"Size":{"ReadRequirement":"Excluded"}`), "Size"},
		{widget(`"Weight":{"ReadRequirement":"Excluded"}`), ""},
		{widget(`"Weight":{"ReplacedByProperty":"Size"}`), ""},
		{widget(`"Weight":{"ReplacesProperty":"Size"}`), ""},
		{widget(`"Size":{"Comparison":"Range","Values":[1,5]}`), ""},
		{widget(`"Size":{"Comparison":"Range","Values":[6,9]}`), "Size"},
		{widget(`"Size":{"Comparison":"GreaterThan","Values":[5]}`), "Size"},
		{widget(`"Size":{"Comparison":"GreaterThanOrEqual","Values":[5]}`), ""},
		{widget(`"Size":{"Comparison":"LessThan","Values":[5]}`), "Size"},
		{widget(`"Size":{"Comparison":"LessThanOrEqual","Values":[5]}`), ""},
		{widget(`"Tag":{"Comparison":"LessThan","Values":[5]}`), "Tag"},
		{widget(`"Facing":{"Comparison":"AnyOf","Values":["Left","Up"]}`), ""},
		{widget(`"Facing":{"Values":["Up"],"ReadRequirement":"Recommended"}`), "warn:Facing"},
		{widget(`"Facing":{"Comparison":"Equal","Values":["Left"]}`), ""},
		{widget(`"Facing":{"Comparison":"NotEqual","Values":["Left"]}`), "Facing"},
		{widget(`"Facing":{"Comparison":"Pattern","Values":["^L"]}`), ""},
		{widget(`"Facing":{"Comparison":"Pattern","Values":["^R"]}`), "Facing"},
		{widget(`"Facing":{"Comparison":"Absent"}`), "Facing"},
		{widget(`"Facing":{"Comparison":"Present"}`), ""},
		{widget(`"Notes":{"Comparison":"AllOf","Values":["a","b"]}`), ""},
		{widget(`"Notes":{"Comparison":"AllOf","Values":["a","c"]}`), "Notes"},
		{widget(`"Facing":{"MinSupportValues":["Right"]}`), ""},
		{widget(`"Facing":{"MinSupportValues":["Up"]}`), "Facing"},
		{widget(`"Notes":{"MinSupportValues":["a"]}`), ""},
		{widget(`"Other":{"Comparison":"LinkToResource","Values":["Widget"]}`), ""},
		{widget(`"Other":{"Comparison":"LinkToResource","Values":["Gauge"]}`), "warn:Other"},
		{widget(`"Other":{"PropertyRequirements":{"Size":{}}}`), ""},
		{widget(`"Parts":{"PropertyRequirements":{"Label":{}}}`), "Parts[1].Label"},
		{widget(`"Tag":{"WriteRequirement":"Mandatory"}`), ""},
		{`{"Resources":{"WidgetCollection":{"PropertyRequirements":{"Members":{"WriteRequirement":"Mandatory"}}}}}`, "Members"},
		{`{"Resources":{"Widget":{"ActionRequirements":{"Spin":{"Parameters":{"Direction":{"ParameterValues":["Left"]}}}}}}}`, ""},
		{`{"Resources":{"Widget":{"ActionRequirements":{"Spin":{"Parameters":{"Direction":{"ParameterValues":["Right"]}}}}}}}`, "Actions.#Widget.Spin.Direction"},
		{`{"Resources":{"Widget":{"ActionRequirements":{"Spin":{"Parameters":{"Direction":{"RecommendedValues":["Right"]}}}}}}}`, "warn:Actions.#Widget.Spin.Direction"},
		{`{"Resources":{"Widget":{"ActionRequirements":{"Spin":{"Parameters":{"Turns":{}}}}}}}`, "Actions.#Widget.Spin.Turns"},
		{`{"Resources":{"Widget":{"ActionRequirements":{"Spin":{"ActionInfo":"Mandatory"}}}}}`, "Actions.#Widget.Spin"},
		{`{"Resources":{"Widget":{"ActionRequirements":{"Melt":{}}}}}`, "Actions.#Widget.Melt"},
		{`{"Resources":{"Widget":{"ActionRequirements":{"Melt":{"ReadRequirement":"IfImplemented"}}}}}`, ""},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented","ConditionalRequirements":[{"CompareProperty":"Size","CompareValues":[5],"ReadRequirement":"Mandatory"}]}`), "Weight"},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented","ConditionalRequirements":[{"CompareProperty":"/Facing","CompareType":"Equal","CompareValues":["Up"],"ReadRequirement":"Mandatory"}]}`), ""},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented","ConditionalRequirements":[{"CompareProperty":"Old","CompareType":"Absent","ReadRequirement":"Recommended"}]}`), "warn:Weight"},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented","ConditionalRequirements":[{"CompareProperty":"Tag","CompareType":"Present","ReadRequirement":"Mandatory"}]}`), "Weight"},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented","ConditionalRequirements":[{"CompareProperty":"Other","CompareType":"LinkToResource","CompareValues":["Widget"],"ReadRequirement":"Mandatory"}]}`), "Weight"},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented","ConditionalRequirements":[{"SubordinateToResource":["WidgetCollection"],"ReadRequirement":"Mandatory"}]}`), "Weight"},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented","ConditionalRequirements":[{"SubordinateToResource":["Gauge"],"ReadRequirement":"Mandatory"}]}`), ""},
		{widget(`"Weight":{"ReadRequirement":"IfImplemented","ConditionalRequirements":[{"URIs":["/redfish/v1/Widgets/{Id}"],"ReadRequirement":"Mandatory"}]}`), "Weight"},
		{widget(`"Size":{"ConditionalRequirements":[{"URIs":["/redfish/v1/Widgets/{Id}"],"Comparison":"Equal","Values":[6]}]}`), "Size"},
		{`{"Resources":{"Widget":{"UseCases":[{}]}}}`, "warn:Widget"},
		{`{"RequiredProfiles":{"Other":{}}}`, "warn:RequiredProfiles"},
	} {
		var p profile
		if err := json.Unmarshal([]byte(row.profile), &p); err != nil {
			t.Fatalf("%s: %v", row.profile, err)
		}
		c := miniature(t, s)
		c.checkProfile(p)
		found, where := c.report.Failures, row.where
		if w, ok := strings.CutPrefix(where, "warn:"); ok {
			found, where = c.report.Warnings, w
		}
		n := len(c.report.Failures) + len(c.report.Warnings)
		if where == "" && n > 0 || where != "" && (n != 1 || len(found) != 1 || found[0].Property != where && found[0].Resource != where) {
			t.Errorf("%s: %s, want a miss at %q", row.profile, c.report, row.where)
		}
	}
}

func TestProfileFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.json")
	for content, ok := range map[string]bool{`{"ProfileName":"X","ProfileVersion":"1.0.0"}`: true, `{`: false} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := readProfiles([]string{file})
		if (err == nil) != ok || ok && p[0].Name != "X" {
			t.Errorf("%s: %v %v", content, p, err)
		}
	}
}
