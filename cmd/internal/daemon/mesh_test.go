package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/cluster"
	"tenks/cluster/pki"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/config"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// joined makes another peer of a running mesh and starts its agent.
func (r *running) joined(name string, change func(*config.Agent)) *running {
	r.t.Helper()
	made, err := r.CreateToken(r.t.Context(), api.TokenRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	c := newAgent(r.t, name)
	if change != nil {
		change(&c)
	}
	if err := joinMesh(r.t, c, made.Token); err != nil {
		r.t.Fatal(err)
	}
	return start(r.t, c)
}

func joinMesh(t *testing.T, c config.Agent, text string) error {
	t.Helper()
	token, err := pki.ParseToken(text)
	if err != nil {
		return err
	}
	return cluster.Join(t.Context(), cluster.JoinConfig{Dir: PathsOf(c.DataDir).Mesh, Token: token, Now: time.Now, Level: raftfsm.Level,
		Peer: cluster.Peer{Name: c.Name, Address: fmt.Sprintf("%s:%d", c.Advertise, c.Mesh.Port),
			Gossip: fmt.Sprintf("%s:%d", c.Advertise, c.Mesh.GossipPort), Zone: c.Zone}})
}

// trio is a mesh of three peers, each a voter, in three zones.
func trio(t *testing.T) []*running {
	t.Helper()
	c := newMesh(t)
	c.Zone = "z1"
	first := start(t, c)
	peers := []*running{first}
	for i := 2; i <= 3; i++ {
		peers = append(peers, first.joined(fmt.Sprintf("hv%d", i), func(c *config.Agent) { c.Zone = fmt.Sprintf("z%d", i) }))
	}
	first.eventuallyIn(60*time.Second, "three voters", func() bool {
		st, err := first.Status(t.Context())
		return err == nil && len(st.Voters) == 3
	})
	return peers
}

const sixNodes = `cluster: demo
node_types: {small: {memory_mb: 512, vcpus: 1, driver: fake}}
specs: [{type: small, count: 6, placement: {spread: zone}}]
`

func (r *running) offered(drivers int) {
	r.t.Helper()
	r.eventually("offering the driver everywhere", func() bool {
		peers, err := r.Peers(r.t.Context())
		return err == nil && drivers == len(slices.DeleteFunc(peers, func(p api.Peer) bool { return !slices.Contains(p.Drivers, "fake") }))
	})
}

func TestThreePeersShareAClusterAndAnyOfThemAnswers(t *testing.T) {
	peers := trio(t)
	peers[0].offered(3)
	if _, err := peers[2].Apply(t.Context(), api.ApplyRequest{File: sixNodes}); err != nil {
		t.Fatal(err)
	}
	for i, p := range peers {
		nodes := p.ready()
		on := map[string]int{}
		for _, n := range nodes {
			on[n.Hypervisor]++
		}
		if len(nodes) != 6 || on["hv1"] != 2 || on["hv2"] != 2 || on["hv3"] != 2 {
			t.Errorf("peer %d: %d nodes, on %v", i+1, len(nodes), on)
		}
	}
	for _, n := range peers[0].ready() { // each node by each peer
		for i, p := range peers {
			want := []string{"on", "off", "on"}[i]
			if _, err := p.Power(t.Context(), n.Name, want); err != nil {
				t.Errorf("peer %d: power %s of %s: %v", i+1, want, n.Name, err)
			}
			p.eventually("that power", func() bool {
				c, err := p.Chassis(t.Context(), n.Name)
				return err == nil && c.Power == want
			})
		}
	}
	peers[1].eventually("all on", func() bool {
		nodes, _, err := peers[1].Nodes(t.Context(), client.NodeQuery{})
		return err == nil && !slices.ContainsFunc(nodes, func(n api.Node) bool { return n.Power != "on" })
	})
	for i, p := range peers {
		raft, err := p.Raft(t.Context())
		if err != nil || len(raft) != 3 {
			t.Errorf("peer %d: raft %v, %v", i+1, raft, err)
		}
	}
}

func TestWhoLosesItsLeaderGoesOnAndALostPeersNodesAreLost(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers := trio(t)
	peers[0].offered(3)
	if _, err := peers[0].Apply(t.Context(), api.ApplyRequest{File: sixNodes}); err != nil {
		t.Fatal(err)
	}
	before := peers[1].ready()
	st, err := peers[1].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(peers, func(p *running) bool { return p.config.Name == st.Leader })
	gone, rest := peers[i], slices.Delete(slices.Clone(peers), i, i+1)
	gone.stopped()
	if _, err := rest[0].Apply(t.Context(), api.ApplyRequest{File: strings.Replace(sixNodes, "demo", "other", 1)}); err != nil {
		t.Fatalf("an apply after the leader is gone: %v", err)
	}
	lost := func(p *running) (names []string) {
		nodes, _, err := p.Nodes(t.Context(), client.NodeQuery{Cluster: "demo"})
		if err != nil {
			return nil
		}
		for _, n := range nodes {
			if n.Phase == string(state.PhaseLost) {
				names = append(names, n.Name)
			}
		}
		return names
	}
	rest[1].eventuallyIn(90*time.Second, "its nodes lost", func() bool { return len(lost(rest[1])) == 2 })
	t.Logf("lost with %s: %v", gone.config.Name, lost(rest[1]))

	back := start(t, gone.config)
	back.eventuallyIn(60*time.Second, "its nodes back", func() bool { return len(lost(rest[0])) == 0 })
	after := back.ready()
	for _, n := range after {
		was := slices.IndexFunc(before, func(b api.Node) bool { return b.UUID == n.UUID })
		if was >= 0 && (before[was].Hypervisor != n.Hypervisor || before[was].Epoch != n.Epoch) {
			t.Errorf("node %s moved from %s to %s", n.Name, before[was].Hypervisor, n.Hypervisor)
		}
	}
	if len(after) != 12 {
		t.Errorf("%d nodes, want 12", len(after))
	}
}

func TestJoiningIsRefusedWithTheReason(t *testing.T) {
	c := newMesh(t)
	first := start(t, c)
	token := func(r api.TokenRequest) api.Token {
		t.Helper()
		made, err := first.CreateToken(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	refused := func(name, text, want string) {
		t.Helper()
		err := joinMesh(t, newAgent(t, name), text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	used := token(api.TokenRequest{})
	hv2 := newAgent(t, "hv2")
	for range 2 { // it may be repeated
		if err := joinMesh(t, hv2, used.Token); err != nil {
			t.Fatal(err)
		}
	}
	refused("hv3", used.Token, "already used by hv2")
	refused("hv2", token(api.TokenRequest{}).Token, `hv2`)
	refused("hv4", token(api.TokenRequest{Name: "hv5"}).Token, "hv5")
	revoked := token(api.TokenRequest{})
	if err := first.RevokeToken(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	refused("hv6", revoked.Token, "revoked")
	guessed, err := pki.ParseToken(token(api.TokenRequest{}).Token)
	if err != nil {
		t.Fatal(err)
	}
	guessed.Secret[3] ^= 1
	text, err := guessed.Encode()
	if err != nil {
		t.Fatal(err)
	}
	refused("hv7", text, "wrong secret")
	refused("hv8", used.Token[:len(used.Token)-5], "damaged")

	other := newMesh(t)
	second := start(t, other)
	foreign, err := second.CreateToken(t.Context(), api.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := joinMesh(t, hv2, foreign.Token); err == nil || !strings.Contains(err.Error(), "another mesh") {
		t.Errorf("a peer of one mesh joins another: %v", err)
	}
	mixed, err := pki.ParseToken(foreign.Token)
	if err != nil {
		t.Fatal(err)
	}
	mixed.Addresses = []string{fmt.Sprintf("%s:%d", c.Advertise, c.Mesh.Port)}
	if text, err = mixed.Encode(); err != nil {
		t.Fatal(err)
	}
	refused("hv9", text, "mesh")
}

// newAgent is the configuration of a host that is in no mesh.
func newAgent(t *testing.T, name string) config.Agent {
	t.Helper()
	c := testAgent(t, newDir(t))
	c.Name = name
	return c
}

func TestALeaderThatLeavesHasNoPartInTheLogAnyLonger(t *testing.T) {
	t.Parallel() // it waits most of the time
	peers := trio(t)
	st, err := peers[0].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(peers, func(p *running) bool { return p.config.Name == st.Leader })
	leaver, rest := peers[i], slices.Delete(slices.Clone(peers), i, i+1)
	self, err := leaver.Peer(t.Context(), leaver.config.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := leaver.ChangePeer(t.Context(), self.ID, "leave"); err != nil {
		t.Fatal(err)
	}
	leaver.eventuallyIn(60*time.Second, "out of the log", func() bool {
		raft, err := leaver.Raft(t.Context())
		return err == nil && !slices.ContainsFunc(raft, func(p api.RaftPeer) bool { return p.ID == self.ID })
	})
	if err := leaver.RemovePeer(t.Context(), self.ID, api.PeerRequest{}); err != nil {
		t.Fatal(err)
	}
	leaver.stopped()
	for _, p := range rest {
		p.eventually("without it", func() bool {
			peers, err := p.Peers(t.Context())
			return err == nil && len(peers) == 2
		})
	}
}
