package raftfsm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tenks/raftfsm/state"
)

// feed is a log whose state is handed to replicas in parts.
type feed struct {
	t     testing.TB
	store *state.Store
	index uint64
	// had are the hypervisors that each node, by UUID and index of its creation, was on.
	had map[string][]string
}

func newFeed(t testing.TB) *feed {
	f := &feed{t: t, store: state.New(), had: map[string][]string{}}
	f.apply(state.SetMesh{Mesh: state.Mesh{ID: "m1", Name: "lab", Generation: 1}},
		state.PutPeer{Peer: state.Peer{ID: "h1", Name: "hv1"}})
	for i, id := range []string{"h1", "h2", "h3"} {
		if i > 0 {
			token := state.Token{ID: "t" + id, Hash: bytes.Repeat([]byte{1}, 32), Uses: 1}
			f.apply(state.PutToken{Token: token}, state.AdmitPeer{Peer: state.Peer{ID: id, Name: "hv" + id}, Token: token.ID, Hash: token.Hash})
		}
		f.apply(state.PutHypervisor{Hypervisor: state.Hypervisor{ID: id, Name: "hv" + id}})
	}
	return f
}

// apply applies commands, be they refused or not.
func (f *feed) apply(commands ...state.Command) {
	for _, c := range commands {
		f.index++
		_ = f.store.Apply(f.index, state.Envelope{UnixMilli: int64(f.index) * 1000, Command: c})
		for _, n := range f.snap().Nodes() {
			if n.Placement != nil && !slices.Contains(f.had[lifeOf(n)], n.Placement.Hypervisor) {
				f.had[lifeOf(n)] = append(f.had[lifeOf(n)], n.Placement.Hypervisor)
			}
		}
	}
}

func lifeOf(n *state.Node) string { return fmt.Sprint(n.UUID, "@", n.CreateIndex) }

func (f *feed) snap() *state.Snapshot {
	snap, _ := f.store.Snapshot()
	return snap
}

// wantView is, as text, what a hypervisor's replica should know; it uses nothing of
// what makes parts.
func (f *feed) wantView(hypervisor string) string {
	snap := f.snap()
	var b strings.Builder
	fmt.Fprintf(&b, "%d %+v\n", snap.Index(), snap.Mesh())
	for _, p := range snap.Peers() {
		fmt.Fprintf(&b, "peer %+v\n", *p)
	}
	if h, ok := snap.Hypervisor(hypervisor); ok {
		fmt.Fprintf(&b, "hypervisor %+v\n", *h)
	}
	for _, n := range snap.Nodes() {
		switch {
		case n.Placement != nil && n.Placement.Hypervisor == hypervisor:
			fmt.Fprintf(&b, "node %s\n", wholeNode(n))
		case slices.Contains(f.had[lifeOf(n)], hypervisor):
			fmt.Fprintf(&b, "elsewhere %s %s on %s\n", n.UUID, n.Name, whereIs(n))
		}
	}
	for _, fault := range snap.Faults() {
		concerned := slices.Contains(fault.Hypervisors, hypervisor)
		for _, n := range snap.Nodes() {
			concerned = concerned || slices.Contains(f.had[lifeOf(n)], hypervisor) && fault.Concerns(n)
		}
		if concerned {
			fmt.Fprintf(&b, "fault %+v\n", *fault)
		}
	}
	f.wantTunnels(&b, hypervisor)
	return b.String()
}

// wantTunnels is which other hosts of a hypervisor's overlays have ports on them.
func (f *feed) wantTunnels(b *strings.Builder, hypervisor string) {
	vni := func(id, physnet string) int {
		h, _ := f.snap().Hypervisor(id)
		if h != nil {
			for _, l := range h.PhysnetLinks {
				if l.Physnet == physnet {
					return l.VNI
				}
			}
		}
		return 0
	}
	for _, host := range []string{"h1", "h2", "h3"} {
		for _, physnet := range []string{"a", "b"} {
			ports := slices.ContainsFunc(f.snap().NodesOn(host), func(n *state.Node) bool { return len(n.Ports) > 0 && n.Ports[0].Physnet == physnet })
			if host != hypervisor && ports && vni(host, physnet) != 0 && vni(hypervisor, physnet) != 0 {
				fmt.Fprintf(b, "tunnel %s %s %d\n", host, physnet, vni(host, physnet))
			}
		}
	}
}

