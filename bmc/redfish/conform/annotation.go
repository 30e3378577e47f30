package conform

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// extensions is the namespace of Redfish's own annotations.
const extensions = "RedfishExtensions.v1_0_0"

var (
	etag      = regexp.MustCompile(`^(W/)?"[\x21\x23-\x7e]*"$`)
	inContext = regexp.MustCompile(`^/redfish/v1/\$metadata#[A-Za-z0-9]+(\.v\d+_\d+_\d+)?\.[A-Za-z0-9]+(\(.*\))?$`)
)

// annotation checks an annotation of an object (DSP0266 §9.8).
func (p *payload) annotation(at, term string, v any) {
	path := join(at, "@"+term)
	p.report.Checked["annotations"]++
	switch term {
	case "odata.id":
		if _, ok := v.(string); !ok {
			p.fail(path, "odata", "is %s, want a URI", show(v))
		}
	case "odata.type":
		if s, _ := v.(string); !typeName.MatchString(s) {
			p.fail(path, "odata", "is %s, want \"#Schema.vX_Y_Z.Type\"", show(v))
		}
	case "odata.etag":
		if s, _ := v.(string); !etag.MatchString(s) {
			p.fail(path, "odata", "is %s, want an ETag in quotes", show(v))
		}
	case "odata.context":
		if s, _ := v.(string); !inContext.MatchString(s) {
			p.fail(path, "odata", "is %s, want \"/redfish/v1/$metadata#Schema.Type\"", show(v))
		}
	case "Message.ExtendedInfo":
		p.property(path, &prop{name: term, typ: "Message.Message", collection: true}, v)
	default:
		p.term(path, term, v)
	}
}

// forbidden are the terms that are not for payloads.
var forbidden = []string{"Copyright", "Deprecated", "Required", "RequiredOnCreate", "Uris", "Revisions", "OwningEntity"}

// term checks an annotation whose type RedfishExtensions declares.
func (p *payload) term(path, term string, v any) {
	name, ok := strings.CutPrefix(term, "Redfish.")
	sp := p.schemas.space(extensions)
	if !ok || sp == nil || sp.terms[name] == nil || slices.Contains(forbidden, name) {
		p.fail(path, "annotation", "is not an annotation for a payload")
		return
	}
	declared := *sp.terms[name]
	declared.nullable = false
	p.property(path, &declared, v)
}

// propertyAnnotation checks an annotation of a property, such as Members@odata.count.
func (p *payload) propertyAnnotation(at string, t *typ, obj map[string]any, name, term string) {
	p.report.Checked["annotations"]++
	path, v := join(at, name+"@"+term), obj[name+"@"+term]
	pr := p.schemas.props(t)[name]
	additional := p.schemas.note(t, func(n notes) bool { return n.additional != nil })
	if pr == nil && (additional.additional == nil || !*additional.additional) {
		p.fail(path, "annotation", "annotates a property that %s does not have", t.full())
		return
	}
	switch term {
	case "odata.count":
		p.count(path, obj, name, v)
	case "odata.nextLink":
		if s, _ := v.(string); !strings.HasPrefix(s, rootURI) {
			p.fail(path, "odata", "is %s, want a URI", show(v))
		}
	case "Message.ExtendedInfo":
		p.property(path, &prop{name: term, typ: "Message.Message", collection: true}, v)
	case "Redfish.AllowableValues":
		p.term(path, term, v)
		if pr != nil {
			p.allowable(path, pr, v)
		}
		if have, ok := obj[name].(string); ok && !contains(v, have) {
			p.warn(path, "allowable", "does not have the present value %q", have)
		}
	default:
		p.term(path, term, v)
	}
}

// count checks the number of members that an array is said to have.
func (p *payload) count(path string, obj map[string]any, name string, v any) {
	n, ok := v.(json.Number)
	list, _ := obj[name].([]any)
	count, err := n.Int64()
	if !ok || err != nil {
		p.fail(path, "count", "is %s, want a number", show(v))
		return
	}
	if _, more := obj[name+"@odata.nextLink"]; !more && count != int64(len(list)) {
		p.fail(path, "count", "is %d, but %s has %d", count, name, len(list))
	}
}

// allowable checks a list of values that a property or a parameter may take.
func (p *payload) allowable(path string, pr *prop, v any) {
	list, _ := v.([]any)
	if len(list) == 0 {
		p.fail(path, "allowable", "is empty")
	}
	t := p.schemas.newest(pr.typ, p.in())
	seen := map[string]bool{}
	for _, e := range list {
		s, _ := e.(string)
		if seen[s] {
			p.fail(path, "allowable", "has %q twice", s)
		}
		seen[s] = true
		if t != nil && len(t.members) > 0 {
			p.enum(path, t, e)
		}
	}
}

func contains(list any, s string) bool {
	l, _ := list.([]any)
	return slices.ContainsFunc(l, func(e any) bool { return e == s })
}
