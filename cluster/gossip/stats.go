package gossip

// Stats is how gossip does.
type Stats struct {
	// Alive, Dead and Left count peers, this one among them.
	Alive, Dead, Left int
	// UDPBlocked counts probes that only TCP got through: a firewall stops UDP.
	UDPBlocked uint64
	// Undecrypted counts packets and connections that no key fits, or of another mesh.
	Undecrypted uint64
	// Refused counts messages about peers that are not allowed or of another generation.
	Refused uint64
	// Generation is the highest generation among those refused: above this peer's own, the
	// mesh was recovered without it.
	Generation uint64
	// Health is 0 if this peer keeps up; up to 7 if it is late with everything.
	Health int
	// Clones are IDs in use at two addresses, by ID.
	Clones []Clone
}

// Stats returns what was counted since Open.
func (g *Gossip) Stats() Stats {
	count := g.table.count()
	g.refused.mu.Lock()
	defer g.refused.mu.Unlock()
	return Stats{
		Alive: count[Alive], Dead: count[Dead], Left: count[Left],
		UDPBlocked: g.lines.udpBlocked.Load(), Undecrypted: g.lines.undecrypted.Load(),
		Refused: g.refused.count, Generation: g.refused.generation,
		Health: g.list.GetHealthScore(), Clones: g.clones.list(),
	}
}
