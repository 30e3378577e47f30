package state

// SetAudit says whether every request to the BMCs of nodes (UUIDs) is noted. Nodes that
// there are not, and of which that is known, are skipped. It stays until it is set anew,
// whatever is declared.
type SetAudit struct {
	Nodes []string
	On    bool
}

func (SetAudit) kind() string { return "set-audit" }

func (c SetAudit) apply(t *tx) error {
	said := "off"
	if c.On {
		said = "on"
	}
	for _, uuid := range c.Nodes {
		old, ok := first[*Node](t.Txn, tableNodes, "id", uuid)
		if !ok || old.Audit == c.On {
			continue
		}
		n := *old
		n.Audit = c.On
		t.putNode(&n)
		t.event(EventNodeAudit, n.Cluster, n.Name, "%s", said)
	}
	return nil
}
