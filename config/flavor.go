package config

import (
	"slices"
	"strings"
)

// Bounds of a flavor: Nova's columns are 32-bit integers, and there is room for this many
// extra specs of one's own.
const (
	maxFlavorSize  = 1<<31 - 1
	maxCustomSpecs = 100
)

// Flavor is a flavor of Nova.
type Flavor struct {
	ResourceClass string
	// NodeType is one of node_types, whose hardware the flavor stands for.
	NodeType string
	// Name may be empty: the resource class.
	Name string
	// RequiredTraits and ForbiddenTraits say which nodes a server of the flavor may be on.
	RequiredTraits, ForbiddenTraits []string
	// CustomSpecs are further extra specs, laid over the ones that are made of all this.
	CustomSpecs map[string]string
	// DiskGB is in GiB; nil: that of the node type's first volume. EphemeralGB (GiB) and
	// SwapMB (MiB) are what Ironic makes partitions of beside the root's, on the same disk.
	DiskGB              *int
	EphemeralGB, SwapMB int
}

func flavor() shape[Flavor] {
	return object(zero[Flavor],
		req("resource_class", "Resource class of the nodes that the flavor is for.",
			func(f *Flavor) *string { return &f.ResourceClass }, text(resourceClass)),
		req("node_type", "One of node_types: memory, vCPUs and disk.",
			func(f *Flavor) *string { return &f.NodeType }, text(plainName)),
		opt("name", "Name of the flavor. Absent: the resource class.",
			func(f *Flavor) *string { return &f.Name }, text(flavorName)),
		opt("required_traits", "Traits that a node must have.",
			func(f *Flavor) *[]string { return &f.RequiredTraits }, distinct(listOf(maxTraits, text(trait)))),
		opt("forbidden_traits", "Traits that a node must not have.",
			func(f *Flavor) *[]string { return &f.ForbiddenTraits }, distinct(listOf(maxTraits, text(trait)))),
		opt("custom_specs", "Further extra specs.",
			func(f *Flavor) *map[string]string { return &f.CustomSpecs }, mapOf(maxCustomSpecs, extraSpec, anyText(oneLine))),
		opt("disk_gb", "Size of the root disk in GiB. Absent: that of the node type's first volume, rounded down.",
			func(f *Flavor) **int { return &f.DiskGB }, pointer(whole[int](0, maxFlavorSize))),
		opt("ephemeral_gb", "Size of the ephemeral partition on the root disk, in GiB.",
			func(f *Flavor) *int { return &f.EphemeralGB }, whole[int](0, maxFlavorSize)),
		opt("swap_mb", "Size of the swap partition on the root disk, in MiB.",
			func(f *Flavor) *int { return &f.SwapMB }, whole[int](0, maxFlavorSize)),
	)
}

// flavorRules is that what belongs to Nova needs a cloud, as JSON Schema.
var flavorRules = schema{
	"allOf": []schema{
		{"if": schema{"required": []string{"nova_flavors"}, "properties": schema{"nova_flavors": schema{"minItems": 1}}}, "then": needsCloud},
		{"if": schema{"required": []string{"wait_for_placement"}, "properties": schema{"wait_for_placement": schema{"const": true}}}, "then": needsCloud},
	},
}

var needsCloud = schema{"required": []string{"ironic"}, "properties": schema{"ironic": schema{"required": []string{"cloud"}}}}

// Title is the flavor's name in Nova.
func (f Flavor) Title() string {
	if f.Name == "" {
		return f.ResourceClass
	}
	return f.Name
}

// checkFlavors wants a cloud, node types that there are, and one flavor of each name: Nova's
// database may take names for the same that only differ in case.
func (r *reader) checkFlavors(c Cluster, root *node) {
	if at, ok := root.get("nova_flavors"); ok && len(c.Flavors) > 0 {
		r.checkCloud(at, root)
	}
	if at, ok := root.get("wait_for_placement"); ok && c.WaitForPlacement {
		r.checkCloud(at, root)
	}
	types, given := root.get("node_types")
	typesKnown := !given || !types.bad || c.NodeTypes != nil
	for i, f := range c.Flavors {
		at := root.at("nova_flavors", i)
		r.checkFlavor(f, at)
		switch t, ok := c.NodeTypes[f.NodeType]; {
		case !ok && f.NodeType != "" && typesKnown:
			r.fault(at.at("node_type"), "no node type is named %s", quote(f.NodeType))
		case t.MemoryMB > maxFlavorSize:
			r.fault(at.at("node_type"), "its memory is more than a flavor can have: at most %d MiB", maxFlavorSize)
		}
		for j, o := range c.Flavors[:i] {
			if name := f.Title(); name != "" && strings.EqualFold(name, o.Title()) {
				r.fault(at, "its name %s is that of nova_flavors[%d] in line %d already", quote(name), j, root.at("nova_flavors", j).line)
				break
			}
		}
	}
}

func (r *reader) checkCloud(at, root *node) {
	if i, ok := root.get("ironic"); ok {
		if _, cloud := i.get("cloud"); cloud || i.kind != mapping {
			return
		}
	}
	r.fault(at, "needs ironic.cloud, an entry of clouds.yaml: that is where Nova and Placement are")
}

// checkFlavor is about one flavor by itself.
func (r *reader) checkFlavor(f Flavor, at *node) {
	for j, trait := range f.ForbiddenTraits {
		if trait != "" && slices.Contains(f.RequiredTraits, trait) {
			r.fault(at.at("forbidden_traits", j), "%s is in required_traits, too", quote(trait))
		}
	}
	specs, ok := at.get("custom_specs")
	if !ok || f.CustomSpecs == nil {
		return
	}
	for _, item := range specs.items {
		if strings.HasPrefix(item.name, "tenks:") {
			r.fault(item, `keys that begin with "tenks:" are Tenks' own`)
		}
	}
}
