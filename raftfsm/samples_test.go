package raftfsm

import (
	"tenks/raftfsm/state"
)

// samplesV1 has a command of each kind with every field that version 1 had set. It
// stays as it is: what the golden files hold must be understood for ever. A field
// or a kind that is added gets samples and golden files of its own.
func samplesV1() map[string]state.Envelope {
	commands := []state.Command{
		state.SetMesh{Mesh: state.Mesh{ID: "2c1f7f6e-5a51-4d3c-8a43-0d3f5d1c9a10", Name: "lab", Generation: 1}},
		state.PutHypervisor{Hypervisor: hypervisorV1()},
		state.ApplyCluster{Cluster: clusterV1(), Expect: 7, Create: []state.Node{nodeV1()},
			Change: []state.NodeChange{changeV1()}, Remove: []state.NodeRemoval{{UUID: "u3", Force: true, Forget: true}}},
		state.RemoveCluster{Name: "demo", Force: true, Forget: true},
		state.RemoveNodes{Nodes: []state.NodeRemoval{{UUID: "u1", Force: true, Forget: true}, {UUID: "u2"}}},
		state.PlaceNodes{Placements: []state.NodePlacement{{UUID: "u1", Hypervisor: "h1", BMC: state.Endpoint{Address: "192.0.2.11", Port: 6230}}},
			Refusals: []state.NodeRefusal{{UUID: "u2", Reason: "no hypervisor has joined"}}},
		state.ReportHost{Hypervisor: "h1", Nodes: []state.NodeHostReport{{UUID: "u1", Epoch: 4, Status: state.HostStatus{
			Phase: state.HostReady, Error: "none", Pending: []string{"memory 1024 to 2048 MiB"},
			Links: []state.PortLink{{Bridge: "brtenks0", BridgeMAC: "02:00:00:00:00:01", Link: "p-tk0-0-br"}}}}}},
		state.ReportIronic{Nodes: []state.NodeIronicReport{{UUID: "u1", Status: state.IronicStatus{
			Phase: state.IronicEnrolled, ProvisionState: "available", Error: "none"}}}},
	}
	out := map[string]state.Envelope{}
	for _, c := range commands {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

func hypervisorV1() state.Hypervisor {
	return state.Hypervisor{ID: "h1", Name: "hv1", Address: "192.0.2.11", Zone: "rack-a", Labels: map[string]string{"disk": "nvme"},
		Version: "1.0", Physnets: []string{"physnet1", "storage"}, Drivers: []string{"fake", "libvirt"},
		Capacity:   state.Resources{VCPUs: 8, MemoryMB: 24064, DiskGB: 900},
		Overcommit: state.Overcommit{VCPUs: 4, Memory: 1.5, Disk: 2},
		BMC:        state.PortRange{Address: "192.0.2.11", First: 6230, Last: 6329}, CreateIndex: 1, ModifyIndex: 2}
}

func machineV1() state.Machine {
	return state.Machine{Driver: "libvirt", MemoryMB: 4096, VCPUs: 2, BootMode: state.BootUEFI, IronicDriver: "ipmi",
		Volumes:  []state.Volume{{CapacityBytes: 20 << 30}, {CapacityBytes: 10 << 30, Image: "/images/base.qcow2"}},
		Physnets: []string{"physnet1"}}
}

func enrolmentV1() *state.Enrolment {
	return &state.Enrolment{ResourceClass: "baremetal", Traits: []string{"CUSTOM_GPU"}, Properties: map[string]string{"cpus": "2"},
		Interfaces: map[string]string{"network": "noop"}, ConductorGroup: "rack-a", Description: "a node"}
}

func constraintsV1() state.Constraints {
	return state.Constraints{Spread: "zone", Require: map[string]string{"disk": "nvme"}}
}

func clusterV1() state.Cluster {
	return state.Cluster{Name: "demo", Types: map[string]state.Machine{"compute": machineV1()},
		Specs: []state.Spec{{Key: "compute/tk/0", Type: "compute", Count: 1, Prefix: "tk", Enrol: enrolmentV1(),
			Constraints: constraintsV1(), OnHostLoss: state.LossHold}},
		Ironic: &state.IronicAccess{Endpoint: "http://192.0.2.1:6385", Auth: "http_basic", Cloud: "mycloud",
			CloudYAML: state.NewSecret("clouds: {}"), Username: "ironic", Password: state.NewSecret("golden-ironic")},
		DeployKernel: "http://192.0.2.1/kernel", DeployRamdisk: "http://192.0.2.1/ramdisk",
		BMC: state.Account{Username: "admin", Password: state.NewSecret("golden-bmc")}, Source: "cluster: demo\n",
		Removing: true, CreateIndex: 3, ModifyIndex: 4}
}

func nodeV1() state.Node {
	return state.Node{UUID: "u1", Name: "tk0", Cluster: "demo", Type: "compute", Spec: "compute/tk/0", Machine: machineV1(),
		Enrol: enrolmentV1(), DeployKernel: "http://192.0.2.1/kernel", DeployRamdisk: "http://192.0.2.1/ramdisk",
		Constraints: constraintsV1(), OnHostLoss: state.LossHold, Ports: []state.Port{{MAC: "52:54:00:00:00:01", Physnet: "physnet1"}},
		LinkName: "tk0", BMC: state.Account{Username: "admin", Password: state.NewSecret("golden-node")},
		Placement: &state.Placement{Hypervisor: "h1", Epoch: 9, BMC: state.Endpoint{Address: "192.0.2.11", Port: 6230}},
		Unplaced:  "full", RestartIndex: 8, Removing: true, Force: true, Forget: true,
		Host: state.HostStatus{Phase: state.HostReady, Error: "none", Pending: []string{"firmware"},
			Links: []state.PortLink{{Bridge: "brtenks0", BridgeMAC: "02:00:00:00:00:01", Link: "p-tk0-0-br"}}},
		Ironic:      state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: "active", Error: "none"},
		CreateIndex: 5, ModifyIndex: 6}
}

func changeV1() state.NodeChange {
	return state.NodeChange{UUID: "u2", Spec: "compute/tk/0", Machine: machineV1(), Enrol: enrolmentV1(),
		DeployKernel: "http://192.0.2.1/kernel2", DeployRamdisk: "http://192.0.2.1/ramdisk2", Constraints: constraintsV1(),
		OnHostLoss: state.LossRebuild, Ports: []state.Port{{MAC: "52:54:00:00:00:02", Physnet: "physnet1"}},
		BMC: state.Account{Username: "admin", Password: state.NewSecret("golden-change")}, Restart: true}
}

// dumpV1 is the state in the golden snapshot.
func dumpV1() state.Dump {
	cluster, node, hypervisor := clusterV1(), nodeV1(), hypervisorV1()
	return state.Dump{Index: 42, Mesh: &state.Mesh{ID: "2c1f7f6e-5a51-4d3c-8a43-0d3f5d1c9a10", Name: "lab", Generation: 1},
		Clusters: []*state.Cluster{&cluster}, Hypervisors: []*state.Hypervisor{&hypervisor}, Nodes: []*state.Node{&node},
		Events: []*state.EventRow{{Serial: 17, Event: state.Event{Index: 41, Seq: 2, UnixMilli: 1795250000123,
			Type: state.EventNodeReady, Cluster: "demo", Node: "tk0", Message: "on hypervisor h1"}}},
		Requests: []*state.RequestRow{{ID: "r1", Serial: 5, Index: 40, Err: "the state changed meanwhile", Cause: "conflict"}}}
}
