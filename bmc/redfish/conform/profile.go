package conform

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The parts of an interoperability profile (DSP0272 §7).
type (
	profile struct {
		Name       string                     `json:"ProfileName"`
		Version    string                     `json:"ProfileVersion"`
		Protocol   map[string]json.RawMessage `json:"Protocol"`
		Resources  map[string]resourceProfile `json:"Resources"`
		Registries map[string]registryProfile `json:"Registries"`
		Required   map[string]json.RawMessage `json:"RequiredProfiles"`
	}
	resourceProfile struct {
		Read       string                     `json:"ReadRequirement"`
		MinVersion string                     `json:"MinVersion"`
		URIs       []string                   `json:"URIs"`
		Properties map[string]propertyProfile `json:"PropertyRequirements"`
		Actions    map[string]actionProfile   `json:"ActionRequirements"`
		Conditions []condition                `json:"ConditionalRequirements"`
		Create     bool                       `json:"CreateResource"`
		Update     bool                       `json:"UpdateResource"`
		Delete     bool                       `json:"DeleteResource"`
		UseCases   []json.RawMessage          `json:"UseCases"`
	}
	propertyProfile struct {
		Read       string                     `json:"ReadRequirement"`
		Write      string                     `json:"WriteRequirement"`
		Conditions []condition                `json:"ConditionalRequirements"`
		Properties map[string]propertyProfile `json:"PropertyRequirements"`
		MinCount   int                        `json:"MinCount"`
		Support    []string                   `json:"MinSupportValues"`
		Comparison string                     `json:"Comparison"`
		Values     []any                      `json:"Values"`
		ReplacedBy string                     `json:"ReplacedByProperty"`
		Replaces   string                     `json:"ReplacesProperty"`
	}
	condition struct {
		Read          string   `json:"ReadRequirement"`
		Write         string   `json:"WriteRequirement"`
		Comparison    string   `json:"Comparison"`
		Values        []any    `json:"Values"`
		Subordinate   []string `json:"SubordinateToResource"`
		URIs          []string `json:"URIs"`
		Property      string   `json:"CompareProperty"`
		CompareType   string   `json:"CompareType"`
		CompareValues []any    `json:"CompareValues"`
	}
	actionProfile struct {
		Read       string                      `json:"ReadRequirement"`
		Info       string                      `json:"ActionInfo"`
		Parameters map[string]parameterProfile `json:"Parameters"`
	}
	parameterProfile struct {
		Read        string   `json:"ReadRequirement"`
		Values      []string `json:"ParameterValues"`
		Recommended []string `json:"RecommendedValues"`
	}
	registryProfile struct {
		Read       string                     `json:"ReadRequirement"`
		MinVersion string                     `json:"MinVersion"`
		Messages   map[string]registryProfile `json:"Messages"`
	}
)

// The levels of requirements (DSP0272 §7.3).
const (
	mandatory   = "Mandatory"
	supported   = "Supported"
	recommended = "Recommended"
	excluded    = "Excluded"
	absent      = "Absent"
)

func readProfiles(files []string) ([]profile, error) {
	var out []profile
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("profile: %w", err)
		}
		var p profile
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, fmt.Errorf("profile %s: %w", file, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// profileCheck is the check of one profile.
type profileCheck struct {
	*crawl
	rule string
	// seen counts for each property that must be somewhere where it is ("Supported").
	seen map[string]int
}

func (c *crawl) checkProfile(p profile) {
	pc := &profileCheck{crawl: c, rule: "profile-" + p.Name + "-" + p.Version, seen: map[string]int{}}
	pc.protocol(p.Protocol)
	for _, name := range slices.Sorted(maps.Keys(p.Resources)) {
		pc.resource(name, p.Resources[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Registries)) {
		pc.messages(name, p.Registries[name])
	}
	for _, name := range slices.Sorted(maps.Keys(pc.seen)) {
		if pc.seen[name] == 0 {
			pc.miss(mandatory, "", name, "is in no resource")
		}
	}
	if len(p.Required) > 0 {
		pc.miss(recommended, "", "RequiredProfiles", "are not read: give them to the crawl as well")
	}
}

// miss reports a requirement that is not met, as its level says.
func (pc *profileCheck) miss(level, uri, property, format string, args ...any) {
	f := Finding{Resource: uri, Property: property, Rule: pc.rule, Text: fmt.Sprintf(format, args...)}
	switch level {
	case "", mandatory, excluded, supported:
		pc.report.fail(f)
	case recommended:
		pc.report.warn(f)
	}
}

// protocol checks what is required of the service root (DSP0272 §7.4).
func (pc *profileCheck) protocol(want map[string]json.RawMessage) {
	root := pc.resources[rootURI].body
	for _, name := range slices.Sorted(maps.Keys(want)) {
		pc.report.Checked["profile"]++
		var level string
		if json.Unmarshal(want[name], &level) != nil {
			continue // an object, such as HostInterface's
		}
		if name == "MinVersion" {
			if have, _ := root["RedfishVersion"].(string); less(have, level) {
				pc.miss(mandatory, rootURI, "RedfishVersion", "is %q, want %s", have, level)
			}
			continue
		}
		feature := at(root, "ProtocolFeaturesSupported."+name)
		if obj, ok := feature.(map[string]any); ok {
			feature = obj["ExpandAll"]
		}
		if (level == mandatory || level == recommended) && feature != true {
			pc.miss(level, rootURI, "ProtocolFeaturesSupported."+name, "is not true")
		}
	}
}

// less compares versions such as "1.6.0".
func less(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range y {
		var have int
		if i < len(x) {
			have, _ = strconv.Atoi(x[i]) // no number is 0
		}
		if want, _ := strconv.Atoi(y[i]); have != want {
			return have < want
		}
	}
	return false
}

// resource checks all resources of a schema (DSP0272 §7.5).
func (pc *profileCheck) resource(schema string, want resourceProfile) {
	// What applies later is part of its resource, which has what the profile asks for.
	found := slices.DeleteFunc(pc.of(schema), func(r *resource) bool { return strings.HasSuffix(r.uri, "/Settings") })
	if want.URIs != nil {
		found = slices.DeleteFunc(found, func(r *resource) bool { return fits(want.URIs, r.uri) == "" })
	}
	pc.report.Checked["profile"]++
	if len(want.UseCases) > 0 {
		pc.miss(recommended, "", schema, "its UseCases are not checked")
	}
	if len(found) == 0 {
		pc.miss(cmp.Or(want.Read, mandatory), "", schema, "there is no such resource")
		return
	}
	for _, r := range found {
		read := cmp.Or(want.Read, mandatory)
		for _, cond := range want.Conditions {
			if pc.holds(cond, r, r.body) {
				read = cmp.Or(cond.Read, read)
			}
		}
		if read == excluded {
			pc.miss(excluded, r.uri, "", "%s is not to be there", schema)
			continue
		}
		pc.instance(r, want)
	}
}

func (pc *profileCheck) instance(r *resource, want resourceProfile) {
	if v := versionOf(r.payload.t.space); want.MinVersion != "" && v != (version{}) && less(fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]), want.MinVersion) {
		pc.miss(mandatory, r.uri, "@odata.type", "is %s, want %s", r.payload.t.space, want.MinVersion)
	}
	allow := methods(r.header)
	for m, need := range map[string]bool{http.MethodPost: want.Create, http.MethodPatch: want.Update, http.MethodDelete: want.Delete} {
		if need && !slices.Contains(allow, m) {
			pc.miss(cmp.Or(want.Read, mandatory), r.uri, "", "does not allow %s", m)
		}
	}
	pc.properties(r, "", r.body, want.Properties)
	for _, name := range slices.Sorted(maps.Keys(want.Actions)) {
		pc.action(r, name, want.Actions[name])
	}
}

