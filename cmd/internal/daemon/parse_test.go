package daemon

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tenks/cmd/internal/api"
	"tenks/config"
	"tenks/raftfsm/state"
)

const fullFile = `cluster: demo
node_types:
  compute:
    memory_mb: 4096
    vcpus: 2
    volumes: [{capacity: 20GiB}, {capacity: 10GiB, image: /images/base.qcow2}]
    physical_networks: [physnet1, storage]
    boot_mode: bios
    driver: fake
specs:
  - type: compute
    count: 3
    node_name_prefix: compute
    ironic_config:
      resource_class: baremetal
      traits: [CUSTOM_GPU]
      properties: {rack: 7}
      conductor_group: left
      description: a machine
      redfish_verify_ca: /ca.pem
      network_interface: noop
    placement: {spread: zone, require: {disk: nvme}}
    on_host_loss: rebuild
    stop_after: 40s
  - {type: compute, count: 1}
  - {type: compute, count: 2, ironic_config: {resource_class: other}}
  - {type: compute, count: 4, node_name_prefix: compute}
ironic: {endpoint: "http://192.0.2.9:6385", auth: http_basic, username: admin, password_file: /basic}
deploy_kernel: http://192.0.2.9/kernel
deploy_ramdisk: http://192.0.2.9/ramdisk
bmc: {username: root, password_file: /bmc, key_file: /key, ipmi_1_5: false}
`

