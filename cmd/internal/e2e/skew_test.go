package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/lab"
)

// steadyTime is how long nothing may happen after a clock is changed: twice what nodes
// are stopped after, and more than a peer is lost after.
const steadyTime = 30 * time.Second

func TestIntegrationAMeshWithClocksThatAreAnHourOffStopsAndLosesNothing(t *testing.T) {
	besideOthers(t)
	lab.RequireClocks(t)
	l, hosts := newMesh(t, 3)
	file := strings.NewReplacer("    ironic_config: {resource_class: small, network_interface: noop}\n", "", "count: 6", "count: 3", "count: 3", "count: 0",
		`ironic: {endpoint: "", auth: none}`, "").Replace(rebuilt(""))
	hosts[0].tenks("apply", "-f", hosts[0].write("demo.yml", file), "--wait=4m")
	for _, n := range hosts[0].nodes() {
		hosts[0].tenks("node", "power", "on", n.Name)
	}
	ahead := leaderOf(t, hosts)
	rest := slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h == ahead })
	behind, exact := rest[0], rest[1]
	s := steadiness(t, hosts, exact)

	s.shift(ahead, time.Hour)
	s.holds(0)
	ahead.sees(time.Hour)
	s.shift(behind, -time.Hour)
	s.holds(steadyTime)
	if now := leaderOf(t, hosts); now != ahead {
		t.Errorf("%s leads, %s did before its clock was ahead", now.Name(), ahead.Name())
	}
	behind.sees(-time.Hour)

	for i, h := range []*host{behind, exact, ahead} {
		t.Logf("%s", exact.tenks("raft", "transfer", h.Name()))
		if now := leaderOf(t, hosts); now != h {
			t.Errorf("leadership was given to %s, and %s leads", h.Name(), now.Name())
		}
		name := fmt.Sprintf("c%d", i)
		other := hosts[i]
		other.tenks("apply", "-f", other.write(name+".yml", spread(name, "", 3)), "--wait=1m")
		other.tenks("destroy", name, "--yes", "--wait=1m")
	}
	s.holds(0)

	behind.restartAgent()
	ahead.restartAgent()
	s.holds(steadyTime)
	behind.sees(-time.Hour)
	ahead.sees(time.Hour)
	s.shift(behind, 0)
	if leaderOf(t, hosts) != ahead {
		exact.tenks("raft", "transfer", ahead.Name())
	}
	joinWithClocks(t, l, ahead)
	s.shift(ahead, 0)
	s.holds(0)
	ahead.sees(0)
	behind.sees(0)
	s.end()
}