// properties checks the properties of an object.
func (pc *profileCheck) properties(r *resource, at string, obj map[string]any, want map[string]propertyProfile) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		pc.report.Checked["profile"]++
		pc.property(r, join(at, name), name, obj, want[name])
	}
}

func (pc *profileCheck) property(r *resource, path, name string, obj map[string]any, want propertyProfile) {
	v, ok := obj[name]
	if _, replaced := obj[want.ReplacedBy]; replaced && !ok {
		return
	}
	read, write := cmp.Or(want.Read, mandatory), want.Write
	if _, replaced := obj[want.Replaces]; replaced && !ok && want.Replaces != "" {
		return
	}
	for _, cond := range want.Conditions {
		if !pc.holds(cond, r, obj) {
			continue
		}
		read, write = cmp.Or(cond.Read, read), cmp.Or(cond.Write, write)
		if cond.Comparison != "" {
			pc.compare(r, path, read, v, ok, cond.Comparison, cond.Values)
		}
	}
	if read == supported {
		key := schemaOf(r.payload.t.space) + "." + path
		pc.seen[key] += map[bool]int{true: 1}[ok]
	}
	if read == excluded && ok {
		pc.miss(excluded, r.uri, path, "is not to be there")
	}
	if !ok {
		if read == mandatory || read == recommended {
			pc.miss(read, r.uri, path, "is missing")
		}
		return
	}
	pc.present(r, path, name, obj, read, want)
	pc.write(r, path, v, write)
}

// present checks a property that is there.
func (pc *profileCheck) present(r *resource, path, name string, obj map[string]any, read string, want propertyProfile) {
	v := obj[name]
	list, isList := v.([]any)
	if want.MinCount > 0 && len(list) < want.MinCount {
		pc.miss(read, r.uri, path, "has %d elements, want %d", len(list), want.MinCount)
	}
	if want.Support != nil {
		pc.support(r, path, read, v, obj[name+"@Redfish.AllowableValues"], want.Support)
	}
	if want.Comparison != "" && len(want.Conditions) == 0 || want.Values != nil && len(want.Conditions) == 0 {
		pc.compare(r, path, read, v, true, cmp.Or(want.Comparison, "AnyOf"), want.Values)
	}
	if want.Properties == nil {
		return
	}
	if !isList {
		list = []any{v}
	}
	for i, e := range list {
		at := path
		if isList {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		if inner, ok := e.(map[string]any); ok && !isReference(inner) {
			pc.properties(r, at, inner, want.Properties)
		}
	}
}

func isReference(obj map[string]any) bool { return len(obj) == 1 && obj["@odata.id"] != nil }

// write checks a WriteRequirement: by Allow, and by writing what is there.
func (pc *profileCheck) write(r *resource, path string, v any, level string) {
	if level == "" || level == "None" {
		return
	}
	if !slices.Contains(methods(r.header), http.MethodPatch) {
		pc.miss(level, r.uri, path, "cannot be written: no PATCH")
		return
	}
	if !pc.o.Write || v == nil || strings.Contains(path, "[") {
		return
	}
	q := request{method: http.MethodPatch, uri: r.uri, body: nested(path, v)}
	if a := pc.do(q); a.status >= 300 {
		pc.miss(level, r.uri, path, "PATCH of the present value answers %d %.120s", a.status, a.raw)
	}
}
