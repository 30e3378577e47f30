package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"tenks/cmd/internal/declare"
	"tenks/raftfsm/state"
)

func (s *Server) plan(w http.ResponseWriter, r *http.Request) error {
	req, want, err := s.declared(r)
	if err != nil {
		return err
	}
	_, view, err := s.makePlan(r, req, want)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, view)
	return nil
}

// applyTries is how often a plan is made for a state that another apply then changed: two
// clusters whose nodes were to get the same names, for one.
const applyTries = 3

func (s *Server) apply(w http.ResponseWriter, r *http.Request) error {
	req, want, err := s.declared(r)
	if err != nil {
		return err
	}
	request := req.Request
	for try := 1; ; try++ {
		plan, view, err := s.makePlan(r, req, want)
		switch {
		case err != nil:
			return err
		case req.Plan != "" && req.Plan != view.Fingerprint:
			return fail(http.StatusConflict, errors.New("the plan is another one by now: look at it again (tenks plan)"))
		case len(view.Refusals) > 0:
			return fail(http.StatusConflict, errors.New(strings.Join(view.Refusals, "\n")))
		}
		if view.Changed {
			view.Index, err = s.Propose(r.Context(), request, plan.Command)
		}
		if errors.Is(err, state.ErrConflict) && try < applyTries {
			if stale := s.Mesh.Current(r.Context()); stale != nil {
				return err
			}
			if req.Request != "" { // what was answered to a request is answered to it again
				request = fmt.Sprintf("%s-%d", req.Request, try+1)
			}
			continue
		}
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, view)
		return nil
	}
}

// declared reads what is to be planned.
func (s *Server) declared(r *http.Request) (*ApplyRequest, state.Cluster, error) {
	var req ApplyRequest
	if err := readJSON(r, &req); err != nil {
		return nil, state.Cluster{}, err
	}
	want, err := s.Parse(&req)
	if err != nil {
		return nil, state.Cluster{}, fail(http.StatusBadRequest, err)
	}
	return &req, want, nil
}

// makePlan plans against the state as it is now, with what stands in its way.
func (s *Server) makePlan(r *http.Request, req *ApplyRequest, want state.Cluster) (*declare.Plan, *Plan, error) {
	snap, _ := s.Source.Snapshot()
	plan, err := s.Plan(snap, want, declare.Options{Restart: req.Restart, Force: req.Force,
		Forget: req.Forget, AllowUnplaced: req.AllowUnplaced, AllowDataLoss: req.AllowDataLoss, Remove: req.Remove, On: s.running(r, snap, want.Name),
		Kept: func(nodes []*state.Node, force bool) map[string]string { return s.kept(r.Context(), nodes, force) }, Random: rand.Reader})
	if err != nil {
		return nil, nil, fail(http.StatusConflict, err)
	}
	view := planView(snap, plan)
	view.Refusals = slices.Concat(view.Refusals, s.checkUse(r.Context(), plan, req.Force), s.checkImages(r.Context(), plan))
	if s.Allowed != nil && view.Changed {
		if err := s.Allowed(plan.Command); err != nil {
			view.Refusals = append(view.Refusals, err.Error())
		}
	}
	return plan, view, nil
}

// running says which nodes of a cluster are on; whoever has them is asked with the first call.
func (s *Server) running(r *http.Request, snap *state.Snapshot, cluster string) func(uuid string) bool {
	var powers map[string]state.Power
	return func(uuid string) bool {
		if powers == nil {
			powers = s.allPowers(r, snap.NodesOf(cluster))
		}
		return powers[uuid] == state.PowerOn
	}
}

func planView(snap *state.Snapshot, p *declare.Plan) *Plan {
	v := &Plan{Cluster: p.Command.Cluster.Name, Steps: []PlanStep{}, Unchanged: p.Unchanged,
		Notes: append([]string{}, p.Notes...), Refusals: append([]string{}, p.Refusals...), Changed: !p.Empty(snap)}
	for _, d := range snap.PhysnetDisagreements() {
		uses := func(m state.Machine) bool { return slices.Contains(m.Physnets, d.Physnet) }
		if slices.ContainsFunc(slices.Collect(maps.Values(p.Command.Cluster.Types)), uses) {
			v.Notes = append(v.Notes, d.String()+": see tenks doctor")
		}
	}
	for _, st := range p.Steps {
		step := PlanStep{Action: string(st.Action), Node: st.Node, Hypervisor: hypervisorName(snap, st.Hypervisor),
			When: string(st.When), Reasons: append([]string{}, st.Reasons...), Changes: []PlanChange{}}
		for _, d := range st.Changes {
			step.Changes = append(step.Changes, PlanChange{Field: d.Field, Old: d.Old, New: d.New, When: string(d.When), LosesData: d.Loss, Text: d.String()})
		}
		v.Steps = append(v.Steps, step)
	}
	for _, f := range p.Flavors {
		v.Flavors = append(v.Flavors, PlanFlavor{Action: string(f.Action), Name: f.Name, Reasons: f.Reasons})
	}
	v.Fingerprint = fingerprint(v, p.Command.Expect)
	return v
}

// fingerprint identifies what a plan does, and to which state.
func fingerprint(v *Plan, expect uint64) string {
	does := *v
	does.Notes = nil
	b, err := json.Marshal(does)
	if err != nil { // only strings and numbers: cannot happen
		panic(err)
	}
	sum := sha256.Sum256(append(b, fmt.Sprint(expect)...))
	return hex.EncodeToString(sum[:8])
}

