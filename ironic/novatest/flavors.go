package novatest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Flavor is a flavor as tests give and see it.
type Flavor struct {
	ID, Name         string
	RAM, VCPUs, Disk int
	Ephemeral, Swap  int
	Private          bool
	Description      string
	Specs            map[string]string
}

type flavor struct{ Flavor }

// Flavors returns all flavors by name.
func (c *Cloud) Flavors() map[string]Flavor {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]Flavor{}
	for _, f := range c.flavors {
		copied := f.Flavor
		copied.Specs = maps.Clone(f.Specs)
		out[f.Name] = copied
	}
	return out
}

// Put makes a flavor, or changes the one with its ID, as somebody else would.
func (c *Cloud) Put(f Flavor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flavors = slices.DeleteFunc(c.flavors, func(o *flavor) bool { return o.ID == f.ID })
	f.Specs = maps.Clone(f.Specs)
	c.flavors = append(c.flavors, &flavor{f})
}

// refusal is Nova's form of an error.
func refusal(status int, kind, format string, args ...any) answer {
	return answer{status, map[string]any{kind: map[string]any{"code": status, "message": fmt.Sprintf(format, args...)}}}
}

func (c *Cloud) forbidden(policy string) answer {
	return refusal(http.StatusForbidden, "forbidden", "Policy doesn't allow os_compute_api:%s to be performed.", policy)
}

// view is a flavor in microversions from 2.61 on. A swap of 0 is an empty text before 2.75.
func (f *flavor) view() map[string]any {
	v := map[string]any{"id": f.ID, "name": f.Name, "ram": f.RAM, "vcpus": f.VCPUs, "disk": f.Disk, "swap": "",
		"OS-FLV-EXT-DATA:ephemeral": f.Ephemeral, "OS-FLV-DISABLED:disabled": false, "os-flavor-access:is_public": !f.Private,
		"rxtx_factor": 1.0, "links": []any{}, "description": nil, "extra_specs": map[string]string{}}
	if f.Swap != 0 {
		v["swap"] = f.Swap
	}
	if f.Description != "" {
		v["description"] = f.Description
	}
	if f.Specs != nil {
		v["extra_specs"] = f.Specs
	}
	return v
}

// modern reports whether a request asks for extra specs in flavors.
func modern(r *http.Request) bool {
	version := r.Header.Get("X-OpenStack-Nova-API-Version")
	if after, ok := strings.CutPrefix(r.Header.Get("OpenStack-API-Version"), "compute "); ok {
		version = after
	}
	minor, err := strconv.Atoi(strings.TrimPrefix(version, "2."))
	return err == nil && minor >= 61
}

func (c *Cloud) list(r *http.Request) answer {
	query := r.URL.Query()
	var rows []*flavor
	for _, f := range c.flavors {
		if !f.Private || query.Get("is_public") == "None" && !c.opts.Member {
			rows = append(rows, f)
		}
	}
	if marker := query.Get("marker"); marker != "" {
		at := slices.IndexFunc(rows, func(f *flavor) bool { return f.ID == marker })
		if at < 0 {
			return refusal(http.StatusBadRequest, "badRequest", "marker [%s] not found", marker)
		}
		rows = rows[at+1:]
	}
	body := map[string]any{}
	if len(rows) >= c.opts.MaxPage { // like Nova's: also when nothing follows
		rows = rows[:c.opts.MaxPage]
		body["flavors_links"] = []any{map[string]any{"rel": "next", "href": "http://192.0.2.1:1/public?marker=" + rows[len(rows)-1].ID}}
	}
	views := []any{}
	for _, f := range rows {
		v := f.view()
		if !modern(r) {
			delete(v, "extra_specs")
		}
		views = append(views, v)
	}
	body["flavors"] = views
	return answer{http.StatusOK, body}
}

