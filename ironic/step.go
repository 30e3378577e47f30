package ironic

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

// mostSteps bounds the calls for one node in one pass; what is left is done in the
// next one.
const mostSteps = 64

// node takes steps for one node until it waits for Ironic or is settled. The error
// says that Ironic is of no use now.
func (s *site) node(ctx context.Context, n *state.Node, inv *inventory) (result, error) {
	if !n.Removing && !enrollable(n) {
		r := inv.of(n.UUID, s.e.cfg.Mesh)
		if !r.marked(s.e.cfg.Mesh) {
			r = nil
		}
		return s.release(ctx, n, r, "")
	}
	base, r, problem := s.target(n, inv)
	if problem != "" {
		return s.release(ctx, n, r, problem)
	}
	last := ""
	for range mostSteps {
		w := base
		r = heard(n, r, s.e.cfg.Since)
		if r != nil && !n.Removing {
			w.claim(r, r.Mark == nil)
		}
		a := s.decide(n, w, r)
		if a.Kind == settled || a.Kind == waiting || a.Kind == gone {
			return s.ended(n, r, a), nil
		}
		if s.held(n.UUID, a) {
			return result{status: statusOf(n, r, cloud.Scrub(s.lastProblem(n.UUID), secretsOf(n)...)), done: true}, nil
		}
		if a.signature() == last {
			return s.notKept(n, r, a), nil
		}
		last = a.signature()
		after, err := s.act(ctx, n, w, r, a)
		if err != nil {
			return s.stepFailed(ctx, n, w, r, a, err)
		}
		s.e.cfg.Log.DebugContext(ctx, "ironic step", "node", n.Name, "step", a.String())
		r = after
	}
	return result{status: statusOf(n, r, ""), busy: true, done: true}, nil
}

// target finds what the node shall be and what it is. A node on its way out needs
// no declaration.
func (s *site) target(n *state.Node, inv *inventory) (w want, r *record, problem string) {
	if n.Removing {
		return want{}, inv.of(n.UUID, s.e.cfg.Mesh), ""
	}
	w, err := wanted(n, s.e.cfg.Mesh)
	if err != nil {
		return w, nil, err.Error()
	}
	if r, problem = conflict(w, inv, n); problem != "" {
		return w, r, problem
	}
	if problem = tooOld(n, s.client.most); problem == "" {
		problem = s.images.problem(n)
	}
	return w, r, problem
}

func (s *site) decide(n *state.Node, w want, r *record) action {
	if n.Removing {
		return nextRemoval(n, s.e.cfg.Mesh, r)
	}
	return next(n, w, r)
}

// release leaves the record as it is of a node that cannot be worked on now, or is no longer
// declared: but it ends what maintenance of ours was begun.
func (s *site) release(ctx context.Context, n *state.Node, r *record, problem string) (result, error) {
	a := action{Kind: unmaintain}
	if !r.marked(s.e.cfg.Mesh) || !r.changingPorts() {
		return result{status: statusOf(n, r, problem), done: true}, nil
	}
	if s.held(n.UUID, a) {
		return result{status: statusOf(n, r, cloud.Scrub(s.lastProblem(n.UUID), secretsOf(n)...)), done: true}, nil
	}
	after, err := s.act(ctx, n, want{}, r, a)
	if err != nil {
		return s.stepFailed(ctx, n, want{}, r, a, err)
	}
	s.nodeDone(n.UUID)
	return result{status: statusOf(n, after, problem), done: true}, nil
}

func (r *record) marked(mesh string) bool { return r != nil && r.Mark.ours(mesh) }

