package flavor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// The extra specs that mark a flavor. Nova's scheduler looks at "capabilities:…",
// "aggregate_instance_extra_specs:…", "resources…:", "trait…:" and "hw:…" only, and at keys
// without a colon.
const (
	markMesh    = "tenks:mesh"
	markCluster = "tenks:cluster"
)

// record is a flavor as Nova has it.
type record struct {
	ID, Name                string
	MemoryMB, VCPUs, DiskGB int
	EphemeralGB, SwapMB     int
	Public                  bool
	Description             string
	Specs                   map[string]string
}

// owner is whose flavors are ours.
type owner struct{ mesh, cluster string }

// marks are the extra specs of an owner's flavor.
func (o owner) marks() map[string]string {
	return map[string]string{markMesh: o.mesh, markCluster: o.cluster}
}

// description is what a flavor is made with. It marks one whose extra specs have not been set
// yet: Nova makes flavors without.
func (o owner) description() string {
	return fmt.Sprintf("Made by Tenks for cluster %s of mesh %s.", o.cluster, o.mesh)
}

func (o owner) owns(r record) bool {
	if mesh, marked := r.Specs[markMesh]; marked {
		return mesh == o.mesh && r.Specs[markCluster] == o.cluster
	}
	return r.Description == o.description()
}

// kind is what a step does.
type kind string

const (
	create kind = "create"
	remove kind = "remove"
	set    kind = "set extra specs of"
	unset  kind = "unset an extra spec of"
)

// step is one request to Nova. ID is that of the flavor, but for one that is yet to be made:
// the steps after its creation are about that.
type step struct {
	Kind  kind
	ID    string
	Specs map[string]string
	Key   string
}

// work is what is to be done about flavors of one name.
type work struct {
	Name string
	// ID is what Nova has of ours; empty: nothing.
	ID string
	// Want is nil for one that is to go.
	Want  *state.Flavor
	Steps []step
	// Problem says why nothing can be done.
	Problem string
}

// decide says what leads from the flavors that Nova has to those that are declared, by name.
func decide(declared []state.Flavor, o owner, have []record) []work {
	var out []work
	kept := map[string]bool{}
	for _, f := range declared {
		w := work{Name: f.Name, Want: &f}
		i := slices.IndexFunc(have, func(r record) bool { return strings.EqualFold(r.Name, f.Name) })
		if i < 0 {
			w.Steps = made(f, o)
		} else if r := have[i]; o.owns(r) {
			kept[r.ID] = true
			w.ID, w.Steps = r.ID, change(f, o, r)
		} else {
			w.Problem = foreign(f, o, r)
		}
		out = append(out, w)
	}
	for _, r := range have {
		if o.owns(r) && !kept[r.ID] {
			out = append(out, work{Name: r.Name, ID: r.ID, Steps: []step{{Kind: remove, ID: r.ID}}})
		}
	}
	// What goes makes room for what comes; a name may be in both.
	slices.SortStableFunc(out, func(a, b work) int {
		if (a.Want == nil) != (b.Want == nil) {
			if a.Want == nil {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// customTraits are the traits of flavors that somebody has to make known to Placement, sorted.
func customTraits(declared []state.Flavor) []string {
	var out []string
	for _, f := range declared {
		for _, t := range slices.Concat(f.RequiredTraits, f.ForbiddenTraits) {
			if strings.HasPrefix(t, "CUSTOM_") {
				out = append(out, t)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func made(f state.Flavor, o owner) []step {
	return []step{{Kind: create}, {Kind: set, Specs: specs(f, o)}}
}

// change makes a flavor of ours as declared. Nova changes extra specs only.
func change(f state.Flavor, o owner, r record) []step {
	if !alike(f, r) {
		return append([]step{{Kind: remove, ID: r.ID}}, made(f, o)...)
	}
	var steps []step
	want, differ := specs(f, o), map[string]string{}
	for key, value := range want {
		if have, ok := r.Specs[key]; !ok || have != value {
			differ[key] = value
		}
	}
	if len(differ) > 0 {
		steps = append(steps, step{Kind: set, ID: r.ID, Specs: differ})
	}
	for _, key := range slices.Sorted(maps.Keys(r.Specs)) {
		if _, ok := want[key]; !ok {
			steps = append(steps, step{Kind: unset, ID: r.ID, Key: key})
		}
	}
	return steps
}

// alike reports whether all is as declared that Nova cannot change.
func alike(f state.Flavor, r record) bool {
	return r.Name == f.Name && r.MemoryMB == f.MemoryMB && r.VCPUs == f.VCPUs && r.DiskGB == f.DiskGB &&
		r.EphemeralGB == f.EphemeralGB && r.SwapMB == f.SwapMB && r.Public
}

func foreign(f state.Flavor, o owner, r record) string {
	whose := "is not Tenks'"
	if r.Specs[markMesh] == o.mesh {
		whose = fmt.Sprintf("is that of cluster %s", r.Specs[markCluster])
	} else if mesh, ok := r.Specs[markMesh]; ok {
		whose = fmt.Sprintf("is that of another mesh (%s)", mesh)
	}
	name := "of that name"
	if r.Name != f.Name {
		name = fmt.Sprintf("named %s, which is the same to it,", r.Name)
	}
	return fmt.Sprintf("Nova has a flavor %s (%s), which %s: it is left alone; give this one another name, or delete that one", name, r.ID, whose)
}

// specs are all extra specs of a flavor. The sizes are 0 for the scheduler, because a bare
// metal node offers its resource class and nothing else (Ironic's "Create flavors for use
// with the Bare Metal service").
func specs(f state.Flavor, o owner) map[string]string {
	out := map[string]string{
		"resources:" + cloud.Resource(f.ResourceClass): "1",
		"resources:VCPU":      "0",
		"resources:MEMORY_MB": "0",
		"resources:DISK_GB":   "0",
	}
	for _, t := range f.RequiredTraits {
		out["trait:"+t] = "required"
	}
	for _, t := range f.ForbiddenTraits {
		out["trait:"+t] = "forbidden"
	}
	maps.Copy(out, f.CustomSpecs)
	maps.Copy(out, o.marks())
	return out
}
