package ironic

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tenks/raftfsm/state"
)

// placed is a node as the hypervisor reports it ready.
func placed() *state.Node {
	n := newNodeState(0)
	n.Placement = &state.Placement{Hypervisor: "hv1", Epoch: 7, BMC: state.Endpoint{Address: "127.0.0.1", Port: 6230}}
	n.Host = state.HostStatus{Phase: state.HostReady, Links: []state.PortLink{
		{Bridge: "b0", BridgeMAC: "02:00:00:00:00:01", Link: "l0"}, {Bridge: "b1", BridgeMAC: "02:00:00:00:00:02", Link: "l1"}}}
	return &n
}

// complete is the record that Ironic answers once everything was written.
func complete(t interface{ Fatal(...any) }, w want) *record {
	body := createBody(w)
	body["provision_state"] = stAvailable
	body["traits"] = w.Traits
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal([]byte(strings.Replace(string(b), bmcPassword, "******", 1)), &r); err != nil {
		t.Fatal(err)
	}
	for _, p := range w.Ports {
		m := p.Mark
		r.Ports = append(r.Ports, portRecord{UUID: "port-" + p.MAC, NodeUUID: w.UUID, MAC: p.MAC, Physnet: p.Physnet, Link: p.Link, Mark: &m})
	}
	return &r
}

