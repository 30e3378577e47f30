package state

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is something that BMCs are to do wrong for a while, because somebody tests
// what talks to them. It never changes; one that is to be otherwise is another one.
type Fault struct {
	ID   string
	Kind FaultKind
	// Nodes (UUIDs), Clusters (names) and Hypervisors (peer IDs) say whose BMCs.
	Nodes, Clusters, Hypervisors []string
	// Protocol is "ipmi" or "redfish"; empty: both.
	Protocol string
	// Call narrows it to some requests; empty: all.
	Call string
	// SharePPM is how many of a million requests are hit.
	SharePPM uint32
	// Seed decides which.
	Seed uint64
	// DelayMilli is how long something is late.
	DelayMilli int64
	// Code is what is answered: a completion code or an HTTP status; 0: the usual one.
	Code int
	// ForMilli is how long it lasts, at most MaxFaultMilli.
	ForMilli int64
	// AddedMilli is the proposer's time.
	AddedMilli  int64
	CreateIndex uint64
}

// FaultKind says what goes wrong. One that a peer does not know has no effect there.
type FaultKind string

// The kinds of faults.
const (
	FaultDrop           FaultKind = "drop"
	FaultDelay          FaultKind = "delay"
	FaultBusy           FaultKind = "busy"
	FaultBadCredentials FaultKind = "bad-credentials"
	FaultError          FaultKind = "error"
	FaultStuckPower     FaultKind = "stuck-power"
	FaultSlowPower      FaultKind = "slow-power"
	FaultBMCReset       FaultKind = "bmc-reset"
)

// Bounds of faults: they are in the part of the state that every hypervisor gets.
const (
	// MaxFaultMilli is how long a fault lasts at most, in milliseconds.
	MaxFaultMilli = 24 * 3600 * 1000
	// MaxFaults is how many there are at a time.
	MaxFaults = 256
	// MaxFaultTargets is how many nodes, clusters and hypervisors one names.
	MaxFaultTargets = 500
	maxFaultText    = 128 // bytes of each text
)

// AddFault begins a fault at the envelope's time. Refusals: ErrConflict for an ID that is
// taken, ErrRefused for one too many, or without an end.
type AddFault struct{ Fault Fault }

// EndFaults ends faults. Those that there are not are skipped.
type EndFaults struct {
	IDs []string
	// Expired says that their time was over; otherwise somebody cleared them.
	Expired bool
}

// EndsMilli is when the fault's time is over, by the clock of who added it (Unix
// milliseconds).
func (f *Fault) EndsMilli() int64 { return f.AddedMilli + f.ForMilli }

// Concerns reports whether the fault is one of a node's BMC.
func (f *Fault) Concerns(n *Node) bool {
	return slices.Contains(f.Nodes, n.UUID) || slices.Contains(f.Clusters, n.Cluster) ||
		n.Placement != nil && slices.Contains(f.Hypervisors, n.Placement.Hypervisor)
}

// texts are all that a person wrote.
func (f *Fault) texts() []string {
	return append(slices.Concat(f.Nodes, f.Clusters, f.Hypervisors), f.ID, string(f.Kind), f.Protocol, f.Call)
}

// check says what of a fault can never be in the state.
func (f *Fault) check() error {
	if err := checkKey("fault ID", f.ID); err != nil {
		return err
	}
	targets := len(f.Nodes) + len(f.Clusters) + len(f.Hypervisors)
	long := slices.ContainsFunc(f.texts(), func(s string) bool { return len(s) > maxFaultText })
	switch {
	case targets < 1 || targets > MaxFaultTargets:
		return fmt.Errorf("fault %s: %w: it names %d nodes, clusters and hypervisors: 1 to %d are allowed", f.ID, ErrRefused, targets, MaxFaultTargets)
	case f.ForMilli < 1 || f.ForMilli > MaxFaultMilli:
		return fmt.Errorf("fault %s: %w: it must end within 24 h", f.ID, ErrRefused)
	case long:
		return fmt.Errorf("fault %.40q: %w: a text in it has more than %d bytes", f.ID, ErrRefused, maxFaultText)
	}
	return nil
}

func (AddFault) kind() string { return "add-fault" }

func (c AddFault) apply(t *tx) error {
	f := c.Fault
	f.AddedMilli, f.CreateIndex = t.now, t.index
	if err := f.check(); err != nil {
		return err
	}
	if _, taken := first[*Fault](t.Txn, tableFaults, "id", f.ID); taken {
		return fmt.Errorf("fault %s: %w", f.ID, ErrConflict)
	}
	if len(all[*Fault](t.Txn, tableFaults, "id")) >= MaxFaults {
		return fmt.Errorf("fault %s: %w: there are %d already, clear some", f.ID, ErrRefused, MaxFaults)
	}
	t.put(tableFaults, &f)
	t.faultsChanged(&f)
	t.event(EventFaultAdded, "", "", "%s %s of %s until %s", f.ID, f.Kind, t.faultTargets(&f), utc(f.EndsMilli()))
	return nil
}

