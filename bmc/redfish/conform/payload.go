package conform

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// payload is the check of one resource's JSON against its type. It makes no request.
type payload struct {
	schemas *schemas
	report  *Report
	uri     string
	t       *typ // nil if it could not be found
	links   []link
	infos   []infoLink
	// writable are the paths of the values that the schema lets clients write.
	writable []string
}

// link is a reference to another resource.
type link struct {
	property, to string
	want         string // a type, or "" for any
}

// infoLink is an action's link to the resource that describes its parameters.
type infoLink struct {
	property, to string
	action       *action
	schema       string
}

var typeName = regexp.MustCompile(`^#([A-Za-z0-9]+(\.v\d+_\d+_\d+)?\.[A-Za-z0-9]+)$`)

// checkPayload holds the answer to a GET of uri against the schemas.
func checkPayload(s *schemas, r *Report, uri string, body map[string]any) *payload {
	p := &payload{schemas: s, report: r, uri: uri}
	r.Checked["resources"]++
	name, _ := body["@odata.type"].(string)
	m := typeName.FindStringSubmatch(name)
	if m == nil {
		p.fail("@odata.type", "odata-type", "is %s, want \"#Schema.vX_Y_Z.Type\"", show(body["@odata.type"]))
		p.loose("", body)
		return p
	}
	if p.t = s.typ(m[1]); p.t == nil || p.t.kind != kindEntity || p.t.abstract {
		p.fail("@odata.type", "odata-type", "%q is not a type of a schema that could be read", name)
		p.t = nil
		p.loose("", body)
		return p
	}
	p.identity(body)
	if body["Members@odata.count"] == nil && s.derives(p.t, "Resource.v1_0_0.ResourceCollection") {
		p.fail("Members@odata.count", "count", "is missing")
	}
	p.object("", p.t, body)
	return p
}

// documents are the types that files have which are served, but are no resources:
// they have no @odata.id (DSP0266 §8.5, "Message registries").
var documents = []string{"MessageRegistry", "AttributeRegistry", "PrivilegeRegistry"}

// identity checks how the resource names itself (DSP0266 §7.1 and §9.5).
func (p *payload) identity(body map[string]any) {
	if n := p.schemas.note(p.t, func(n notes) bool { return n.deprecated != "" }); n.deprecated != "" {
		p.warn("@odata.type", "deprecated", "schema is deprecated: %s", n.deprecation)
	}
	id, ok := body["@odata.id"].(string)
	if slices.Contains(documents, schemaOf(p.t.space)) && body["@odata.id"] == nil {
		return
	}
	if !ok || id != p.uri {
		p.fail("@odata.id", "odata-id", "is %s, want the URI that was asked for", show(body["@odata.id"]))
	}
	patterns := p.schemas.note(p.t, func(n notes) bool { return n.uris != nil }).uris
	if patterns == nil {
		return
	}
	pattern := fits(patterns, p.uri)
	if pattern == "" {
		p.fail("", "uri", "%s may not be here: no pattern of Redfish.Uris fits", p.t.full())
		return
	}
	last := p.uri[strings.LastIndexByte(p.uri, '/')+1:]
	if body["Id"] != nil && strings.HasSuffix(pattern, "}") && body["Id"] != last {
		p.fail("Id", "id", "is %s, want the last segment of the URI", show(body["Id"]))
	}
}

// fits returns the pattern of Redfish.Uris that the URI fits, or "". A resource with
// settings that apply later is at its own URI with "/Settings" (DSP0266 §9.10).
func fits(patterns []string, uri string) string {
	have := strings.Split(uri, "/")
	for _, pattern := range patterns {
		want := strings.Split(pattern, "/")
		if len(have) == len(want)+1 && have[len(want)] == "Settings" && fits([]string{pattern}, strings.TrimSuffix(uri, "/Settings")) != "" {
			return pattern + "/Settings"
		}
		if slices.EqualFunc(have, want, func(h, w string) bool { return h == w || h != "" && strings.HasPrefix(w, "{") }) {
			return pattern
		}
	}
	return ""
}

// object checks an object of a structured type. at is its path in the resource.
func (p *payload) object(at string, t *typ, obj map[string]any) {
	p.report.Checked["objects"]++
	known := p.schemas.props(t)
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if _, ok := obj[name]; known[name].notes.required && !known[name].notes.excerptOnly && !ok {
			p.fail(join(at, name), "required", "is missing")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(obj)) {
		p.member(at, t, obj, key)
	}
}

// member checks one member of an object, whatever it is.
func (p *payload) member(at string, t *typ, obj map[string]any, key string) {
	v, path := obj[key], join(at, key)
	if name, term, ok := strings.Cut(key, "@"); ok {
		if name == "" {
			p.annotation(at, term, v)
			return
		}
		p.propertyAnnotation(at, t, obj, name, term)
		return
	}
	if strings.HasPrefix(key, "#") && t.name == "Actions" {
		p.action(path, t, key, v)
		return
	}
	if pr := p.schemas.props(t)[key]; pr != nil {
		p.property(path, pr, v)
		return
	}
	additional := p.schemas.note(t, func(n notes) bool { return n.additional != nil || n.dynamic != nil })
	for _, d := range additional.dynamic {
		if d.pattern.MatchString(key) {
			p.value(path, &prop{name: key, typ: d.typ, nullable: true}, v)
			return
		}
	}
	if additional.additional == nil || !*additional.additional {
		p.fail(path, "property-unknown", "%s has no such property", t.full())
		return
	}
	p.loose(path, v)
}