func TestNext(t *testing.T) {
	type change struct {
		State, Target, LastError, Reason, Phase, Instance string
		Maintenance                                       bool
		Set                                               map[string]any
		Traits                                            []string
		DropPort, ForeignPort, OldPort, MovedPort         bool
		Absent                                            bool
	}
	for name, c := range map[string]struct {
		have    change
		want    kind
		verb    string
		patched []string
		problem string
	}{
		"creates what is not there":              {have: change{Absent: true}, want: create},
		"has a complete node managed":            {have: change{State: stEnroll}, want: provision, verb: "manage"},
		"tries a failed verification again":      {have: change{State: stEnroll, LastError: "no BMC"}, want: provision, verb: "manage", problem: "node tk0 is enroll in Ironic: no BMC"},
		"waits for verification":                 {have: change{State: stVerifying, Target: stManageable}, want: waiting},
		"provides a manageable node":             {have: change{State: stManageable}, want: provision, verb: "provide"},
		"leaves a manageable node to its user":   {have: change{State: stManageable, Phase: "enrolled"}, want: settled},
		"does not provide in maintenance":        {have: change{State: stManageable, Maintenance: true, Reason: "bad disk"}, want: settled, problem: "node tk0 is in maintenance in Ironic: bad disk"},
		"waits for cleaning":                     {have: change{State: stCleanWait, Target: stAvailable}, want: waiting},
		"reports a failed cleaning":              {have: change{State: stCleanFailed, LastError: "timeout"}, want: settled, problem: "node tk0 is clean failed in Ironic: timeout; tenks node recover tk0 tries again"},
		"a refused change keeps no failure":      {have: change{State: stCleanFailed, Target: stAvailable, LastError: "timeout", Set: map[string]any{"/resource_class": "other"}}, want: settled, problem: "node tk0 is clean failed in Ironic: timeout; tenks node recover tk0 tries again"},
		"a port that moved keeps no failure":     {have: change{State: stInspectFailed, Target: stManageable, LastError: "timeout", MovedPort: true}, want: settled, problem: "node tk0 is inspect failed in Ironic: timeout; tenks node recover tk0 tries again"},
		"a driver that changed keeps none":       {have: change{State: stRescueFailed, Target: stRescue, LastError: "timeout", Set: map[string]any{"/driver": "redfish"}}, want: settled, problem: "node tk0 is rescue failed in Ironic: timeout; tenks node recover tk0 tries again"},
		"is content with available":              {have: change{State: stAvailable}, want: settled},
		"is content with active":                 {have: change{State: stActive, Phase: "enrolled"}, want: settled},
		"waits while a user deploys, if changed": {have: change{State: stDeploying, Target: stActive, Phase: "enrolled", Set: map[string]any{"/properties/cpus": 9}}, want: waiting},
		"completes the record before manage":     {have: change{State: stEnroll, Set: map[string]any{"/resource_class": ""}}, want: patchNode, patched: []string{"/resource_class"}},
		"changes only what differs":              {have: change{State: stAvailable, Set: map[string]any{"/properties/cpus": 9, "/driver_info/ipmi_port": 1.0}}, want: patchNode, patched: []string{"/driver_info/ipmi_port", "/properties/cpus"}},
		"takes a number in words for the number": {have: change{State: stAvailable, Set: map[string]any{"/properties/cpus": "2"}}, want: settled},
		"leaves what others added":               {have: change{State: stAvailable, Set: map[string]any{"/properties/vendor": "QEMU", "/driver_info/ipmi_cipher_suite": 17}}, want: settled},
		"keeps capabilities that others added":   {have: change{State: stAvailable, Set: map[string]any{pathCapabilities: "cpu_vt:true,x:y,boot_mode:uefi"}}, want: settled},
		"corrects a capability of ours":          {have: change{State: stAvailable, Set: map[string]any{pathCapabilities: "boot_mode:bios,x:y,cpu_vt:true"}}, want: patchNode, patched: []string{pathCapabilities}},
		"sets traits exactly":                    {have: change{State: stEnroll, Traits: []string{"CUSTOM_A", "CUSTOM_OLD"}}, want: setTraits},
		"creates a missing port before manage":   {have: change{State: stEnroll, DropPort: true}, want: createPort},
		"creates a missing port when available":  {have: change{State: stAvailable, DropPort: true}, want: createPort},
		"deletes a port of ours that went":       {have: change{State: stAvailable, OldPort: true}, want: deletePort},
		"leaves a port that is not ours":         {have: change{State: stAvailable, ForeignPort: true}, want: settled},
		"moves a port of an enrolling node":      {have: change{State: stEnroll, MovedPort: true}, want: patchPort, patched: []string{"/local_link_connection"}},
		"uses maintenance to move a port":        {have: change{State: stAvailable, MovedPort: true}, want: maintain, verb: reasonPorts},
		"moves the port in maintenance":          {have: change{State: stAvailable, MovedPort: true, Maintenance: true, Reason: reasonPorts}, want: patchPort, patched: []string{"/local_link_connection"}},
		"ends the maintenance it began":          {have: change{State: stAvailable, Maintenance: true, Reason: reasonPorts}, want: unmaintain},
		"leaves maintenance of others":           {have: change{State: stAvailable, Maintenance: true, Reason: "mine"}, want: settled},
		"does not move a port under an instance": {have: change{State: stActive, Phase: "enrolled", MovedPort: true}, want: settled, problem: "node tk0 is active in Ironic, which refuses to change its ports: it is done once the node is available"},
		"does not change the driver when active": {have: change{State: stActive, Phase: "enrolled", Set: map[string]any{"/driver": "redfish"}}, want: settled, problem: "node tk0 is active in Ironic, which refuses to change driver: it is done once the node is available"},
		"follows an active node to another host": {have: change{State: stActive, Phase: "enrolled", Set: map[string]any{"/driver_info/ipmi_address": "192.0.2.9", "/driver_info/ipmi_port": 1.0}}, want: patchNode, patched: []string{"/driver_info/ipmi_address", "/driver_info/ipmi_port"}},
		"changes the rest of an active node":     {have: change{State: stActive, Phase: "enrolled", Set: map[string]any{"/driver": "redfish", "/driver_info/ipmi_port": 1.0}}, want: patchNode, patched: []string{"/driver_info/ipmi_port"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := placed()
			n.Ironic.Phase = state.IronicPhase(c.have.Phase)
			w, err := wanted(n, meshID)
			if err != nil {
				t.Fatal(err)
			}
			var r *record
			if !c.have.Absent {
				r = complete(t, w)
				r.State, r.Target, r.LastError = c.have.State, c.have.Target, c.have.LastError
				r.Maintenance, r.MaintenanceReason = c.have.Maintenance, c.have.Reason
				for path, value := range c.have.Set {
					r.Fields[path] = value
				}
				if c.have.Traits != nil {
					r.Traits = c.have.Traits
				}
				if c.have.DropPort {
					r.Ports = r.Ports[:1]
				}
				if c.have.OldPort {
					r.Ports = append(r.Ports, portRecord{UUID: "old", MAC: "52:54:00:ff:ff:ff", Mark: &mark{Mesh: meshID}})
				}
				if c.have.ForeignPort {
					r.Ports = append(r.Ports, portRecord{UUID: "old", MAC: "52:54:00:ff:ff:ff"})
				}
				if c.have.MovedPort {
					r.Ports[1].Link = map[string]any{"switch_id": "x", "port_id": "y"}
				}
			}
			got := next(n, w, r)
			var paths []string
			for _, p := range got.Patches {
				paths = append(paths, p.Path)
			}
			if got.Kind != c.want || got.Verb != c.verb || got.Problem != c.problem || !slices.Equal(paths, c.patched) {
				t.Errorf("next = %d %q %v, problem %q; want %d %q %v, problem %q",
					got.Kind, got.Verb, paths, got.Problem, c.want, c.verb, c.patched, c.problem)
			}
		})
	}
}

