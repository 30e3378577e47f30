package link

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"tenks/raftfsm/state"
)

func TestNamesFitAnInterface(t *testing.T) {
	for _, name := range []string{TapName("abcdef", 99), PeerName("abcdef", 99), BridgeName(99999999)} {
		if len(name) > 15 {
			t.Errorf("%s has %d bytes, want at most 15", name, len(name))
		}
	}
	if got := TapName("contr0", 1) + " " + PeerName("contr0", 1); got != "p-contr0-1-tap p-contr0-1-br" {
		t.Errorf("names: got %q", got)
	}
}

func TestAssignBridges(t *testing.T) {
	taken := func(names string) func(string) bool {
		return func(n string) bool { return strings.Contains(" "+names+" ", " "+n+" ") }
	}
	cases := []struct {
		name     string
		physnets []string
		known    map[string]int
		taken    string
		want     map[string]int
	}{
		{"numbers new physnets in the order of their names", []string{"b", "a"}, nil, "", map[string]int{"a": 0, "b": 1}},
		{"keeps known indices", []string{"a", "b"}, map[string]int{"b": 0}, "", map[string]int{"a": 1, "b": 0}},
		{"passes over foreign names", []string{"a", "b"}, nil, "brtenks0 brtenks2", map[string]int{"a": 1, "b": 3}},
		{"keeps a known index whose name a foreign link took", []string{"a"}, map[string]int{"a": 0}, "brtenks0", map[string]int{"a": 0}},
		{"does not give away the index of a known physnet that is not asked for", []string{"a"}, map[string]int{"z": 0}, "", map[string]int{"a": 1}},
		{"fills gaps", []string{"a", "b", "c"}, map[string]int{"b": 1}, "", map[string]int{"a": 0, "b": 1, "c": 2}},
		{"counts a physnet once", []string{"a", "a", "b"}, nil, "", map[string]int{"a": 0, "b": 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, AssignBridges(c.physnets, c.known, taken(c.taken))); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestMarksSurviveTheirAlias(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Mark{Role: rapid.SampledFrom([]Role{RoleBridge, RoleUplink, RoleVLAN, RoleVXLAN, RolePort}).Draw(t, "role")}
		switch m.Role {
		case RolePort:
			m.Node, m.Index = rapid.StringMatching(`[a-z0-9-]{1,36}`).Draw(t, "node"), rapid.IntRange(0, 99).Draw(t, "index")
		default:
			m.Physnet = rapid.String().Draw(t, "physnet")
		}
		if m.Role == RoleBridge {
			m.Device = rapid.StringMatching(`([a-z0-9.-]{1,15})?`).Draw(t, "device")
		}
		if m.Role == RoleUplink {
			m.VLAN = rapid.IntRange(0, 4094).Draw(t, "vlan")
		}
		got, ok := parseMark("mesh", m.alias("mesh"))
		if !ok || got != m {
			t.Fatalf("alias %q: got %+v, %t, want %+v", m.alias("mesh"), got, ok, m)
		}
		if _, ok := parseMark("other", m.alias("mesh")); ok {
			t.Fatalf("alias %q was taken for another mesh's", m.alias("mesh"))
		}
	})
}

func TestMarksOfOthersAreNotOurs(t *testing.T) {
	for _, alias := range []string{"", "tenks", "tenks:mesh", "tenks:mesh:", "tenks:mesh:bridge", "tenks:mesh:port:n", "tenks:mesh:port:n:x",
		"tenks:mesh:port:n:01", "tenks:mesh:future:x", "tenks:mesh:uplink:a:b", "tenks:mesh2:bridge:a", "my tenks:mesh:bridge:a"} {
		if m, ok := parseMark("mesh", alias); ok {
			t.Errorf("alias %q: got %+v, want none", alias, m)
		}
	}
}

func TestADumpThatWasInterruptedIsRepeated(t *testing.T) {
	for interruptions, want := range map[int]error{0: nil, 4: nil, 5: netlink.ErrDumpInterrupted} {
		calls := 0
		got, err := whole(func() (int, error) {
			calls++
			if calls <= interruptions {
				return calls, netlink.ErrDumpInterrupted
			}
			return calls, nil
		})
		if !errors.Is(err, want) || want == nil && got != interruptions+1 {
			t.Errorf("%d interruptions: %d, %v", interruptions, got, err)
		}
	}
}

func TestBridgeMACIsStableAndLocal(t *testing.T) {
	a := BridgeMAC("mesh", "net")
	if a != BridgeMAC("mesh", "net") || a == BridgeMAC("mesh", "net2") || a == BridgeMAC("mesh2", "net") {
		t.Errorf("bridge MAC %s does not follow mesh and physnet alone", a)
	}
	if c := a[1]; !strings.ContainsRune("26ae", rune(c)) {
		t.Errorf("bridge MAC %s is not a locally administered unicast address", a)
	}
}

func TestPortLinksAreThereOnceAllPortsOfANodeArePluggedIn(t *testing.T) {
	want := Want{Bridges: []Bridge{{Physnet: "net", Name: "brtenks0"}}, Ports: []Port{
		testPort("n1", "a", 1, "brtenks0"), testPort("n1", "a", 0, "brtenks0"), testPort("n2", "b", 0, "brtenks0")}}
	have := after(want, host())
	mac := BridgeMAC(testMesh, "net")
	all := map[string][]state.PortLink{
		"n1": {{Bridge: "brtenks0", BridgeMAC: mac, Link: "p-a-0-br"}, {Bridge: "brtenks0", BridgeMAC: mac, Link: "p-a-1-br"}},
		"n2": {{Bridge: "brtenks0", BridgeMAC: mac, Link: "p-b-0-br"}},
	}
	if d := cmp.Diff(all, PortLinks(want, have)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	l := have.Links["p-a-1-br"]
	l.Master = ""
	have.Links["p-a-1-br"] = l
	delete(all, "n1")
	if d := cmp.Diff(all, PortLinks(want, have)); d != "" {
		t.Errorf("one port unplugged, -want +got:\n%s", d)
	}
}
