package config

// Bounds of a cluster.
const (
	maxTypes   = 1000
	maxSpecs   = 1000
	maxCount   = 10_000
	maxNodes   = 100_000
	maxVolumes = 26 // /dev/vda to /dev/vdz
	maxPorts   = 32
	maxTraits  = 50 // Ironic's MAX_TRAITS_PER_NODE
	maxPDUs    = 1000
	maxFlavors = 1000
	maxMemory  = 1 << 43 // MiB; in bytes it just exceeds 63 bits
)

// Cluster is a cluster file.
type Cluster struct {
	Name string
	// NodeTypes by name.
	NodeTypes map[string]NodeType
	Specs     []Spec
	// Ironic says where nodes are enrolled; nil: nowhere.
	Ironic *Ironic
	// DeployKernel and DeployRamdisk are URLs or absolute paths, or, with Ironic.Cloud, names
	// or UUIDs of images in Glance. Both are set or neither is.
	DeployKernel, DeployRamdisk string
	BMC                         BMC
	// PDUs by name.
	PDUs map[string]PDU
	// Flavors are those that Nova has for the nodes; only with Ironic.Cloud.
	Flavors []Flavor
	// WaitForPlacement has whoever waits for the nodes wait until Placement offers them, too;
	// only with Ironic.Cloud.
	WaitForPlacement bool
}

// NodeType is the hardware of a node.
type NodeType struct {
	// MemoryMB is in MiB.
	MemoryMB uint64
	VCPUs    int
	Volumes  []Volume
	// PhysicalNetworks has the physnet of each port, in order.
	PhysicalNetworks []string
	// Trunks has, for each of PhysicalNetworks, which tagged frames the port passes: TrunkAll,
	// VLANs such as "100,200" (sorted), or "" where it is no trunk. Nil: none is.
	Trunks []string
	// IronicDriver is "ipmi", "redfish" or "snmp".
	IronicDriver string
	// BootMode is "uefi" or "bios".
	BootMode string
	Driver   string
	// SecureBoot has nodes begin with UEFI Secure Boot on; only with "uefi".
	SecureBoot bool
	// TPM is "2.0"; empty: none.
	TPM string
	Hardware
}

// TrunkAll is a trunk of all VLANs.
const TrunkAll = "all"

// Spec asks for nodes of one type.
type Spec struct {
	Type string
	// Count may be 0.
	Count          int
	NodeNamePrefix string
	// VolNamePrefix is in the names of volumes' files.
	VolNamePrefix string
	// IronicConfig is nil for nodes that are not enrolled.
	IronicConfig *IronicConfig
	Placement    Placement
	// OnHostLoss is "hold" or "rebuild".
	OnHostLoss string
	// StopAfter is a duration, for "rebuild".
	StopAfter string
	// PDU is the one that the nodes are plugged into; empty: none.
	PDU string
	// Nodes are those that are made first, and how.
	Nodes []NamedNode
}

// NamedNode is a node that a spec wants under a certain name.
type NamedNode struct {
	Name string
	// UUID is in lower case; empty: a new one.
	UUID string
	// Hypervisor is a peer's name; empty: any.
	Hypervisor string
	// BMCPort is a UDP port; 0: any.
	BMCPort int
}

// Placement narrows where nodes may be placed.
type Placement struct {
	// Spread is "zone", "hypervisor" or empty.
	Spread string
	// Require has labels that a hypervisor must have.
	Require map[string]string
}

// BMC is the account of every node's BMC, and where they are; what is empty is up to Tenks.
type BMC struct {
	Username     string
	PasswordFile string
	// KeyFile holds K_g of IPMI (v2.0 §13.31); empty: logins take one key.
	KeyFile string
	// IPMI15 has sessions of IPMI 1.5 answered; not with KeyFile.
	IPMI15 bool
	// Addresses are those that nodes get one of each; none: a port of their host.
	Addresses []AddressRange
}

// PDU is who may switch the outlets of a power distribution unit.
type PDU struct {
	// CommunityFile holds the community of SNMPv1 and SNMPv2c; empty: those are not answered.
	CommunityFile string
	// User is that of SNMPv3; empty: that is not answered.
	User         string
	PasswordFile string
}

// LoadCluster reads a cluster file. The name is for faults. The error is Faults.
func LoadCluster(name string, data []byte) (Cluster, error) {
	r := &reader{file: name}
	root := r.parse(data)
	if root == nil {
		return Cluster{}, r.err()
	}
	if root.kind == null {
		r.add(root.line, "cluster", "missing: the file is empty")
		return Cluster{}, r.err()
	}
	c, _ := clusterFile().read(r, root)
	r.checkCluster(c, root)
	if err := r.err(); err != nil {
		return Cluster{}, err
	}
	return c, nil
}