func wholeNode(n *state.Node) string {
	b, err := json.Marshal(n)
	return fmt.Sprintf("%s %s %v", b, n.BMC.Password.Reveal(), err)
}

func whereIs(n *state.Node) string {
	if n.Placement == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *n.Placement)
}

// view is the same of a replica.
func view(r *Replica, hypervisor string) string {
	snap, _ := r.Snapshot()
	var b strings.Builder
	fmt.Fprintf(&b, "%d %+v\n", snap.Index(), snap.Mesh())
	for _, p := range snap.Peers() {
		fmt.Fprintf(&b, "peer %+v\n", *p)
	}
	for _, h := range snap.Hypervisors() {
		fmt.Fprintf(&b, "hypervisor %+v\n", *h)
	}
	for _, n := range snap.Nodes() {
		if n.Placement != nil && n.Placement.Hypervisor == hypervisor {
			fmt.Fprintf(&b, "node %s\n", wholeNode(n))
			continue
		}
		fmt.Fprintf(&b, "elsewhere %s %s on %s\n", n.UUID, n.Name, whereIs(n))
	}
	for _, fault := range snap.Faults() {
		fmt.Fprintf(&b, "fault %+v\n", *fault)
	}
	for _, tunnel := range snap.Tunnels(hypervisor) {
		fmt.Fprintf(&b, "tunnel %s %s %d\n", tunnel.Hypervisor, tunnel.Physnet, tunnel.VNI)
	}
	return b.String()
}

// node is a small node that may share its name and MAC with one that was before.
func feedNode(i int) state.Node {
	return state.Node{UUID: fmt.Sprintf("u%d", i), Name: fmt.Sprintf("tk%d", i/2), LinkName: fmt.Sprintf("l%d", i/2), Cluster: "demo",
		Ports: []state.Port{{MAC: fmt.Sprintf("m%d", i/2), Physnet: string(rune('a' + i%2))}},
		BMC:   state.Account{Username: "admin", Password: state.NewSecret(fmt.Sprintf("password-of-u%d", i))}}
}

// step applies one random command.
func (f *feed) step(t *rapid.T) {
	host := func() string { return fmt.Sprintf("h%d", rapid.IntRange(1, 3).Draw(t, "host")) }
	uuid := fmt.Sprintf("u%d", rapid.IntRange(0, 5).Draw(t, "uuid"))
	n, there := f.snap().Node(uuid)
	epoch, on := uint64(0), ""
	if there && n.Placement != nil {
		epoch, on = n.Placement.Epoch, n.Placement.Hypervisor
	}
	report := func(p state.HostPhase) state.Command {
		return state.ReportHost{Hypervisor: on, Nodes: []state.NodeHostReport{{UUID: uuid, Epoch: epoch, Status: state.HostStatus{Phase: p}}}}
	}
	unplace := state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: uuid, Epoch: epoch, Reason: "rebuild"}}}
	place := state.PlaceNodes{Placements: []state.NodePlacement{{UUID: uuid, Hypervisor: host(),
		BMC: state.Endpoint{Address: "a", Port: rapid.IntRange(1, 2).Draw(t, "port")}}}}
	switch rapid.IntRange(0, 14).Draw(t, "step") {
	case 12, 13:
		f.addFault(t, uuid, host())
	case 14:
		f.apply(state.EndFaults{IDs: []string{fmt.Sprintf("f%d", rapid.IntRange(0, 3).Draw(t, "fault"))}})
	case 0, 1, 2:
		f.create(uuid)
		f.apply(place)
	case 3:
		f.apply(place)
	case 4, 5:
		f.apply(unplace, place)
	case 6:
		f.apply(report(state.HostReady))
	case 7:
		f.apply(state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: uuid}}}, report(state.HostGone))
	case 8:
		f.apply(state.MarkPeers{Lost: []string{host()}, Found: []string{host()}})
	case 9:
		h := state.Hypervisor{ID: host(), Version: uuid}
		for _, physnet := range []string{"a", "b"} {
			if vni := rapid.IntRange(0, 2).Draw(t, "vni"); vni > 0 {
				h.PhysnetLinks = append(h.PhysnetLinks, state.PhysnetLink{Physnet: physnet, VNI: vni})
			}
		}
		f.apply(state.PutHypervisor{Hypervisor: h})
	case 10:
		if rapid.IntRange(0, 4).Draw(t, "rarely") == 0 {
			f.apply(state.RemovePeer{ID: host(), Force: true})
		}
	default:
		f.swapPorts(rapid.IntRange(0, 2).Draw(t, "first"))
	}
}

