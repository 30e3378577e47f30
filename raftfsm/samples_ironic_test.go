package raftfsm

import "tenks/raftfsm/state"

// samplesV15 has all that Ironic is told of a node. It stays as it is, like samplesV1.
func samplesV15() map[string]state.Envelope {
	apply := samplesV17()["apply-cluster"].Command.(state.ApplyCluster)
	apply.Cluster.IronicLimits = state.IronicLimits{Concurrency: 4, Rate: 2.5}
	for _, e := range []*state.Enrolment{apply.Cluster.Specs[0].Enrol, apply.Create[0].Enrol, apply.Change[0].Enrol} {
		e.Shard, e.Owner, e.Lessee = "s1", "alice", "bob"
		e.Objects = map[string]string{"root_device": `{"size":">= 10"}`}
		e.Extra = map[string]string{"site": `["lab"]`}
		e.AutomatedClean, e.State, e.Inspect, e.Recover = "false", state.TargetManageable, true, true
		e.PXE = []bool{true, false}
		e.PortGroups = []state.PortGroup{{Name: "bond0", Ports: []int{1}, Mode: "802.3ad", Address: "52:54:00:00:00:99",
			FirstPort: true, Dependent: true, Properties: map[string]string{"miimon": "100"}}}
	}
	n := &apply.Create[0]
	n.AdoptIronic, n.RecoverIndex, apply.Change[0].AdoptIronic = true, 40, true
	n.Ironic.Reached, n.Ironic.Record = state.TargetEnroll, "r1"
	report := samplesV1()["report-ironic"].Command.(state.ReportIronic)
	report.Nodes[0].Status.Reached, report.Nodes[0].Status.Record = state.TargetEnroll, "r1"
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{apply, report, state.RecoverNodes{Nodes: []string{"u1", "u2"}}} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

// dumpV15 is the state in the golden snapshot of version 15.
func dumpV15() state.Dump {
	d, apply := dumpV17(), samplesV15()["apply-cluster"].Command.(state.ApplyCluster)
	d.Clusters, d.Nodes = []*state.Cluster{&apply.Cluster}, []*state.Node{&apply.Create[0]}
	return d
}
