package raftfsm

import "tenks/raftfsm/state"

// samplesV18 has nodes that were there before they were declared. It stays as it is, like
// samplesV1.
func samplesV18() map[string]state.Envelope {
	e := samplesV12()["apply-cluster"]
	apply := e.Command.(state.ApplyCluster)
	apply.Cluster.Specs[0].Nodes = []state.NamedNode{
		{Name: "tk7", UUID: "0e8ba5ab-6f5d-4d32-8e0c-5a3a2f6a7c11", Hypervisor: "hv1", BMCPort: 6231}}
	apply.Create[0].Origin = &state.Origin{Hypervisor: "hv1", BMCPort: 6231, IronicUUID: "1f9cb6bc-7f6e-4e43-9f1d-6b4b3f7b8d22",
		Volumes: []state.OriginVolume{{Path: "/var/lib/libvirt/tenks_pool/tk7vol0", Format: "qcow2"}},
		Links: []state.OriginLink{{Tap: "p-tk7-0-tap", Peer: "p-tk7-0-br", PeerMAC: "7a:00:00:00:00:01",
			Bridge: "brtenks0", BridgeMAC: "7a:00:00:00:00:02"}},
		NVRAM: "/var/lib/libvirt/qemu/nvram/tk7_VARS.fd"}
	e.Command = apply
	return map[string]state.Envelope{"apply-cluster": e}
}

// dumpV18 is the state in the golden snapshot of version 18.
func dumpV18() state.Dump {
	d := dumpV12()
	apply := samplesV18()["apply-cluster"].Command.(state.ApplyCluster)
	for _, c := range d.Clusters {
		c.Specs = apply.Cluster.Specs
	}
	for _, n := range d.Nodes {
		n.Origin = apply.Create[0].Origin
	}
	return d
}