func (f *feed) addFault(t *rapid.T, uuid, host string) {
	fault := state.Fault{ID: fmt.Sprintf("f%d", rapid.IntRange(0, 3).Draw(t, "fault")), Kind: state.FaultDrop, ForMilli: 60_000}
	switch rapid.IntRange(0, 2).Draw(t, "of") {
	case 0:
		fault.Nodes = []string{uuid}
	case 1:
		fault.Hypervisors = []string{host}
	default:
		fault.Clusters = []string{"demo"}
	}
	f.apply(state.AddFault{Fault: fault})
}

func (f *feed) create(uuid string) {
	var i int
	_, _ = fmt.Sscanf(uuid, "u%d", &i)
	f.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Expect: f.expect(), Create: []state.Node{feedNode(i)}})
}

func (f *feed) expect() uint64 {
	if c, ok := f.snap().Cluster("demo"); ok {
		return c.ModifyIndex
	}
	return 0
}

// swapPorts exchanges the MACs of two nodes, as two changes in one part do.
func (f *feed) swapPorts(i int) {
	nodes := f.snap().Nodes()
	if len(nodes) < 2 {
		return
	}
	a, b := nodes[i%len(nodes)], nodes[(i+1)%len(nodes)]
	change := func(n *state.Node, ports []state.Port) {
		f.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo"}, Expect: f.expect(),
			Change: []state.NodeChange{{UUID: n.UUID, Ports: ports, BMC: n.BMC}}})
	}
	change(a, nil)
	change(b, a.Ports)
	change(a, b.Ports)
}

// sent is a part on its way, and what its receiver should know after it.
type sent struct {
	part Part
	view string
}

// subscriber is a hypervisor's replica, and the parts on their way to it.
type subscriber struct {
	hypervisor string
	replica    *Replica
	under      []sent
}

func (s *subscriber) ask(t *rapid.T, f *feed) {
	snap, _ := s.replica.Snapshot()
	since := snap.Index()
	if rapid.IntRange(0, 5).Draw(t, "all") == 0 {
		since = 0
	}
	b, err := EncodePart(PartOf(f.snap(), s.hypervisor, since))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"u0", "u1", "u2", "u3", "u4", "u5"} {
		n, ok := f.snap().Node(other)
		mine := ok && n.Placement != nil && n.Placement.Hypervisor == s.hypervisor
		if !mine && bytes.Contains(b, []byte("password-of-"+other)) {
			t.Fatalf("the part of %s has the password of %s", s.hypervisor, other)
		}
	}
	p, err := DecodePart(b)
	if err != nil {
		t.Fatal(err)
	}
	s.under = append(s.under, sent{p, f.wantView(s.hypervisor)})
}