// property checks the value of a declared property with all that is said of it.
func (p *payload) property(path string, pr *prop, v any) {
	p.report.Checked["properties"]++
	p.age(path, pr.notes)
	if pr.notes.excerptOnly {
		p.fail(path, "excerpt", "is for excerpts only")
	}
	if perm := pr.notes.permission; perm == "ReadWrite" || perm == "Write" {
		p.writable = append(p.writable, path)
		if v != nil && (perm == "Write" || pr.name == "Password") {
			p.fail(path, "secret", "is not null, but can only be written")
		}
	}
	if !pr.collection {
		p.value(path, pr, v)
		return
	}
	list, ok := v.([]any)
	if !ok {
		p.fail(path, "type", "is %s, want an array", show(v))
		return
	}
	for i, v := range list {
		p.value(fmt.Sprintf("%s[%d]", path, i), pr, v)
	}
}

// age checks the versions in which something came and went.
func (p *payload) age(path string, n notes) {
	if strings.HasPrefix(n.added, "v") && p.t != nil && older(p.t.space, n.added) {
		p.fail(path, "version", "came with %s, but the resource is a %s", n.added, p.t.space)
	}
	if n.deprecated != "" && (p.t == nil || !strings.HasPrefix(n.deprecated, "v") || !older(p.t.space, n.deprecated)) {
		p.warn(path, "deprecated", "%s", n.deprecation)
	}
}

// value checks one value, or one element of a collection.
func (p *payload) value(path string, pr *prop, v any) {
	if v == nil {
		if !pr.nullable {
			p.fail(path, "null", "is null, and must not be")
		}
		return
	}
	if pr.navigation {
		p.reference(path, pr, v)
		return
	}
	if strings.HasPrefix(pr.typ, "Edm.") {
		p.primitive(path, pr.typ, pr.notes, v)
		return
	}
	p.named(path, pr, v)
}

// named checks a value of a type that a schema declares.
func (p *payload) named(path string, pr *prop, v any) {
	t := p.schemas.newest(pr.typ, p.in())
	if t == nil {
		p.warn(path, "schema", "%s is in no schema that could be read", pr.typ)
		p.loose(path, v)
		return
	}
	switch t.kind {
	case kindEnum:
		p.enum(path, t, v)
	case kindDefinition:
		n := pr.notes
		if n.pattern == nil {
			n.pattern = t.notes.pattern
		}
		if n.minimum == nil && n.maximum == nil {
			n.minimum, n.maximum = t.notes.minimum, t.notes.maximum
		}
		p.primitive(path, t.underlying, n, v)
		if len(t.members) > 0 {
			p.enum(path, t, v)
		}
	default:
		p.structured(path, t, v)
	}
}

func (p *payload) structured(path string, t *typ, v any) {
	obj, ok := v.(map[string]any)
	if !ok {
		p.fail(path, "type", "is %s, want an object of %s", show(v), t.full())
		return
	}
	if t.name == "OemObject" {
		p.oem(path, obj)
		return
	}
	p.object(path, t, obj)
}

// oem checks an object of a vendor's: it names its type (DSP0266 §9.7).
func (p *payload) oem(path string, obj map[string]any) {
	name, _ := obj["@odata.type"].(string)
	m := typeName.FindStringSubmatch(name)
	if m == nil {
		p.fail(path+".@odata.type", "oem", "is %s, want the type of the vendor's object", show(obj["@odata.type"]))
		p.loose(path, obj)
		return
	}
	if t := p.schemas.typ(m[1]); t != nil {
		p.object(path, t, obj)
		return
	}
	p.warn(path, "oem", "%s is in no schema that could be read", m[1])
	p.loose(path, obj)
}

func (p *payload) enum(path string, t *typ, v any) {
	s, ok := v.(string)
	if !ok {
		p.fail(path, "type", "is %s, want a string", show(v))
		return
	}
	member, ok := t.members[s]
	if !ok {
		p.fail(path, "enum", "%q is not one of %s", s, t.full())
		return
	}
	if p.t != nil && schemaOf(t.space) == schemaOf(p.t.space) {
		p.age(path, member)
	}
}

// in is the namespace of the resource's type.
func (p *payload) in() string {
	if p.t == nil {
		return ""
	}
	return p.t.space
}

func (p *payload) fail(path, rule, format string, args ...any) {
	p.report.fail(Finding{Resource: p.uri, Property: path, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (p *payload) warn(path, rule, format string, args ...any) {
	p.report.warn(Finding{Resource: p.uri, Property: path, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// show returns a value as short JSON.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(b) > 60 {
		return string(b[:60]) + "…"
	}
	return string(b)
}
