package placement

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tenks/ironic/novatest"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func access(c *novatest.Cloud, password string) state.IronicAccess {
	return state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: state.NewSecret(c.CloudsYAML(password))}
}

func node(uuid, provision string, traits ...string) *state.Node {
	return &state.Node{UUID: uuid, Name: uuid, Enrol: &state.Enrolment{ResourceClass: "my.rc", Traits: traits},
		Ironic: state.IronicStatus{Phase: state.IronicEnrolled, ProvisionState: provision}}
}

// The Ansible tool waits for CUSTOM_MY.RC, which there never is, and for exactly the traits
// that it has declared.
func TestLacks(t *testing.T) {
	c := novatest.Start(t, novatest.Options{})
	one := map[string]int{"CUSTOM_MY_RC": 1}
	provider := func(p novatest.Provider) *novatest.Provider { return &p }
	for name, tt := range map[string]struct {
		node     *state.Node
		provider *novatest.Provider
		want     []string
	}{
		"offered":           {node("n", "available", "CUSTOM_A", "CUSTOM_A"), provider(novatest.Provider{Total: one, Traits: []string{"CUSTOM_A", "COMPUTE_NODE"}}), nil},
		"no traits":         {node("n", "available"), provider(novatest.Provider{Total: one}), nil},
		"not seen yet":      {node("n", "available"), nil, []string{"a resource provider (nova-compute makes it when it next looks at Ironic)"}},
		"no inventory":      {node("n", "available", "CUSTOM_A"), provider(novatest.Provider{Traits: []string{"CUSTOM_B"}}), []string{"CUSTOM_MY_RC", "trait CUSTOM_A"}},
		"another class":     {node("n", "available"), provider(novatest.Provider{Total: map[string]int{"CUSTOM_OLD": 1}}), []string{"CUSTOM_MY_RC (it has CUSTOM_OLD)"}},
		"two of it":         {node("n", "available"), provider(novatest.Provider{Total: map[string]int{"CUSTOM_MY_RC": 2}}), []string{"CUSTOM_MY_RC with a total of 1 (it has 2)"}},
		"reserved":          {node("n", "available"), provider(novatest.Provider{Total: one, Reserved: one}), []string{"CUSTOM_MY_RC that is not reserved (Nova reserves a node without a power state, or in maintenance)"}},
		"with an instance":  {node("n", "active"), provider(novatest.Provider{Total: one, Reserved: one}), nil},
		"a trait is absent": {node("n", "available", "CUSTOM_B", "CUSTOM_A"), provider(novatest.Provider{Total: one, Traits: []string{"CUSTOM_B"}}), []string{"trait CUSTOM_A"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.SetProvider("n", tt.provider)
			c.SetProvider("other", provider(novatest.Provider{}))
			got, err := Lacks(t.Context(), access(c, novatest.Password), []*state.Node{tt.node})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got["n"]); diff != "" {
				t.Errorf("lacks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLacksAsksForTheNodesOnly(t *testing.T) {
	c := novatest.Start(t, novatest.Options{})
	var nodes []*state.Node
	for i := range 20 {
		uuid := fmt.Sprintf("n%d", i)
		nodes = append(nodes, node(uuid, "available", "CUSTOM_A"))
		c.SetProvider(uuid, &novatest.Provider{Total: map[string]int{"CUSTOM_MY_RC": 1}, Traits: []string{"CUSTOM_A"}})
	}
	for i := range 1000 {
		c.SetProvider(fmt.Sprintf("other%d", i), &novatest.Provider{})
	}
	got, err := Lacks(t.Context(), access(c, novatest.Password), nodes)
	if err != nil || len(got) > 0 || c.Requests() != 40 {
		t.Errorf("lacks %v, error %v, %d requests; want nothing, none, 40", got, err, c.Requests())
	}
	if got, err := Lacks(t.Context(), access(c, novatest.Password), nil); err != nil || len(got) > 0 || c.Requests() != 40 {
		t.Errorf("of no nodes: %v, %v, %d requests in all", got, err, c.Requests())
	}
}

func TestAnErrorSaysWhyAndNoSecret(t *testing.T) {
	for name, tt := range map[string]struct {
		opts   novatest.Options
		change func(*novatest.Cloud, *state.IronicAccess)
		want   string
	}{
		"a wrong password": {change: func(c *novatest.Cloud, a *state.IronicAccess) { *a = access(c, "planted-other") },
			want: "placement of cloud lab: The request you have made requires authentication (HTTP 401)"},
		"no rights": {opts: novatest.Options{Member: true},
			want: "placement of cloud lab: Access was denied to this resource. Policy does not allow placement:resource_providers:inventories:list to be performed (HTTP 403)"},
		"down": {change: func(c *novatest.Cloud, _ *state.IronicAccess) {
			c.Intercept(func(string, string) novatest.Fault { return novatest.Down })
		}, want: "placement of cloud lab: service unavailable (HTTP 503)"},
		"no cloud": {change: func(_ *novatest.Cloud, a *state.IronicAccess) { a.Auth = "none" },
			want: "placement of cloud lab: needs ironic.cloud: an Ironic without Keystone has no Placement"},
	} {
		t.Run(name, func(t *testing.T) {
			c := novatest.Start(t, tt.opts)
			a := access(c, novatest.Password)
			if tt.change != nil {
				tt.change(c, &a)
			}
			_, err := Lacks(t.Context(), a, []*state.Node{node("n", "available")})
			if err == nil || err.Error() != tt.want || strings.Contains(err.Error(), "planted") {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}
