package ansible

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenks/config"
)

// checkImport imports and wants files that ours take, or faults of one line each.
func checkImport(t *testing.T, in Input) {
	t.Helper()
	r, err := Import(in, Options{Cluster: "demo", Cloud: "c", Localhost: "here", PasswordFile: "/p"})
	if err == nil {
		if _, err := config.LoadCluster("f", r.Cluster); err != nil {
			t.Errorf("%v\n%s", err, r.Cluster)
		}
		for h, a := range r.Agents {
			if _, err := config.LoadAgent(h, a); err != nil {
				t.Errorf("%v\n%s", err, a)
			}
		}
		return
	}
	var faults Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("error %v, want Faults", err)
	}
	for _, f := range faults {
		if f.Text == "" {
			t.Errorf("fault %+v says nothing", f)
		}
	}
}

const fuzzOverride = "node_types: {small: {memory_mb: 1024, vcpus: 1}}\nspecs: [{type: small, count: 4}]\n"

func FuzzOverride(f *testing.F) {
	files, err := filepath.Glob("testdata/*/override.yml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		f.Add(string(readSeed(f, name)))
	}
	f.Add("a: '{{ b }}{{ b }}'\nb: '{{ c }}{{ c }}'\nc: '{{ a }}'\nspecs: '{{ a }}'")
	f.Add("physnet_mappings: {p: eth0}\nspecs: {{ x | default([]) }}")
	f.Fuzz(func(t *testing.T, data string) {
		checkImport(t, Input{Override: File{"o.yml", []byte(data)}})
	})
}

func FuzzInventory(f *testing.F) {
	f.Add("hosts", string(readSeed(f, "testdata/several/inventory/hosts")))
	f.Add("hosts.yml", "all:\n  children:\n    libvirt:\n      hosts: {hv1: {ipmi_address: 192.0.2.1}, 'hv[2:3]': }\n      vars: {bridge_type: linuxbridge}\n")
	f.Add("host_vars/hv1", "physnet_mappings: {a: eth0}")
	f.Add("hosts", "[libvirt]\nhv1 physnet_mappings=\"{'a': 'eth0'}\" x='{{ y }}'\n[a:children]\nlibvirt\na\n")
	f.Fuzz(func(t *testing.T, name, data string) {
		checkImport(t, Input{Override: File{"o.yml", []byte(fuzzOverride)}, Inventory: []File{{name, []byte(data)}, {"group_vars/libvirt", []byte("ipmi_port_range_end: 6299")}}})
	})
}

func FuzzState(f *testing.F) {
	f.Add(string(readSeed(f, "testdata/several/state.yml")))
	f.Fuzz(func(t *testing.T, data string) {
		checkImport(t, Input{Override: File{"o.yml", []byte(fuzzOverride)}, State: &File{"state.yml", []byte(data)}})
	})
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{"{{ a }}", "{{ a.b['c'] | default('x', true) | int }}", "x{{ a }}y", "{% if a %}", "{{ a[0] }}", "{{ 'it' | upper }}", "{{ a(b) }}"} {
		f.Add(s)
	}
	vars := scopeOf(map[string]*value{"a": textValue("{{ d }}"), "d": textValue("{{ a | default(1) }}"), "e": textValue("1")})
	f.Fuzz(func(t *testing.T, text string) {
		v, err := render(textValue(text), vars)
		if err == nil && strings.Contains(v.text, "{{") {
			t.Errorf("%q became %q", text, v.text)
		}
	})
}

type scopeOf map[string]*value

func (s scopeOf) lookup(name string) *value { return s[name] }

func readSeed(f *testing.F, name string) []byte {
	f.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	return b
}