func zero[T any]() (t T) { return t }

func clusterFile() shape[Cluster] {
	return object(zero[Cluster],
		req("cluster", "Name of the cluster, unique in the mesh.",
			func(c *Cluster) *string { return &c.Name }, text(plainName)),
		opt("node_types", "Hardware of nodes, by name.",
			func(c *Cluster) *map[string]NodeType { return &c.NodeTypes }, mapOf(maxTypes, plainName, nodeType())),
		opt("specs", "How many nodes of which type.",
			func(c *Cluster) *[]Spec { return &c.Specs }, listOf(maxSpecs, spec())),
		opt("ironic", "The Ironic to enrol nodes in. Absent: none.",
			func(c *Cluster) **Ironic { return &c.Ironic }, pointer(ironic())),
		opt("deploy_kernel", "Kernel of the deploy agent: a URL or path that Ironic can read, or with ironic.cloud the name or UUID of an image in Glance.",
			func(c *Cluster) *string { return &c.DeployKernel }, text(deployImage)),
		opt("deploy_ramdisk", "Ramdisk of the deploy agent: a URL or path that Ironic can read, or with ironic.cloud the name or UUID of an image in Glance.",
			func(c *Cluster) *string { return &c.DeployRamdisk }, text(deployImage)),
		opt("bmc", "Account and address of every node's BMC. Absent: admin, and a password made for each node; a port of its host.",
			func(c *Cluster) *BMC { return &c.BMC }, bmcAccount()),
		opt("pdus", "Power distribution units, by name.",
			func(c *Cluster) *map[string]PDU { return &c.PDUs }, mapOf(maxPDUs, plainName, pduAccount())),
		opt("nova_flavors", "Flavors that Nova has for the nodes. Only with ironic.cloud.",
			func(c *Cluster) *[]Flavor { return &c.Flavors }, listOf(maxFlavors, flavor())),
		opt("wait_for_placement", "Whether apply --wait waits until Placement offers the enrolled nodes. Only with ironic.cloud.",
			func(c *Cluster) *bool { return &c.WaitForPlacement }, flag()),
	).saying(deployRules).saying(flavorRules)
}

func nodeType() shape[NodeType] {
	base := func() NodeType {
		return NodeType{IronicDriver: "ipmi", BootMode: "uefi", Driver: "libvirt", Hardware: hardwareBase()}
	}
	return object(base, append([]field[NodeType]{
		req("memory_mb", "Memory in MiB.",
			func(t *NodeType) *uint64 { return &t.MemoryMB }, whole[uint64](16, maxMemory-1)),
		req("vcpus", "Virtual processors.",
			func(t *NodeType) *int { return &t.VCPUs }, whole[int](1, 1024)),
		opt("volumes", "Disks, in order. Absent: a diskless node.",
			func(t *NodeType) *[]Volume { return &t.Volumes }, listOf(maxVolumes, volume())),
		portNetworks(),
		opt("ironic_driver", "Hardware type in Ironic, and so the protocol of the BMC; snmp: no BMC, only an outlet.",
			func(t *NodeType) *string { return &t.IronicDriver },
			choice([]string{"ipmi", "redfish", "snmp"}, nil)),
		opt("boot_mode", "Firmware.",
			func(t *NodeType) *string { return &t.BootMode }, choice([]string{"uefi", "bios"}, nil)),
		opt("driver", "What embodies the node, as in a hypervisor's agent.yml.",
			func(t *NodeType) *string { return &t.Driver }, text(driverName)),
		opt("secure_boot", "Whether nodes begin with UEFI Secure Boot on, and the firmware's default keys. Only with boot_mode uefi.",
			func(t *NodeType) *bool { return &t.SecureBoot }, flag()),
		opt("tpm", "Version of the TPM, 2.0. Absent: none.",
			func(t *NodeType) *string { return &t.TPM }, choice([]string{"2.0"}, nil)),
	}, hardware()...)...).saying(schema{
		"if":   schema{"properties": schema{"secure_boot": schema{"const": true}, "boot_mode": schema{"const": "bios"}}, "required": []string{"secure_boot", "boot_mode"}},
		"then": schema{"not": schema{}},
	})
}