// deliver applies one of the parts under way: any, perhaps again.
func (s *subscriber) deliver(t *rapid.T) {
	if len(s.under) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.under)-1).Draw(t, "which")
	if rapid.Bool().Draw(t, "newest") {
		i = len(s.under) - 1
	}
	p := s.under[i]
	before := view(s.replica, s.hypervisor)
	err := s.replica.Apply(p.part)
	got := view(s.replica, s.hypervisor)
	switch {
	case err == nil && got != p.view:
		t.Fatalf("%s after a part (full: %t) from %d to %d\n%s", s.hypervisor, p.part.Full, p.part.Since, p.part.Index, cmp.Diff(p.view, got))
	case err != nil && !errors.Is(err, ErrGap) && !errors.Is(err, ErrStale):
		t.Fatal(err)
	case err != nil && got != before:
		t.Fatalf("%v, and the state changed", err)
	}
}

func TestAReplicaKnowsWhatItsHypervisorShouldWhateverTheOrderOfParts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFeed(t)
		var all []*subscriber
		for _, id := range []string{"h1", "h2", "h3"} {
			all = append(all, &subscriber{hypervisor: id, replica: NewReplica()})
		}
		one := func(rt *rapid.T) *subscriber { return all[rapid.IntRange(0, 2).Draw(rt, "subscriber")] }
		rt.Repeat(map[string]func(*rapid.T){
			"command": f.step, "command again": f.step, "ask": func(rt *rapid.T) { one(rt).ask(rt, f) },
			"deliver": func(rt *rapid.T) { one(rt).deliver(rt) },
			"ask and deliver": func(rt *rapid.T) {
				s := one(rt)
				s.ask(rt, f)
				s.deliver(rt)
			},
		})
		for _, s := range all {
			checkUpToDate(rt, f, s)
		}
	})
}

// checkUpToDate: a delta brings a replica up to date, its state makes the same full
// part, and a delta from anywhere does as well.
func checkUpToDate(t *rapid.T, f *feed, s *subscriber) {
	snap, _ := s.replica.Snapshot()
	if err := s.replica.Apply(PartOf(f.snap(), s.hypervisor, snap.Index())); err != nil {
		t.Fatal(err)
	}
	if got, want := view(s.replica, s.hypervisor), f.wantView(s.hypervisor); got != want {
		t.Fatalf("%s in the end\n%s", s.hypervisor, cmp.Diff(want, got))
	}
	now, _ := s.replica.Snapshot()
	if diff := cmp.Diff(PartOf(f.snap(), s.hypervisor, 0), PartOf(now, s.hypervisor, 0), revealed); diff != "" {
		t.Fatalf("the replica's own part (-state +replica)\n%s", diff)
	}
}

