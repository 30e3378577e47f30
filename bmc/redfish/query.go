package redfish

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A query is the query part of a GET (DSP0266 §7.3).
type query struct {
	only      bool
	expand    byte // '.', '~', '*' or 0
	levels    int
	sel       [][]string
	filter    *expression
	skip, top int
	topGiven  bool
}

// plain says that nothing was asked for.
func (q query) plain() bool {
	return !q.only && q.expand == 0 && q.sel == nil && q.filter == nil && q.skip == 0 && !q.topGiven
}

const (
	// maxLevels is how deep $expand goes.
	maxLevels = 4
	// maxExpanded bounds the resources of one answer; those beyond stay references.
	maxExpanded = 5000
	// maxQuery bounds the length of a query string.
	maxQuery = 4096
)

// parseQuery reads the query of a GET. Parameters without a dollar sign that are not
// known are ignored, those with one are 501.
func parseQuery(raw string, rt *route) (query, error) {
	var q query
	if raw == "" {
		return q, nil
	}
	if len(raw) > maxQuery {
		return q, fail(http.StatusBadRequest, msg("QueryParameterValueFormatError", "(long)", "query"))
	}
	params, err := url.ParseQuery(raw)
	if err != nil {
		return q, fail(http.StatusBadRequest, msg("QueryParameterValueFormatError", brief(raw), "query"))
	}
	collection := rt.Members != nil
	for name, values := range params {
		if err := q.set(name, values, collection); err != nil {
			return q, err
		}
	}
	if q.only && (q.expand != 0 || q.sel != nil || q.filter != nil || q.skip != 0 || q.topGiven) {
		return q, fail(http.StatusBadRequest, msg("QueryCombinationInvalid"))
	}
	return q, nil
}

func (q *query) set(name string, values []string, collection bool) error {
	if !strings.HasPrefix(name, "$") && name != "only" {
		return nil
	}
	if !slices.Contains(parameters, name) {
		return fail(http.StatusNotImplemented, msg("QueryNotSupported"))
	}
	value := strings.TrimSpace(values[0])
	if !collection && name != "$expand" && name != "$select" {
		return fail(http.StatusBadRequest, msg("QueryNotSupportedOnResource"))
	}
	valid := len(values) == 1
	switch {
	case !valid:
		return fail(http.StatusBadRequest, msg("QueryParameterValueFormatError", brief(value), name))
	case name == "$skip" || name == "$top":
		return q.page(name, value)
	}
	switch name {
	case "only":
		q.only, valid = true, value == ""
	case "$expand":
		q.expand, q.levels, valid = parseExpand(value)
	case "$select":
		q.sel, valid = parseSelect(value)
	case "$filter":
		q.filter, valid = parseFilter(value)
	}
	if !valid {
		return fail(http.StatusBadRequest, msg("QueryParameterValueFormatError", brief(value), name))
	}
	return nil
}

// parameters are those that exist; ProtocolFeaturesSupported says the same.
var parameters = []string{"only", "$expand", "$select", "$filter", "$skip", "$top"}

func (q *query) page(name, value string) error {
	n, err := strconv.Atoi(value)
	switch {
	case err != nil:
		return fail(http.StatusBadRequest, msg("QueryParameterValueTypeError", brief(value), name))
	case n < 0:
		return fail(http.StatusBadRequest, msg("QueryParameterOutOfRange", brief(value), name, "0-"))
	case name == "$skip":
		q.skip = n
	default:
		q.top, q.topGiven = n, true
	}
	return nil
}

// parseExpand reads ".", "~" or "*", with "($levels=n)" or without.
func parseExpand(s string) (which byte, levels int, ok bool) {
	if s == "" || !strings.ContainsRune(".~*", rune(s[0])) {
		return 0, 0, false
	}
	which, s = s[0], strings.ReplaceAll(s[1:], " ", "")
	if s == "" {
		return which, 1, true
	}
	s, found := strings.CutPrefix(s, "($levels=")
	s, closed := strings.CutSuffix(s, ")")
	n, err := strconv.Atoi(s)
	if !found || !closed || err != nil || n < 1 || n > maxLevels {
		return 0, 0, false
	}
	return which, n, true
}

