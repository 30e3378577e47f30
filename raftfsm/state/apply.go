package state

import (
	"fmt"
	"strings"
)

// Event types.
const (
	EventMesh           = "mesh-named"
	EventHypervisor     = "hypervisor-changed"
	EventClusterApplied = "cluster-applied"
	EventClusterRemoved = "cluster-removed"
	EventFlavor         = "flavor"
	EventNodeCreated    = "node-created"
	EventNodeChanged    = "node-changed"
	EventNodePlaced     = "node-placed"
	EventNodeUnplaced   = "node-unplaced"
	EventNodeReady      = "node-ready"
	EventNodeError      = "node-error"
	EventNodeRemoving   = "node-removing"
	EventNodeRemoved    = "node-removed"
	EventNodeIronic     = "node-ironic"
	EventNodeDisplaced  = "node-displaced"
	EventMoveWaits      = "node-move-waits"
	EventMoveStarted    = "node-move-started"
	EventMoveError      = "node-move-error"
	EventMoveFinished   = "node-moved"
	EventMoveCancelled  = "node-move-cancelled"
	EventGeneration     = "mesh-recovered"
	EventKeys           = "keys-changed"
	EventTokenCreated   = "token-created"
	EventTokenRevoked   = "token-revoked"
	EventTokensDropped  = "tokens-dropped"
	EventPeerJoined     = "peer-joined"
	EventPeerChanged    = "peer-changed"
	EventPeerRole       = "peer-role"
	EventPeerLost       = "peer-lost"
	EventPeerFound      = "peer-found"
	EventPeerDraining   = "peer-draining"
	EventPeerLeaving    = "peer-leaving"
	EventPeerRemoved    = "peer-removed"
	EventNodeAudit      = "node-audit"
	EventClusterQuota   = "cluster-quota"
	EventNodeAnew       = "node-made-anew"
	EventNodeRecover    = "node-recover"
	EventFaultAdded     = "fault-added"
	EventFaultEnded     = "fault-ended"
	EventLevel          = "level-raised"
)

// hypervisorName is what events call a hypervisor.
func (t *tx) hypervisorName(id string) string {
	if h, ok := first[*Hypervisor](t.Txn, tableHypervisors, "id", id); ok && h.Name != "" {
		return h.Name
	}
	return id
}

// peerOf returns the peer that a hypervisor is; there is none in a state from before
// there were peers.
func (t *tx) peerOf(hypervisor string) (*Peer, bool) {
	return first[*Peer](t.Txn, tablePeers, "id", hypervisor)
}

func (SetMesh) kind() string { return "set-mesh" }

func (c SetMesh) apply(t *tx) error {
	if row, ok := first[*meshRow](t.Txn, tableMesh, "id", meshKey); ok {
		return fmt.Errorf("the mesh is named already: %s", row.Mesh.ID)
	}
	t.putMesh(c.Mesh)
	t.event(EventMesh, "", "", "mesh %s (%s)", c.Mesh.Name, c.Mesh.ID)
	return nil
}

func (t *tx) putMesh(m Mesh) {
	if old, ok := first[*meshRow](t.Txn, tableMesh, "id", meshKey); ok && old.Mesh == m {
		return
	}
	t.put(tableMesh, &meshRow{Key: meshKey, Mesh: m})
	t.touch(peersView)
}

func (PutHypervisor) kind() string { return "put-hypervisor" }

func (c PutHypervisor) apply(t *tx) error {
	h := c.Hypervisor
	if err := checkKey("hypervisor ID", h.ID); err != nil {
		return err
	}
	if p, ok := t.peerOf(h.ID); ok && p.Removed {
		return errRemoved(p)
	}
	h.CreateIndex, h.ModifyIndex = t.index, t.index
	if old, ok := first[*Hypervisor](t.Txn, tableHypervisors, "id", h.ID); ok {
		h.CreateIndex = old.CreateIndex
	}
	t.put(tableHypervisors, &h)
	t.touch(h.ID)
	t.event(EventHypervisor, "", "", "hypervisor %s: %d vCPUs, %d MiB, %d GiB, physnets %v",
		h.Name, h.Capacity.VCPUs, h.Capacity.MemoryMB, h.Capacity.DiskGB, h.Physnets)
	return nil
}

func (ApplyCluster) kind() string { return "apply-cluster" }

