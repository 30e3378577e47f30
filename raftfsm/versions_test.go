package raftfsm

import "tenks/raftfsm/state"

// version is what of the log's and the snapshots' format came at a time. Its samples and
// its dump are those of the golden files in testdata, which stay as they are.
type version struct {
	name    string // of its folder in testdata
	samples func() map[string]state.Envelope
	dump    func() state.Dump
	// since are fields of commands that came with it: samples of earlier versions lack them.
	since []string
}

// versions are all that there have been, the oldest first. Who adds a field or a kind adds
// a row, with a file of samples beside it.
var versions = []version{
	{"v1", samplesV1, dumpV1, nil},
	{"v2", samplesV2, dumpV2, []string{
		"apply-cluster.Create[0].LastPlacement",
		"apply-cluster.Create[0].Lost",
		"apply-cluster.Create[0].LostReason",
		"apply-cluster.Create[0].Past",
		"put-hypervisor.Hypervisor.Reserved",
	}},
	{"v3", samplesV3, dumpV3, []string{
		"admit-peer.Peer.StopMilli",
		"apply-cluster.Create[0].Discard",
		"apply-cluster.Create[0].Move",
		"drain-peer.StopMilli",
		"put-peer.Peer.StopMilli",
	}},
	{"v4", samplesV4, dumpV4, []string{
		"put-keys.Keys.Authorities[0].AddedMilli",
		"put-keys.Keys.Authorities[0].Forced",
		"put-keys.Keys.Authorities[0].RetiredMilli",
		"put-keys.Keys.Gossip[0].AddedMilli",
		"put-keys.Keys.Gossip[0].Forced",
		"put-keys.Keys.Gossip[0].Retired",
		"put-keys.Keys.Gossip[0].Since",
	}},
	{"v5", samplesV5, dumpV5, []string{
		"apply-cluster.Change[0].StopAfterMilli",
		"apply-cluster.Cluster.Specs[0].StopAfterMilli",
		"apply-cluster.Create[0].Host.StopAfterMilli",
		"apply-cluster.Create[0].StopAfterMilli",
		"report-host.Nodes[0].Status.StopAfterMilli",
		"unplace-nodes.Nodes[0].LostIndex",
	}},
	{"v6", samplesV6, dumpV6, []string{
		"apply-cluster.Create[0].Audit",
	}},
	{"v7", samplesV7, dumpV7, []string{
		"apply-cluster.Change[0].Enrol.RedfishVerifyCA",
		"apply-cluster.Cluster.Specs[0].Enrol.RedfishVerifyCA",
		"apply-cluster.Create[0].Enrol.RedfishVerifyCA",
		"put-hypervisor.Hypervisor.Redfish",
	}},
	{"v9", samplesV9, dumpV9, []string{
		"apply-cluster.Change[0].Outlet",
		"apply-cluster.Cluster.PDUs",
		"apply-cluster.Cluster.Specs[0].PDU",
		"apply-cluster.Create[0].Outlet",
		"put-hypervisor.Hypervisor.SNMP",
	}},
	{"v11", samplesV11, dumpV11, []string{
		"apply-cluster.Change[0].BMC.Key",
		"apply-cluster.Cluster.BMC.Key",
		"apply-cluster.Create[0].BMC.Key",
	}},
	{"v8", samplesV8, dumpV8, []string{
		"apply-cluster.Change[0].BMCAddress",
		"apply-cluster.Change[0].BMCPool",
		"apply-cluster.Cluster.BMCPool",
		"apply-cluster.Create[0].BMCAddress",
		"apply-cluster.Create[0].BMCPool",
		"place-nodes.Placements[0].BMCAddress",
		"put-hypervisor.Hypervisor.Networks",
	}},
	{"v10", samplesV10, dumpV10, []string{ // after v8
		"apply-cluster.Change[0].Machine.SecureBoot",
		"apply-cluster.Change[0].Machine.TPM",
		"apply-cluster.Create[0].Machine.SecureBoot",
		"apply-cluster.Create[0].Machine.TPM",
	}},
	{"v12", samplesV12, dumpV12, []string{
		"apply-cluster.Change[0].BMC.IPMI15",
		"apply-cluster.Cluster.BMC.IPMI15",
		"apply-cluster.Create[0].BMC.IPMI15",
	}}, {"v18", samplesV18, dumpV18, []string{
		"apply-cluster.Cluster.Specs[0].Nodes",
		"apply-cluster.Create[0].Origin",
	}},
	{"v16", samplesV16, dumpV16, []string{
		"apply-cluster.Cluster.FlavorStatus",
		"apply-cluster.Cluster.Flavors",
		"apply-cluster.Cluster.WaitForPlacement",
	}},
	{"v13", samplesV13, dumpV13, []string{
		"apply-cluster.Change[0].Machine.Trunks",
		"apply-cluster.Change[0].Ports[0].Trunk",
		"apply-cluster.Create[0].Machine.Trunks",
		"apply-cluster.Create[0].Ports[0].Trunk",
		"put-hypervisor.Hypervisor.PhysnetLinks",
		"put-hypervisor.Hypervisor.VXLAN.Address",
		"put-hypervisor.Hypervisor.VXLAN.Port",
	}},
	{"v17", samplesV17, dumpV17, []string{
		"apply-cluster.Change[0].Anew",
		"apply-cluster.Create[0].Anew",
	}},
	{"v15", samplesV15, dumpV15, []string{
		"apply-cluster.Change[0].AdoptIronic",
		"apply-cluster.Cluster.IronicLimits",
		"apply-cluster.Create[0].AdoptIronic",
		"apply-cluster.Create[0].Ironic.Reached",
		"apply-cluster.Create[0].Ironic.Record",
		"apply-cluster.Create[0].RecoverIndex",
		"apply-cluster.Change[0].Enrol.AutomatedClean",
		"apply-cluster.Change[0].Enrol.Extra",
		"apply-cluster.Change[0].Enrol.Inspect",
		"apply-cluster.Change[0].Enrol.Lessee",
		"apply-cluster.Change[0].Enrol.Objects",
		"apply-cluster.Change[0].Enrol.Owner",
		"apply-cluster.Change[0].Enrol.PXE",
		"apply-cluster.Change[0].Enrol.PortGroups",
		"apply-cluster.Change[0].Enrol.Recover",
		"apply-cluster.Change[0].Enrol.Shard",
		"apply-cluster.Change[0].Enrol.State",
		"apply-cluster.Cluster.Specs[0].Enrol.AutomatedClean",
		"apply-cluster.Cluster.Specs[0].Enrol.Extra",
		"apply-cluster.Cluster.Specs[0].Enrol.Inspect",
		"apply-cluster.Cluster.Specs[0].Enrol.Lessee",
		"apply-cluster.Cluster.Specs[0].Enrol.Objects",
		"apply-cluster.Cluster.Specs[0].Enrol.Owner",
		"apply-cluster.Cluster.Specs[0].Enrol.PXE",
		"apply-cluster.Cluster.Specs[0].Enrol.PortGroups",
		"apply-cluster.Cluster.Specs[0].Enrol.Recover",
		"apply-cluster.Cluster.Specs[0].Enrol.Shard",
		"apply-cluster.Cluster.Specs[0].Enrol.State",
		"apply-cluster.Create[0].Enrol.AutomatedClean",
		"apply-cluster.Create[0].Enrol.Extra",
		"apply-cluster.Create[0].Enrol.Inspect",
		"apply-cluster.Create[0].Enrol.Lessee",
		"apply-cluster.Create[0].Enrol.Objects",
		"apply-cluster.Create[0].Enrol.Owner",
		"apply-cluster.Create[0].Enrol.PXE",
		"apply-cluster.Create[0].Enrol.PortGroups",
		"apply-cluster.Create[0].Enrol.Recover",
		"apply-cluster.Create[0].Enrol.Shard",
		"apply-cluster.Create[0].Enrol.State",
		"report-ironic.Nodes[0].Status.Reached",
		"report-ironic.Nodes[0].Status.Record",
	}},
	{"v20", samplesV20, dumpV20, []string{
		"apply-cluster.Change[0].Endpoint",
	}},
	{"v14", samplesV14, dumpV14, []string{
		"apply-cluster.Change[0].Machine.Hardware",
		"apply-cluster.Change[0].Machine.Volumes[0].Bus",
		"apply-cluster.Change[0].Machine.Volumes[0].Cache",
		"apply-cluster.Change[0].Machine.Volumes[0].Checksum",
		"apply-cluster.Change[0].Machine.Volumes[0].Copy",
		"apply-cluster.Change[0].Machine.Volumes[0].Discard",
		"apply-cluster.Change[0].Machine.Volumes[0].Format",
		"apply-cluster.Change[0].Machine.Volumes[0].Path",
		"apply-cluster.Change[0].Machine.Volumes[0].Pool",
		"apply-cluster.Change[0].Machine.Volumes[0].Serial",
		"apply-cluster.Change[0].Machine.Volumes[0].WWN",
		"apply-cluster.Cluster.Specs[0].VolumePrefix",
		"apply-cluster.Create[0].Host.Display",
		"apply-cluster.Create[0].Machine.Hardware",
		"apply-cluster.Create[0].Machine.Volumes[0].Bus",
		"apply-cluster.Create[0].Machine.Volumes[0].Cache",
		"apply-cluster.Create[0].Machine.Volumes[0].Checksum",
		"apply-cluster.Create[0].Machine.Volumes[0].Copy",
		"apply-cluster.Create[0].Machine.Volumes[0].Discard",
		"apply-cluster.Create[0].Machine.Volumes[0].Format",
		"apply-cluster.Create[0].Machine.Volumes[0].Path",
		"apply-cluster.Create[0].Machine.Volumes[0].Pool",
		"apply-cluster.Create[0].Machine.Volumes[0].Serial",
		"apply-cluster.Create[0].Machine.Volumes[0].WWN",
		"put-hypervisor.Hypervisor.Archs",
		"report-host.Nodes[0].Status.Display",
	}},
	{"v21", samplesV21, dumpV21, []string{
		"apply-cluster.Change[0].Machine.Volumes[0].Made",
		"apply-cluster.Create[0].Machine.Volumes[0].Made",
	}},
	{"v23", samplesV23, dumpV23, []string{
		"apply-cluster.Change[0].Pin",
		"apply-cluster.Create[0].Pin",
		"drain-peer.Pins",
	}},
	{"v22", samplesV22, dumpV22, nil}, // raise-level
	{"v26", samplesV26, dumpV26, []string{
		"apply-cluster.Change[0].Enrol.NetworkData",
		"apply-cluster.Cluster.Specs[0].Enrol.NetworkData",
		"apply-cluster.Create[0].Enrol.NetworkData",
	}},
}
