package ironic

import (
	"slices"
	"strings"
)

// capability is one of the property "capabilities" ("boot_mode:uefi,x:y").
type capability struct{ name, value string }

// capabilitiesOf reads a list of capabilities; what has no value is none.
func capabilitiesOf(list string) []capability {
	var out []capability
	for item := range strings.SplitSeq(list, ",") {
		if name, value, ok := strings.Cut(strings.TrimSpace(item), ":"); ok {
			out = append(out, capability{name, value})
		}
	}
	return out
}

// namesOf are the names in a list of capabilities, sorted.
func namesOf(list string) []string {
	var out []string
	for _, c := range capabilitiesOf(list) {
		out = append(out, c.name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// mergeCapabilities lays over a list of capabilities.
func mergeCapabilities(base, over string) string {
	var order []string
	values := map[string]string{}
	for _, c := range capabilitiesOf(base + "," + over) {
		if _, seen := values[c.name]; !seen {
			order = append(order, c.name)
		}
		values[c.name] = c.value
	}
	for i, name := range order {
		order[i] = name + ":" + values[name]
	}
	return strings.Join(order, ",")
}

// diffCapabilities returns the patch of the capabilities, or none. Those that an inspection or
// other people added stay; those go that an earlier declaration set and this one does not.
func diffCapabilities(w want, r *record) []patch {
	have, declared := text(r.Fields[pathCapabilities]), text(w.Fields[pathCapabilities])
	keep := have
	for _, name := range r.setCapabilities() {
		if !slices.Contains(w.Mark.Capabilities, name) {
			keep = withoutCapability(keep, name)
		}
	}
	merged := mergeCapabilities(keep, declared)
	switch {
	case merged == mergeCapabilities("", have):
		return nil
	case merged == "":
		return []patch{{Op: "remove", Path: pathCapabilities}}
	}
	return []patch{{Op: opFor(pathCapabilities, r), Path: pathCapabilities, Value: merged}}
}

func (r *record) setCapabilities() []string {
	if r.Mark == nil {
		return nil
	}
	return r.Mark.Capabilities
}

func withoutCapability(list, name string) string {
	var kept []string
	for _, c := range capabilitiesOf(list) {
		if c.name != name {
			kept = append(kept, c.name+":"+c.value)
		}
	}
	return strings.Join(kept, ",")
}
