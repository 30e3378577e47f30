// Package declare turns a declared cluster into the one command that makes it so:
// which nodes are created (with the identity they keep), changed and removed, why,
// and when each change takes effect. It is pure but for the random numbers that
// UUIDs and passwords are made from, and starts nothing.
package declare

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"tenks/raftfsm/state"
	"tenks/sched"
)

// Options of a plan.
type Options struct {
	// Restart asks for a power cycle of nodes whose change needs one.
	Restart bool
	// Force and Forget are passed on to removals.
	Force, Forget bool
	// AllowUnplaced accepts nodes that no hypervisor can take now; they stay pending.
	AllowUnplaced bool
	// AllowDataLoss accepts that nodes or volumes which exist are made anew, without what is
	// on them. For nodes that Ironic uses it takes Force, too.
	AllowDataLoss bool
	// Remove names nodes that go first where a count shrinks.
	Remove []string
	// Adopt has named nodes taken over that are on hosts already, and nothing else done; nil:
	// a plan as usual.
	Adopt *Adoption
	// On says whether a node is on; nil: not known. It is asked where a count shrinks.
	On func(uuid string) bool
	// Kept says which nodes Ironic does not let go, or not even by force, and why, by UUID; nil:
	// what it said last counts. It is asked where a count shrinks.
	Kept func(nodes []*state.Node, force bool) map[string]string
	// Random is where UUIDs and passwords come from, such as crypto/rand.Reader.
	Random io.Reader
}

// Action is what happens to a node.
type Action string

// The actions.
const (
	Create Action = "create"
	Change Action = "change"
	// Recreate is a change for which the node is taken apart and made anew; it keeps its
	// name, UUID, MACs and place in Ironic.
	Recreate Action = "recreate"
	Remove   Action = "remove"
)

// Step is what a plan does to one node.
type Step struct {
	Action Action
	Node   string
	// Hypervisor is the ID of where a created node would go, or where the node is.
	Hypervisor string
	// When is the latest time at which a part of it takes effect.
	When When
	// Reasons say why, or what a created node consists of.
	Reasons []string
	// Changes are what a change makes different.
	Changes []Difference
}

// Plan is what an apply will do.
type Plan struct {
	Steps []Step
	// Flavors is what it does to flavors of Nova.
	Flavors []FlavorStep
	// Unchanged counts the nodes that stay as they are.
	Unchanged int
	// Notes say what of the declaration has no effect, and what is not as it should be with
	// nodes of the cluster, and what to do.
	Notes []string
	// Refusals say why it must not be carried out without another consent.
	Refusals []string
	// Lose are the nodes, by UUID, that lose data by it.
	Lose []string
	// Command carries it out.
	Command state.ApplyCluster
}

// Empty reports whether applying the plan would change nothing.
func (p *Plan) Empty(snap *state.Snapshot) bool {
	old, ok := snap.Cluster(p.Command.Cluster.Name)
	return len(p.Steps) == 0 && ok && !old.Removing && sameCluster(old, &p.Command.Cluster)
}

// UnplacedError says which nodes no hypervisor can take, and why.
type UnplacedError struct{ Refusals []state.NodeRefusal }

func (e *UnplacedError) Error() string {
	const most = 5
	var lines []string
	for i, r := range e.Refusals {
		if i == most {
			lines = append(lines, fmt.Sprintf("… and %d more", len(e.Refusals)-most))
			break
		}
		lines = append(lines, r.Reason)
	}
	return strings.Join(lines, "\n")
}

// Cluster plans how the mesh in snap comes to hold want. Errors: *UnplacedError
// when nodes fit nowhere (unless AllowUnplaced), others for what cannot be done to
// nodes that exist.
func Cluster(snap *state.Snapshot, want state.Cluster, opt Options) (*Plan, error) {
	if err := checkFlavors(snap, &want); err != nil {
		return nil, err
	}
	p := &planner{snap: snap, want: want, opt: opt, ids: newIdentities(snap, opt.Random)}
	if old, ok := snap.Cluster(want.Name); ok {
		if old.Removing {
			return nil, fmt.Errorf("cluster %q is being destroyed: wait until it is gone", want.Name)
		}
		p.plan.Command.Expect = old.ModifyIndex
	}
	old, _ := snap.Cluster(want.Name)
	if err := keepsCloud(old, &want, opt.Forget); err != nil {
		return nil, err
	}
	p.plan.Flavors = flavorSteps(old, &want)
	p.plan.Command.Cluster = want
	p.checkNamed()
	var err error
	if p.outlets, err = newOutlets(snap, &want); err != nil {
		return nil, err
	}
	p.reserve()
	existing := map[string][]*state.Node{}
	for _, n := range snap.NodesOf(want.Name) {
		if !n.Removing {
			existing[n.Spec] = append(existing[n.Spec], n)
		}
	}
	if opt.Adopt != nil {
		return p.adoptPlan(existing)
	}
	for _, spec := range want.Specs {
		if spec.Enrol != nil && want.Ironic == nil {
			spec.Enrol = nil
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("nodes of type %s are not enrolled: the file has ironic_config, but no ironic", spec.Type))
		}
		if note := p.outlets.note(spec, want.Types[spec.Type]); note != "" {
			p.plan.Notes = append(p.plan.Notes, note)
		}
		if err := p.spec(spec, existing[spec.Key]); err != nil {
			return nil, err
		}
		delete(existing, spec.Key)
	}
	for _, key := range sortedKeys(existing) {
		p.remove(existing[key], func(*state.Node) string { return "its spec is no longer declared" })
	}
	return p.finish()
}