func (c ApplyCluster) apply(t *tx) error {
	cluster := c.Cluster
	if err := checkKey("cluster name", cluster.Name); err != nil {
		return err
	}
	old, exists := first[*Cluster](t.Txn, tableClusters, "id", cluster.Name)
	switch {
	case exists && old.Removing:
		return fmt.Errorf("cluster %q is being destroyed: wait until it is gone", cluster.Name)
	case exists && old.ModifyIndex != c.Expect, !exists && c.Expect != 0:
		return fmt.Errorf("cluster %q: %w", cluster.Name, ErrConflict)
	}
	cluster.Removing = false
	cluster.CreateIndex, cluster.ModifyIndex = t.index, t.index
	cluster.FlavorStatus = FlavorStatus{}
	if exists {
		cluster.CreateIndex, cluster.FlavorStatus = old.CreateIndex, old.FlavorStatus
	}
	before := usage(all[*Node](t.Txn, tableNodes, "cluster", cluster.Name))
	t.put(tableClusters, &cluster)
	t.event(EventClusterApplied, cluster.Name, "", "create %d, change %d, remove %d",
		len(c.Create), len(c.Change), len(c.Remove))
	for _, n := range c.Create {
		if err := t.createNode(cluster.Name, n); err != nil {
			return err
		}
	}
	for _, ch := range c.Change {
		if err := t.changeNode(cluster.Name, ch); err != nil {
			return err
		}
	}
	for _, r := range c.Remove {
		if n, ok := first[*Node](t.Txn, tableNodes, "id", r.UUID); ok && n.Cluster != cluster.Name {
			return fmt.Errorf("node %q is of cluster %q: %w", n.Name, n.Cluster, ErrConflict)
		}
	}
	t.removeNodes(c.Remove)
	return t.checkQuota(cluster.Name, before)
}

// createNode records what is declared of a node; whatever else n holds is history
// that a new node does not have.
func (t *tx) createNode(cluster string, n Node) error {
	if n.Cluster != cluster {
		return fmt.Errorf("node %q: is of cluster %q, not %q", n.Name, n.Cluster, cluster)
	}
	if err := t.checkNew(&n); err != nil {
		return err
	}
	n.CreateIndex, n.ModifyIndex, n.RestartIndex = t.index, t.index, 0
	n.RecoverIndex = 0
	n.Placement, n.LastPlacement, n.Past, n.Unplaced = nil, nil, nil, ""
	n.Discard, n.Move, n.Audit = nil, nil, false
	n.Lost, n.LostReason = false, ""
	n.Anew, n.Removing, n.Force, n.Forget = false, false, false, false
	n.Host, n.Ironic = HostStatus{}, IronicStatus{}
	n.BMCAddress = ""
	t.put(tableNodes, &n)
	t.event(EventNodeCreated, n.Cluster, n.Name, "type %s, uuid %s", n.Type, n.UUID)
	return nil
}

// checkNew refuses a node that lacks an identity or has part of another's.
func (t *tx) checkNew(n *Node) error {
	for _, id := range []struct{ index, noun, value string }{
		{"name", "node name", n.Name}, {"id", "node UUID", n.UUID}, {"linkname", "link name", n.LinkName}} {
		if err := checkKey(id.noun, id.value); err != nil {
			return err
		}
		if _, taken := first[*Node](t.Txn, tableNodes, id.index, id.value); taken {
			return fmt.Errorf("node %q: %s %q is another's: %w", n.Name, id.noun, id.value, ErrConflict)
		}
	}
	if err := checkKey("cluster name", n.Cluster); err != nil {
		return err
	}
	if err := t.checkAddress(n.UUID, n.BMCAddress); err != nil {
		return fmt.Errorf("node %q: %w", n.Name, err)
	}
	return t.checkPorts(n)
}

func (t *tx) checkPorts(n *Node) error {
	mine := map[string]bool{}
	for _, p := range n.Ports {
		if err := checkKey("port MAC", p.MAC); err != nil {
			return fmt.Errorf("node %q: %w", n.Name, err)
		}
		other, taken := first[*Node](t.Txn, tableNodes, "mac", p.MAC)
		if mine[p.MAC] || taken && other.UUID != n.UUID {
			return fmt.Errorf("node %q: MAC %s is another port's: %w", n.Name, p.MAC, ErrConflict)
		}
		mine[p.MAC] = true
	}
	return nil
}

// checkKey refuses what cannot be the key of a row: nothing, or a text with the
// byte that ends keys.
func checkKey(noun, value string) error {
	if value == "" || strings.Contains(value, "\x00") {
		return fmt.Errorf("%s %q: not usable", noun, value)
	}
	return nil
}

