package conform

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// checkQueries checks the query parameters that the service root says there are
// (DSP0266 §7.3).
func (c *crawl) checkQueries() {
	root := c.resources[rootURI].body
	can := func(path string) bool { return at(root, "ProtocolFeaturesSupported."+path) == true }
	get := func(uri string) answer { return c.do(request{method: http.MethodGet, uri: uri}) }
	if a := get(rootURI + "?unknown=1"); a.status != http.StatusOK {
		c.failf("query", rootURI, "?unknown=1 answers %d, want it ignored", a.status)
	}
	c.expect("query", "with an unknown $", request{method: http.MethodGet, uri: rootURI + "?$unknown=1"}, []int{http.StatusNotImplemented, http.StatusBadRequest}, "QueryNotSupported")
	many, one := c.collection(2), c.collection(1)
	for _, q := range []struct {
		feature, query string
		check          func()
	}{
		{"SelectQuery", "$select=Name", func() { c.checkSelect(one) }},
		{"FilterQuery", "$filter=" + url.QueryEscape("Id eq 'x'"), func() { c.checkFilter(many) }},
		{"TopSkipQuery", "$top=1", func() { c.checkPaging(many) }},
		{"OnlyMemberQuery", "only", func() { c.checkOnly(many, c.collectionOf(1)) }},
		{"ExpandQuery.NoLinks", "$expand=.", func() { c.checkExpand(".", many) }},
		{"ExpandQuery.Links", "$expand=~", func() { c.checkExpand("~", nil) }},
		{"ExpandQuery.ExpandAll", "$expand=*", func() { c.checkExpand("*", many) }},
		{"ExpandQuery.Levels", "$expand=.($levels=1)", func() { c.checkLevels() }},
	} {
		c.report.Checked["queries"]++
		switch {
		case can(q.feature):
			q.check()
		case strings.HasPrefix(q.query, "$"):
			if many != nil {
				c.expect("query", "not supported", request{method: http.MethodGet, uri: many.uri + "?" + q.query},
					[]int{http.StatusNotImplemented, http.StatusBadRequest}, "QueryNotSupported")
			}
			c.warnf("query-missing", rootURI, "ProtocolFeaturesSupported does not have %s", q.feature)
		}
	}
}

// collection returns one with at least n members whose members are resources, or nil.
func (c *crawl) collection(n int) *resource {
	for _, r := range c.order {
		members, _ := r.body["Members"].([]any)
		if len(members) >= n && r.payload != nil && r.payload.t != nil && schemaOf(r.payload.t.space) != "SessionCollection" &&
			len(members[0].(map[string]any)) == 1 { //nolint:forcetypeassert // checked as a payload
			return r
		}
	}
	return nil
}

// collectionOf returns one with n members, or nil.
func (c *crawl) collectionOf(n int) *resource {
	for _, r := range c.order {
		if members, _ := r.body["Members"].([]any); len(members) == n && c.resources[id(members[0])] != nil && !strings.Contains(r.uri, "Session") {
			return r
		}
	}
	return nil
}

func id(v any) string {
	s, _ := at(v, "@odata.id").(string)
	return s
}

// query reads a resource with a query that must work.
func (c *crawl) query(uri, query string) (map[string]any, string) {
	full := uri + "?" + query
	a := c.do(request{method: http.MethodGet, uri: full})
	if a.status != http.StatusOK || a.body == nil {
		c.failf("query", full, "answers %d %.80s", a.status, a.raw)
		return nil, full
	}
	return a.body, full
}

func (c *crawl) refusedQuery(uri, query string, keys ...string) {
	c.expect("query", "with a bad value", request{method: http.MethodGet, uri: uri + "?" + query}, []int{http.StatusBadRequest, http.StatusNotImplemented}, keys...)
}

// badValue are the messages for a value that a query parameter may not have.
var badValue = []string{"QueryParameterValueFormatError", "QueryParameterValueTypeError", "QueryParameterOutOfRange", "QueryParameterValueError",
	"QueryNotSupported", "QueryParameterUnsupported"}

