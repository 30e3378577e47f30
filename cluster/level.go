package cluster

import "tenks/cluster/gossip"

// PeerLevel is what is known of the format of the state that a peer knows.
type PeerLevel struct {
	ID   string
	Role Role
	// Level is Config.Level of that peer.
	Level int
	// Known is false for a peer of the log that does not answer: what it knows may be less.
	Known bool
}

// Levels returns what peers say of the format that they know: this one, all that have a part
// in the log, and of the others those that are there now, as the state lists them. The leader asks
// peers of the log itself; what others return of them is gossip. Peers that are not there learn when they come
// back what is used by then.
func (m *Mesh) Levels() []PeerLevel {
	members, said := m.log.Members(), map[string]int{}
	if m.gossip != nil {
		for _, p := range m.gossip.Peers() {
			if p.State == gossip.Alive {
				said[p.ID] = p.Level
			}
		}
	}
	leads, peers := m.IsLeader(), m.view().Peers
	m.mu.Lock()
	defer m.mu.Unlock()
	out := []PeerLevel{{ID: m.id, Role: roleOf(members, m.id), Level: m.cfg.Level, Known: true}}
	listed := map[string]bool{m.id: true}
	add := func(id string) {
		if listed[id] {
			return
		}
		listed[id] = true
		l := PeerLevel{ID: id, Role: roleOf(members, id)}
		l.Level, l.Known = said[id], has(said, id)
		if h := m.health[id]; leads && l.Role != Client {
			l.Level, l.Known = h.level, h.answered
		}
		if l.Known || l.Role != Client {
			out = append(out, l)
		}
	}
	for _, p := range peers {
		if !p.Removed {
			add(p.ID)
		}
	}
	for id := range members { // one that the state does not know yet counts
		add(id)
	}
	return out
}

func has(of map[string]int, id string) bool {
	_, ok := of[id]
	return ok
}

func roleOf(members map[string]Role, id string) Role {
	if role, ok := members[id]; ok {
		return role
	}
	return Client
}
