package hostops

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// placed is a node that is placed here at log index 5.
func placed(uuid string, change func(*state.Node), physnets ...string) *state.Node {
	n := node(uuid, physnets...)
	n.Placement = &state.Placement{Hypervisor: self, Epoch: 5}
	if change != nil {
		change(&n)
	}
	return &n
}

func removing(n *state.Node) { n.Removing = true }

// made is a node as its driver has it when all is well.
func made(n *state.Node, change func(*driver.Instance)) driver.Instance {
	s := specOf(n, state.Boot{}, driver.Setup{})
	i := driver.Instance{UUID: s.UUID, Name: s.Name, Epoch: s.Epoch, Power: state.PowerOff, Digest: s.Digest()}
	if change != nil {
		change(&i)
	}
	return i
}

func wanted(k *kernel, remembered map[string]int, nodes ...*state.Node) want {
	w := want{index: 10, nodes: nodes, elsewhere: map[string]bool{}, physnets: map[string]Physnet{"p1": {}, "p2": {Device: "eth1"}},
		drivers: map[string]bool{"test": true, "other": true}, boots: map[string]state.Boot{}}
	var used []string
	for _, n := range nodes {
		for _, p := range n.Ports {
			if _, ok := w.physnets[p.Physnet]; ok {
				used = append(used, p.Physnet)
			}
		}
	}
	w.bridges = assign(used, remembered, w.physnets, k.have, origins(nodes))
	return w
}

func present(k *kernel, instances ...driver.Instance) have {
	h := have{links: link.Have{Mesh: mesh, Links: maps.Clone(k.have.Links)}, down: map[string]error{},
		instances: map[string]map[string]driver.Instance{"test": {}, "other": {}}}
	for _, i := range instances {
		h.instances["test"][i.UUID] = i
	}
	return h
}

// carryOut does a program to a host, all of it with success.
func carryOut(k *kernel, h have, p program) have {
	step := func(s layerStep) {
		if s.Op != link.OpConflict {
			_ = k.apply(s.Step)
		}
	}
	for _, s := range p.before {
		step(s)
	}
	for _, w := range p.nodes {
		switch w.kind {
		case kindRemove:
			delete(h.instances[w.driver], w.node)
		case kindStop:
			i := h.instances[w.driver][w.node]
			i.Power = state.PowerOff
			h.instances[w.driver][w.node] = i
		case kindEnsure:
			if w.spec != nil {
				i := h.instances[w.driver][w.node]
				i.UUID, i.Name, i.Epoch, i.Digest = w.spec.UUID, w.spec.Name, w.spec.Epoch, w.spec.Digest()
				if i.Power == "" {
					i.Power = state.PowerOff
				}
				h.instances[w.driver][w.node] = i
			}
		}
		for _, s := range w.links {
			step(s)
		}
	}
	for _, s := range p.after {
		step(s)
	}
	h.links = link.Have{Mesh: mesh, Links: maps.Clone(k.have.Links)}
	return h
}

// summary is a program in words: what is done to which node, and how many steps the
// host and its links need.
func summary(p program) []string {
	var out []string
	for _, w := range p.nodes {
		line := string(w.kind) + " " + w.node
		if w.spec == nil && w.kind == kindEnsure {
			line = "links " + w.node
		}
		if w.kind == kindRemove && w.driver == "" {
			line = "unlink " + w.node
		}
		out = append(out, line)
	}
	for _, s := range slices.Concat(p.before, p.after) {
		out = append(out, s.String())
	}
	for _, uuid := range slices.Sorted(maps.Keys(p.faults)) {
		out = append(out, uuid+": "+p.faults[uuid].Error())
	}
	return out
}