// parseSelect reads property paths.
func parseSelect(s string) ([][]string, bool) {
	var out [][]string
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return nil, false
		}
		out = append(out, strings.Split(part, "/"))
	}
	return out, true
}

// refuseQuery refuses query parameters where there is no GET.
func refuseQuery(raw string) error {
	if raw == "" {
		return nil
	}
	params, err := url.ParseQuery(raw)
	if err != nil {
		return fail(http.StatusBadRequest, msg("QueryParameterValueFormatError", brief(raw), "query"))
	}
	for name := range params {
		if slices.Contains(parameters, name) {
			return fail(http.StatusBadRequest, msg("QueryNotSupportedOnOperation"))
		}
		if strings.HasPrefix(name, "$") {
			return fail(http.StatusNotImplemented, msg("QueryNotSupported"))
		}
	}
	return nil
}

// queried answers a GET with a query.
func (s *Service) queried(req *Request, rt *route, doc *document, q query) ([]byte, error) {
	o := doc.object
	// Members on many peers that do not answer take this long together, not each.
	ctx, cancel := context.WithTimeout(req.Context(), 2*readPatience)
	defer cancel()
	bounded := *req
	bounded.HTTP = req.HTTP.WithContext(ctx)
	req = &bounded
	if rt.Members != nil {
		refs, _ := o.Get("Members")
		members, _ := refs.([]Object)
		if q.only {
			if len(members) == 1 {
				return s.onlyMember(req, members[0])
			}
			return doc.body, nil
		}
		o = s.paged(req, o, members, q)
	}
	if q.expand != 0 {
		e := expander{service: s, req: req, which: q.expand, left: maxExpanded}
		o = e.object(o, q.levels, false)
	}
	if q.sel != nil {
		o = selected(o, q.sel)
	}
	return appendObject(nil, o)
}

func (s *Service) onlyMember(req *Request, ref Object) ([]byte, error) {
	path, _ := ref.Get("@odata.id")
	member, err := s.fetch(req, path.(string))
	if err != nil {
		return nil, err
	}
	return member.body, nil
}

// paged applies $filter, $skip and $top to the members.
func (s *Service) paged(req *Request, o Object, members []Object, q query) Object {
	if q.filter != nil {
		kept := []Object{}
		for _, ref := range members {
			path, _ := ref.Get("@odata.id")
			if doc, err := s.fetch(req, path.(string)); err == nil && q.filter.holds(doc.object) {
				kept = append(kept, ref)
			}
		}
		members = kept
		o = o.with("Members@odata.count", len(members))
	}
	members = members[min(q.skip, len(members)):]
	if q.topGiven {
		members = members[:min(q.top, len(members))]
	}
	return o.with("Members", members)
}

// selected keeps the properties asked for, and those that say what the resource is.
func selected(o Object, paths [][]string) Object {
	var out Object
	for _, p := range o {
		var rest [][]string
		whole := strings.HasPrefix(p.Key, "@odata.")
		for _, path := range paths {
			if path[0] != p.Key && path[0] != "*" {
				continue
			}
			if len(path) == 1 || path[0] == "*" {
				whole = true
				continue
			}
			rest = append(rest, path[1:])
		}
		switch {
		case whole:
			out = append(out, p)
		case rest != nil:
			out = append(out, Property{p.Key, selectedValue(p.Value, rest)})
		}
	}
	return out
}

func selectedValue(v any, paths [][]string) any {
	switch v := v.(type) {
	case Object:
		return selected(v, paths)
	case []Object:
		out := make([]Object, len(v))
		for i, o := range v {
			out[i] = selected(o, paths)
		}
		return out
	}
	return v
}
