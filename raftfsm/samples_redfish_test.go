package raftfsm

import "tenks/raftfsm/state"

// samplesV7 has the fields that came with Redfish. It stays as it is, like samplesV1.
func samplesV7() map[string]state.Envelope {
	apply := samplesV6()["apply-cluster"].Command.(state.ApplyCluster)
	for _, enrol := range []*state.Enrolment{apply.Cluster.Specs[0].Enrol, apply.Create[0].Enrol, apply.Change[0].Enrol} {
		enrol.RedfishVerifyCA = "/etc/ssl/redfish.pem"
	}
	hypervisor := samplesV2()["put-hypervisor"].Command.(state.PutHypervisor)
	hypervisor.Hypervisor.Redfish = 8000
	out := map[string]state.Envelope{}
	for _, c := range []state.Command{apply, hypervisor} {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

// dumpV7 is the state in the golden snapshot of version 7.
func dumpV7() state.Dump {
	d := dumpV6()
	hypervisor := samplesV7()["put-hypervisor"].Command.(state.PutHypervisor).Hypervisor
	d.Hypervisors = []*state.Hypervisor{&hypervisor}
	return d
}