type planner struct {
	snap *state.Snapshot
	want state.Cluster
	opt  Options
	ids  *identities
	// outlets are those of the cluster's PDUs.
	outlets *outlets
	plan    Plan
	errs    []error
	// stay are the nodes that stay, as they are declared; lose are those that lose data.
	stay, lose []*state.Node
}

func (p *planner) spec(spec state.Spec, have []*state.Node) error {
	machine := p.want.Types[spec.Type]
	machine.Hardware.VolumePrefix = spec.VolumePrefix
	surplus := len(have) - spec.Count
	first := p.goFirst(spec, have, surplus)
	if surplus > 0 {
		var gone []*state.Node
		var used map[string]use
		have, gone, used = shrink(have, surplus, p.opt, first, spec.Nodes)
		p.remove(gone, func(n *state.Node) string {
			why := uses[used[n.UUID]]
			if first[n.Name] {
				why = "is named by --remove"
			}
			return fmt.Sprintf("count of %s is %d, and it %s", spec.Type, spec.Count, why)
		})
	}
	for _, n := range have {
		p.change(n, spec, machine)
	}
	named, err := p.named(spec, spec.Count-len(have))
	if err != nil {
		return err
	}
	for i := range spec.Count - len(have) {
		want := state.NamedNode{}
		if i < len(named) {
			want = named[i]
		}
		if err := p.create(spec, machine, want); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) create(spec state.Spec, machine state.Machine, named state.NamedNode) error {
	n, err := p.ids.node(spec.Prefix, named, len(machine.Physnets))
	if err != nil {
		return err
	}
	if n.Origin, n.Pin, err = p.origin(named); err != nil {
		return err
	}
	for i := range n.Ports {
		n.Ports[i].Physnet, n.Ports[i].Trunk = machine.Physnets[i], machine.Trunk(i)
	}
	n.Cluster, n.Type, n.Spec = p.want.Name, spec.Type, spec.Key
	n.Machine, n.Enrol = machine, spec.Enrol
	n.DeployKernel, n.DeployRamdisk = p.want.DeployKernel, p.want.DeployRamdisk
	n.BMCPool = poolOf(&p.want, machine)
	n.Constraints, n.OnHostLoss, n.StopAfterMilli = spec.Constraints, spec.OnHostLoss, spec.StopAfterMilli
	if n.Outlet, err = p.outlets.of(spec, nil); err != nil {
		return err
	}
	n.BMC.Key, n.BMC.IPMI15 = p.want.BMC.Key, p.want.BMC.IPMI15
	if p.want.BMC.Username != "" {
		n.BMC.Username = p.want.BMC.Username
	}
	if !p.want.BMC.Password.IsZero() {
		n.BMC.Password = p.want.BMC.Password
	}
	p.plan.Command.Create = append(p.plan.Command.Create, n)
	p.plan.Steps = append(p.plan.Steps, Step{Action: Create, Node: n.Name, When: Now, Reasons: []string{describe(machine, n.Outlet)}})
	return nil
}

func (p *planner) change(n *state.Node, spec state.Spec, machine state.Machine) {
	c, err := p.ids.change(n, spec, machine, &p.want)
	if err == nil {
		c.Outlet, err = p.outlets.of(spec, n.Outlet)
	}
	if err != nil {
		p.errs = append(p.errs, err)
		return
	}
	c.Endpoint, c.Pin = p.ids.endpoint(n, machine), p.repin(n, spec)
	step := Step{Action: Change, Node: n.Name, Hypervisor: hypervisor(n), Changes: differences(n, &c)}
	if c.Pin != nil {
		step.Changes = append(step.Changes, p.pinned(n, *c.Pin))
	}
	p.stay = append(p.stay, declared(n, &c))
	pending := n.Host.Pending
	if len(step.Changes) == 0 && (!p.opt.Restart || len(pending) == 0) {
		p.plan.Unchanged++
		return
	}
	if p.opt.Restart && (len(pending) > 0 || needsRestart(step.Changes)) {
		c.Restart = true
		restarted(step.Changes)
	}
	c.Anew = p.anew(n, step.Changes)
	if c.Anew {
		step.Action = Recreate
	}
	step.When = latest(step.Changes)
	if len(step.Changes) > 0 {
		step.Reasons = []string{"declared otherwise"}
	}
	if c.Restart && len(pending) > 0 {
		step.When = ByRestart
		step.Reasons = append(step.Reasons, "waits for a power cycle: "+strings.Join(pending, ", "))
	}
	p.plan.Command.Change = append(p.plan.Command.Change, c)
	p.plan.Steps = append(p.plan.Steps, step)
}

// anew reports whether a node is made anew for what differs, and notes whose data is lost.
func (p *planner) anew(n *state.Node, differ []Difference) bool {
	anew := slices.ContainsFunc(differ, func(d Difference) bool { return d.Anew }) && n.Placement != nil
	if n.Placement != nil && slices.ContainsFunc(differ, func(d Difference) bool { return d.Loss }) {
		p.lose = append(p.lose, n)
	}
	if anew && n.Moving() {
		p.errs = append(p.errs, fmt.Errorf("node %q: moves: apply again when it has arrived, to make it anew", n.Name))
	}
	return anew
}

func (p *planner) remove(nodes []*state.Node, why func(*state.Node) string) {
	for _, n := range nodes {
		p.plan.Command.Remove = append(p.plan.Command.Remove,
			state.NodeRemoval{UUID: n.UUID, Force: p.opt.Force, Forget: p.opt.Forget})
		p.plan.Steps = append(p.plan.Steps, Step{Action: Remove, Node: n.Name, Hypervisor: hypervisor(n), When: Now, Reasons: []string{why(n)}})
	}
}

func (p *planner) finish() (*Plan, error) {
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	if refused := p.place(); len(refused) > 0 && !p.opt.AllowUnplaced {
		return nil, &UnplacedError{Refusals: refused}
	}
	if err := p.checkQuota(); err != nil {
		return nil, err
	}
	p.consents()
	p.plan.Notes = append(p.plan.Notes, Notes(p.snap, p.stay)...)
	return &p.plan, nil
}

// place says where new nodes go, and returns why those of the plan cannot be, or grow.
func (p *planner) place() []state.NodeRefusal {
	extra := make([]*state.Node, len(p.plan.Command.Create))
	for i := range p.plan.Command.Create {
		extra[i] = &p.plan.Command.Create[i]
	}
	result := sched.PlaceAfter(p.snap, p.staying(), p.removed(), extra)
	where := map[string]string{}
	for _, pl := range result.Placements {
		where[pl.UUID] = pl.Hypervisor
	}
	byName, ours := map[string]string{}, map[string]bool{}
	for _, n := range extra {
		byName[n.Name], ours[n.UUID] = where[n.UUID], true
	}
	for _, c := range p.plan.Command.Change {
		n, ok := p.snap.Node(c.UUID)
		ours[c.UUID] = ok && n.Placement != nil // one that waits goes on waiting
	}
	for i, s := range p.plan.Steps {
		if s.Action == Create || s.Action == Adopt {
			p.plan.Steps[i].Hypervisor = byName[s.Node]
		}
	}
	return slices.DeleteFunc(result.Refusals, func(r state.NodeRefusal) bool { return !ours[r.UUID] })
}

// staying are the nodes that stay, as they are declared; those that are made anew have no
// place.
func (p *planner) staying() []*state.Node {
	anew := map[string]bool{}
	for _, c := range p.plan.Command.Change {
		anew[c.UUID] = c.Anew
	}
	out := slices.Clone(p.stay)
	for i, n := range out {
		if anew[n.UUID] {
			waits := *n
			waits.Placement = nil
			out[i] = &waits
		}
	}
	return out
}

// removed are the UUIDs of the nodes that the plan removes.
func (p *planner) removed() []string {
	var out []string
	for _, r := range p.plan.Command.Remove {
		out = append(out, r.UUID)
	}
	return out
}

// checkQuota refuses a plan by which the cluster grows over its quota.
func (p *planner) checkQuota() error {
	machines := map[string]state.Machine{}
	for _, n := range p.snap.NodesOf(p.want.Name) {
		if !n.Removing {
			machines[n.UUID] = n.Machine
		}
	}
	for _, n := range p.stay {
		machines[n.UUID] = n.Machine
	}
	for _, uuid := range p.removed() {
		delete(machines, uuid)
	}
	for _, n := range p.plan.Command.Create {
		machines[n.UUID] = n.Machine
	}
	var to state.Usage
	for _, m := range machines {
		to.Add(m)
	}
	return p.snap.Quota(p.want.Name).Check(p.want.Name, p.snap.Usage(p.want.Name), to)
}

// consents says what has to be asked for besides.
func (p *planner) consents() {
	var all, used []string
	for _, n := range p.lose {
		all, p.plan.Lose = append(all, n.Name), append(p.plan.Lose, n.UUID)
		if InUse(n) {
			used = append(used, n.Name)
		}
	}
	if len(all) > 0 && !p.opt.AllowDataLoss {
		p.plan.Refusals = append(p.plan.Refusals, fmt.Sprintf("data on %s is lost by this: add --allow-data-loss, or declare a new type for new nodes", Names(all)))
	}
	if len(used) > 0 && !p.opt.Force {
		p.plan.Refusals = append(p.plan.Refusals, fmt.Sprintf("data on %s is lost by this, and Ironic uses what is on it: undeploy first, or add --force", Names(used)))
	}
}

func hypervisor(n *state.Node) string {
	if n.Placement == nil {
		return ""
	}
	return n.Placement.Hypervisor
}