// joinWithClocks lets hosts join by tokens of a leader whose clock is an hour ahead. One
// whose own clock does not go with that is told so in a line, and lets itself in with the
// same token once it does.
func joinWithClocks(t *testing.T, l *lab.Lab, ahead *host) {
	t.Helper()
	for name, c := range map[string]struct {
		by   time.Duration
		want string
	}{
		"late1": {-time.Hour, ""}, // another peer, whose clock is right, may have to sign
		"late2": {-3 * time.Hour, "certificate is not valid yet: a clock of the mesh had reached "},
		"late3": {2 * time.Hour, "the token expired at "},
	} {
		lh, err := l.AddHost(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		h := &host{Host: lh, t: t, api: client.New(lh.Path(dataDir + "/api.sock")), log: filepath.Join(filepath.Dir(l.Dir()), name+".log")}
		t.Cleanup(h.tellLog)
		if err := errors.Join(h.StartLibvirtd(t.Context()), h.ShiftClock(c.by)); err != nil {
			t.Fatal(err)
		}
		token := strings.Split(ahead.tenks("token", "create", "--ttl", "30m"), "\n")[0]
		// It has the true clock for some milliseconds, and waits for the token that long.
		join := []string{"-c", `(sleep 0.5; echo "$0") | "$@"`, token, h.program("tenks"), "join", "-", "--advertise", h.Address()}
		if c.want != "" {
			out, err := h.try("sh", join...)
			t.Logf("%s, with a clock %s ahead: %v: %s", name, c.by, err, out)
			if err == nil || !strings.Contains(out, c.want) || !strings.Contains(out, "this host's clock says ") || strings.Count(out, "\n") != 1 {
				t.Errorf("%s, with a clock %s ahead: %v: %s; want a line with %q and the clock", name, c.by, err, out, c.want)
			}
			if err := h.ShiftClock(0); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s", h.run("sh", join...))
		ahead.wait(30*time.Second, name+" to be alive", func() bool {
			peers, err := ahead.api.Peers(t.Context())
			return err == nil && slices.ContainsFunc(peers, func(p api.Peer) bool { return p.Name == name && p.State == "alive" })
		})
	}
}

// sees fails unless the agent's clock, of which the state's newest event has the time, is
// ahead by so much.
func (h *host) sees(by time.Duration) {
	h.t.Helper()
	h.tenks("token", "create", "--name", "clock")
	var last api.Event
	if err := h.api.Events(h.t.Context(), 0, client.Once, func(e api.Event) {
		if e.Type == "token-created" {
			last = e
		}
	}); err != nil {
		h.t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, last.Time)
	if err != nil || time.Until(at.Add(-by)).Abs() > 10*time.Second {
		h.t.Errorf("%s: %+v, %v; want a clock %s ahead of %s", h.Name(), last, err, by, time.Now().UTC())
	}
}

// restartAgent ends the agent as a crash would, and starts it again.
func (h *host) restartAgent() {
	h.t.Helper()
	pid, err := os.ReadFile(h.Path(dataDir + "/agent.lock"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.run("kill", "-9", strings.TrimSpace(string(pid)))
	h.startAgent()
}

// steady is what must not change.
type steady struct {
	t     *testing.T
	hosts []*host
	// from is asked; index is its newest event before all.
	from  *host
	index uint64
	nodes []api.Node
	// ids are the domains' IDs, which a start changes, by host.
	ids map[string]map[string]string
}

func steadiness(t *testing.T, hosts []*host, from *host) *steady {
	t.Helper()
	s := &steady{t: t, hosts: hosts, from: from, ids: map[string]map[string]string{}}
	from.wait(60*time.Second, "all nodes to run", func() bool {
		s.nodes = from.nodes()
		return !slices.ContainsFunc(s.nodes, func(n api.Node) bool { return n.Power != "on" || n.Phase != "ready" })
	})
	for _, h := range hosts {
		s.ids[h.Name()] = h.domains()
	}
	s.events(func(e api.Event) { s.index = max(s.index, e.Index) })
	return s
}

func (s *steady) events(on func(api.Event)) {
	s.t.Helper()
	if err := s.from.api.Events(s.t.Context(), s.index, client.Once, on); err != nil {
		s.t.Fatal(err)
	}
}

func (s *steady) shift(h *host, by time.Duration) {
	s.t.Helper()
	if err := h.ShiftClock(by); err != nil {
		s.t.Fatal(err)
	}
}

// holds looks for a time, and once at least, whether all is as it was.
func (s *steady) holds(d time.Duration) {
	s.t.Helper()
	for until := time.Now().Add(d); ; pause(s.t.Context(), time.Second) {
		for _, h := range s.hosts {
			now := h.domains()
			for name, id := range s.ids[h.Name()] {
				if now[name] != id {
					s.t.Fatalf("domain %s on %s had ID %s, and has %q", name, h.Name(), id, now[name])
				}
			}
		}
		for _, was := range s.nodes {
			n := s.from.node(was.Name)
			if n.Phase != was.Phase || n.Power != was.Power || n.Hypervisor != was.Hypervisor || n.Epoch != was.Epoch {
				s.t.Fatalf("%s was %s, %s on %s, and is %s, %s on %s: %s", n.Name, was.Phase, was.Power, was.Hypervisor, n.Phase, n.Power, n.Hypervisor, n.Reason)
			}
		}
		if time.Now().After(until) {
			return
		}
	}
}

// end fails if one of the hosts was lost, or a node stopped or made anew.
func (s *steady) end() {
	s.t.Helper()
	s.events(func(e api.Event) {
		if e.Type == "peer-lost" && strings.Contains(e.Message, "peer late") {
			return // it was let in, and could not use it
		}
		switch e.Type {
		case "peer-lost", "peer-removed", "node-displaced", "node-unplaced", "node-error":
			s.t.Errorf("%+v", e)
		}
	})
}