func (s *site) ended(n *state.Node, r *record, a action) result {
	if a.Kind == gone {
		s.nodeDone(n.UUID)
		return result{status: state.IronicStatus{Phase: state.IronicGone}, done: true}
	}
	res := result{status: statusOf(n, r, cloud.Scrub(a.Problem, secretsOf(n)...)), busy: a.Kind == waiting, done: true}
	if a.Kind == settled {
		s.nodeDone(n.UUID)
		if a.Done {
			res.status.Phase, res.status.Reached = state.IronicEnrolled, a.Reached
		}
		if res.status.Reached == state.TargetAvailable {
			res.status.Reached = ""
		}
		return res
	}
	// While the next attempt runs, the reason of the last failure stays to be seen.
	if res.status.Error == "" {
		res.status.Error = cloud.Scrub(s.lastProblem(n.UUID), secretsOf(n)...)
	}
	return res
}

// notKept is the status of a node whose change Ironic took and did not keep: it is
// tried again with backoff, not at once.
func (s *site) notKept(n *state.Node, r *record, a action) result {
	problem := cloud.Scrub(fmt.Sprintf("node %s: Ironic does not keep %s", n.Name, a.signature()), secretsOf(n)...)
	s.nodeFailed(n.UUID, a.String(), problem)
	return result{status: statusOf(n, r, problem), done: true}
}

// stepFailed turns a refusal into a status.
func (s *site) stepFailed(ctx context.Context, n *state.Node, w want, r *record, a action, err error) (result, error) {
	switch blameFor(err) {
	case blameSite:
		return result{}, err
	case blameBusy:
		return result{status: statusOf(n, r, n.Ironic.Error), busy: true, done: true}, nil
	case blameNode:
	}
	problem := fmt.Sprintf("node %s: %s: %s", n.Name, a, cloud.Describe(err))
	if code, _ := cloud.Answer(err); code == http.StatusConflict && (a.Kind == create || a.Kind == createPort) {
		why, err := s.collision(ctx, n, w)
		if err != nil {
			return result{}, err
		}
		if why != "" {
			problem = why
		}
	}
	problem = cloud.Scrub(problem, append(secretsOf(n), cloud.SecretsOf(s.access)...)...)
	s.nodeFailed(n.UUID, a.String(), problem)
	return result{status: statusOf(n, r, problem), done: true}, nil
}

// collision names the foreign object that a create ran into.
func (s *site) collision(ctx context.Context, n *state.Node, w want) (string, error) {
	inv, err := s.client.hidden(ctx, w)
	if err != nil {
		if blameFor(err) == blameSite {
			return "", err
		}
		return "", nil
	}
	_, problem := conflict(w, inv, n)
	return problem, nil
}

// act makes one call and returns the record as it is after it.
func (s *site) act(ctx context.Context, n *state.Node, w want, r *record, a action) (*record, error) {
	c := s.client
	if err := c.pace.wait(ctx); err != nil {
		return nil, err
	}
	switch a.Kind {
	case create:
		return c.create(ctx, w)
	case patchNode, recoverNode:
		after, err := c.patchNode(ctx, r.UUID, a.Patches)
		if err != nil {
			return nil, err
		}
		// What failed before may do now.
		s.overcome(n.UUID, a.String())
		after.Ports, after.Groups = r.Ports, r.Groups
		return after, nil
	case maintain, unmaintain:
		if now, err := c.node(ctx, r); err != nil || a.overtaken(r, now) {
			return now, err
		}
	}
	after := *r
	return &after, s.change(ctx, n, w, &after, a)
}

// overtaken reports whether somebody came between the list and now, so that a change of the
// maintenance is decided anew: one that was free may have been given out.
func (a action) overtaken(r, now *record) bool {
	switch {
	case a.Verb == reasonRemoval:
		return false
	case a.Kind == maintain && (now.State != r.State || now.InstanceUUID != r.InstanceUUID):
		return true
	}
	return !now.sameMaintenance(r)
}