func (c *Cloud) create(r *http.Request) answer {
	if c.opts.Member {
		return c.forbidden("os-flavor-manage:create")
	}
	var body struct {
		Flavor struct {
			ID, Name, Description string
			RAM, VCPUs, Swap      int
			Disk                  *int
			Ephemeral             int   `json:"OS-FLV-EXT-DATA:ephemeral"`
			Public                *bool `json:"os-flavor-access:is_public"`
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return refusal(http.StatusBadRequest, "badRequest", "Malformed request body")
	}
	f := body.Flavor
	for _, size := range []struct {
		field        string
		value, least int
	}{{"ram", f.RAM, 1}, {"vcpus", f.VCPUs, 1}, {"swap", f.Swap, 0}} {
		if size.value < size.least {
			return refusal(http.StatusBadRequest, "badRequest", "Invalid input for field/attribute %s. Value: %d. %d is less than the minimum of %d",
				size.field, size.value, size.value, size.least)
		}
	}
	if f.Disk == nil {
		return refusal(http.StatusBadRequest, "badRequest", "Invalid input for field/attribute flavor. 'disk' is a required property")
	}
	if f.ID == "" {
		c.made++
		f.ID = fmt.Sprintf("f0000000-0000-4000-8000-%012d", c.made)
	}
	for _, o := range c.flavors {
		switch {
		case strings.EqualFold(o.Name, f.Name): // the database's collation
			return refusal(http.StatusConflict, "conflictingRequest", "Flavor with name %s already exists.", f.Name)
		case o.ID == f.ID:
			return refusal(http.StatusConflict, "conflictingRequest", "Flavor with ID %s already exists.", f.ID)
		}
	}
	made := &flavor{Flavor{ID: f.ID, Name: f.Name, RAM: f.RAM, VCPUs: f.VCPUs, Disk: *f.Disk, Ephemeral: f.Ephemeral, Swap: f.Swap,
		Private: f.Public != nil && !*f.Public, Description: f.Description, Specs: map[string]string{}}}
	c.flavors = append(c.flavors, made)
	return answer{http.StatusOK, map[string]any{"flavor": made.view()}}
}

func (c *Cloud) find(r *http.Request) (*flavor, answer) {
	id := r.PathValue("id")
	for _, f := range c.flavors {
		if f.ID == id {
			return f, answer{}
		}
	}
	return nil, refusal(http.StatusNotFound, "itemNotFound", "Flavor %s could not be found.", id)
}

func (c *Cloud) remove(r *http.Request) answer {
	if c.opts.Member {
		return c.forbidden("os-flavor-manage:delete")
	}
	f, refused := c.find(r)
	if f == nil {
		return refused
	}
	c.flavors = slices.DeleteFunc(c.flavors, func(o *flavor) bool { return o == f })
	return answer{status: http.StatusAccepted}
}

var specKey = regexp.MustCompile(`^[a-zA-Z0-9-_:. ]{1,255}$`)

func (c *Cloud) set(r *http.Request) answer {
	var body struct {
		Specs map[string]string `json:"extra_specs"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return refusal(http.StatusBadRequest, "badRequest", "Malformed request body")
	}
	for key, value := range body.Specs {
		if !specKey.MatchString(key) || len(value) > 255 {
			return refusal(http.StatusBadRequest, "badRequest", "Invalid input for field/attribute extra_specs. Value: %v.", body.Specs)
		}
	}
	f, refused := c.find(r)
	if f == nil {
		return refused
	}
	if f.Specs == nil {
		f.Specs = map[string]string{}
	}
	maps.Copy(f.Specs, body.Specs)
	return answer{http.StatusOK, map[string]any{"extra_specs": body.Specs}}
}

func (c *Cloud) unset(r *http.Request) answer {
	f, refused := c.find(r)
	if f == nil {
		return refused
	}
	key := r.PathValue("key")
	if _, ok := f.Specs[key]; !ok {
		return refusal(http.StatusNotFound, "itemNotFound", "Flavor %s has no extra specs with key %s.", f.ID, key)
	}
	delete(f.Specs, key)
	return answer{status: http.StatusOK}
}