func TestAReplicaTakesOnlyWhatFollows(t *testing.T) {
	mesh := func(id string, generation uint64) *state.Mesh { return &state.Mesh{ID: id, Generation: generation} }
	tests := map[string]struct {
		part Part
		is   error // nil: it is taken, unless it cannot be
		bad  bool
	}{
		"the next delta":                    {Part{Since: 10, Index: 12, Mesh: mesh("m1", 2)}, nil, false},
		"a delta that changes nothing":      {Part{Since: 10, Index: 10, Mesh: mesh("m1", 2)}, nil, false},
		"a delta over something later":      {Part{Since: 11, Index: 12, Mesh: mesh("m1", 2)}, ErrGap, false},
		"a delta over something earlier":    {Part{Since: 9, Index: 12, Mesh: mesh("m1", 2)}, ErrGap, false},
		"a delta that goes back":            {Part{Since: 10, Index: 9, Mesh: mesh("m1", 2)}, ErrGap, false},
		"a delta of another generation":     {Part{Since: 10, Index: 12, Mesh: mesh("m1", 3)}, ErrGap, false},
		"all, later":                        {Part{Full: true, Index: 12, Mesh: mesh("m1", 2)}, nil, false},
		"all, the same":                     {Part{Full: true, Index: 10, Mesh: mesh("m1", 2)}, nil, false},
		"all, earlier":                      {Part{Full: true, Index: 9, Mesh: mesh("m1", 2)}, ErrStale, false},
		"all, of the generation before":     {Part{Full: true, Index: 12, Mesh: mesh("m1", 1)}, ErrStale, false},
		"all, earlier, of a later recovery": {Part{Full: true, Index: 3, Mesh: mesh("m1", 3)}, nil, false},
		"another mesh's":                    {Part{Full: true, Index: 12, Mesh: mesh("m2", 9)}, ErrForeign, false},
		"no mesh's":                         {Part{Full: true, Index: 12}, ErrForeign, false},
		"a delta with a row that cannot be": {Part{Since: 10, Index: 12, Mesh: mesh("m1", 2), Nodes: []*state.Node{{UUID: "u"}}}, nil, true},
		"a name twice": {Part{Since: 10, Index: 12, Mesh: mesh("m1", 2),
			Peers: []*state.Peer{{ID: "a", Name: "n"}, {ID: "b", Name: "n"}}}, nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := NewReplica()
			if err := r.Apply(Part{Full: true, Index: 10, Mesh: mesh("m1", 2), Peers: []*state.Peer{{ID: "p", Name: "hv"}}}); err != nil {
				t.Fatal(err)
			}
			before, changed := r.Snapshot()
			err := r.Apply(tt.part)
			now, _ := r.Snapshot()
			switch {
			case tt.is == nil && !tt.bad && (err != nil || now.Index() != tt.part.Index || !closed(changed)):
				t.Errorf("error %v, at %d", err, now.Index())
			case (tt.is != nil || tt.bad) && (err == nil || now != before || !tt.bad && !errors.Is(err, tt.is)):
				t.Errorf("error %v, want %v; changed: %t", err, tt.is, now != before)
			}
		})
	}
	if err := NewReplica().Apply(Part{Index: 3}); !errors.Is(err, ErrGap) {
		t.Errorf("a delta for who knows nothing: %v", err)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAPartHasNoSecretsOfOthers(t *testing.T) {
	d := dumpV2()
	d.Nodes[0].Placement.Hypervisor = "h1"
	s := state.New()
	if err := s.Load(d); err != nil {
		t.Fatal(err)
	}
	snap, _ := s.Snapshot()
	gossip := keysV2().Gossip[0].Key.Reveal() // every peer has it
	for hypervisor, want := range map[string][]string{"h1": {"golden-node", gossip}, "h0": {gossip}, "none": {gossip}} {
		b, err := EncodePart(PartOf(snap, hypervisor, 0))
		if err != nil {
			t.Fatal(err)
		}
		var seen []string
		for _, secret := range []string{"golden-node", "golden-bmc", "golden-ironic", "clouds: {}", "golden-ca-key", string(tokenV2().Hash), gossip} {
			if bytes.Contains(b, []byte(secret)) {
				seen = append(seen, secret)
			}
		}
		if !slices.Equal(seen, want) {
			t.Errorf("the part of %s shows %q, want %q", hypervisor, seen, want)
		}
	}
}

// partV1 has every field of a part.
func partV1() Part {
	hypervisor, node, peer := hypervisorV1(), nodeV2(), peerV2()
	hypervisor.Reserved = []int{7740, 7741}
	return Part{Index: 42, Since: 40, Full: true, Mesh: &state.Mesh{ID: "m1", Name: "lab", Generation: 1},
		Peers: []*state.Peer{&peer}, Hypervisors: []*state.Hypervisor{&hypervisor}, Nodes: []*state.Node{&node}, Gone: []string{"u9"}}
}

func TestKeysAreInAPartOnceAndAgainWhenTheyChange(t *testing.T) {
	s := state.New()
	put := func(index uint64, c state.Command) {
		t.Helper()
		if err := s.Apply(index, state.Envelope{Command: c}); err != nil {
			t.Fatal(err)
		}
	}
	put(1, state.PutKeys{Keys: keysV2()})
	put(2, state.PutPeer{Peer: state.Peer{ID: "p1", Name: "hv1"}})
	snap, _ := s.Snapshot()
	r := NewReplica()
	apply := func() {
		t.Helper()
		now, _ := r.Snapshot()
		if err := r.Apply(PartOf(snap, "p1", now.Index())); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	if p := PartOf(snap, "p1", 1); p.Keys != nil {
		t.Error("unchanged keys are in a delta")
	}
	changed := keysV2()
	changed.Gossip[0].ID = "second"
	watch := snap.WatchPeers()
	put(3, state.PutKeys{Keys: changed, Expect: 1})
	if !closed(watch) {
		t.Error("nobody who watches peers is told of changed keys")
	}
	snap, _ = s.Snapshot()
	apply()
	now, _ := r.Snapshot()
	if k, ok := now.Keys(); !ok || k.Gossip[0].ID != "second" || !k.Authorities[0].KeyPEM.IsZero() {
		t.Errorf("replica has keys %v, %t; want the second ones without a private key", k, ok)
	}
}

func TestPartsOfEveryVersionDecodeForEver(t *testing.T) {
	for version, want := range map[string]Part{"v2": partV1(), "v6": partV6(), "v13": partV13(), "v22": partV22()} {
		b := golden(t, version, "hypervisor.part", func() []byte {
			b, err := EncodePart(want)
			if err != nil {
				t.Fatal(err)
			}
			return b
		})
		got, err := DecodePart(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, revealed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", version, diff)
		}
	}
}

func TestDecodePartRefuses(t *testing.T) {
	good, err := EncodePart(partV1())
	if err != nil {
		t.Fatal(err)
	}
	raw := func(v any) []byte {
		b, err := encoder.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{partFormat}, b...)
	}
	tests := map[string]struct {
		part []byte
		text string
	}{
		"nothing":            {nil, "empty"},
		"another format":     {[]byte{9}, "upgrade"},
		"cut off":            {good[:50], "EOF"},
		"something after":    {append(bytes.Clone(good), 0), "extraneous"},
		"no CBOR":            {[]byte{partFormat, 0xff}, "decode"},
		"a peer of nothing":  {raw(map[string]any{"Peers": []any{nil}}), "missing"},
		"a node of nothing":  {raw(map[string]any{"Nodes": []any{nil}}), "missing"},
		"a fault of nothing": {raw(map[string]any{"Faults": map[string]any{"Faults": []any{nil}}}), "missing"},
		"no hypervisor":      {raw(map[string]any{"Hypervisors": []any{nil}}), "missing"},
		"too many bytes":     {make([]byte, maxPart+1), "at most"},
	}
	for name, tt := range tests {
		if _, err := DecodePart(tt.part); err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.text)
		}
	}
}

