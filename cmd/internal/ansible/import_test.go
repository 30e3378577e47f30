package ansible

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/config"
)

// read returns what a folder of testdata holds.
func read(t *testing.T, dir string) Input {
	t.Helper()
	in := Input{Override: File{Name: "override.yml", Data: file(t, filepath.Join(dir, "override.yml"))}}
	if b, err := os.ReadFile(filepath.Join(dir, "state.yml")); err == nil {
		in.State = &File{Name: "state.yml", Data: b}
	}
	root := os.DirFS(filepath.Join(dir, "inventory"))
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err == nil && !d.IsDir() {
			in.Inventory = append(in.Inventory, File{Name: name, Data: file(t, filepath.Join(dir, "inventory", name))})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// golden compares with a file, or writes it with UPDATE=1.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, got, 0o644); err != nil { //nolint:gosec // a file of the tree
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(file(t, name)), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestFilesOfTheAnsibleToolBecomeOurs(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/override.yml")
	if err != nil || len(dirs) < 6 {
		t.Fatal(dirs, err)
	}
	for _, f := range dirs {
		dir := filepath.Dir(f)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			opt := Options{Cluster: filepath.Base(dir), Cloud: "mycloud", Localhost: "here", PasswordFile: "/etc/tenks/bmc-password", everything: true}
			r, err := Import(read(t, dir), opt)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(dir, "cluster.golden.yml"), r.Cluster)
			var agents bytes.Buffer
			for _, h := range r.Hosts {
				agents.Write(r.Agents[h])
			}
			golden(t, filepath.Join(dir, "agents.golden.yml"), agents.Bytes())
			opt.everything = false
			if r, err = Import(read(t, dir), opt); err != nil {
				t.Fatal(err)
			}
			if _, err := config.LoadCluster("cluster.yml", r.Cluster); err != nil {
				t.Error(err)
			}
			for h, a := range r.Agents {
				if _, err := config.LoadAgent(h, a); err != nil {
					t.Error(err)
				}
			}
			if r.Password == "" || strings.Contains(string(r.Cluster), r.Password+"\n") && r.Password != "password" {
				t.Errorf("password %q, in the file or lost", r.Password)
			}
		})
	}
}

func notes(r Result, k Kind) []string {
	var out []string
	for _, n := range r.Notes {
		if n.Kind == k {
			out = append(out, n.String())
		}
	}
	return out
}

func TestPhysnetMappingsOfTheOverrideBeatTheHostsAsInAnsibleWithAWarning(t *testing.T) {
	r, err := Import(read(t, "testdata/several"), Options{Localhost: "here", PasswordFile: "/p"})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(r.Agents["hv1"]); !strings.Contains(got, "eth1") || strings.Contains(got, "eth7") {
		t.Errorf("agent.yml of hv1:\n%s", got)
	}
	if !slices.ContainsFunc(notes(r, Warning), func(s string) bool {
		return strings.Contains(s, "override.yml:16: physnet_mappings: beats that of host hv1 (host_vars/hv1.yml:1)")
	}) {
		t.Errorf("warnings %q", notes(r, Warning))
	}
}

