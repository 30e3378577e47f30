package ansible

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"tenks/config"
)

// variable is a row of testdata/variables.yml.
type variable struct {
	In, Key string
	Value   any
	// With is another key that the value needs.
	With map[string]any
	// Becomes, Dropped and Refused are parts of what is written, listed and answered.
	Becomes, Dropped, Refused string
}

// override is a file with that variable in it.
func (v variable) override(t *testing.T) []byte {
	t.Helper()
	volume := map[string]any{"capacity": "1GB"}
	typ := map[string]any{"memory_mb": 1024, "vcpus": 1, "volumes": []any{volume}}
	ironic := map[string]any{"resource_class": "rc"}
	spec := map[string]any{"type": "a", "count": 1, "ironic_config": ironic}
	flavor := map[string]any{"resource_class": "rc", "node_type": "a"}
	all := map[string]any{"node_types": map[string]any{"a": typ}, "specs": []any{spec}, "nova_flavors": []any{flavor}}
	places := map[string]map[string]any{"file": all, "type": typ, "volume": volume, "spec": spec, "ironic": ironic, "flavor": flavor}
	places[v.In][v.Key] = v.Value
	for where, key := range v.With {
		if where != "value" {
			places[where][fmt.Sprint(key)] = v.With["value"]
		}
	}
	if v.Key == "dev" || v.With["volume"] == "dev" {
		delete(volume, "capacity")
	}
	b, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func variables(t *testing.T) []variable {
	t.Helper()
	var all []variable
	if err := yaml.Unmarshal(file(t, "testdata/variables.yml"), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 150 {
		t.Fatalf("%d variables", len(all))
	}
	return all
}

// Each variable that means something to the Ansible tool becomes something of ours, or is
// listed with the reason, or refused by its name: none is dropped in silence, and none is
// taken for a typing error.
func TestEveryVariableOfTheAnsibleToolIsCarriedOverOrListedWithTheReason(t *testing.T) {
	for _, v := range variables(t) {
		t.Run(fmt.Sprintf("%s/%s=%v", v.In, v.Key, v.Value), func(t *testing.T) {
			in := Input{Override: File{"o.yml", v.override(t)}}
			opt := Options{Cluster: "c", Cloud: "mycloud", Localhost: "here", PasswordFile: "/p"}
			r, err := Import(in, opt)
			if v.Refused != "" {
				if err == nil || !strings.Contains(err.Error(), v.Refused) {
					t.Errorf("error %v, want one with %q", err, v.Refused)
				}
				opt.IgnoreUnknown = true
				if v.Dropped == "" {
					return
				}
				r, err = Import(in, opt)
			}
			if err != nil {
				t.Fatal(err)
			}
			v.check(t, r)
		})
	}
}

func (v variable) check(t *testing.T, r Result) {
	t.Helper()
	if got := notes(r, Unknown); len(got) > 0 {
		t.Errorf("taken for unknown: %q", got)
	}
	if _, err := config.LoadCluster("cluster.yml", r.Cluster); err != nil {
		t.Error(err)
	}
	if _, err := config.LoadAgent("agent.yml", r.Agents[localhost]); err != nil {
		t.Error(err)
	}
	if v.Dropped == "" && v.Becomes == "" {
		t.Fatal("the row says nothing")
	}
	if v.Dropped != "" && !slices.ContainsFunc(notes(r, NotCarried), func(n string) bool { return strings.Contains(n, v.Key) && strings.Contains(n, v.Dropped) }) {
		t.Errorf("not carried over: %q, want %s with %q", notes(r, NotCarried), v.Key, v.Dropped)
	}
	if made := string(r.Cluster) + string(r.Agents[localhost]); v.Becomes != "" && !strings.Contains(made, v.Becomes) {
		t.Errorf("made\n%s\nwant %q in it", made, v.Becomes)
	}
}
