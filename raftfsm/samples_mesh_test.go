package raftfsm

import (
	"strings"

	"tenks/raftfsm/state"
)

// samplesV2 has the kinds and the fields that came with meshes of many peers. It
// stays as it is, like samplesV1.
func samplesV2() map[string]state.Envelope {
	hypervisor, node := hypervisorV1(), nodeV2()
	hypervisor.Reserved = []int{7740, 7741}
	commands := []state.Command{
		state.PutHypervisor{Hypervisor: hypervisor},
		state.ApplyCluster{Cluster: clusterV1(), Expect: 7, Create: []state.Node{node},
			Change: []state.NodeChange{changeV1()}, Remove: []state.NodeRemoval{{UUID: "u3", Force: true, Forget: true}}},
		state.PutKeys{Keys: keysV2(), Expect: 6},
		state.PutToken{Token: tokenV2()},
		state.RevokeToken{ID: "t1"},
		state.AdmitPeer{Peer: peerV2(), Token: "t1", Hash: tokenV2().Hash},
		state.PutPeer{Peer: peerV2()},
		state.SetRoles{Roles: []state.PeerRoleChange{{ID: "p1", Role: state.RoleVoter}, {ID: "p2", Role: state.RoleStandby}}},
		state.MarkPeers{Lost: []string{"p1"}, Found: []string{"p2", "p3"}},
		state.DeclareLost{ID: "p1"},
		state.DrainPeer{ID: "p1", Draining: true},
		state.LeavePeer{ID: "p1"},
		state.RemovePeer{ID: "p1", Force: true},
		state.UnplaceNodes{Nodes: []state.NodeUnplacement{{UUID: "u1", Epoch: 9, Reason: "its hypervisor hv1 is lost"}}},
		state.BumpGeneration{Expect: 1},
	}
	out := map[string]state.Envelope{}
	for _, c := range commands {
		out[state.Kind(c)] = state.Envelope{Request: "r-" + state.Kind(c), UnixMilli: 1795250000123, Command: c}
	}
	return out
}

func nodeV2() state.Node {
	n := nodeV1()
	n.LastPlacement = &state.Placement{Hypervisor: "h0", Epoch: 7, BMC: state.Endpoint{Address: "192.0.2.10", Port: 6231}}
	n.Past = []string{"h0"}
	n.Lost, n.LostReason = true, "hypervisor hv1 is lost since 2026-11-21T10:33:20Z"
	return n
}

func keysV2() state.Keys {
	return state.Keys{Authorities: []state.Authority{{CertPEM: []byte("golden-cert"), KeyPEM: state.NewSecret("golden-ca-key"),
		Cross: []byte("golden-cross"), Retired: true}},
		Gossip:      []state.GossipKey{{ID: "g1", Key: state.NewSecret(strings.Repeat("\xfe", 32))}},
		CreateIndex: 5, ModifyIndex: 6}
}

func tokenV2() state.Token {
	return state.Token{ID: "t1", Hash: []byte(strings.Repeat("\xfd", 32)), ExpiresMilli: 1795336400123, Uses: 3, Name: "hv1", Zone: "rack-a",
		CreatedMilli: 1795250000123, UsedBy: []state.TokenUse{{Peer: "p1", Name: "hv1", UnixMilli: 1795250000456}}, Revoked: true,
		CreateIndex: 7, ModifyIndex: 8}
}

func peerV2() state.Peer {
	return state.Peer{ID: "p1", Name: "hv1", Address: "192.0.2.11:7740", Gossip: "192.0.2.11:7741", Zone: "rack-a", Version: "2.0",
		Role: state.RoleStandby, Token: "t1", Draining: true, Lost: true, LostIndex: 11, LostMilli: 1795250000789, Fenced: true,
		Leaving: true, Removed: true, Generation: 2, CreateIndex: 9, ModifyIndex: 10}
}

// dumpV2 is the state in the golden snapshot of version 2.
func dumpV2() state.Dump {
	d := dumpV1()
	hypervisor, node, peer, token, keys := hypervisorV1(), nodeV2(), peerV2(), tokenV2(), keysV2()
	hypervisor.Reserved = []int{7740, 7741}
	d.Hypervisors, d.Nodes = []*state.Hypervisor{&hypervisor}, []*state.Node{&node}
	d.Peers, d.Tokens, d.Keys = []*state.Peer{&peer}, []*state.Token{&token}, &keys
	d.Departures = []*state.Departure{{Serial: 3, Hypervisor: "h1", UUID: "u9", Index: 40}}
	d.Departed = &state.Departed{Since: 12}
	return d
}
