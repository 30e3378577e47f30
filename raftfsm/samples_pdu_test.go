package raftfsm

import "tenks/raftfsm/state"

// samplesV9 has the fields that came with PDUs. It stays as it is, like samplesV1.
func samplesV9() map[string]state.Envelope {
	apply := samplesV7()["apply-cluster"].Command.(state.ApplyCluster)
	apply.Cluster.PDUs, apply.Cluster.Specs[0].PDU = []state.PDU{pduV9()}, "rack1"
	apply.Create[0].Outlet = &state.Outlet{PDU: pduV9(), Number: 1}
	apply.Change[0].Outlet = &state.Outlet{PDU: pduV9(), Number: 2}
	hypervisor := samplesV7()["put-hypervisor"].Command.(state.PutHypervisor)
	hypervisor.Hypervisor.SNMP = 1610
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{apply, hypervisor} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

func pduV9() state.PDU {
	return state.PDU{Name: "rack1", Community: state.NewSecret("golden-community"), User: "ironic", Password: state.NewSecret("golden-snmp")}
}

// dumpV9 is the state in the golden snapshot of version 9.
func dumpV9() state.Dump {
	d := dumpV7()
	apply := samplesV9()["apply-cluster"].Command.(state.ApplyCluster)
	hypervisor := samplesV9()["put-hypervisor"].Command.(state.PutHypervisor).Hypervisor
	node := *d.Nodes[0]
	node.Outlet = apply.Create[0].Outlet
	d.Clusters, d.Nodes, d.Hypervisors = []*state.Cluster{&apply.Cluster}, []*state.Node{&node}, []*state.Hypervisor{&hypervisor}
	return d
}