func TestNextRemoval(t *testing.T) {
	ours := &mark{Mesh: meshID}
	refusedActive := "node tk0 is active in Ironic: undeploy it or use --force"
	for name, c := range map[string]struct {
		have    *record
		force   bool
		want    kind
		verb    string
		problem string
	}{
		"nothing there":                          {nil, false, gone, "", ""},
		"not ours":                               {&record{State: stActive}, true, gone, "", ""},
		"another mesh's":                         {&record{State: stActive, Mark: &mark{Mesh: "other"}}, true, gone, "", ""},
		"available":                              {&record{State: stAvailable, Mark: ours}, false, remove, "", ""},
		"enroll":                                 {&record{State: stEnroll, Mark: ours}, false, remove, "", ""},
		"manageable":                             {&record{State: stManageable, Mark: ours}, false, remove, "", ""},
		"active":                                 {&record{Name: "tk0", State: stActive, Mark: ours}, false, settled, "", refusedActive},
		"active, in maintenance":                 {&record{Name: "tk0", State: stActive, Mark: ours, Maintenance: true}, false, settled, "", refusedActive},
		"active, forced":                         {&record{State: stActive, Mark: ours}, true, provision, "deleted", ""},
		"deploying, forced":                      {&record{State: stDeploying, Mark: ours}, true, waiting, "", ""},
		"wait call-back, forced":                 {&record{State: stDeployWait, Mark: ours}, true, provision, "deleted", ""},
		"deleting, forced":                       {&record{State: stDeleting, Mark: ours}, true, waiting, "", ""},
		"cleaning":                               {&record{State: stCleaning, Mark: ours}, true, waiting, "", ""},
		"clean wait":                             {&record{State: stCleanWait, Mark: ours}, false, waiting, "", ""},
		"clean wait, forced":                     {&record{State: stCleanWait, Mark: ours}, true, provision, "abort", ""},
		"clean failed goes back to manageable":   {&record{State: stCleanFailed, Mark: ours}, false, provision, "manage", ""},
		"clean failed in maintenance is deleted": {&record{State: stCleanFailed, Mark: ours, Maintenance: true, Fault: faultClean}, false, remove, "", ""},
		"verifying":                              {&record{State: stVerifying, Mark: ours}, false, waiting, "", ""},
		"undeploying failed, forced":             {&record{State: stError, Mark: ours}, true, maintain, reasonRemoval, ""},
		"undeploying failed, in our maintenance": {&record{State: stError, Mark: ours, Maintenance: true, MaintenanceReason: reasonRemoval}, true, remove, "", ""},
		"available with an instance":             {&record{Name: "tk0", State: stAvailable, InstanceUUID: "i", Mark: ours}, false, settled, "", "node tk0 has instance i in Ironic: undeploy it or use --force"},
		"available with an instance, forced":     {&record{State: stAvailable, InstanceUUID: "i", Mark: ours}, true, maintain, reasonRemoval, ""},
		"in maintenance of somebody's":           {&record{Name: "tk0", State: stInspectFailed, Mark: ours, Maintenance: true, MaintenanceReason: "x"}, false, settled, "", "node tk0 is in maintenance in Ironic (x): end that or use --force"},
		"in maintenance of somebody's, forced":   {&record{State: stInspectFailed, Mark: ours, Maintenance: true, MaintenanceReason: "x"}, true, remove, "", ""},
		"protected, forced":                      {&record{Name: "tk0", State: stActive, Mark: ours, Protected: true, ProtectedReason: "mine"}, true, settled, "", "node tk0 is protected in Ironic (mine), against --force as well: end that, or leave its record with --forget-ironic"},
	} {
		t.Run(name, func(t *testing.T) {
			n := placed()
			n.Removing, n.Force = true, c.force
			got := nextRemoval(n, meshID, c.have)
			if got.Kind != c.want || got.Verb != c.verb || got.Problem != c.problem {
				t.Errorf("nextRemoval = %d %q, problem %q; want %d %q, problem %q", got.Kind, got.Verb, got.Problem, c.want, c.verb, c.problem)
			}
		})
	}
}

func TestWantedRefusesWhatCannotBeExpressed(t *testing.T) {
	n := placed()
	n.Machine.IronicDriver = "idrac"
	if _, err := wanted(n, meshID); err == nil || err.Error() != `node "tk0": hardware type "idrac" is not one that Tenks can enrol` {
		t.Errorf("err = %v", err)
	}
}

