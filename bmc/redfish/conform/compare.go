package conform

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// support checks that values are among those that can be set, or that are listed.
func (pc *profileCheck) support(r *resource, path, level string, v, allowable any, want []string) {
	have := allowable
	if have == nil {
		have = v
	}
	for _, w := range want {
		if !contains(have, w) {
			pc.miss(level, r.uri, path, "does not support %q", w)
		}
	}
}

// compare checks a comparison of DSP0272 §7.6.4.
func (pc *profileCheck) compare(r *resource, path, level string, v any, present bool, comparison string, values []any) {
	if comparison == "LinkToResource" {
		// A profile may ask for what the schema rules out, as Ironic's 1.1.0 does of Drives.
		if pr := pc.schemas.props(r.payload.t)[path]; pr != nil && pr.navigation && schemaOf(pr.typ) != "Resource" && !contains(values, schemaOf(pr.typ)) {
			level = recommended
		}
		for _, to := range targets(v) {
			end := pc.resources[to]
			if end == nil || end.payload == nil || end.payload.t == nil || !contains(values, schemaOf(end.payload.t.space)) {
				pc.miss(level, r.uri, path, "leads to %q, want a resource of %v", to, values)
			}
		}
		return
	}
	if comparison == absent || comparison == "Present" {
		if present != (comparison == "Present") {
			pc.miss(level, r.uri, path, "is to be %s", strings.ToLower(comparison))
		}
		return
	}
	if !compares(v, comparison, values) {
		pc.miss(level, r.uri, path, "is %s, want %s %v", show(v), comparison, values)
	}
}

// targets are the ends of a link, or of several.
func targets(v any) []string {
	if list, ok := v.([]any); ok {
		var out []string
		for _, e := range list {
			out = append(out, targets(e)...)
		}
		return out
	}
	return []string{id(v)}
}

// compares says whether a comparison holds.
func compares(v any, comparison string, values []any) bool {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	in := func(w any) bool { return slices.ContainsFunc(list, func(e any) bool { return same(e, w) }) }
	switch comparison {
	case "AnyOf":
		return slices.ContainsFunc(values, in)
	case "AllOf":
		return !slices.ContainsFunc(values, func(w any) bool { return !in(w) })
	case "Equal":
		return len(values) > 0 && in(values[0])
	case "NotEqual":
		return len(values) > 0 && !in(values[0])
	case "Pattern":
		return len(values) > 0 && matchesPattern(v, values[0])
	}
	return compareNumbers(v, comparison, values)
}

func matchesPattern(v, pattern any) bool {
	s, ok := v.(string)
	re, err := regexp.Compile(fmt.Sprint(pattern))
	return ok && err == nil && re.MatchString(s)
}

func compareNumbers(v any, comparison string, values []any) bool {
	have, ok := float(v)
	var limits []float64
	for _, w := range values {
		if f, isNumber := float(w); isNumber {
			limits = append(limits, f)
		}
	}
	if !ok || len(limits) == 0 {
		return false
	}
	switch comparison {
	case "GreaterThan":
		return have > limits[0]
	case "GreaterThanOrEqual":
		return have >= limits[0]
	case "LessThan":
		return have < limits[0]
	case "LessThanOrEqual":
		return have <= limits[0]
	case "Range":
		return len(limits) > 1 && have >= limits[0] && have <= limits[1]
	}
	return false
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case float64:
		return v, true
	}
	return 0, false
}

func same(a, b any) bool {
	x, isNumber := float(a)
	y, too := float(b)
	if isNumber || too {
		return isNumber && too && x == y
	}
	return a == b
}

// holds says whether a condition of DSP0272 §7.7 applies. obj is the object that has
// the property.
func (pc *profileCheck) holds(cond condition, r *resource, obj map[string]any) bool {
	if cond.URIs != nil && fits(cond.URIs, r.uri) == "" {
		return false
	}
	if cond.Subordinate != nil && !pc.subordinate(r.uri, cond.Subordinate) {
		return false
	}
	if cond.Property == "" {
		return true
	}
	v, ok := obj[cond.Property]
	if pointer, isPointer := strings.CutPrefix(cond.Property, "/"); isPointer {
		v, ok = follow(r.body, pointer)
	}
	switch comparison := cmp.Or(cond.CompareType, "AnyOf"); comparison {
	case absent:
		return !ok
	case "Present":
		return ok
	case "LinkToResource":
		return slices.ContainsFunc(targets(v), func(to string) bool {
			end := pc.resources[to]
			return end != nil && end.payload != nil && end.payload.t != nil && contains(cond.CompareValues, schemaOf(end.payload.t.space))
		})
	default:
		return ok && compares(v, comparison, cond.CompareValues)
	}
}