func (EndFaults) kind() string { return "end-faults" }

func (c EndFaults) apply(t *tx) error {
	why := "cleared"
	if c.Expired {
		why = "its time is over"
	}
	for _, id := range c.IDs {
		f, ok := first[*Fault](t.Txn, tableFaults, "id", id)
		if !ok {
			continue
		}
		must(t.Delete(tableFaults, f))
		t.faultsChanged(f)
		t.event(EventFaultEnded, "", "", "%s %s: %s", id, f.Kind, why)
	}
	return nil
}

// faultTargets names whom a fault concerns, for people: the first few.
func (t *tx) faultTargets(f *Fault) string {
	var out []string
	for _, uuid := range f.Nodes {
		name := uuid
		if n, ok := first[*Node](t.Txn, tableNodes, "id", uuid); ok {
			name = n.Name
		}
		out = append(out, "node "+name)
	}
	for _, name := range f.Clusters {
		out = append(out, "cluster "+name)
	}
	for _, id := range f.Hypervisors {
		out = append(out, "hypervisor "+t.hypervisorName(id))
	}
	const named = 3
	if more := len(out) - named; more > 0 {
		out = append(out[:named], fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}

// faultsRow says when faults last changed. It is in no dump: a state that was loaded
// counts as changed, so that who was told of another one is told again.
type faultsRow struct {
	Key   string
	Index uint64
}

// faultsChanged notes that, and wakes the hypervisors that it concerns.
func (t *tx) faultsChanged(f *Fault) {
	t.put(tableFaultsIndex, &faultsRow{Key: faultsKey, Index: t.index})
	t.touch(f.Hypervisors...)
	for _, uuid := range f.Nodes {
		if n, ok := first[*Node](t.Txn, tableNodes, "id", uuid); ok {
			t.touch(n.hosts()...)
		}
	}
	for _, name := range f.Clusters {
		for _, n := range all[*Node](t.Txn, tableNodes, "cluster", name) {
			t.touch(n.hosts()...)
		}
	}
}

// loadFaults replaces all faults, and wakes whom the old and the new ones concern. Nodes
// are there by then.
func (t *tx) loadFaults(faults []*Fault) error {
	for _, f := range all[*Fault](t.Txn, tableFaults, "id") {
		must(t.Delete(tableFaults, f))
		t.faultsChanged(f)
	}
	for _, f := range faults {
		if err := f.check(); err != nil {
			return err
		}
		if err := t.loadRow(tableFaults, "id", "fault", f.ID, f); err != nil {
			return err
		}
		t.faultsChanged(f)
	}
	t.put(tableFaultsIndex, &faultsRow{Key: faultsKey, Index: t.index})
	return nil
}

// Faults returns all faults, also those whose time is over, by ID.
func (s *Snapshot) Faults() []*Fault { return all[*Fault](s.txn, tableFaults, "id") }

// Fault returns one fault.
func (s *Snapshot) Fault(id string) (*Fault, bool) {
	return first[*Fault](s.txn, tableFaults, "id", id)
}

// FaultsIndex is the log index at which faults last changed; 0: there were never any.
func (s *Snapshot) FaultsIndex() uint64 {
	row, ok := first[*faultsRow](s.txn, tableFaultsIndex, "id", faultsKey)
	if !ok {
		return 0
	}
	return row.Index
}

// FaultList is the faults of a hypervisor's part.
type FaultList struct{ Faults []*Fault }

// faultsOf returns the faults of a hypervisor's part; nil: as before. They are in it anew
// when faults changed, or its nodes.
func (s *Snapshot) faultsOf(hypervisor string, p Part, known []*Node) *FaultList {
	faults := s.Faults()
	if !p.Full && s.FaultsIndex() <= p.Since && (len(faults) == 0 || len(p.Nodes)+len(p.Gone) == 0) {
		return nil
	}
	list := &FaultList{}
	for _, f := range faults {
		if slices.Contains(f.Hypervisors, hypervisor) || slices.ContainsFunc(known, f.Concerns) {
			list.Faults = append(list.Faults, f)
		}
	}
	if p.Full && len(list.Faults) == 0 {
		return nil // it replaces what was known
	}
	return list
}
