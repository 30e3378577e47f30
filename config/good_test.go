package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoadClusterReadsEveryKey(t *testing.T) {
	got, err := LoadCluster("cluster.good.yml", readFile(t, "testdata/cluster.good.yml"))
	if err != nil {
		t.Fatal(err)
	}
	volumes := []Volume{{Capacity: 40 << 30}, {Capacity: 10 << 30, Image: "/images/base.qcow2"}}
	nets := []string{"physnet1", "physnet2"}
	special := Hardware{Architecture: "x86_64", MachineType: "pc", CPUMode: "custom", CPUModel: "Haswell-noTSX", CPUTopology: CPUTopology{1, 2, 2},
		ClockOffset: "localtime", DiskBus: "scsi", DiskCache: "unsafe", NICModel: "e1000", ConsoleLogEnabled: true, ConsoleLogSize: 1 << 20,
		ConsoleLogKeep: 2, EnableVNC: true, EnableGuestVirtio: true, SMBIOS: SMBIOS{"ACME", "R1", "2", "SN-{name}", "42", "Racks", "{name}"},
		USBDevices: []USBDevice{{"0403", "6001"}}, TrustGuestRXFilters: true,
		XMLOverlay: "<domain><memoryBacking><nosharepages/></memoryBacking></domain>\n"}
	want := Cluster{
		Name: "demo",
		NodeTypes: map[string]NodeType{
			"controller": {MemoryMB: 16384, VCPUs: 4, Volumes: volumes, PhysicalNetworks: nets, Trunks: []string{"", "100,200"}, IronicDriver: "redfish", BootMode: "uefi", Driver: "libvirt", SecureBoot: true, TPM: "2.0", Hardware: hardwareBase()},
			"compute":    {MemoryMB: 8192, VCPUs: 4, Volumes: volumes, PhysicalNetworks: nets, Trunks: []string{"", "100,200"}, IronicDriver: "redfish", BootMode: "bios", Driver: "libvirt", TPM: "2.0", Hardware: hardwareBase()},
			"special": {MemoryMB: 2048, VCPUs: 4, IronicDriver: "ipmi", BootMode: "uefi", Driver: "libvirt", Hardware: special,
				Volumes: []Volume{
					{Capacity: 10 << 30, Image: "https://images.example.org/base.qcow2", Copy: true, Format: "raw", Bus: "virtio", Cache: "writeback",
						Checksum: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Discard: "ignore", Pool: "fast", Serial: "disk-0"},
					{Capacity: 10 << 30, BackingImage: "/images/base.qcow2", WWN: "5000c50015ea71aa"},
					{Capacity: 1e12, Path: "/dev/disk/by-id/ata-1"},
					{Device: "cdrom", Image: "/images/tools.iso"}}},
			"diskless": {MemoryMB: 1024, VCPUs: 1, IronicDriver: "ipmi", BootMode: "uefi", Driver: "libvirt", Hardware: hardwareBase()},
		},
		Specs: []Spec{{
			Type: "controller", Count: 3, NodeNamePrefix: "controller", VolNamePrefix: "disk",
			IronicConfig: &IronicConfig{
				ResourceClass: "baremetal", Traits: []string{"CUSTOM_GPU", "HW_CPU_X86_VMX"},
				Properties: map[string]string{"capabilities": "node_role:ctl", "rack": "12"},
				Objects: map[string]string{"place": `{"row":[1,"x"]}`,
					"root_device": `{"rotational":false,"serial":"disk0","size":">= 10"}`},
				Extra: map[string]string{"site": `"lab"`, "slots": "[1,2]"},
				NetworkData: `{"links":[{"ethernet_mac_address":"port0","id":"eth0","type":"phy"}],` +
					`"networks":[{"id":"net0","ip_address":"192.0.2.20","link":"eth0","netmask":"255.255.255.0","network_id":"net0","routes":[],"type":"ipv4"}],` +
					`"services":[{"address":"192.0.2.1","type":"dns"}]}`,
				ConductorGroup: "rack-a", Shard: "s1", Owner: "alice", Lessee: "bob",
				Description: "a controller", RedfishVerifyCA: "/etc/ssl/bmc.pem",
				AutomatedClean: new(bool), State: "manageable", Inspect: true, Recover: true, PXEEnabled: &[]int{},
				PortGroups: []PortGroup{{Name: "bond0", Ports: []int{0}, Mode: "active-backup", Address: FirstPort,
					StandalonePorts: new(bool), Properties: map[string]string{"miimon": "100"}}},
				Interfaces: map[string]string{
					"bios": "no-bios", "boot": "ipxe", "console": "no-console", "deploy": "direct", "firmware": "no-firmware",
					"inspect": "no-inspect", "management": "ipmitool", "network": "noop", "power": "ipmitool",
					"raid": "no-raid", "rescue": "no-rescue", "storage": "noop", "vendor": "no-vendor",
				},
			},
			Placement:  Placement{Spread: "zone", Require: map[string]string{"disk": "nvme"}},
			OnHostLoss: "rebuild", StopAfter: "45s",
		}, {Type: "compute", Count: 10, NodeNamePrefix: "tk", VolNamePrefix: "vol", OnHostLoss: "hold", StopAfter: "30s", PDU: "rack1",
			Nodes: []NamedNode{{Name: "compute-old-7", UUID: "0e8ba5ab-6f5d-4d32-8e0c-5a3a2f6a7c11", Hypervisor: "hv1", BMCPort: 6231}}}},
		Ironic: &Ironic{
			Endpoint: "http://192.0.2.10:6385", Auth: "http_basic", Username: "tenks", PasswordFile: "/etc/tenks/ironic-password",
			Concurrency: 4, Rate: 20,
		},
		DeployKernel: "http://192.0.2.10/ipa.kernel", DeployRamdisk: "http://192.0.2.10/ipa.initramfs",
		BMC: BMC{Username: "admin", PasswordFile: "/etc/tenks/bmc-password", KeyFile: "/etc/tenks/bmc-key", Addresses: []AddressRange{
			{"192.0.2.100", "192.0.2.199"}, {"2001:db8::100", "2001:db8::1ff"}, {"198.51.100.1", "198.51.100.14"}}},
		PDUs:    map[string]PDU{"rack1": {CommunityFile: "/etc/tenks/rack1-community", User: "ironic", PasswordFile: "/etc/tenks/rack1-password"}},
		Flavors: []Flavor{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cluster.good.yml (-want +got):\n%s", diff)
	}
}

func TestLoadClusterReadsNumbersSizesAndScalarsInTheirForms(t *testing.T) {
	got, err := LoadCluster("f", readFile(t, "testdata/cluster.cloud.good.yml"))
	if err != nil {
		t.Fatal(err)
	}
	bm := got.NodeTypes["bm"]
	if bm.MemoryMB != 1024 {
		t.Errorf("memory_mb 0x400: got %d, want 1024", bm.MemoryMB)
	}
	want := []Volume{{Capacity: 2e9}, {Capacity: 2 << 30}, {Capacity: 20 << 30}, {Capacity: 1 << 40}}
	if diff := cmp.Diff(want, bm.Volumes); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"gpu": "true", "gen": "4"}, got.Specs[1].Placement.Require); diff != "" {
		t.Errorf("require (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&Ironic{Cloud: "my cloud"}, got.Ironic); diff != "" {
		t.Errorf("ironic (-want +got):\n%s", diff)
	}
}