func TestLocalGBIsTheFirstVolumeRounded(t *testing.T) {
	for bytes, want := range map[uint64]uint64{20 << 30: 20, 20<<30 + 1: 20, 20<<30 + 1<<29: 21, 1 << 29: 1, 1 << 20: 0} {
		n := placed()
		n.Machine.Volumes[0].CapacityBytes = bytes
		w, err := wanted(n, meshID)
		if err != nil || w.Fields["/properties/local_gb"] != want {
			t.Errorf("%d bytes: local_gb = %v, %v; want %d", bytes, w.Fields["/properties/local_gb"], err, want)
		}
	}
}

func TestPasswordCheckTellsPasswordsApartAndHoldsLittle(t *testing.T) {
	a, b := passwordCheck(meshID, state.NewSecret("a")), passwordCheck(meshID, state.NewSecret("b"))
	if a == b || len(a) != 4 || a != passwordCheck(meshID, state.NewSecret("a")) {
		t.Errorf("checks %q and %q: want two different texts of 4 characters, each always the same", a, b)
	}
}

// Whatever is declared, a record that was written from it needs no change, and
// applying a diff leaves none.
func TestDiffOfWhatWasWrittenIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNode(t)
		w, err := wanted(n, meshID)
		if err != nil {
			t.Fatal(err)
		}
		r := complete(t, w)
		if got := next(n, w, r); got.Kind != settled {
			t.Fatalf("next of a complete record = %v %v", got, got.Patches)
		}
		other := drawNode(t)
		other.UUID = n.UUID
		w2, err := wanted(other, meshID)
		if err != nil {
			t.Fatal(err)
		}
		patches, _ := split(diffFields(w2, r), w2, r)
		for _, p := range patches {
			switch {
			case p.Path == pointer("extra", markKey):
				m := p.Value.(mark)
				r.Mark = &m
			case p.Op == "remove":
				delete(r.Fields, p.Path)
			default:
				r.Fields[p.Path] = p.Value
			}
		}
		if again, _ := split(diffFields(w2, r), w2, r); len(again) != 0 {
			t.Fatalf("after the patch %v there is still %v", patches, again)
		}
	})
}

func drawNode(t *rapid.T) *state.Node {
	word := rapid.StringMatching(`[a-z~/]{1,6}`)
	n := placed()
	n.Machine.VCPUs = rapid.IntRange(1, 64).Draw(t, "vcpus")
	n.Machine.BootMode = rapid.SampledFrom([]state.BootMode{"", state.BootBIOS, state.BootUEFI}).Draw(t, "boot mode")
	n.DeployKernel = rapid.SampledFrom([]string{"", "http://k"}).Draw(t, "kernel")
	n.BMC.Password = state.NewSecret(bmcPassword)
	n.BMC.Key = state.NewSecret(rapid.SampledFrom([]string{"", "key"}).Draw(t, "key"))
	n.Enrol = &state.Enrolment{
		ResourceClass: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "class"),
		Description:   rapid.SampledFrom([]string{"", "d"}).Draw(t, "description"),
		Properties:    rapid.MapOf(word, word).Draw(t, "properties"),
		Interfaces:    rapid.MapOf(rapid.SampledFrom(interfaceKinds), rapid.SampledFrom([]string{"x", "y"})).Draw(t, "interfaces"),
	}
	return n
}

func TestTheKeyOfLoginsIsGivenAndTakenAway(t *testing.T) {
	const path = "/driver_info/ipmi_hex_kg_key"
	n := placed()
	n.BMC.Key = state.NewSecret("key")
	w, err := wanted(n, meshID)
	if err != nil || w.Fields[path] != "6b65790000000000000000000000000000000000" {
		t.Errorf("%v, %v", w.Fields[path], err)
	}
	n.BMC.Key = state.Secret{}
	if w, err = wanted(n, meshID); err != nil || w.Fields[path] != nil || !slices.Contains(w.Unset, path) {
		t.Errorf("without a key: %v, %v, unset %v", w.Fields[path], err, w.Unset)
	}
}

func TestSecureBootIsACapability(t *testing.T) {
	n := placed()
	n.Enrol, n.Machine.BootMode, n.Machine.SecureBoot = nil, state.BootUEFI, true
	w, err := wanted(n, "m")
	if got := w.Fields[pathCapabilities]; err != nil || got != "boot_mode:uefi,secure_boot:true" {
		t.Errorf("capabilities %v, %v", got, err)
	}
}

func TestMergeCapabilities(t *testing.T) {
	if diff := cmp.Diff("boot_mode:bios,a:b,c:d", mergeCapabilities("boot_mode:uefi,a:b", "c:d, boot_mode:bios")); diff != "" {
		t.Error(diff)
	}
}