func spec() shape[Spec] {
	base := func() Spec {
		return Spec{NodeNamePrefix: "tk", VolNamePrefix: "vol", OnHostLoss: "hold", StopAfter: "30s"}
	}
	return object(base,
		req("type", "One of node_types.",
			func(s *Spec) *string { return &s.Type }, text(plainName)),
		req("count", "How many nodes; 0 for none.",
			func(s *Spec) *int { return &s.Count }, whole[int](0, maxCount)),
		opt("node_name_prefix", "Nodes are named by this and a number.",
			func(s *Spec) *string { return &s.NodeNamePrefix }, also(text(prefix), notUUID)),
		opt("vol_name_prefix", "Volumes' files are named by the node, this and a number.",
			func(s *Spec) *string { return &s.VolNamePrefix }, text(volPrefix)),
		opt("ironic_config", "How the nodes appear in Ironic. Absent: they are not enrolled.",
			func(s *Spec) **IronicConfig { return &s.IronicConfig }, pointer(ironicConfig())),
		opt("placement", "Where the nodes may run.",
			func(s *Spec) *Placement { return &s.Placement }, placement()),
		opt("on_host_loss", "What becomes of a node whose host is lost: hold waits for the host, rebuild makes it anew elsewhere.",
			func(s *Spec) *string { return &s.OnHostLoss },
			choice([]string{"hold", "rebuild"}, nil)),
		opt("stop_after", "With rebuild: a host that is cut off from the mesh for so long stops the node.",
			func(s *Spec) *string { return &s.StopAfter },
			also(text(stopTime), stopDelay)),
		opt("pdu", "One of pdus, whose outlets the nodes are plugged into. Absent: none.",
			func(s *Spec) *string { return &s.PDU }, text(plainName)),
		opt("nodes", "Names that nodes get when they are made, before those by prefix and number: for nodes that were there before.",
			func(s *Spec) *[]NamedNode { return &s.Nodes }, listOf(maxCount, namedNode())),
	)
}

func namedNode() shape[NamedNode] {
	return object(zero[NamedNode],
		req("name", "Name.",
			func(n *NamedNode) *string { return &n.Name }, also(text(plainName), notUUID)),
		opt("uuid", "UUID. Absent: a new one.",
			func(n *NamedNode) *string { return &n.UUID }, text(uuidText)),
		opt("hypervisor", "Name of the peer that it is placed on. Absent: any.",
			func(n *NamedNode) *string { return &n.Hypervisor }, text(plainName)),
		opt("bmc_port", "Port that its BMC gets there, if that is free. Absent: any.",
			func(n *NamedNode) *int { return &n.BMCPort }, whole[int](1, 65535)),
	)
}

func placement() shape[Placement] {
	return object(zero[Placement],
		opt("spread", "Spread the spec's nodes over zones or hypervisors.",
			func(p *Placement) *string { return &p.Spread }, choice([]string{"zone", "hypervisor"}, nil)),
		opt("require", "Labels that a hypervisor must have.",
			func(p *Placement) *map[string]string { return &p.Require }, mapOf(100, labelKey, anyText(oneLine))),
	)
}

func bmcAccount() shape[BMC] {
	return object(zero[BMC],
		opt("username", "Login name.",
			func(b *BMC) *string { return &b.Username }, text(bmcUser)),
		opt("password_file", "A file that holds the password.",
			func(b *BMC) *string { return &b.PasswordFile }, text(filePath)),
		opt("key_file", "A file that holds K_g, the second key of IPMI logins: up to 20 characters, or 0x and up to 40 hexadecimal digits.",
			func(b *BMC) *string { return &b.KeyFile }, text(filePath)),
		opt("ipmi_1_5", "Whether sessions of IPMI 1.5 are answered as well, which are not encrypted. Not with key_file.",
			func(b *BMC) *bool { return &b.IPMI15 }, flag()),
		opt("addresses", "Pool that each node's BMC gets an address of: first-last, a prefix, an address, or a list of these.",
			func(b *BMC) *[]AddressRange { return &b.Addresses }, addresses()),
	).saying(schema{
		"if":   schema{"properties": schema{"ipmi_1_5": schema{"const": true}}, "required": []string{"ipmi_1_5", "key_file"}},
		"then": schema{"not": schema{}},
	})
}

func pduAccount() shape[PDU] {
	return object(zero[PDU],
		opt("community_file", "A file that holds the community of SNMPv1 and SNMPv2c. Absent: those are not answered.",
			func(p *PDU) *string { return &p.CommunityFile }, text(filePath)),
		opt("user", "User of SNMPv3. Absent: that is not answered.",
			func(p *PDU) *string { return &p.User }, text(snmpUser)),
		opt("password_file", "A file that holds the user's password, for authentication and privacy.",
			func(p *PDU) *string { return &p.PasswordFile }, text(filePath)),
	).saying(schema{
		"anyOf":             []schema{{"required": []string{"community_file"}}, {"required": []string{"user"}}},
		"dependentRequired": map[string][]string{"user": {"password_file"}, "password_file": {"user"}},
	})
}