func TestLoadClusterReadsFlavors(t *testing.T) {
	got, err := LoadCluster("f", readFile(t, "testdata/cluster.flavors.good.yml"))
	if err != nil {
		t.Fatal(err)
	}
	disk := 15
	want := []Flavor{{ResourceClass: "my.compute", NodeType: "compute"}, {
		ResourceClass: "my.compute", NodeType: "compute", Name: "gpu",
		RequiredTraits: []string{"CUSTOM_GPU"}, ForbiddenTraits: []string{"CUSTOM_OLD"},
		CustomSpecs: map[string]string{"capabilities:boot_option": "local", "hw:numa_nodes": "1"},
		DiskGB:      &disk, EphemeralGB: 4, SwapMB: 512,
	}}
	if diff := cmp.Diff(want, got.Flavors); diff != "" || !got.WaitForPlacement {
		t.Errorf("wait for placement %t, flavors (-want +got):\n%s", got.WaitForPlacement, diff)
	}
	if got.Flavors[0].Title() != "my.compute" || got.Flavors[1].Title() != "gpu" {
		t.Errorf("names %q and %q", got.Flavors[0].Title(), got.Flavors[1].Title())
	}
}

func TestLoadClusterTakesEveryGoodFile(t *testing.T) {
	files, _ := filepath.Glob("testdata/cluster.*good.yml")
	if len(files) < 5 {
		t.Fatalf("%d good files, want at least 5", len(files))
	}
	for _, path := range files {
		c, err := LoadCluster(path, readFile(t, path))
		if err != nil || c.Name == "" {
			t.Errorf("%s: cluster %q, error %v", path, c.Name, err)
		}
	}
}

func TestAuthOfAnEndpointIsNoneByDefault(t *testing.T) {
	c, err := LoadCluster("f", []byte("cluster: a\nironic: {endpoint: 'http://192.0.2.1:6385'}\n"))
	if err != nil || c.Ironic.Auth != "none" {
		t.Errorf("ironic %+v, error %v, want auth none", c.Ironic, err)
	}
}

