package state

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Quota is how much a cluster may declare; what is 0 has no limit.
type Quota struct {
	Nodes int `json:",omitempty"`
	VCPUs int `json:",omitempty"`
	// MemoryMB is in MiB.
	MemoryMB uint64 `json:",omitempty"`
	// DiskGB is in GiB.
	DiskGB uint64 `json:",omitempty"`
}

// IsZero reports whether nothing is limited.
func (q Quota) IsZero() bool { return q == Quota{} }

// QuotaRow is the quota of a cluster, which need not exist yet.
type QuotaRow struct {
	Cluster     string
	Quota       Quota
	ModifyIndex uint64
}

// SetQuota limits a cluster, whether it exists or not; the zero Quota takes the limit away.
// What the cluster has by then stays, but grows no more. Refusals: ErrRefused for negative
// numbers.
type SetQuota struct {
	Cluster string
	Quota   Quota
}

// Usage is what the nodes of a cluster are declared with. Sums stop at the largest number.
type Usage struct {
	Nodes, VCPUs int
	// MemoryMB is in MiB, DiskBytes in bytes.
	MemoryMB, DiskBytes uint64
}

// Add counts one machine more.
func (u *Usage) Add(m Machine) {
	u.Nodes++
	u.VCPUs = int(min(sum(uint64(u.VCPUs), uint64(max(m.VCPUs, 0))), math.MaxInt))
	u.MemoryMB, u.DiskBytes = sum(u.MemoryMB, m.MemoryMB), sum(u.DiskBytes, m.DiskBytes())
}

func sum(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

const gib = 1 << 30

// DiskGB is in GiB, rounded up.
func (u Usage) DiskGB() uint64 { return u.DiskBytes/gib + min(u.DiskBytes%gib, 1) }

// Check says what of a change from one usage to another a quota does not allow: what grows
// to more than the limit. Errors: ErrRefused.
func (q Quota) Check(cluster string, from, to Usage) error {
	var over []string
	for _, l := range []struct {
		what, unit      string
		from, to, limit uint64
	}{
		{"nodes", "", uint64(max(from.Nodes, 0)), uint64(max(to.Nodes, 0)), uint64(max(q.Nodes, 0))},
		{"vcpus", "", uint64(from.VCPUs), uint64(to.VCPUs), uint64(max(q.VCPUs, 0))},
		{"memory", " MiB", from.MemoryMB, to.MemoryMB, q.MemoryMB},
		{"disk", " GiB", from.DiskGB(), to.DiskGB(), q.DiskGB},
	} {
		if l.limit > 0 && l.to > l.limit && l.to > l.from {
			over = append(over, fmt.Sprintf("%s: %d%s used, %d%s asked for, the limit is %d%s", l.what, l.from, l.unit, l.to, l.unit, l.limit, l.unit))
		}
	}
	if len(over) == 0 {
		return nil
	}
	return fmt.Errorf("quota of cluster %q: %w: %s (tenks cluster set-quota changes it)", cluster, ErrRefused, strings.Join(over, "; "))
}

func (SetQuota) kind() string { return "set-quota" }

func (c SetQuota) apply(t *tx) error {
	if err := checkKey("cluster name", c.Cluster); err != nil {
		return err
	}
	if c.Quota.Nodes < 0 || c.Quota.VCPUs < 0 {
		return fmt.Errorf("quota of cluster %q: %w: numbers below 0", c.Cluster, ErrRefused)
	}
	old, ok := first[*QuotaRow](t.Txn, tableQuotas, "id", c.Cluster)
	switch {
	case !ok && c.Quota.IsZero(), ok && old.Quota == c.Quota:
		return nil
	case c.Quota.IsZero():
		must(t.Delete(tableQuotas, old))
	default:
		t.put(tableQuotas, &QuotaRow{Cluster: c.Cluster, Quota: c.Quota, ModifyIndex: t.index})
	}
	t.event(EventClusterQuota, c.Cluster, "", "%s", c.Quota)
	return nil
}

// String says it in words.
func (q Quota) String() string {
	var out []string
	for _, l := range []struct {
		limit uint64
		text  string
	}{{uint64(max(q.Nodes, 0)), "%d nodes"}, {uint64(max(q.VCPUs, 0)), "%d vCPUs"}, {q.MemoryMB, "%d MiB"}, {q.DiskGB, "%d GiB"}} {
		if l.limit > 0 {
			out = append(out, fmt.Sprintf(l.text, l.limit))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// Quota returns a cluster's quota; the zero one where it has none.
func (s *Snapshot) Quota(cluster string) Quota {
	row, ok := first[*QuotaRow](s.txn, tableQuotas, "id", cluster)
	if !ok {
		return Quota{}
	}
	return row.Quota
}

// Quotas returns all quotas, by cluster.
func (s *Snapshot) Quotas() []*QuotaRow { return all[*QuotaRow](s.txn, tableQuotas, "id") }

// Usage is what a cluster's nodes are declared with, but those that are being removed.
func (s *Snapshot) Usage(cluster string) Usage {
	return usage(all[*Node](s.txn, tableNodes, "cluster", cluster))
}

func usage(nodes []*Node) Usage {
	var u Usage
	for _, n := range nodes {
		if !n.Removing {
			u.Add(n.Machine)
		}
	}
	return u
}

// checkQuota refuses a declaration by which a cluster grows over its quota.
func (t *tx) checkQuota(cluster string, from Usage) error {
	row, ok := first[*QuotaRow](t.Txn, tableQuotas, "id", cluster)
	if !ok {
		return nil
	}
	return row.Quota.Check(cluster, from, usage(all[*Node](t.Txn, tableNodes, "cluster", cluster)))
}

// check says what of a row can never be in the state.
func (q *QuotaRow) check() error {
	if q.Quota.IsZero() || q.Quota.Nodes < 0 || q.Quota.VCPUs < 0 {
		return errors.New("quota: limits nothing")
	}
	return nil
}
