package declare

import (
	"fmt"
	"slices"

	"tenks/raftfsm/state"
)

// volumeDifferences says what becomes of each disk of a node.
func volumeDifferences(old, now *state.Node) []Difference {
	o, w := old.Machine.Volumes, now.Machine.Volumes
	var out []Difference
	for i := range max(len(o), len(w)) {
		d := Difference{Field: fmt.Sprintf("volumes[%d]", i), Old: "none", New: "none", When: AtPowerOn}
		if i < len(o) {
			d.Old = volume(o[i])
		}
		if i < len(w) {
			d.New = volume(w[i])
		}
		switch {
		case i >= len(o):
		case i >= len(w):
			d.Loss = o[i].Path == ""
		case o[i] == w[i]:
			continue
		case remade(o[i], w[i]):
			d.Loss, d.Remark = o[i].Path == "", "made anew" // what was there before it stays
		}
		out = append(out, d)
	}
	return out
}

// remade reports whether a volume cannot become another one but by being made anew.
func remade(o, w state.Volume) bool {
	return o.Image != w.Image || w.CapacityBytes < o.CapacityBytes && w.Path == "" ||
		o.Copy != w.Copy || o.Format != w.Format || o.Path != w.Path || o.Pool != w.Pool
}

// remake has the volumes of a node that exists counted on where they are made anew. One
// that no host has made yet is made as it is declared last.
func remake(n *state.Node, want []state.Volume) []state.Volume {
	out := slices.Clone(want)
	for i, had := range n.Machine.Volumes[:min(len(n.Machine.Volumes), len(want))] {
		out[i].Made = had.Made
		// What was there before is not ours to delete, and nothing of it is lost.
		if now := out[i]; remade(had, now) && had.Path == "" && n.Placement != nil {
			out[i].Made++
		}
	}
	return out
}