// The manual of agent.yml gives every default, but for what it says is unset.
func TestAgentManualShowsTheDefaults(t *testing.T) {
	got, err := LoadAgent("agent.good.yml", readFile(t, "testdata/agent.good.yml"))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultAgent()
	want.Name, want.Advertise, want.Zone, want.BMC.Address = "hv1", "192.0.2.11", "rack-a", "192.0.2.11"
	want.BMC.Device, want.BMC.Network = "eth3", "192.0.2.0/24"
	want.BMC.TLSCert, want.BMC.TLSKey = "/etc/tenks/bmc.crt", "/etc/tenks/bmc.key"
	want.Labels = map[string]string{"disk": "nvme", "gpu": "2"}
	want.Physnets = map[string]Physnet{"physnet1": {Device: "eth1"}, "storage": {Device: "eth1", VLAN: 200}, "tenant": {VXLAN: 5000}, "lab": {MTU: 9000}}
	want.VXLAN.Address = "192.0.2.11"
	want.Drivers["libvirt"]["pool_type"] = "dir" // absent, it is that
	want.Drivers["fake"] = map[string]string{"delay": "2s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("agent.good.yml (-want +got):\n%s", diff)
	}
}

func TestEmptyAgentFileMeansTheDefaults(t *testing.T) {
	for _, data := range []string{"", "\n", "# nothing\n", "---\n", "{}\n", "~\n"} {
		got, err := LoadAgent("agent.yml", []byte(data))
		if err != nil {
			t.Errorf("%q: %v", data, err)
		}
		if diff := cmp.Diff(DefaultAgent(), got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", data, diff)
		}
	}
}

func TestAgentDrivers(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       map[string]map[string]string
	}{
		{"are none when the file says so", "agent.peer.good.yml", map[string]map[string]string{}},
		{"have a pool below the data directory", "agent.blank.good.yml", map[string]map[string]string{
			"libvirt": {"uri": "qemu:///system", "domain_type": "auto", "pool_mode": "711", "vnc_address": "127.0.0.1", "pool_path": "/srv/tenks/pool"}, "fake": {},
		}},
		{"may have a volume group", "agent.logical.good.yml", map[string]map[string]string{
			"libvirt": {"uri": "qemu:///system", "domain_type": "auto", "pool_mode": "711", "vnc_address": "127.0.0.1", "pool_path": "/var/lib/tenks/pool",
				"pool_type": "logical", "pool_source": "vg0"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := LoadAgent(tt.file, readFile(t, "testdata/"+tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, a.Drivers); diff != "" {
				t.Errorf("%s: drivers (-want +got):\n%s", tt.file, diff)
			}
		})
	}
}

func TestDefaultAgentIsNotShared(t *testing.T) {
	DefaultAgent().Drivers["libvirt"]["uri"] = "changed"
	if uri := DefaultAgent().Drivers["libvirt"]["uri"]; uri != "qemu:///system" {
		t.Errorf("uri of a second DefaultAgent: %q", uri)
	}
}

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Size
	}{
		{"0", 0}, {"512", 512}, {"512B", 512}, {"512b", 512},
		{"1K", 1 << 10}, {"1kB", 1000}, {"1KiB", 1 << 10},
		{"1M", 1 << 20}, {"1MB", 1e6}, {"1mib", 1 << 20},
		{"20G", 20 << 30}, {"20GB", 20e9}, {"20GiB", 20 << 30}, {"20 gib", 20 << 30}, {"20gIb", 20 << 30},
		{"3T", 3 << 40}, {"3TB", 3e12}, {"3TiB", 3 << 40},
		{"18446744073709551615", 1<<64 - 1}, {"007K", 7 << 10},
	} {
		if got, err := ParseSize(tt.in); err != nil || got != tt.want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"", " ", "G", "GiB", "-1", "+1", "1.5G", "1e3", "0x10", "1P", "1PiB", "5iB", "1 0G", "1G B", "1GiBB", " 1G", "1G ", "1  G",
		"1G\n", "٣G", "18446744073709551616", "16777216T", "99999999999999999999999999",
	} {
		if got, err := ParseSize(in); err == nil || !strings.Contains(err.Error(), quote(in)) {
			t.Errorf("ParseSize(%q) = %d, %v, want an error that shows it", in, got, err)
		}
	}
}

func TestEncodingsOfAFile(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"line ends of Windows", "cluster: a\r\nbmc: {}\r\n", ""},
		{"no line end at all", "cluster: a", ""},
		{"a byte order mark", "\ufeffcluster: a\n", ""},
		{"lines are counted over Windows line ends", "cluster: a\r\nbmc: 3\r\n", "f:2: bmc: want a mapping, found the number 3"},
		{"Latin-1", "cluster: a\nbmc:\n  username: \xe4\n", "f:3: not YAML: incomplete UTF-8 octet sequence"},
	} {
		_, err := LoadCluster("f", []byte(tt.data))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: error %q, want %q", tt.name, got, tt.want)
		}
	}
}