func (c *crawl) checkSelect(r *resource) {
	if r == nil {
		return
	}
	body, full := c.query(r.uri, "$select=Name")
	for key := range body {
		if key != "Name" && !strings.HasPrefix(key, "@odata.") {
			c.failf("query", full, "has %s, which was not selected", key)
		}
	}
	if body != nil && (body["Name"] != r.body["Name"] || body["@odata.id"] != r.uri || body["@odata.type"] == nil) {
		c.failf("query", full, "want Name, @odata.id and @odata.type")
	}
	systems := c.of("ComputerSystem")
	if len(systems) == 0 {
		return
	}
	body, full = c.query(systems[0].uri, "$select=Status/State,Boot")
	status, _ := body["Status"].(map[string]any)
	if body != nil && (len(status) != 1 || status["State"] == nil || !reflect.DeepEqual(body["Boot"], systems[0].body["Boot"]) || body["Id"] != nil) {
		c.failf("query", full, "want Status with State only, and all of Boot")
	}
}

func (c *crawl) checkFilter(r *resource) {
	if r == nil {
		return
	}
	members, _ := r.body["Members"].([]any)
	first := c.resources[id(members[0])]
	if first == nil {
		return
	}
	own, _ := first.body["Id"].(string)
	for filter, want := range map[string]int{
		fmt.Sprintf("Id eq '%s'", own):                    1,
		fmt.Sprintf("Id ne '%s'", own):                    len(members) - 1,
		fmt.Sprintf("not (Id eq '%s')", own):              len(members) - 1,
		fmt.Sprintf("Id eq '%s' or Id ne '%s'", own, own): len(members),
		"Id eq 'x' and Id eq 'y'":                         0,
	} {
		body, full := c.query(r.uri, "$filter="+url.QueryEscape(filter))
		if body != nil {
			c.checkCount(full, body, want, want)
		}
	}
	c.refusedQuery(r.uri, "$filter="+url.QueryEscape("Id zz 1"), badValue...)
	c.refusedQuery(r.uri, "$filter="+url.QueryEscape("(Id eq 'x'"), badValue...)
	c.refusedQuery(rootURI, "$filter="+url.QueryEscape("Id eq 'x'"), "QueryNotSupportedOnResource", "QueryNotSupported")
}

// checkCount checks how many members there are, and how many it says.
func (c *crawl) checkCount(full string, body map[string]any, members, count int) {
	have, _ := body["Members"].([]any)
	n, _ := body["Members@odata.count"].(json.Number)
	if len(have) != members || n.String() != fmt.Sprint(count) {
		c.failf("query", full, "has %d members and the count %s, want %d and %d", len(have), n, members, count)
	}
}

func (c *crawl) checkPaging(r *resource) {
	if r == nil {
		return
	}
	members, _ := r.body["Members"].([]any)
	for query, want := range map[string][]any{
		"$top=1": members[:1], "$skip=1": members[1:], "$skip=1&$top=1": members[1:2], "$top=1000": members, "$skip=1000": {},
	} {
		body, full := c.query(r.uri, query)
		if body == nil {
			continue
		}
		c.checkCount(full, body, len(want), len(members))
		if got, _ := body["Members"].([]any); len(want) > 0 && !reflect.DeepEqual(got, want) {
			c.failf("query", full, "has other members")
		}
	}
	for _, bad := range []string{"$top=-1", "$top=x", "$skip=-1", "$skip=x"} {
		c.refusedQuery(r.uri, bad, badValue...)
	}
	c.refusedQuery(rootURI, "$top=1", "QueryNotSupportedOnResource", "QueryNotSupported")
}

func (c *crawl) checkOnly(many, one *resource) {
	if many != nil {
		if body, full := c.query(many.uri, "only"); body != nil && body["@odata.id"] != many.uri {
			c.failf("query", full, "is %s, want the collection: it has several members", show(body["@odata.id"]))
		}
	}
	if one != nil {
		members, _ := one.body["Members"].([]any)
		if body, full := c.query(one.uri, "only"); body != nil && body["@odata.id"] != id(members[0]) {
			c.failf("query", full, "is %s, want the only member", show(body["@odata.id"]))
		}
	}
	c.refusedQuery(rootURI, "only", "QueryNotSupportedOnResource", "QueryNotSupported")
}