func (t *tx) changeNode(cluster string, c NodeChange) error {
	old, ok := first[*Node](t.Txn, tableNodes, "id", c.UUID)
	if !ok || old.Cluster != cluster || old.Removing {
		return fmt.Errorf("node %s: %w", c.UUID, ErrConflict)
	}
	n := *old
	n.Spec, n.Machine, n.Enrol = c.Spec, c.Machine, c.Enrol
	n.DeployKernel, n.DeployRamdisk = c.DeployKernel, c.DeployRamdisk
	n.Constraints, n.OnHostLoss, n.StopAfterMilli = c.Constraints, c.OnHostLoss, c.StopAfterMilli
	n.Ports, n.BMC, n.Outlet, n.BMCPool = c.Ports, c.BMC, c.Outlet, c.BMCPool
	if err := t.checkAddress(n.UUID, c.BMCAddress); err != nil {
		return fmt.Errorf("node %q: %w", n.Name, err)
	}
	n.BMCAddress = c.BMCAddress
	n.AdoptIronic = n.AdoptIronic || c.AdoptIronic
	if err := t.checkPorts(&n); err != nil {
		return err
	}
	if c.Restart {
		n.RestartIndex = t.index
	}
	if c.Pin != nil {
		n.SetPin(*c.Pin)
	}
	if c.Endpoint != nil && n.Placement != nil && *c.Endpoint != n.Placement.BMC {
		if t.endpointTaken(n.Placement.Hypervisor, *c.Endpoint) {
			return fmt.Errorf("node %q: BMC %s is another's: %w", n.Name, c.Endpoint, ErrConflict)
		}
		at := *n.Placement
		at.BMC = *c.Endpoint
		n.Placement = &at
	}
	if c.Anew && n.Placement != nil {
		n.Anew = true
		n.endMove()
		t.event(EventNodeAnew, n.Cluster, n.Name, "its host takes it apart first")
	}
	t.putNode(&n)
	t.event(EventNodeChanged, n.Cluster, n.Name, "declared anew")
	return nil
}

func (RemoveCluster) kind() string { return "remove-cluster" }

func (c RemoveCluster) apply(t *tx) error {
	old, ok := first[*Cluster](t.Txn, tableClusters, "id", c.Name)
	if !ok {
		return fmt.Errorf("cluster %q: %w", c.Name, ErrNotFound)
	}
	cluster := *old
	cluster.Removing, cluster.ModifyIndex = true, t.index
	if c.Forget || cluster.Ironic == nil {
		cluster.FlavorStatus = FlavorStatus{} // they stay in Nova
	}
	t.put(tableClusters, &cluster)
	var removals []NodeRemoval
	for _, n := range byName(all[*Node](t.Txn, tableNodes, "cluster", c.Name)) {
		removals = append(removals, NodeRemoval{UUID: n.UUID, Force: c.Force, Forget: c.Forget})
	}
	t.removeNodes(removals)
	t.finishCluster(c.Name)
	return nil
}

func (RemoveNodes) kind() string { return "remove-nodes" }

func (c RemoveNodes) apply(t *tx) error {
	t.removeNodes(c.Nodes)
	return nil
}

func (t *tx) removeNodes(removals []NodeRemoval) {
	for _, r := range removals {
		old, ok := first[*Node](t.Txn, tableNodes, "id", r.UUID)
		if !ok {
			continue
		}
		n := *old
		n.Force, n.Forget = n.Force || r.Force, n.Forget || r.Forget
		if old.Removing && n.Force == old.Force && n.Forget == old.Forget {
			continue
		}
		if !n.Removing {
			n.Removing = true
			n.endMove()
			t.event(EventNodeRemoving, n.Cluster, n.Name, "force %t, forget %t", n.Force, n.Forget)
		}
		t.putNode(&n)
		t.finishNode(&n)
	}
}

// finishNode deletes a removed node that neither Ironic nor a hypervisor has any
// longer.
func (t *tx) finishNode(n *Node) {
	if !n.Removing || !n.IronicDone() || (n.Placement != nil && n.Host.Phase != HostGone) {
		return
	}
	t.dropNode(n)
	t.event(EventNodeRemoved, n.Cluster, n.Name, "uuid %s", n.UUID)
	t.finishCluster(n.Cluster)
}

// TakenApart reports whether the hypervisor that a node is placed on is to take it apart.
func (n *Node) TakenApart() bool { return n.Anew || n.Removing && n.IronicDone() }

// IronicDone reports whether the hypervisor may take a removed node apart: Ironic
// has no record of it any longer, or never will.
func (n *Node) IronicDone() bool {
	return n.Enrol == nil && n.Ironic.Phase == "" || n.Forget || n.Ironic.Phase == IronicGone
}

func (t *tx) finishCluster(name string) {
	c, ok := first[*Cluster](t.Txn, tableClusters, "id", name)
	if !ok || !c.Removing || c.FlavorStatus.Begun || len(all[*Node](t.Txn, tableNodes, "cluster", name)) > 0 {
		return
	}
	must(t.Delete(tableClusters, c))
	t.event(EventClusterRemoved, name, "", "destroyed")
}

func (PlaceNodes) kind() string { return "place-nodes" }

func (c PlaceNodes) apply(t *tx) error {
	hosts := t.hostAddresses(c.Placements)
	for _, p := range c.Placements {
		t.placeNode(p, hosts)
	}
	for _, r := range c.Refusals {
		t.refuseNode(r)
	}
	return nil
}

