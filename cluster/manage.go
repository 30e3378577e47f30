package cluster

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"tenks/cluster/consensus"
	"tenks/cluster/gossip"
)

// How the leader looks after who follows the log.
const (
	manageEvery = time.Second
	probeTime   = time.Second
	// lagAllowed is how many entries a peer may be behind and still be healthy.
	lagAllowed = 1000
	// probedClients bounds how many peers without a part in the log are asked whether
	// they could have one.
	probedClients = 8
)

// health is whether a peer answers, and since when that is so.
type health struct {
	ok    bool
	since time.Time
	// level is what it knows of the state's format, where it answered last time.
	level    int
	answered bool
}

// manage looks after the voters while this peer leads.
func (m *Mesh) manage(ctx context.Context) error {
	m.leases.begin(m.log.Term())
	defer m.leases.end()
	defer m.forget() // another leader knows better
	for ctx.Err() == nil {
		m.manageOnce(ctx)
		pause(ctx, manageEvery)
	}
	return nil
}

// forget drops what was known of the peers' health.
func (m *Mesh) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health = map[string]health{}
}

func (m *Mesh) manageOnce(ctx context.Context) {
	members := m.log.Members()
	candidates := m.candidates(ctx, members)
	for _, c := range consensus.Decide(candidates, m.id, m.cfg.Rules) {
		if c.ID == m.id {
			// A leader that is to have no part in the log hands over first.
			if err := m.log.Transfer(ctx, ""); err != nil {
				m.cfg.Log.WarnContext(ctx, "leadership not handed over; will retry", "err", err)
			}
			return
		}
		bounded, cancel := context.WithTimeout(ctx, leaderPatience)
		err := m.log.SetRole(bounded, c.ID, c.Role)
		cancel()
		if err != nil {
			m.cfg.Log.WarnContext(ctx, "role not changed; will retry", "peer", c.ID, "role", string(c.Role), "err", err)
			return
		}
		m.cfg.Log.InfoContext(ctx, "role changed", "peer", c.ID, "role", string(c.Role))
	}
	m.recordRoles(ctx)
}

// recordRoles writes into the state who has which part, where that differs.
func (m *Mesh) recordRoles(ctx context.Context) {
	members, roles := m.log.Members(), map[string]Role{}
	for _, p := range m.view().Peers {
		role, ok := members[p.ID]
		if !ok {
			role = Client
		}
		if p.Role != role && !p.Removed {
			roles[p.ID] = role
		}
	}
	if len(roles) == 0 {
		return
	}
	if err := m.cfg.Roles(ctx, roles); err != nil && ctx.Err() == nil {
		m.cfg.Log.WarnContext(ctx, "roles not recorded; will retry", "err", err)
	}
}

// candidates are the peers that the state knows, and how they are.
func (m *Mesh) candidates(ctx context.Context, members map[string]Role) []consensus.Candidate {
	var out []consensus.Candidate
	alive := m.alive()
	clients := 0
	var ask []string
	for _, p := range m.view().Peers {
		c := consensus.Candidate{ID: p.ID, Zone: p.Zone, Role: Client, Barred: p.Barred || p.Removed}
		if role, ok := members[p.ID]; ok {
			c.Role = role
			ask = append(ask, p.ID)
		} else if alive[p.ID] && clients < probedClients {
			clients++
			ask = append(ask, p.ID)
		}
		out = append(out, c)
	}
	// One that is in the log and that the state does not know has no business there.
	for _, id := range slices.Sorted(maps.Keys(members)) {
		if _, known := m.view().peer(id); !known {
			out = append(out, consensus.Candidate{ID: id, Role: members[id], Barred: true})
		}
	}
	m.probe(ctx, ask, members)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range out {
		if h, ok := m.health[out[i].ID]; ok {
			out[i].Healthy, out[i].Since = h.ok, time.Since(h.since)
		}
	}
	return out
}

func (m *Mesh) alive() map[string]bool {
	out := map[string]bool{}
	for _, p := range m.gossip.Peers() {
		out[p.ID] = p.State == gossip.Alive
	}
	return out
}

// probe asks peers how they are, all at once, and notes since when.
func (m *Mesh) probe(ctx context.Context, peers []string, members map[string]Role) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	applied := m.log.Applied()
	var wg sync.WaitGroup
	for _, id := range peers {
		wg.Go(func() {
			st, answered := m.ask(ctx, id)
			ok := answered && m.healthy(st, members[id], applied)
			m.mu.Lock()
			defer m.mu.Unlock()
			h, known := m.health[id]
			if !known || h.ok != ok {
				h.since = time.Now()
			}
			h.ok, h.level, h.answered = ok, st.Level, answered
			m.health[id] = h
		})
	}
	wg.Wait()
}

func (m *Mesh) ask(ctx context.Context, id string) (st peerStatus, answered bool) {
	if id == m.id {
		return peerStatus{Applied: m.log.Applied(), Level: m.cfg.Level}, true
	}
	b, err := m.rpc.call(ctx, id, http.MethodGet, pathStatus, nil)
	answered = err == nil && json.Unmarshal(b, &st) == nil
	return st, answered
}

// healthy reports whether a peer may follow the log: it is not far behind, and knows what is
// in it.
func (m *Mesh) healthy(st peerStatus, role Role, applied uint64) bool {
	following := role == Voter || role == Standby
	return st.Level >= m.view().Level && (!following || st.Applied+lagAllowed >= applied)
}

// Member is one peer's part in the log, for people.
type Member struct {
	ID     string
	Role   Role
	Leader bool
	// Healthy and Since are known to the leader only.
	Healthy bool
	Since   time.Time
}

// Members returns who follows the log, by ID.
func (m *Mesh) Members() []Member {
	leader, _ := m.log.Leader()
	members := m.log.Members()
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Member
	for _, id := range slices.Sorted(maps.Keys(members)) {
		h := m.health[id]
		out = append(out, Member{ID: id, Role: members[id], Leader: id == leader, Healthy: h.ok, Since: h.since})
	}
	return out
}

// Transfer hands leadership to another voter; empty: to the one that is furthest.
func (m *Mesh) Transfer(ctx context.Context, peer string) error { return m.log.Transfer(ctx, peer) }