// checkExpand checks what is expanded: everything below a resource with ".", what is
// in Links with "~", both with "*".
func (c *crawl) checkExpand(kind string, many *resource) {
	if many != nil {
		c.checkExpandedETag(many, kind)
		body, full := c.query(many.uri, "$expand="+url.QueryEscape(kind))
		members, _ := body["Members"].([]any)
		for i, m := range members {
			obj, _ := m.(map[string]any)
			if end := c.resources[id(m)]; end == nil || obj["@odata.type"] != end.body["@odata.type"] || obj["Name"] != end.body["Name"] {
				c.failf("query", full, "Members[%d] is not the whole of %s", i, id(m))
			}
		}
		if body != nil {
			c.checkCount(full, body, len(members), len(many.body["Members"].([]any))) //nolint:forcetypeassert // collection made sure
		}
	}
	if systems := c.of("ComputerSystem"); len(systems) > 0 {
		c.checkExpanded(kind, systems[0])
	}
	c.refusedQuery(rootURI, "$expand=nonsense", badValue...)
}

// checkExpandedETag checks that the ETag is not that of the collection alone: a client
// that comes back with it would get 304 although a member has changed.
func (c *crawl) checkExpandedETag(many *resource, kind string) {
	uri := many.uri + "?$expand=" + url.QueryEscape(kind)
	a := c.do(request{method: http.MethodGet, uri: uri})
	if tag := a.header.Get("ETag"); tag != "" && tag == many.header.Get("ETag") {
		c.failf("http-etag", uri, "has the ETag of the collection without its members")
	}
}

// checkExpanded checks the links of a system, one in Links and one that is not.
func (c *crawl) checkExpanded(kind string, sys *resource) {
	body, full := c.query(sys.uri, "$expand="+url.QueryEscape(kind))
	if body == nil {
		return
	}
	expanded := func(v any) bool { return at(v, "@odata.type") != nil }
	chassis, _ := at(body, "Links.Chassis").([]any)
	if len(chassis) > 0 && expanded(chassis[0]) != (kind != ".") {
		c.failf("query", full, "Links.Chassis expanded: %t", expanded(chassis[0]))
	}
	if v := body["EthernetInterfaces"]; v != nil && expanded(v) != (kind != "~") {
		c.failf("query", full, "EthernetInterfaces expanded: %t", expanded(v))
	}
}

// checkLevels checks how deep it goes.
func (c *crawl) checkLevels() {
	maximum, _ := at(c.resources[rootURI].body, "ProtocolFeaturesSupported.ExpandQuery.MaxLevels").(json.Number)
	n, err := maximum.Int64()
	if err != nil || n < 1 {
		c.failf("query", rootURI, "ProtocolFeaturesSupported.ExpandQuery.MaxLevels is %q, but Levels is true", maximum)
		return
	}
	depth := map[int64]bool{}
	for _, levels := range []int64{1, min(2, n)} {
		body, full := c.query(rootURI, "$expand="+url.QueryEscape(fmt.Sprintf(".($levels=%d)", levels)))
		members, _ := at(body, "Systems.Members").([]any)
		if body != nil && len(members) == 0 {
			c.failf("query", full, "Systems is not expanded")
		}
		depth[levels] = slices.ContainsFunc(members, func(m any) bool { return at(m, "@odata.type") != nil })
	}
	if depth[1] || n > 1 && !depth[2] {
		c.failf("query", rootURI, "$levels does not say how deep $expand goes")
	}
	for _, bad := range []string{".($levels=x)", ".($levels=0)", ".($levels=-1)", fmt.Sprintf(".($levels=%d)", n+1)} {
		c.refusedQuery(rootURI, "$expand="+url.QueryEscape(bad), badValue...)
	}
}
