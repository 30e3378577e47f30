package state

import "slices"

// Flavor is a flavor that Nova is to have for a cluster's nodes.
type Flavor struct {
	Name string
	// ResourceClass is as in Enrolment.
	ResourceClass string
	// NodeType is whose hardware it stands for: that is where the sizes come from.
	NodeType string
	// MemoryMB and SwapMB are in MiB, DiskGB (of the root disk) and EphemeralGB in GiB.
	MemoryMB, VCPUs, DiskGB         int
	EphemeralGB, SwapMB             int      `json:",omitempty"`
	RequiredTraits, ForbiddenTraits []string `json:",omitempty"`
	// CustomSpecs are extra specs, laid over those that are made of the rest.
	CustomSpecs map[string]string `json:",omitempty"`
}

// FlavorStatus is what the leader reports of a cluster's flavors.
type FlavorStatus struct {
	// Begun says that Nova may have flavors of the cluster. It is reported before the first
	// one is made.
	Begun bool `json:",omitempty"`
	// Index is the ModifyIndex of the declaration that Nova has; an older one: not yet.
	Index uint64 `json:",omitempty"`
	// Flavors are those that are declared or still there, sorted by name.
	Flavors []FlavorReport `json:",omitempty"`
	// Error says why nothing is known of Nova now.
	Error string `json:",omitempty"`
}

// FlavorReport is one flavor of a FlavorStatus.
type FlavorReport struct {
	Name string
	// ID is Nova's; empty: it has none of ours by that name.
	ID string `json:",omitempty"`
	// Error says why it is not as declared.
	Error string `json:",omitempty"`
}

// Equal reports whether both say the same.
func (s FlavorStatus) Equal(o FlavorStatus) bool {
	return s.Begun == o.Begun && s.Index == o.Index && s.Error == o.Error && slices.Equal(s.Flavors, o.Flavors)
}

// Problem is the first thing that is wrong with the flavors.
func (s FlavorStatus) Problem() string {
	if s.Error != "" {
		return s.Error
	}
	for _, f := range s.Flavors {
		if f.Error != "" {
			return "flavor " + f.Name + ": " + f.Error
		}
	}
	return ""
}

// FlavorsSettled reports whether Nova has the flavors that are declared, and if not why,
// where that is known.
func (c *Cluster) FlavorsSettled() (settled bool, why string) {
	why = c.FlavorStatus.Problem()
	if len(c.Flavors) == 0 && !c.FlavorStatus.Begun {
		return true, ""
	}
	return why == "" && c.FlavorStatus.Index >= c.ModifyIndex, why
}

// ReportFlavors records what became of the flavors of clusters. A cluster that there is not
// is skipped. It is no new declaration: the cluster keeps its ModifyIndex.
type ReportFlavors struct{ Clusters []ClusterFlavorReport }

// ClusterFlavorReport is one cluster's part of a ReportFlavors.
type ClusterFlavorReport struct {
	Cluster string
	Status  FlavorStatus
}

func (ReportFlavors) kind() string { return "report-flavors" }

func (c ReportFlavors) apply(t *tx) error {
	for _, r := range c.Clusters {
		old, ok := first[*Cluster](t.Txn, tableClusters, "id", r.Cluster)
		if !ok || old.FlavorStatus.Equal(r.Status) {
			continue
		}
		cluster := *old
		cluster.FlavorStatus = r.Status
		t.put(tableClusters, &cluster)
		t.flavorEvents(old, &cluster)
		t.finishCluster(cluster.Name)
	}
	return nil
}

// flavorEvents notes flavors that came, went or failed.
func (t *tx) flavorEvents(old, now *Cluster) {
	before := map[string]FlavorReport{}
	for _, f := range old.FlavorStatus.Flavors {
		before[f.Name] = f
	}
	for _, f := range now.FlavorStatus.Flavors {
		was := before[f.Name]
		delete(before, f.Name)
		switch {
		case f.Error != "" && f.Error != was.Error:
			t.event(EventFlavor, now.Name, "", "%s: %s", f.Name, f.Error)
		case f.ID != "" && f.ID != was.ID:
			t.event(EventFlavor, now.Name, "", "%s: made, %s", f.Name, f.ID)
		}
	}
	for _, f := range old.FlavorStatus.Flavors {
		if _, gone := before[f.Name]; gone && f.ID != "" {
			t.event(EventFlavor, now.Name, "", "%s: removed", f.Name)
		}
	}
	if e := now.FlavorStatus.Error; e != "" && e != old.FlavorStatus.Error {
		t.event(EventFlavor, now.Name, "", "%s", e)
	}
}
