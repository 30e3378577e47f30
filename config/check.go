package config

import (
	"net/url"
	"reflect"
)

// Rules between the keys of a cluster file. A value that was refused by itself is
// the zero value here, and not blamed a second time.

func (r *reader) checkCluster(c Cluster, root *node) {
	r.checkSpecs(c, root)
	r.checkDeploy(root)
	if at, ok := root.get("ironic"); ok && at.kind == mapping {
		r.checkIronic(c.Ironic, at)
	}
}

func (r *reader) checkSpecs(c Cluster, root *node) {
	total := 0
	types, given := root.get("node_types")
	typesKnown := !given || !types.bad || c.NodeTypes != nil
	for i, s := range c.Specs {
		at := root.at("specs", i)
		if _, ok := c.NodeTypes[s.Type]; !ok && s.Type != "" && typesKnown {
			r.fault(at.at("type"), "no node type is named %s", quote(s.Type))
		}
		if before := total; before <= maxNodes && before+s.Count > maxNodes {
			r.fault(at.at("count"), "more than %d nodes in all", maxNodes)
		}
		total += s.Count
	}
	for i, s := range c.Specs {
		at := root.at("specs", i)
		for j, o := range c.Specs[:i] {
			first := root.at("specs", j)
			if o.Count = s.Count; !at.bad && !first.bad && o.Type == s.Type && reflect.DeepEqual(o, s) {
				r.fault(at, "the same as specs[%d] in line %d: raise the count of one instead", j, first.line)
			}
		}
	}
}

func (r *reader) checkDeploy(root *node) {
	kernel, hasKernel := root.get("deploy_kernel")
	ramdisk, hasRamdisk := root.get("deploy_ramdisk")
	switch {
	case hasKernel && !hasRamdisk:
		r.fault(kernel, "needs deploy_ramdisk too")
	case hasRamdisk && !hasKernel:
		r.fault(ramdisk, "needs deploy_kernel too")
	}
}

// ironicRules is what checkIronic says, as JSON Schema.
var ironicRules = schema{
	"oneOf": []schema{
		{"required": []string{"cloud"}},
		{"required": []string{"endpoint"}},
	},
	"dependentRequired": map[string][]string{
		"auth": {"endpoint"}, "username": {"endpoint", "auth"}, "password_file": {"endpoint", "auth"},
	},
	"if":   schema{"properties": schema{"auth": schema{"const": "http_basic"}}, "required": []string{"auth"}},
	"then": schema{"required": []string{"username", "password_file"}},
	"else": schema{"properties": schema{"username": schema{"not": schema{}}, "password_file": schema{"not": schema{}}}},
}

// checkIronic also sets the default of Auth.
func (r *reader) checkIronic(i *Ironic, at *node) {
	_, cloud := at.get("cloud")
	_, endpoint := at.get("endpoint")
	if cloud == endpoint {
		r.fault(at, "want either cloud or endpoint")
		return
	}
	auth, given := at.get("auth")
	if endpoint && !given {
		i.Auth = "none"
	}
	if cloud && given {
		r.fault(auth, "only goes with endpoint: clouds.yaml says it for cloud")
	}
	if given && i.Auth == "" {
		return
	}
	basic := given && auth.text == "http_basic"
	for _, key := range []string{"username", "password_file"} {
		n, ok := at.get(key)
		switch {
		case ok && !basic:
			r.fault(n, "only goes with auth: http_basic")
		case !ok && basic && endpoint:
			r.fault(&node{up: at, name: key, line: auth.line}, "missing: auth is http_basic")
		}
	}
}

// endpointParses refuses what the pattern lets through, such as a port that is no
// number.
func endpointParses(s string) string {
	if u, err := url.Parse(s); err != nil || u.Hostname() == "" {
		return "want " + endpoint.want
	}
	return ""
}
