package redfish

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
)

// names returns the rules' properties in order, without annotations: those are not described
// to clients, and never required.
func (rules Rules) names() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(rules)), func(name string) bool { return strings.HasPrefix(name, "@") })
}

// values are the strings that are allowed now; nil: any.
func (rule Rule) values(r *Request) []string {
	if rule.ValuesFor != nil {
		return rule.ValuesFor(r)
	}
	return rule.Values
}

// A checker holds what a client wrote against the rules.
type checker struct {
	req *Request
	// action is set for its parameters; creating for a new resource. Otherwise it is a PATCH.
	action   string
	creating bool
	rejected []Message
}

// check returns what passed; c.rejected says what did not. have is the present payload,
// to tell read-only properties from unknown ones.
func (c *checker) check(rules Rules, body map[string]any, have Object, prefix string) Values {
	out := Values{}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		rule, writable := rules[name]
		if !writable {
			c.refuseName(name, have, prefix)
			continue
		}
		if v, ok := c.value(rule, body[name], have.Object(name), prefix+name); ok {
			out[name] = v
		}
	}
	for _, name := range rules.names() {
		if _, given := body[name]; !given && rules[name].Required {
			c.missing(prefix + name)
		}
	}
	return out
}

// refuseName rejects a property that has no rule. OData annotations are no properties.
func (c *checker) refuseName(name string, have Object, prefix string) {
	if strings.HasPrefix(name, "@odata.") {
		return
	}
	_, exists := have.Get(name)
	switch {
	case c.action != "":
		c.reject(msg("ActionParameterUnknown", c.action, brief(name)).about(prefix + name))
	case exists:
		c.reject(msg("PropertyNotWritable", prefix+name).about(prefix + name))
	default:
		c.reject(msg("PropertyUnknown", brief(prefix+name)).about(prefix + name))
	}
}

func (c *checker) missing(path string) {
	switch {
	case c.action != "":
		c.reject(msg("ActionParameterMissing", c.action, path).about(path))
	case c.creating:
		c.reject(msg("CreateFailedMissingReqProperties", path).about(path))
	default:
		c.reject(msg("PropertyMissing", path).about(path))
	}
}

func (c *checker) reject(m Message) { c.rejected = append(c.rejected, m) }

// wrong rejects a value; what is TypeError, FormatError or NotInList.
func (c *checker) wrong(what string, rule Rule, v any, path string) {
	text := "(hidden)"
	if !rule.Secret {
		raw, err := json.Marshal(v)
		if s, isString := v.(string); isString {
			raw, err = []byte(s), nil
		}
		if err == nil {
			text = brief(string(raw))
		}
	}
	if c.action != "" {
		c.reject(msg("ActionParameterValue"+what, text, path, c.action).about(path))
		return
	}
	c.reject(msg("PropertyValue"+what, text, path).about(path))
}

// brief shortens what a client wrote, for a message.
func brief(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// value checks one value.
func (c *checker) value(rule Rule, v any, have Object, path string) (any, bool) {
	if v == nil {
		if !rule.Null {
			c.wrong("TypeError", rule, v, path)
		}
		return nil, rule.Null
	}
	out, problem := c.typed(rule, v, have, path)
	if problem != "" {
		if problem != nestedProblem {
			c.wrong(problem, rule, v, path)
		}
		return nil, false
	}
	if rule.Check != nil && !rule.Check(out) {
		c.wrong("FormatError", rule, v, path)
		return nil, false
	}
	return out, true
}

// nestedProblem says that a message was made further inside.
const nestedProblem = "nested"

// typed converts a value by its rule, or returns what is wrong with it.
func (c *checker) typed(rule Rule, v any, have Object, path string) (out any, problem string) {
	switch rule.Kind {
	case String:
		return c.text(rule, v)
	case Bool:
		if b, ok := v.(bool); ok {
			return b, ""
		}
	case Integer, Number:
		return number(rule, v)
	case Nested:
		if inner, ok := v.(map[string]any); ok {
			// What is wrong inside does not take back what is right.
			values := c.check(rule.Properties, inner, have, path+"/")
			if len(values) == 0 {
				return nil, nestedProblem
			}
			return values, ""
		}
	case List:
		return c.list(rule, v, path)
	case Any:
		return v, ""
	}
	return nil, "TypeError"
}

// defaultMax is the length of strings and lists without a Max.
const defaultMax = 1024

func (rule Rule) max() int {
	if rule.Max == 0 {
		return defaultMax
	}
	return rule.Max
}

func (c *checker) text(rule Rule, v any) (any, string) {
	s, isString := v.(string)
	if !isString {
		return nil, "TypeError"
	}
	if values := rule.values(c.req); values != nil && !slices.Contains(values, s) {
		return nil, "NotInList"
	}
	if len(s) > rule.max() {
		return nil, "FormatError"
	}
	return s, ""
}

func number(rule Rule, v any) (any, string) {
	n, isNumber := v.(json.Number)
	if !isNumber {
		return nil, "TypeError"
	}
	f, err := n.Float64()
	if err != nil {
		return nil, "FormatError"
	}
	if rule.Most > rule.Min && (f < rule.Min || f > rule.Most) {
		return nil, "FormatError"
	}
	if rule.Kind == Number {
		return f, ""
	}
	if i, err := n.Int64(); err == nil {
		return i, ""
	}
	if f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return nil, "TypeError"
	}
	return int64(f), ""
}

func (c *checker) list(rule Rule, v any, path string) (any, string) {
	items, isList := v.([]any)
	if !isList {
		return nil, "TypeError"
	}
	if len(items) > rule.max() {
		return nil, "FormatError"
	}
	if rule.Elements == nil {
		return items, ""
	}
	out := make([]any, 0, len(items))
	for _, item := range items {
		element, fine := c.value(*rule.Elements, item, nil, path)
		if !fine {
			return nil, nestedProblem
		}
		out = append(out, element)
	}
	return out, ""
}