func TestPlan(t *testing.T) {
	a := placed("a", nil)
	for _, row := range []struct {
		name      string
		nodes     []*state.Node
		instances []driver.Instance
		change    func(*want, *have)
		want      []string
		err       string
	}{
		{name: "nothing for nothing"},
		{name: "makes what is missing", nodes: []*state.Node{a}, want: []string{"ensure a"}},
		{name: "leaves what is as it should be", nodes: []*state.Node{a}, instances: []driver.Instance{made(a, nil)}},
		{name: "mends what a driver says is damaged", nodes: []*state.Node{a},
			instances: []driver.Instance{made(a, func(i *driver.Instance) { i.Digest = "" })}, want: []string{"ensure a"}},
		{name: "tells a node its new epoch", nodes: []*state.Node{a},
			instances: []driver.Instance{made(a, func(i *driver.Instance) { i.Epoch = 4 })}, want: []string{"ensure a"}},
		{name: "leaves one that is newer than the snapshot", nodes: []*state.Node{a},
			instances: []driver.Instance{made(a, func(i *driver.Instance) { i.Epoch, i.Digest = 11, "" })}},
		{name: "leaves power and pending changes alone", nodes: []*state.Node{a},
			instances: []driver.Instance{made(a, func(i *driver.Instance) { i.Power, i.Pending = state.PowerOn, []string{"memory"} })}},
		{name: "makes bridges for physnets with ports", nodes: []*state.Node{placed("a", nil, "p1")},
			want: []string{"ensure a", "create bridge brtenks0"}},
		{name: "makes links while the driver is down", nodes: []*state.Node{placed("a", nil, "p1")},
			change: func(_ *want, h *have) { h.down["test"] = errors.New("gone"); delete(h.instances, "test") },
			want:   []string{"links a", "create bridge brtenks0"}},
		{name: "removes what is to go", nodes: []*state.Node{placed("a", removing)}, instances: []driver.Instance{made(a, nil)}, want: []string{"remove a"}},
		{name: "keeps what Ironic still has", nodes: []*state.Node{placed("a", func(n *state.Node) { n.Removing, n.Enrol = true, &state.Enrolment{} })},
			want: []string{"ensure a"}},
		{name: "removes nothing of a driver that is down", nodes: []*state.Node{placed("a", removing)},
			change: func(_ *want, h *have) { h.down["test"] = errors.New("gone"); delete(h.instances, "test") }},
		{name: "removes a leftover", instances: []driver.Instance{made(a, nil)}, want: []string{"remove a"}},
		{name: "leaves a leftover that is newer than the snapshot", instances: []driver.Instance{made(a, func(i *driver.Instance) { i.Epoch = 11 })}},
		{name: "switches off what the mesh has elsewhere", instances: []driver.Instance{made(a, func(i *driver.Instance) { i.Power = state.PowerOn })},
			change: func(w *want, _ *have) { w.elsewhere["a"] = true }, want: []string{"stop a"}},
		{name: "keeps what the mesh has elsewhere", instances: []driver.Instance{made(a, nil)},
			change: func(w *want, _ *have) { w.elsewhere["a"] = true }},
		{name: "does not move a node between drivers", nodes: []*state.Node{placed("a", func(n *state.Node) { n.Machine.Driver = "other" })},
			instances: []driver.Instance{made(a, nil)}, want: []string{"a: it exists at driver test and cannot move to other: remove it and create it again"}},
		{name: "says that a driver is missing", nodes: []*state.Node{placed("a", func(n *state.Node) { n.Machine.Driver = "none" })},
			want: []string{`a: this host has no driver "none"`}},
		{name: "says that a physnet is not offered", nodes: []*state.Node{placed("a", nil, "p9")},
			want: []string{`a: port 0: this host does not offer physnet "p9": add it to physnets in agent.yml`}},
		{name: "removes up to three leftovers", instances: []driver.Instance{{UUID: "x"}, {UUID: "y"}, {UUID: "z"}},
			want: []string{"remove x", "remove y", "remove z"}},
		{name: "leaves what was forgotten when the mesh was recovered", instances: []driver.Instance{made(a, nil)},
			change: func(w *want, _ *have) { w.since = 10 }},
		{name: "switches off what a recovered mesh has elsewhere", instances: []driver.Instance{made(a, func(i *driver.Instance) { i.Power = state.PowerOn })},
			change: func(w *want, _ *have) { w.since, w.elsewhere["a"] = 10, true }, want: []string{"stop a"}},
		{name: "removes none of four leftovers", instances: []driver.Instance{{UUID: "w"}, {UUID: "x"}, {UUID: "y"}, {UUID: "z"}},
			err: "4 of the 4 nodes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := newKernel()
			w, h := wanted(k, nil, row.nodes...), present(k, row.instances...)
			if row.change != nil {
				row.change(&w, &h)
			}
			p, err := plan(w, h)
			if row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) || row.err == "" && err != nil {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if diff := cmp.Diff(row.want, summary(p)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGuardCountsAFifthOfManyNodes(t *testing.T) {
	k := newKernel()
	for _, row := range []struct {
		leftovers int
		stops     bool
	}{{5, false}, {6, true}} {
		var nodes []*state.Node
		var instances []driver.Instance
		for i := range 25 - row.leftovers {
			n := placed(fmt.Sprintf("n%d", i), nil)
			nodes, instances = append(nodes, n), append(instances, made(n, nil))
		}
		for i := range row.leftovers {
			instances = append(instances, driver.Instance{UUID: fmt.Sprintf("x%d", i)})
		}
		if _, err := plan(wanted(k, nil, nodes...), present(k, instances...)); (err != nil) != row.stops {
			t.Errorf("%d leftovers of 25: %v, want it to stop: %t", row.leftovers, err, row.stops)
		}
	}
}

func TestAssignKeepsWhatIsThereThenWhatIsRemembered(t *testing.T) {
	k := newKernel()
	k.have.Links["brtenks0"] = link.Link{Name: "brtenks0", Kind: "bridge", Mark: link.Mark{Role: link.RoleBridge, Physnet: "there"}}
	k.have.Links["brtenks4"] = link.Link{Name: "brtenks4", Kind: "bridge"}
	offered := map[string]Physnet{"there": {}, "remembered": {}, "clash": {}, "foreign": {}, "new": {}}
	got := assign([]string{"new", "there", "foreign", "clash"}, map[string]int{"remembered": 1, "clash": 0, "foreign": 4, "no longer offered": 2}, offered, k.have, nil)
	if diff := cmp.Diff(map[string]int{"there": 0, "remembered": 1, "clash": 2, "foreign": 3, "new": 5}, got); diff != "" {
		t.Errorf("indices (-want +got):\n%s", diff)
	}
}

// host is a random host: nodes in every state that one can be found in.
type host struct {
	kernel *kernel
	want   want
	have   have
}

func drawHost(t *rapid.T) host {
	k := newKernel()
	k.have.Links["eth1"] = link.Link{Name: "eth1", MTU: 1500, Up: true}
	for _, name := range []string{"brtenks0", "p-n0-0-br", "virbr0"} {
		if rapid.Bool().Draw(t, "foreign "+name) {
			k.have.Links[name] = link.Link{Name: name, Kind: "bridge", MTU: 1500, Up: true}
		}
	}
	var nodes []*state.Node
	var instances []driver.Instance
	for i := range rapid.IntRange(0, 6).Draw(t, "nodes") {
		n := placed(fmt.Sprintf("n%d", i), nil, rapid.SliceOfN(rapid.SampledFrom([]string{"p1", "p2", "p9"}), 0, 3).Draw(t, "physnets")...)
		n.Removing, n.Forget = rapid.Bool().Draw(t, "removing"), true
		n.Machine.Driver = rapid.SampledFrom([]string{"test", "test", "other", "none"}).Draw(t, "driver")
		if rapid.Bool().Draw(t, "placed") {
			nodes = append(nodes, n)
		}
		if rapid.Bool().Draw(t, "exists") {
			instances = append(instances, made(n, func(i *driver.Instance) {
				i.Epoch = rapid.SampledFrom([]uint64{4, 5, 11}).Draw(t, "epoch")
				i.Digest = rapid.SampledFrom([]string{"", i.Digest}).Draw(t, "digest")
				i.Power = rapid.SampledFrom([]state.Power{state.PowerOn, state.PowerOff}).Draw(t, "power")
			}))
		}
	}
	h := host{kernel: k, want: wanted(k, nil, nodes...), have: present(k, instances...)}
	for i := range 6 {
		h.want.elsewhere[fmt.Sprintf("n%d", i)] = rapid.Bool().Draw(t, "elsewhere")
	}
	for _, n := range nodes {
		delete(h.want.elsewhere, n.UUID)
	}
	if rapid.Bool().Draw(t, "links made before") {
		p, err := plan(h.want, h.have)
		if err == nil {
			before := h.have.instances
			h.have = carryOut(k, present(k), p)
			h.have.instances = before
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "down") == 0 {
		h.have.down["test"] = errors.New("gone")
		delete(h.have.instances, "test")
	}
	return h
}

func TestCarryingOutAPlanLeavesNothingToDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHost(t)
		p, err := plan(h.want, h.have)
		if err != nil {
			return
		}
		h.have = carryOut(h.kernel, h.have, p)
		again, err := plan(h.want, h.have)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range slices.Concat(again.before, again.after) {
			if s.Op != link.OpConflict {
				t.Errorf("step again: %s", s)
			}
		}
		for _, w := range again.nodes {
			conflict := slices.ContainsFunc(w.links, func(s layerStep) bool { return s.Op == link.OpConflict })
			if !conflict {
				t.Errorf("work again: %s", w.describe())
			}
		}
	})
}

func TestAPlanTouchesOnlyWhatItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHost(t)
		p, err := plan(h.want, h.have)
		if err != nil {
			if len(p.nodes)+len(p.before)+len(p.after) > 0 {
				t.Errorf("a plan that stops has steps: %v", summary(p))
			}
			return
		}
		steps := slices.Concat(p.before, p.after)
		for _, w := range p.nodes {
			steps = append(steps, w.links...)
			_, i, exists := h.have.find(w.node)
			at := slices.IndexFunc(h.want.nodes, func(n *state.Node) bool { return n.UUID == w.node })
			switch {
			case exists && i.Epoch > h.want.index:
				t.Errorf("%s %s, which is newer than the snapshot", w.kind, w.node)
			case w.kind == kindRemove && at >= 0 && !h.want.nodes[at].Removing:
				t.Errorf("removes %s, which is wanted", w.node)
			case w.kind == kindRemove && h.want.elsewhere[w.node] && w.driver != "":
				t.Errorf("removes %s, which the mesh has elsewhere", w.node)
			case w.kind == kindEnsure && (at < 0 || h.want.nodes[at].Removing):
				t.Errorf("makes %s, which is not wanted", w.node)
			case exists && w.driver == "":
				t.Errorf("%s %s without its driver", w.kind, w.node)
			}
		}
		for _, s := range steps {
			l, exists := h.have.links.Links[s.Link]
			if exists && !l.Ours() && l.Name != "eth1" && s.Op != link.OpConflict {
				t.Errorf("changes foreign %s: %s", l.Name, s)
			}
		}
	})
}