func TestParseClusterTakesEverythingOver(t *testing.T) {
	got, err := ParseCluster(&api.ApplyRequest{Name: "demo.yml", File: fullFile, BMCPassword: "bmc-pw", BMCKey: "0x6b67", IronicPassword: "basic-pw"})
	if err != nil {
		t.Fatal(err)
	}
	enrol := &state.Enrolment{ResourceClass: "baremetal", Traits: []string{"CUSTOM_GPU"}, Properties: map[string]string{"rack": "7"},
		Interfaces: map[string]string{"network": "noop"}, ConductorGroup: "left", Description: "a machine", RedfishVerifyCA: "/ca.pem"}
	want := state.Cluster{
		Name: "demo",
		Types: map[string]state.Machine{"compute": {Driver: "fake", MemoryMB: 4096, VCPUs: 2, BootMode: state.BootBIOS, IronicDriver: "ipmi",
			Physnets: []string{"physnet1", "storage"},
			Volumes:  []state.Volume{{CapacityBytes: 20 << 30}, {CapacityBytes: 10 << 30, Image: "/images/base.qcow2"}}}},
		Specs: []state.Spec{
			{Key: "compute/compute/0", Type: "compute", Count: 3, Prefix: "compute", Enrol: enrol, OnHostLoss: state.LossRebuild, StopAfterMilli: 40_000,
				Constraints: state.Constraints{Spread: "zone", Require: map[string]string{"disk": "nvme"}}},
			{Key: "compute/tk/0", Type: "compute", Count: 1, Prefix: "tk", OnHostLoss: state.LossHold},
			{Key: "compute/tk/1", Type: "compute", Count: 2, Prefix: "tk", Enrol: &state.Enrolment{ResourceClass: "other"}, OnHostLoss: state.LossHold},
			{Key: "compute/compute/1", Type: "compute", Count: 4, Prefix: "compute", OnHostLoss: state.LossHold},
		},
		Ironic: &state.IronicAccess{Endpoint: "http://192.0.2.9:6385", Auth: "http_basic", Username: "admin",
			Password: state.NewSecret("basic-pw")},
		DeployKernel: "http://192.0.2.9/kernel", DeployRamdisk: "http://192.0.2.9/ramdisk",
		BMC:    state.Account{Username: "root", Password: state.NewSecret("bmc-pw"), Key: state.NewSecret("kg")},
		Source: fullFile,
	}
	secrets := cmp.Comparer(func(a, b state.Secret) bool { return a.Reveal() == b.Reveal() })
	if diff := cmp.Diff(want, got, secrets, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestParseClusterOfACloud(t *testing.T) {
	file := "cluster: demo\nironic: {cloud: lab}\n"
	got, err := ParseCluster(&api.ApplyRequest{File: file, CloudYAML: "clouds: {lab: {}}"})
	if err != nil {
		t.Fatal(err)
	}
	if i := got.Ironic; i.Auth != "cloud" || i.Cloud != "lab" || i.CloudYAML.Reveal() != "clouds: {lab: {}}" {
		t.Errorf("%+v", i)
	}
}

func TestParseClusterGivesPathsOfImagesTheFormThatIronicTakes(t *testing.T) {
	file := "cluster: demo\ndeploy_kernel: /images/kernel\ndeploy_ramdisk: https://192.0.2.9/ramdisk\n"
	got, err := ParseCluster(&api.ApplyRequest{File: file})
	if err != nil || got.DeployKernel != "file:///images/kernel" || got.DeployRamdisk != "https://192.0.2.9/ramdisk" {
		t.Errorf("%q, %q, %v", got.DeployKernel, got.DeployRamdisk, err)
	}
}

func TestParseClusterRefusesARequestWithoutTheSecretsOfItsFile(t *testing.T) {
	tests := map[string]struct {
		request api.ApplyRequest
		want    string
	}{
		"no BMC password":       {api.ApplyRequest{File: fullFile, IronicPassword: "x"}, "cluster file: bmc.password_file: the request does not carry its content"},
		"no Ironic password":    {api.ApplyRequest{Name: "a.yml", File: fullFile, BMCPassword: "x", BMCKey: "x"}, "a.yml: ironic.password_file: the request does not carry its content"},
		"no BMC key":            {api.ApplyRequest{Name: "a.yml", File: fullFile, BMCPassword: "x"}, "a.yml: bmc.key_file: the request does not carry its content"},
		"a BMC key too long":    {api.ApplyRequest{Name: "a.yml", File: fullFile, BMCPassword: "x", BMCKey: "123456789012345678901"}, "a.yml: bmc.key_file: /key: want 1 to 20 characters"},
		"no entry of a cloud":   {api.ApplyRequest{File: "cluster: demo\nironic: {cloud: lab}"}, "cluster file: ironic.cloud: the request does not carry the entry of clouds.yaml"},
		"a file with a fault":   {api.ApplyRequest{Name: "a.yml", File: "cluster: demo\ncolour: red"}, "a.yml:2: colour: unknown key"},
		"nothing at all":        {api.ApplyRequest{}, "cluster file:1: cluster: missing"},
		"a file that is broken": {api.ApplyRequest{File: "{"}, "cluster file:1: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCluster(&tt.request)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestEveryFieldOfAClusterFileReachesTheState changes one field after the other of a
// file in which all are set: whatever makes no difference was forgotten.
func TestEveryFieldOfAClusterFileReachesTheState(t *testing.T) {
	c, err := config.LoadCluster("full", []byte(fullFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Specs {
		c.Specs[i].OnHostLoss = "rebuild" // for stop_after
	}
	c.Ironic.Cloud = "" // not beside an endpoint: TestParseClusterOfACloud
	// As text: convert shares lists and maps with what it converts.
	text := func() string {
		b, err := json.Marshal(convert(c))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	base := text()
	fields := 0
	leaves(reflect.ValueOf(&c).Elem(), "", func(path string) {
		fields++
		changed := base != text()
		// The content of these files comes with the request.
		want := !strings.HasSuffix(path, ".PasswordFile") && !strings.HasSuffix(path, ".KeyFile")
		// One word makes a volume a CD-ROM (TestVolumesThatAreCDROMs).
		want = want && !strings.HasSuffix(path, ".Volumes[].Device")
		if changed != want && !strings.HasSuffix(path, ".BackingImage") { // an image comes before it
			t.Errorf("%s: reaches the state %t, want %t", path, changed, want)
		}
	}, func() {})
	if fields < 40 {
		t.Errorf("only %d fields were looked at", fields)
	}
	if base != text() {
		t.Error("the test itself changed the file")
	}
}

// leaves changes every scalar below v in turn, calls look, and changes it back. put
// stores v where it was taken from, for what lives in a map.
func leaves(v reflect.Value, path string, look func(path string), put func()) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			leaves(v.Field(i), path+"."+v.Type().Field(i).Name, look, put)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			leaves(v.Elem(), path, look, put)
		}
	case reflect.Slice:
		for i := range v.Len() {
			leaves(v.Index(i), path+"[]", look, put)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			copied := reflect.New(v.Type().Elem()).Elem()
			copied.Set(v.MapIndex(key))
			leaves(copied, path+"."+key.String(), look, func() { v.SetMapIndex(key, copied); put() })
		}
	default:
		old := reflect.ValueOf(v.Interface())
		switch {
		case v.Kind() == reflect.String:
			v.SetString(v.String() + "x")
		case v.Kind() == reflect.Bool:
			v.SetBool(!v.Bool())
		case v.CanInt():
			v.SetInt(v.Int() + 1)
		case v.CanUint():
			v.SetUint(v.Uint() + 1)
		case v.CanFloat():
			v.SetFloat(v.Float() + 1)
		}
		put()
		look(path)
		v.Set(old)
		put()
	}
}

func TestPDUsOfAClusterFile(t *testing.T) {
	const file = "cluster: demo\npdus:\n  b: {user: ironic, password_file: /p}\n  a: {community_file: /c}\n"
	secrets := func(community, password string) map[string]api.PDUSecrets {
		return map[string]api.PDUSecrets{"a": {Community: community}, "b": {Password: password}}
	}
	got, err := ParseCluster(&api.ApplyRequest{File: file, PDUs: secrets("public", "password")})
	want := []state.PDU{{Name: "a", Community: state.NewSecret("public")}, {Name: "b", User: "ironic", Password: state.NewSecret("password")}}
	if err != nil || !slices.Equal(got.PDUs, want) {
		t.Errorf("%+v, %v, want %+v", got.PDUs, err, want)
	}
	for _, c := range []struct{ community, password, want string }{
		{"", "password", "pdus.a.community_file: the request does not carry its content"},
		{"public", "", "pdus.b.password_file: the request does not carry its content"},
		{strings.Repeat("c", 33), "password", "pdus.a.community_file: want 1 to 32 printable ASCII characters"},
		{"public\x01", "password", "pdus.a.community_file: want 1 to 32 printable ASCII characters"},
		{"public", "passwor", "pdus.b.password_file: want 8 to 255 printable ASCII characters"},
	} {
		_, err := ParseCluster(&api.ApplyRequest{Name: "demo.yml", File: file, PDUs: secrets(c.community, c.password)})
		if err == nil || err.Error() != "demo.yml: "+c.want {
			t.Errorf("%q, %q: error %v, want %s", c.community, c.password, err, c.want)
		}
	}
}

func TestVolumesThatAreCDROMs(t *testing.T) {
	const file = "cluster: demo\nnode_types:\n  a:\n    memory_mb: 512\n    vcpus: 1\n    volumes: [{device: cdrom, image: /a.iso}, {capacity: 1GiB, backing_image: /b}]\n"
	c, err := ParseCluster(&api.ApplyRequest{File: file})
	if err != nil {
		t.Fatal(err)
	}
	m := c.Types["a"]
	if len(m.Hardware.CDROMs) != 1 || m.Hardware.CDROMs[0].Image != "/a.iso" || len(m.Volumes) != 1 || m.Volumes[0].Image != "/b" {
		t.Errorf("got %+v", m)
	}
}

func TestWhatIsSaidAsItIsAnywayChangesNothing(t *testing.T) {
	parse := func(more string) state.Machine {
		t.Helper()
		c, err := ParseCluster(&api.ApplyRequest{File: "cluster: demo\nnode_types:\n  a: {memory_mb: 512, vcpus: 1, volumes: [{capacity: 1GiB" + more + "}\n"})
		if err != nil {
			t.Fatal(err)
		}
		return c.Types["a"]
	}
	plain := parse("}]")
	said := parse(", discard: unmap, device: disk}], architecture: x86_64, clock_offset: utc, disk_bus: virtio, nic_model: virtio, console_log_enabled: true, enable_vnc: false, trust_guest_rx_filters: false")
	if !slices.Equal(plain.Volumes, said.Volumes) || !said.Hardware.IsZero() {
		t.Errorf("got %+v, want %+v", said, plain)
	}
}

func TestAnOverlayThatNoNodeCanHaveIsRefused(t *testing.T) {
	const file = "cluster: demo\nnode_types:\n  a: {memory_mb: 512, vcpus: 1, xml_overlay: \"%s\"}\n"
	for text, want := range map[string]string{
		"<network/>":                      "the root is <network>, want <domain>",
		"<domain>":                        "<domain> does not end",
		"<domain><uuid>x</uuid></domain>": "domain/uuid is Tenks' own: leave it out",
	} {
		_, err := ParseCluster(&api.ApplyRequest{Name: "demo.yml", File: fmt.Sprintf(file, text)})
		if err == nil || err.Error() != "demo.yml: node_types.a: xml_overlay: "+want {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}
