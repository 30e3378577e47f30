package conform

import (
	"maps"
	"slices"
	"strings"
)

// action checks the description of an action (DSP0266 §9.9).
func (p *payload) action(path string, t *typ, key string, v any) {
	p.report.Checked["actions"]++
	schema, name, _ := strings.Cut(strings.TrimPrefix(key, "#"), ".")
	var a *action
	if sp := p.schemas.space(schema); sp != nil {
		a = sp.actions[name]
	}
	if a == nil || schemaOf(a.bound) != schemaOf(t.space) {
		p.fail(path, "action", "%s has no such action", t.space)
		return
	}
	p.age(path, a.notes)
	obj, ok := v.(map[string]any)
	if !ok {
		p.fail(path, "action", "is %s, want an object with target", show(v))
		return
	}
	if want := p.uri + "/Actions/" + schema + "." + name; obj["target"] != want {
		p.fail(path+".target", "action", "is %s, want %q", show(obj["target"]), want)
	}
	for _, member := range slices.Sorted(maps.Keys(obj)) {
		p.actionMember(path, schema, a, member, obj)
	}
	p.described(path, a, obj)
}

// actionMember checks what an action's description says besides its target.
func (p *payload) actionMember(path, schema string, a *action, member string, obj map[string]any) {
	at, v := join(path, member), obj[member]
	name, term, annotated := strings.Cut(member, "@")
	switch {
	case member == "target":
	case member == "title":
		p.primitive(at, "Edm.String", notes{}, v)
	case !annotated:
		p.fail(at, "action", "is not part of the description of an action")
	case term == "Redfish.ActionInfo":
		to, ok := v.(string)
		if !ok {
			p.fail(at, "action-info", "is %s, want a URI", show(v))
			return
		}
		p.link(at, "ActionInfo.ActionInfo", to)
		p.infos = append(p.infos, infoLink{property: at, to: to, action: a, schema: schema})
	case name == "":
		p.term(at, term, v)
	default:
		pr := a.parameter(name)
		if pr == nil {
			p.fail(at, "action", "annotates a parameter that the action does not have")
			return
		}
		p.term(at, term, v)
		if term == "Redfish.AllowableValues" {
			p.allowable(at, pr, v)
		}
	}
}

// described warns if a client cannot find out what an enumerated parameter takes.
func (p *payload) described(path string, a *action, obj map[string]any) {
	if obj["@Redfish.ActionInfo"] != nil {
		return
	}
	for _, pr := range a.parameters {
		t := p.schemas.newest(pr.typ, p.in())
		if t != nil && t.kind == kindEnum && obj[pr.name+"@Redfish.AllowableValues"] == nil {
			p.warn(path, "allowable", "nothing says which values %s takes", pr.name)
		}
	}
}

func (a *action) parameter(name string) *prop {
	for _, p := range a.parameters {
		if p.name == name {
			return p
		}
	}
	return nil
}

// checkActionInfo holds the resource that describes an action's parameters against
// the action in the schema.
func (p *payload) checkActionInfo(a *action, body map[string]any) {
	list, _ := body["Parameters"].([]any)
	seen := map[string]bool{}
	for _, e := range list {
		obj, _ := e.(map[string]any)
		name, _ := obj["Name"].(string)
		path := "Parameters." + name
		pr := a.parameter(name)
		if pr == nil || seen[name] {
			p.fail(path, "action-info", "%s has no such parameter, or it is here twice", a.name)
			continue
		}
		seen[name] = true
		if required, _ := obj["Required"].(bool); !pr.nullable && !required {
			p.fail(path+".Required", "action-info", "is not true, but the schema requires it")
		}
		if want := p.dataType(pr); want != "" && obj["DataType"] != nil && obj["DataType"] != want {
			p.fail(path+".DataType", "action-info", "is %s, want %q", show(obj["DataType"]), want)
		}
		if values := obj["AllowableValues"]; values != nil {
			p.allowable(path+".AllowableValues", pr, values)
		}
	}
	for _, pr := range a.parameters {
		if !pr.nullable && !seen[pr.name] {
			p.fail("Parameters."+pr.name, "action-info", "is missing, but the schema requires it")
		}
	}
}

// dataType is what ActionInfo calls the type of a parameter.
func (p *payload) dataType(pr *prop) string {
	name := map[string]string{"Edm.Boolean": "Boolean", "Edm.Int64": "Number", "Edm.Decimal": "Number", "Edm.String": "String",
		"Edm.DateTimeOffset": "String", "Edm.Guid": "String", "Edm.Duration": "String"}[pr.typ]
	if t := p.schemas.newest(pr.typ, p.in()); t != nil {
		name = map[kind]string{kindEnum: "String", kindDefinition: "", kindComplex: "Object", kindEntity: "Object"}[t.kind]
	}
	if name != "" && pr.collection {
		name += "Array"
	}
	return name
}