func FuzzDecodePart(f *testing.F) {
	good, err := EncodePart(partV1())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{partFormat, 0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePart(b)
		if err != nil {
			return
		}
		r := NewReplica()
		if err := r.Apply(Part{Full: true, Index: p.Since, Mesh: p.Mesh}); err != nil {
			t.Fatal(err)
		}
		if err := r.Apply(p); err != nil {
			return
		}
		// What was taken over can be kept, and read again.
		snap, _ := r.Snapshot()
		for _, h := range []string{"h1", "h0"} {
			b, err := EncodePart(PartOf(snap, h, 0))
			if err != nil {
				t.Fatal(err)
			}
			if p, err = DecodePart(b); err != nil {
				t.Fatal(err)
			}
			if err := NewReplica().Apply(p); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestALargePartIsWithinTheBound(t *testing.T) {
	p := Part{Full: true, Index: 1, Mesh: &state.Mesh{ID: "m1"}}
	for range 10_000 {
		n := nodeV2()
		p.Nodes = append(p.Nodes, &n)
	}
	for range 2_000 {
		peer := peerV2()
		p.Peers = append(p.Peers, &peer)
	}
	b, err := EncodePart(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("10,000 nodes and 2,000 peers are %d bytes", len(b))
	if _, err := DecodePart(b); err != nil || len(b) > maxPart/2 {
		t.Errorf("%d bytes, at most %d are allowed: %v", len(b), maxPart, err)
	}
}
