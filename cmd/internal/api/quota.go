package api

import (
	"net/http"

	"tenks/raftfsm/state"
)

// Quota is what a cluster may declare, and what it does; a limit of 0 is none.
type Quota struct {
	Nodes        int    `json:"nodes"`
	VCPUs        int    `json:"vcpus"`
	MemoryMB     uint64 `json:"memory_mb"`
	DiskGB       uint64 `json:"disk_gb"`
	UsedNodes    int    `json:"used_nodes"`
	UsedVCPUs    int    `json:"used_vcpus"`
	UsedMemoryMB uint64 `json:"used_memory_mb"`
	UsedDiskGB   uint64 `json:"used_disk_gb"`
}

// QuotaRequest changes a quota; what is absent stays as it is.
type QuotaRequest struct {
	Nodes    *int    `json:"nodes,omitempty"`
	VCPUs    *int    `json:"vcpus,omitempty"`
	MemoryMB *uint64 `json:"memory_mb,omitempty"`
	DiskGB   *uint64 `json:"disk_gb,omitempty"`
	// Clear takes all limits away first.
	Clear bool `json:"clear,omitempty"`
}

// over lays a request over a quota.
func (r QuotaRequest) over(q state.Quota) state.Quota {
	if r.Clear {
		q = state.Quota{}
	}
	set(&q.Nodes, r.Nodes)
	set(&q.VCPUs, r.VCPUs)
	set(&q.MemoryMB, r.MemoryMB)
	set(&q.DiskGB, r.DiskGB)
	return q
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (s *Server) setQuota(w http.ResponseWriter, r *http.Request) error {
	var req QuotaRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	name := r.PathValue("name")
	snap, _ := s.Source.Snapshot()
	if q := req.over(snap.Quota(name)); q != snap.Quota(name) {
		if _, err := s.Propose(r.Context(), "", state.SetQuota{Cluster: name, Quota: q}); err != nil {
			return err
		}
		snap, _ = s.Source.Snapshot()
	}
	writeIndexed(w, snap, quotaView(snap, name))
	return nil
}

func quotaView(snap *state.Snapshot, cluster string) Quota {
	q, used := snap.Quota(cluster), snap.Usage(cluster)
	return Quota{Nodes: q.Nodes, VCPUs: q.VCPUs, MemoryMB: q.MemoryMB, DiskGB: q.DiskGB,
		UsedNodes: used.Nodes, UsedVCPUs: used.VCPUs, UsedMemoryMB: used.MemoryMB, UsedDiskGB: used.DiskGB()}
}