// change makes a call whose outcome is known without reading the node again.
func (s *site) change(ctx context.Context, n *state.Node, w want, r *record, a action) error {
	c := s.client
	switch a.Kind {
	case setTraits:
		r.Traits = w.Traits
		return c.setTraits(ctx, r.UUID, w.Traits)
	case createPort:
		p, err := c.createPort(ctx, r.UUID, a.Port)
		return put(&r.Ports, p, err)
	case patchPort:
		p, err := c.patchPort(ctx, a.PortID, a.Patches)
		return put(&r.Ports, p, err)
	case deletePort:
		r.Ports = slices.DeleteFunc(slices.Clone(r.Ports), func(p portRecord) bool { return p.UUID == a.PortID })
		return c.deletePort(ctx, a.PortID)
	case createGroup:
		g, err := c.createGroup(ctx, r.UUID, a.Group)
		return put(&r.Groups, g, err)
	case patchGroup:
		g, err := c.patchGroup(ctx, a.PortID, a.Patches)
		return put(&r.Groups, g, err)
	case deleteGroup:
		r.Groups = slices.DeleteFunc(slices.Clone(r.Groups), func(g groupRecord) bool { return g.UUID == a.PortID })
		return c.deleteGroup(ctx, a.PortID)
	case maintain:
		r.Maintenance, r.MaintenanceReason = true, a.Verb
		return c.maintain(ctx, r.UUID, a.Verb)
	case unmaintain:
		r.Maintenance, r.MaintenanceReason, r.Fault = false, "", ""
		return c.unmaintain(ctx, r.UUID)
	case provision:
		level := slog.LevelInfo
		if a.Again {
			level = slog.LevelDebug
		}
		s.e.cfg.Log.Log(ctx, level, "ironic: provision state asked for", "node", n.Name, "verb", a.Verb, "from", r.State)
		r.State, r.Target = begun(r.State, r.Target, a.Verb)
		r.LastError = ""
		return c.provision(ctx, r.UUID, a.Verb)
	case remove:
		s.e.cfg.Log.InfoContext(ctx, "ironic: node deleted", "node", n.Name, "from", r.State)
		r.Mark = nil
		return c.deleteNode(ctx, r.UUID)
	}
	panic("ironic: action without an effect: " + a.String())
}

// put makes the ports or port groups of a record those that there are after one was made or
// changed; an error changes nothing.
func put[T interface{ id() string }](have *[]T, one T, err error) error {
	if err != nil {
		return err
	}
	*have = append(slices.DeleteFunc(slices.Clone(*have), func(t T) bool { return t.id() == one.id() }), one)
	return nil
}

func (p portRecord) id() string { return p.UUID }

func (g groupRecord) id() string { return g.UUID }

// begun is the state that a verb leads to at once, and the one that this leads to. Most are
// moving states, so that the pass waits for Ironic's own word.
func begun(from, target, verb string) (now, next string) {
	switch {
	case verb == "manage" && from == stEnroll:
		return stVerifying, stManageable
	case verb == "manage":
		return stManageable, ""
	case verb == "provide":
		return stCleaning, stAvailable
	case verb == "inspect":
		return stInspecting, stManageable
	case verb == "deleted":
		return stDeleting, stAvailable
	case verb == "unrescue":
		return stUnrescuing, stActive
	}
	return from, target
}

var kindNames = map[kind]string{settled: "nothing to do", waiting: "wait", create: "create", patchNode: "change",
	setTraits: "set traits", createPort: "create port", patchPort: "change port", deletePort: "delete port",
	createGroup: "create port group", patchGroup: "change port group", deleteGroup: "delete port group", recoverNode: "recover",
	provision: "", maintain: "set maintenance", unmaintain: "end maintenance", remove: "delete", gone: "gone"}

// String names the step, as in "create port 52:54:00:00:00:01", without values.
func (a action) String() string {
	switch a.Kind {
	case createPort:
		return kindNames[a.Kind] + " " + a.Port.MAC
	case createGroup:
		return kindNames[a.Kind] + " " + a.Group.Name
	case provision:
		return a.Verb
	}
	return kindNames[a.Kind]
}

// signature tells a step from another one of its kind, as in "change /driver".
func (a action) signature() string {
	text := a.String() + a.PortID
	for _, p := range a.Patches {
		text += " " + p.Path
	}
	return text
}
