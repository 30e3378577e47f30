package conform

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// checkBios holds BIOS attributes against the attribute registry that the resource
// names (DSP0266 §9.11.3).
func (c *crawl) checkBios(r *resource) {
	name, _ := r.body["AttributeRegistry"].(string)
	attributes, _ := r.body["Attributes"].(map[string]any)
	if name == "" || r.payload.t == nil || schemaOf(r.payload.t.space) != "Bios" {
		return
	}
	entries := c.attributeEntries(name)
	if entries == nil {
		c.find(Finding{Resource: r.uri, Property: "AttributeRegistry", Rule: "bios", Text: fmt.Sprintf("%q is not a registry that is served", name)})
		return
	}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		if problem := attributeProblem(entries[key], attributes[key]); problem != "" {
			c.find(Finding{Resource: r.uri, Property: "Attributes." + key, Rule: "bios", Text: problem})
		}
	}
}

// attributeEntries returns the attributes of the registry with the name, or nil.
func (c *crawl) attributeEntries(name string) map[string]map[string]any {
	for _, r := range c.of("AttributeRegistry") {
		if id, _ := r.body["Id"].(string); id != name {
			continue
		}
		list, _ := at(r.body, "RegistryEntries.Attributes").([]any)
		out := map[string]map[string]any{}
		for _, e := range list {
			obj, _ := e.(map[string]any)
			key, _ := obj["AttributeName"].(string)
			out[key] = obj
		}
		return out
	}
	return nil
}

// attributeProblem says what is wrong with an attribute's value, or "".
func attributeProblem(entry map[string]any, v any) string {
	if entry == nil {
		return "is not in the attribute registry"
	}
	ok := true
	switch entry["Type"] {
	case "Enumeration":
		values, _ := entry["Value"].([]any)
		ok = slices.ContainsFunc(values, func(e any) bool { return v != nil && at(e, "ValueName") == v })
	case "String", "Password":
		_, ok = v.(string)
	case "Integer":
		_, ok = v.(json.Number)
	case "Boolean":
		_, ok = v.(bool)
	}
	if !ok && v != nil {
		return fmt.Sprintf("is %s, want a value of type %v", show(v), entry["Type"])
	}
	return ""
}
