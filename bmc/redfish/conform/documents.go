package conform

import (
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// checkRoot checks that the service root is the same with and without a slash.
func (c *crawl) checkRoot() {
	get := request{method: http.MethodGet, uri: "/redfish/v1", open: true}
	a := c.do(get)
	switch {
	case a.status == http.StatusPermanentRedirect || a.status == http.StatusMovedPermanently || a.status == http.StatusTemporaryRedirect:
		if to := pathOf(a.header.Get("Location")); to != rootURI {
			c.problem("root", get, "redirects to %q", to)
		}
	case a.status != http.StatusOK || string(a.raw) != string(c.resources[rootURI].raw):
		c.problem("root", get, "answers %d with another body than %s", a.status, rootURI)
	}
	root := c.resources[rootURI].body
	for _, name := range []string{"RedfishVersion", "UUID"} {
		if s, _ := root[name].(string); s == "" {
			c.failf("root", rootURI, "%s is missing", name)
		}
	}
	if at(root, "Links.Sessions.@odata.id") == nil {
		c.failf("root", rootURI, "Links.Sessions is missing")
	}
}

// checkVersions checks /redfish (DSP0266 §6.3).
func (c *crawl) checkVersions() {
	get := request{method: http.MethodGet, uri: "/redfish", open: true}
	a := c.do(get)
	if a.status != http.StatusOK || a.body["v1"] != rootURI || !strings.HasPrefix(a.header.Get("Content-Type"), jsonType) {
		c.problem("versions", get, "answers %d %.80s, want {\"v1\": %q}", a.status, a.raw, rootURI)
	}
	c.checkEveryAnswer("GET", get.uri, a)
}

// checkODataDocument checks the OData service document (DSP0266 §8.4.2).
func (c *crawl) checkODataDocument() {
	get := request{method: http.MethodGet, uri: odataURI, open: true}
	a := c.do(get)
	c.checkEveryAnswer("GET", get.uri, a)
	value, _ := a.body["value"].([]any)
	if a.status != http.StatusOK || a.body["@odata.context"] != metadataURI || len(value) == 0 {
		c.problem("odata", get, "answers %d with @odata.context %s and %d values", a.status, show(a.body["@odata.context"]), len(value))
		return
	}
	listed := map[string]bool{}
	for _, v := range value {
		name, _ := at(v, "name").(string)
		url, _ := at(v, "url").(string)
		listed[url] = true
		if name == "" || at(v, "kind") != "Singleton" || c.resources[url] == nil {
			c.problem("odata", get, "value %s: want a name, kind Singleton, and the url of a resource", show(v))
		}
	}
	if !listed[rootURI] {
		c.problem("odata", get, "the service root is not in it")
	}
	root := c.resources[rootURI].body
	for _, name := range slices.Sorted(maps.Keys(root)) {
		if to, ok := at(root[name], "@odata.id").(string); ok && !listed[to] {
			c.problem("odata", get, "%s is not in it", to)
		}
	}
}

// checkMetadata checks the OData metadata document (DSP0266 §8.4.1).
func (c *crawl) checkMetadata() {
	get := request{method: http.MethodGet, uri: metadataURI, open: true}
	a := c.do(get)
	c.checkEveryAnswer("GET", get.uri, a)
	if t := a.header.Get("Content-Type"); a.status != http.StatusOK || !strings.HasPrefix(t, "application/xml") {
		c.problem("metadata", get, "answers %d with Content-Type %q", a.status, t)
		return
	}
	var doc xmlEdmx
	if err := xml.Unmarshal(a.raw, &doc); err != nil {
		c.problem("metadata", get, "%v", err)
		return
	}
	c.checkContainer(get, doc)
	included := map[string]string{}
	for _, ref := range doc.References {
		if ref.URI == "" || len(ref.Includes) == 0 {
			c.problem("metadata", get, "a Reference without Uri or Include")
		}
		for _, in := range ref.Includes {
			included[in.Namespace] = ref.URI
		}
	}
	for _, ns := range c.usedNamespaces() {
		uri, ok := included[ns]
		if !ok {
			c.problem("metadata", get, "namespace %s is in use, but not referred to", ns)
			continue
		}
		if !strings.Contains(uri, schemaOf(ns)) && schemaOf(ns) != "RedfishExtensions" {
			c.problem("metadata", get, "namespace %s is referred to at %q", ns, uri)
		}
	}
}

func (c *crawl) checkContainer(get request, doc xmlEdmx) {
	for _, s := range doc.Schemas {
		for _, k := range s.Containers {
			if s.Namespace == "Service" && k.Name == "Service" && strings.HasPrefix(k.Extends, "ServiceRoot.v1_") {
				if c.schemas.space(strings.TrimSuffix(k.Extends, ".ServiceContainer")) == nil {
					c.problem("metadata", get, "EntityContainer extends %q, which is in no schema", k.Extends)
				}
				return
			}
		}
	}
	c.problem("metadata", get, "no EntityContainer Service that extends ServiceRoot.vX_Y_Z.ServiceContainer")
}

// usedNamespaces are those of the types of all resources, and Redfish's annotations.
func (c *crawl) usedNamespaces() []string {
	used := map[string]bool{extensions: true}
	for _, r := range c.order {
		if r.payload != nil && r.payload.t != nil && !slices.Contains(documents, schemaOf(r.payload.t.space)) {
			used[r.payload.t.space] = true
			used[schemaOf(r.payload.t.space)] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}
