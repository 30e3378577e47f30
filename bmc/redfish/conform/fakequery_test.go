package conform

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// features is what the fake says in its root when it has queries.
const features = `"ProtocolFeaturesSupported":{"SelectQuery":true,"FilterQuery":true,"TopSkipQuery":true,"OnlyMemberQuery":true,
	"ExpandQuery":{"NoLinks":true,"ExpandAll":true,"Links":true,"Levels":false}},"Links"`

// query answers a GET with a query, and says false where it is to be refused.
func (f *fake) query(w http.ResponseWriter, doc string, q url.Values) bool {
	body, _ := decode([]byte(doc)) // our own
	members, isCollection := body["Members"].([]any)
	for name := range q {
		switch {
		case f.is(name + " ignored"):
		case name == "$select":
			body = map[string]any{"@odata.id": body["@odata.id"], "@odata.type": body["@odata.type"], "Name": body["Name"]}
		case name == "$expand":
			if len(q.Get(name)) != 1 || strings.Trim(q.Get(name), ".*~") != "" {
				return false
			}
			if f.is("$expand with the ETag") {
				w.Header().Set("ETag", fmt.Sprintf(`W/"%d"`, len(doc)))
			}
			for i, m := range members {
				members[i], _ = decode([]byte(f.docs[id(m)])) // our own
			}
		case strings.HasPrefix(name, "$") && !isCollection || name == "only" && !isCollection:
			return false
		case name == "only":
			if len(members) == 1 {
				body, _ = decode([]byte(f.docs[id(members[0])])) // our own
			}
		case name == "$filter":
			n, ok := filtered[strings.NewReplacer("'1'", "1", "'2'", "2").Replace(q.Get(name))]
			if !ok {
				return false
			}
			members = members[:n]
			body["Members@odata.count"] = n
		}
	}
	for _, name := range []string{"$skip", "$top"} {
		n, err := strconv.Atoi(q.Get(name))
		switch {
		case !q.Has(name) || f.is(name+" ignored"):
		case err != nil || n < 0:
			return false
		case name == "$skip":
			members = members[min(n, len(members)):]
		default:
			members = members[:min(n, len(members))]
		}
	}
	if body["Members"] != nil {
		body["Members"] = members
	}
	if f.is("count of the page") && isCollection {
		body["Members@odata.count"] = len(members)
	}
	fmt.Fprint(w, encode(body))
	return true
}

// filtered are how many of the two widgets the filters leave.
var filtered = map[string]int{"Id eq 1": 1, "Id ne 1": 1, "not (Id eq 1)": 1, "Id eq 1 or Id ne 1": 2, "Id eq 'x' and Id eq 'y'": 0}

func TestQueries(t *testing.T) {
	for fault, broken := range map[string]bool{"queries": false, "$select ignored": true, "$expand ignored": true, "$expand with the ETag": true, "only ignored": true,
		"$filter ignored": true, "$top ignored": true, "$skip ignored": true, "count of the page": true} {
		r := run(t, fault, rootURI, `"Links"`, features)
		// The service root of the snippets does not have ProtocolFeaturesSupported.
		queries := 0
		for _, f := range r.Failures {
			if f.Rule == "query" || f.Rule == "http-etag" {
				queries++
			}
		}
		if (queries > 0) != broken {
			t.Errorf("%s: %s", fault, r)
		}
	}
}