func (t *tx) placeNode(p NodePlacement, hosts map[string]bool) {
	old, ok := first[*Node](t.Txn, tableNodes, "id", p.UUID)
	if !ok || old.Placement != nil || old.Removing || old.Pinned() != "" && old.Pinned() != p.Hypervisor {
		return
	}
	h, ok := first[*Hypervisor](t.Txn, tableHypervisors, "id", p.Hypervisor)
	if peer, _ := t.peerOf(p.Hypervisor); !ok || peer.Refuses() != "" || t.endpointTaken(p.Hypervisor, p.BMC) || old.Gone(p.Hypervisor) {
		return
	}
	n := *old
	if p.BMCAddress != "" && p.BMCAddress != old.BMCAddress && !t.giveAddress(&n, p.BMCAddress, hosts) {
		return
	}
	n.Placement = &Placement{Hypervisor: p.Hypervisor, Epoch: t.index, BMC: p.BMC}
	n.Past = withoutPast(n.Past, p.Hypervisor)
	n.Unplaced, n.Host = "", HostStatus{}
	n.Lost, n.LostReason = false, ""
	t.putNode(&n)
	if n.Machine.IronicDriver == ProtocolSNMP {
		t.event(EventNodePlaced, n.Cluster, n.Name, "hypervisor %s", h.Name)
		return
	}
	t.event(EventNodePlaced, n.Cluster, n.Name, "hypervisor %s, BMC %s", h.Name, n.endpoint())
}

func (t *tx) refuseNode(r NodeRefusal) {
	old, ok := first[*Node](t.Txn, tableNodes, "id", r.UUID)
	if !ok || old.Placement != nil || old.Removing || old.Unplaced == r.Reason {
		return
	}
	n := *old
	n.Unplaced = r.Reason
	t.putNode(&n)
	t.event(EventNodeUnplaced, n.Cluster, n.Name, "%s", r.Reason)
}

func (t *tx) endpointTaken(hypervisor string, e Endpoint) bool {
	_, taken := first[*Node](t.Txn, tableNodes, "endpoint", hypervisor, e.Address, e.Port)
	_, promised := first[*Node](t.Txn, tableNodes, "targetpoint", hypervisor, e.Address, e.Port)
	return taken || promised
}

func (ReportHost) kind() string { return "report-host" }

func (c ReportHost) apply(t *tx) error {
	for _, r := range c.Nodes {
		old, ok := first[*Node](t.Txn, tableNodes, "id", r.UUID)
		if !ok || old.Placement == nil || old.Placement.Hypervisor != c.Hypervisor || old.Placement.Epoch != r.Epoch {
			continue
		}
		if old.Host.Equal(r.Status) {
			continue
		}
		n := *old
		n.Host = r.Status
		if n.Anew && !n.Removing && n.Host.Phase == HostGone {
			t.makeAnew(&n)
			continue
		}
		t.putNode(&n)
		t.hostEvent(old, &n)
		t.finishNode(&n)
	}
	return nil
}

// makeAnew takes a node off a hypervisor that has nothing left of it, and so need not
// remember it; where it is made anew is for the scheduler to say.
func (t *tx) makeAnew(n *Node) {
	host := n.Placement.Hypervisor
	n.endMove()
	n.LastPlacement, n.Placement, n.Unplaced = n.Placement, nil, "is to be made anew"
	n.Anew, n.Host, n.Origin = false, HostStatus{}, n.Origin.elsewhere()
	n.Lost, n.LostReason = false, ""
	t.putNode(n)
	t.depart(n.UUID, host)
	t.event(EventNodeDisplaced, n.Cluster, n.Name, "%s", n.Unplaced)
}

func (t *tx) hostEvent(old, n *Node) {
	switch {
	case n.Host.Phase == HostReady && old.Host.Phase != HostReady:
		t.event(EventNodeReady, n.Cluster, n.Name, "on hypervisor %s", t.hypervisorName(n.Placement.Hypervisor))
	case n.Host.Error != "" && n.Host.Error != old.Host.Error:
		t.event(EventNodeError, n.Cluster, n.Name, "%s", n.Host.Error)
	}
}

func (ReportIronic) kind() string { return "report-ironic" }

func (c ReportIronic) apply(t *tx) error {
	for _, r := range c.Nodes {
		old, ok := first[*Node](t.Txn, tableNodes, "id", r.UUID)
		if !ok || old.Ironic == r.Status {
			continue
		}
		n := *old
		n.Ironic = r.Status
		t.putNode(&n)
		t.event(EventNodeIronic, n.Cluster, n.Name, "%s %s %s", r.Status.Phase, r.Status.ProvisionState, r.Status.Error)
		t.finishNode(&n)
	}
	return nil
}