// checkUse refuses a plan that takes away what Ironic still uses: nodes, or what is on them.
func (s *Server) checkUse(ctx context.Context, p *declare.Plan, force bool) []string {
	snap, _ := s.Source.Snapshot()
	var nodes, forced []*state.Node
	for _, r := range p.Command.Remove {
		n, ok := snap.Node(r.UUID)
		switch {
		case !ok || r.Forget:
		case r.Force:
			forced = append(forced, n)
		default:
			nodes = append(nodes, n)
		}
	}
	for _, uuid := range p.Lose {
		if n, ok := snap.Node(uuid); ok && !force {
			nodes = append(nodes, n)
		}
	}
	return append(s.used(ctx, nodes, false), s.used(ctx, forced, true)...)
}

func (s *Server) refuseUsed(ctx context.Context, nodes []*state.Node, force bool) error {
	if refused := s.used(ctx, nodes, force); len(refused) > 0 {
		return fail(http.StatusConflict, errors.New(strings.Join(refused, "\n")))
	}
	return nil
}

// used says which nodes Ironic uses, or does not let go even by force, sorted.
func (s *Server) used(ctx context.Context, nodes []*state.Node, force bool) []string {
	return slices.Sorted(maps.Values(s.kept(ctx, nodes, force)))
}

// kept is used by UUID.
func (s *Server) kept(ctx context.Context, nodes []*state.Node, force bool) map[string]string {
	ask := s.Removable
	if force {
		ask = s.Protected
	}
	refused := map[string]string{}
	if ask == nil {
		return refused
	}
	byCluster := map[string][]*state.Node{}
	for _, n := range nodes {
		if n.Ironic.Phase != "" && n.Ironic.Phase != state.IronicGone {
			byCluster[n.Cluster] = append(byCluster[n.Cluster], n)
		}
	}
	snap, _ := s.Source.Snapshot()
	for cluster, nodes := range byCluster {
		c, ok := snap.Cluster(cluster)
		if !ok || c.Ironic == nil {
			continue
		}
		why, err := ask(ctx, *c.Ironic, nodes)
		if err != nil {
			// Ironic does not answer: what it said last must do. The enroller looks
			// again before it deletes anything.
			s.Log.WarnContext(ctx, "ironic does not say which nodes it uses", "cluster", cluster, "err", err)
			if why = nil; !force {
				why = lastKnownUse(nodes)
			}
		}
		maps.Copy(refused, why)
	}
	return refused
}

func lastKnownUse(nodes []*state.Node) map[string]string {
	out := map[string]string{}
	for _, n := range nodes {
		if declare.InUse(n) {
			out[n.UUID] = fmt.Sprintf("node %s is %s in Ironic: undeploy it, or use --force", n.Name, n.Ironic.ProvisionState)
		}
	}
	return out
}

func (s *Server) destroy(w http.ResponseWriter, r *http.Request) error {
	var req DestroyRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	name := r.PathValue("name")
	snap, _ := s.Source.Snapshot()
	if _, ok := snap.Cluster(name); !ok {
		return fail(http.StatusNotFound, fmt.Errorf("cluster %q: not found; see tenks cluster list", name))
	}
	if !req.Forget {
		if err := s.refuseUsed(r.Context(), snap.NodesOf(name), req.Force); err != nil {
			return err
		}
	}
	index, err := s.Propose(r.Context(), "", state.RemoveCluster{Name: name, Force: req.Force, Forget: req.Forget})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, map[string]uint64{"index": index})
	return nil
}

func (s *Server) clusters(w http.ResponseWriter, _ *http.Request) error {
	snap, _ := s.Source.Snapshot()
	out := []Cluster{}
	for _, c := range snap.Clusters() {
		out = append(out, clusterView(snap, c))
	}
	writeIndexed(w, snap, out)
	return nil
}

func (s *Server) cluster(w http.ResponseWriter, r *http.Request) error {
	snap, c, err := s.findCluster(r)
	if err != nil {
		return err
	}
	writeIndexed(w, snap, clusterView(snap, c))
	return nil
}

func (s *Server) clusterFile(w http.ResponseWriter, r *http.Request) error {
	_, c, err := s.findCluster(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write([]byte(c.Source))
	return nil
}

func (s *Server) findCluster(r *http.Request) (*state.Snapshot, *state.Cluster, error) {
	snap, _ := s.Source.Snapshot()
	name := r.PathValue("name")
	c, ok := snap.Cluster(name)
	if !ok {
		return nil, nil, fail(http.StatusNotFound, fmt.Errorf("cluster %q: not found; see tenks cluster list", name))
	}
	return snap, c, nil
}

func clusterView(snap *state.Snapshot, c *state.Cluster) Cluster {
	v := Cluster{Name: c.Name, State: "present", Types: len(c.Types), ByPhase: map[string]int{}, Index: c.ModifyIndex}
	if c.Removing {
		v.State = "removing"
	}
	for _, spec := range c.Specs {
		v.Wanted += spec.Count
	}
	addFlavors(&v, c)
	for _, n := range snap.NodesOf(c.Name) {
		phase, _ := n.Phase()
		v.Nodes++
		v.ByPhase[string(phase)]++
	}
	if q := quotaView(snap, c.Name); !snap.Quota(c.Name).IsZero() {
		v.Quota = &q
	}
	if c.Ironic != nil {
		v.Ironic = c.Ironic.Endpoint
		if c.Ironic.Cloud != "" {
			v.Ironic = "cloud " + c.Ironic.Cloud
		}
	}
	return v
}

func writeIndexed(w http.ResponseWriter, snap *state.Snapshot, v any) {
	w.Header().Set(IndexHeader, fmt.Sprint(snap.Index()))
	writeJSON(w, http.StatusOK, v)
}

func hypervisorName(snap *state.Snapshot, id string) string {
	if h, ok := snap.Hypervisor(id); ok {
		return h.Name
	}
	if p, ok := snap.Peer(id); ok {
		return p.Name
	}
	return id
}