// subordinate says whether the resources above a URI end in those schemas.
func (pc *profileCheck) subordinate(uri string, chain []string) bool {
	var above []string
	for i := strings.LastIndexByte(uri, '/'); i > 0; i = strings.LastIndexByte(uri, '/') {
		uri = uri[:i]
		if r := pc.resources[uri]; r != nil && r.payload != nil && r.payload.t != nil {
			above = append(above, schemaOf(r.payload.t.space))
		}
	}
	slices.Reverse(above)
	// Collections may be left out of the chain.
	i := len(chain) - 1
	for j := len(above) - 1; j >= 0 && i >= 0; j-- {
		if above[j] == chain[i] {
			i--
		} else if !strings.HasSuffix(above[j], "Collection") {
			return false
		}
	}
	return i < 0
}

// action checks an action and its parameters (DSP0272 §7.8).
func (pc *profileCheck) action(r *resource, name string, want actionProfile) {
	pc.report.Checked["profile"]++
	key := "#" + schemaOf(r.payload.t.space) + "." + name
	actions, _ := r.body["Actions"].(map[string]any)
	obj, _ := actions[key].(map[string]any)
	level, path := cmp.Or(want.Read, mandatory), "Actions."+key
	if obj == nil {
		if level == mandatory || level == recommended {
			pc.miss(level, r.uri, path, "is missing")
		}
		return
	}
	info, _ := obj["@Redfish.ActionInfo"].(string)
	if info == "" && want.Info != "" {
		pc.miss(want.Info, r.uri, path, "has no ActionInfo")
	}
	described := pc.parameters(info)
	for _, p := range slices.Sorted(maps.Keys(want.Parameters)) {
		pc.parameter(r, path+"."+p, obj[p+"@Redfish.AllowableValues"], described[p], want.Parameters[p])
	}
}

// parameters are those that an ActionInfo describes, by name.
func (pc *profileCheck) parameters(info string) map[string]map[string]any {
	out := map[string]map[string]any{}
	r := pc.resources[info]
	if r == nil {
		return out
	}
	list, _ := r.body["Parameters"].([]any)
	for _, e := range list {
		obj, _ := e.(map[string]any)
		name, _ := obj["Name"].(string)
		out[name] = obj
	}
	return out
}

func (pc *profileCheck) parameter(r *resource, path string, allowable any, described map[string]any, want parameterProfile) {
	pc.report.Checked["profile"]++
	level := cmp.Or(want.Read, mandatory)
	if allowable == nil && described == nil {
		if level == mandatory || level == recommended {
			pc.miss(level, r.uri, path, "neither ActionInfo nor AllowableValues has it")
		}
		return
	}
	values := described["AllowableValues"]
	if values == nil {
		values = allowable
	}
	for _, v := range want.Values {
		if !contains(values, v) {
			pc.miss(level, r.uri, path, "does not take %q", v)
		}
	}
	for _, v := range want.Recommended {
		if !contains(values, v) {
			pc.miss(recommended, r.uri, path, "does not take %q", v)
		}
	}
}

// messages checks a registry (DSP0272 §7.9).
func (pc *profileCheck) messages(prefix string, want registryProfile) {
	pc.report.Checked["profile"]++
	reg := pc.registry[prefix]
	if reg == nil {
		pc.miss(cmp.Or(want.Read, mandatory), "", prefix, "this registry is not served")
		return
	}
	if less(reg.version, want.MinVersion) {
		pc.miss(mandatory, "", prefix, "is version %s, want %s", reg.version, want.MinVersion)
	}
	for _, key := range slices.Sorted(maps.Keys(want.Messages)) {
		if reg.messages[key] == nil {
			pc.miss(cmp.Or(want.Messages[key].Read, mandatory), "", prefix+"."+key, "this message is not in the registry")
		}
	}
}
