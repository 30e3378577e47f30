package novatest

import (
	"fmt"
	"net/http"
	"strings"
)

// versions is what Placement tells of itself, to anybody.
func versions(w http.ResponseWriter, _ *http.Request) {
	write(w, answer{http.StatusOK, map[string]any{"versions": []any{map[string]any{"id": "v1.0", "max_version": "1.39", "min_version": "1.0",
		"status": "CURRENT", "links": []any{map[string]any{"rel": "self", "href": ""}}}}}})
}

// provider finds a resource provider, or refuses as Placement does.
func (c *Cloud) provider(r *http.Request) (*Provider, answer) {
	if c.opts.Member {
		return nil, failure(http.StatusForbidden, "Forbidden", "Access was denied to this resource.\n\n Policy does not allow placement:resource_providers:inventories:list to be performed.  ")
	}
	id := r.PathValue("id")
	p := c.providers[id]
	if p == nil {
		return nil, failure(http.StatusNotFound, "Not Found", fmt.Sprintf("The resource could not be found.\n\n No resource provider with uuid %s found: No resource provider with uuid %s found  ", id, id))
	}
	return p, answer{}
}

// failure is Placement's form of an error.
func failure(status int, title, detail string) answer {
	return answer{status, map[string]any{"errors": []any{map[string]any{"status": status, "title": title, "detail": detail, "request_id": "req-1"}}}}
}

func (c *Cloud) inventories(r *http.Request) answer {
	p, refused := c.provider(r)
	if p == nil {
		return refused
	}
	inventories := map[string]any{}
	for class, total := range p.Total {
		inventories[class] = map[string]any{"total": total, "reserved": p.Reserved[class], "min_unit": 1, "max_unit": 1, "step_size": 1, "allocation_ratio": 1.0}
	}
	return answer{http.StatusOK, map[string]any{"resource_provider_generation": 1, "inventories": inventories}}
}

// listTraits answers names only: ?name=in:A,B.
func (c *Cloud) listTraits(r *http.Request) answer {
	asked, _ := strings.CutPrefix(r.URL.Query().Get("name"), "in:")
	out := []string{}
	for _, name := range strings.Split(asked, ",") {
		if c.traits[name] {
			out = append(out, name)
		}
	}
	return answer{http.StatusOK, map[string]any{"traits": out}}
}

func (c *Cloud) putTrait(r *http.Request) answer {
	if c.opts.Member {
		return failure(http.StatusForbidden, "Forbidden", "Access was denied to this resource.\n\n Policy does not allow placement:traits:update to be performed.  ")
	}
	name := r.PathValue("name")
	if c.traits[name] {
		return answer{status: http.StatusNoContent}
	}
	c.traits[name] = true
	return answer{status: http.StatusCreated}
}

// providerTraits came, as all traits, with microversion 1.6.
func (c *Cloud) providerTraits(r *http.Request) answer {
	p, refused := c.provider(r)
	if p == nil {
		return refused
	}
	return answer{http.StatusOK, map[string]any{"resource_provider_generation": 1, "traits": append([]string{}, p.Traits...)}}
}
