package conform

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// reference checks the value of a navigation property: a link, an excerpt of what it
// leads to, or all of it (DSP0266 §9.6).
func (p *payload) reference(path string, pr *prop, v any) {
	obj, ok := v.(map[string]any)
	if !ok {
		p.fail(path, "type", "is %s, want an object with @odata.id", show(v))
		return
	}
	switch {
	case pr.notes.excerptCopy != nil:
		p.excerpt(path, pr, obj)
	case pr.notes.autoExpand:
		p.expanded(path, pr, obj)
	default:
		for _, key := range slices.Sorted(maps.Keys(obj)) {
			if key != "@odata.id" {
				p.fail(join(path, key), "reference", "is in a link, which has @odata.id only")
			}
		}
		p.link(path, pr.typ, obj["@odata.id"])
	}
}

// safePath are the characters that a URI may have (DSP0266 §6.4).
var safePath = regexp.MustCompile(`^/[A-Za-z0-9\-._~/!$&'()*+,;=:@]*$`)

// link notes a link whose end the crawl will look at.
func (p *payload) link(path, want string, v any) {
	p.report.Checked["links"]++
	to, ok := v.(string)
	if !ok {
		p.fail(path, "link", "@odata.id is %s, want a URI", show(v))
		return
	}
	uri, _, _ := strings.Cut(to, "#")
	if !safePath.MatchString(uri) || strings.Contains(uri, "//") {
		p.fail(path, "link", "%q: want a path without escapes", to)
		return
	}
	if uri != rootURI && strings.HasSuffix(uri, "/") {
		p.fail(path, "link", "%q ends in a slash", to)
	}
	p.links = append(p.links, link{property: path, to: to, want: want})
}

// expanded checks an object that is whole although it is the end of a link.
func (p *payload) expanded(path string, pr *prop, obj map[string]any) {
	t := p.schemas.newest(pr.typ, p.in())
	if name, ok := obj["@odata.type"].(string); ok {
		t = p.schemas.typ(strings.TrimPrefix(name, "#"))
		if t == nil || !p.schemas.derives(t, pr.typ) {
			p.fail(path+".@odata.type", "odata-type", "%q is not a %s", name, pr.typ)
			return
		}
	}
	if t == nil {
		p.fail(path, "schema", "%s is in no schema that could be read", pr.typ)
		return
	}
	p.link(path, pr.typ, obj["@odata.id"])
	p.object(path, t, obj)
}

// excerpt checks the part of another resource that is copied into this one
// (DSP0266 §9.6.5).
func (p *payload) excerpt(path string, pr *prop, obj map[string]any) {
	t := p.schemas.newest(pr.typ, p.in())
	if t == nil {
		p.fail(path, "schema", "%s is in no schema that could be read", pr.typ)
		return
	}
	known := p.schemas.props(t)
	for _, key := range slices.Sorted(maps.Keys(obj)) {
		at := join(path, key)
		in := known[key]
		switch {
		case strings.Contains(key, "@"):
			if key == "@odata.id" {
				p.fail(at, "excerpt", "is in an excerpt; DataSourceUri is what says where it is from")
			}
		case in == nil:
			p.fail(at, "property-unknown", "%s has no such property", t.full())
		case !in.notes.excerptOnly && !inExcerpt(in.notes.excerpt, *pr.notes.excerptCopy):
			p.fail(at, "excerpt", "is not part of the excerpt %q", *pr.notes.excerptCopy)
		default:
			if uri, ok := obj[key].(string); ok && key == "DataSourceUri" {
				p.link(at, pr.typ, uri)
			}
			p.value(at, in, obj[key])
		}
	}
}

func inExcerpt(has *string, want string) bool {
	return has != nil && (*has == "" || slices.Contains(strings.Split(*has, ","), want))
}

// loose looks through what no type describes, for links.
func (p *payload) loose(path string, v any) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			p.loose(fmt.Sprintf("%s[%d]", path, i), e)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if key == "@odata.id" && path != "" {
				p.link(path, "", v[key])
			}
			p.loose(join(path, key), v[key])
		}
	}
}