func TestFaultsHaveTheirLines(t *testing.T) {
	const types = "node_types: {a: {memory_mb: 1024, vcpus: 1}}\n"
	for name, c := range map[string]struct{ override, want string }{
		"not YAML":               {"a: [", "o.yml:1: not YAML: did not find expected node content"},
		"two documents":          {types + "---\nspecs: []", "o.yml:2: a second document begins here: Ansible reads files of one"},
		"not YAML later":         {types + "---\n- [", "o.yml:3: not YAML: did not find expected node content"},
		"a list":                 {"- a", "o.yml:1: want a mapping of variables, found a list"},
		"a type without memory":  {"node_types: {a: {vcpus: 1}}", "o.yml:1: node_types.a: needs a memory_mb"},
		"unknown Jinja":          {types + "specs:\n  - {type: a, count: \"{{ x | length }}\"}", `o.yml:2: specs: the Jinja expression "{{ x | length }}" is not understood: put the value itself here`},
		"no variable":            {types + "specs: '{{ nothing }}'", `o.yml:2: specs: the Jinja expression "{{ nothing }}" is a variable that none of the files has: put the value itself here`},
		"a circle":               {"a: '{{ b }}'\nb: '{{ a }}'\nspecs: '{{ a }}'", "o.yml:3: specs: \"{{ b }}\": variables refer to each other in a circle"},
		"a statement":            {"ipmi_address: '{% if x %}1{% endif %}'", `o.yml:1: ipmi_address: the Jinja expression "{% if x %}1{% endif %}" is not understood: put the value itself here`},
		"unknown key of a spec":  {types + "specs:\n  - type: a\n    cuont: 1\n    count: 1", "o.yml:4: specs.cuont: not a key that the Ansible tool or its roles know; --ignore-unknown lists it instead"},
		"unknown key of a type":  {"node_types:\n  a: {memory_mb: 1024, vcpus: 1}\n  b:\n    memory_mb: 1024\n    vcpus: 1\n    vgpus: 1", "o.yml:6: node_types.b.vgpus: not a key that the Ansible tool or its roles know; --ignore-unknown lists it instead"},
		"no such type":           {types + "specs: [{type: b, count: 1}]", "o.yml:2: specs.type: there is no node type \"b\""},
		"a size with a fraction": {"node_types: {a: {memory_mb: 1024, vcpus: 1, volumes: [{capacity: 1.5GB}]}}", `o.yml:1: node_types.a.volumes.capacity: want a size, such as 20GiB, 20GB or a number of bytes, found "1.5GB"`},
		"a bridge type":          {"bridge_type: vxlan", `o.yml:1: bridge_type: want openvswitch or linuxbridge, found "vxlan"`},
		"a volume far away":      {"node_types: {a: {memory_mb: 1024, vcpus: 1, volumes: [{capacity: 1GB, type: network}]}}", "o.yml:1: node_types.a.volumes.type: volumes on the network (rbd) cannot be had: declare a local one; --ignore-unknown lists it instead"},
		"vault":                  {"ipmi_password: !vault |\n  $ANSIBLE_VAULT", "o.yml:1: ipmi_password: is encrypted: decrypt it with ansible-vault first, or put a value here"},
		"what ours refuses":      {types + "specs:\n  - {type: a, count: 1}\n  - {type: a, count: 1, node_name_prefix: _x}", `o.yml:4: specs[1].node_name_prefix: want a name (letters, digits, ".", "_" and "-", the first a letter or digit), found "_x" (in the cluster file that it becomes)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Import(Input{Override: File{"o.yml", []byte(c.override)}}, Options{Localhost: "here", PasswordFile: "/p"})
			if err == nil || !slices.Contains(strings.Split(err.Error(), "\n"), c.want) {
				t.Errorf("error\n%v\nwant the line\n%s", err, c.want)
			}
		})
	}
}

// What the cluster file has words for is carried over, and a CD-ROM is no disk with a copy of
// its image.
func TestDrivesAndScreensAreCarriedOver(t *testing.T) {
	const override = `node_types:
  a:
    memory_mb: 1024
    vcpus: 1
    enable_spice: true
    enable_guest_virtio: true
    console_log_append: false
    volumes:
      - {capacity: 1GB}
      - {device: cdrom, image: "https://192.0.2.1/a.iso", capacity: 1GB, format: raw}
libvirt_volume_default_format: qcow2
`
	r, err := Import(Input{Override: File{"o.yml", []byte(override)}}, Options{Localhost: "here", PasswordFile: "/p"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.LoadCluster("cluster.yml", r.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	a := c.NodeTypes["a"]
	if !a.EnableSpice || !a.EnableGuestVirtio || a.ConsoleLogAppend || len(a.Volumes) != 2 || !a.Volumes[1].CDROM() || a.Volumes[1].Image != "https://192.0.2.1/a.iso" {
		t.Errorf("type %+v", a)
	}
}

// The tool tells nodes of one type apart by nothing, but people do by their names.
func TestNodesOfAStateFileGoToTheSpecWithTheirPrefix(t *testing.T) {
	const override = `node_types: {a: {memory_mb: 512, vcpus: 1}}
specs:
  - {type: a, count: 2, node_name_prefix: red}
  - {type: a, count: 2, node_name_prefix: blue}
`
	state := File{"state.yml", []byte(`localhost:
  nodes:
    - {name: blue0, type: a}
    - {name: old7, type: a}
    - {name: red1, type: a}
    - {name: red0, type: a}
    - {name: redder0, type: a}
`)}
	r, err := Import(Input{Override: File{"o.yml", []byte(override)}, State: &state}, Options{Localhost: "here", PasswordFile: "/p"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.LoadCluster("cluster.yml", r.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, s := range c.Specs {
		for _, n := range s.Nodes {
			got[s.NodeNamePrefix] = append(got[s.NodeNamePrefix], n.Name)
		}
	}
	want := map[string][]string{"red": {"red1", "red0"}, "blue": {"blue0", "old7"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !slices.ContainsFunc(notes(r, Warning), func(s string) bool {
		return strings.Contains(s, "redder0: the override file has no such node any longer")
	}) {
		t.Errorf("warnings %q", notes(r, Warning))
	}
}

// A device of a hypervisor is one node's disk: what the tool places side by side must not be
// refused when it is imported.
func TestNodesWithADeviceOfTheirHypervisorGoToOneEach(t *testing.T) {
	const override = `node_types:
  a: {memory_mb: 512, vcpus: 1, volumes: [{capacity: 1GB}, {type: block, dev: /dev/sdb}]}
specs:
  - {type: a, count: 2}
  - {type: a, count: 1, node_name_prefix: one}
`
	r, err := Import(Input{Override: File{"o.yml", []byte(override)}}, Options{Localhost: "here", PasswordFile: "/p"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.LoadCluster("cluster.yml", r.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	if two, one := c.Specs[0].Placement.Spread, c.Specs[1].Placement.Spread; two != "hypervisor" || one == two {
		t.Errorf("spread over %q and %q", two, one)
	}
	if !slices.ContainsFunc(notes(r, Differs), func(s string) bool { return strings.Contains(s, `"/dev/sdb" is one node's disk`) }) {
		t.Errorf("differences %q", notes(r, Differs))
	}
}
