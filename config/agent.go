package config

import (
	"regexp"
	"time"
)

// Agent is agent.yml: what a host offers to the mesh.
type Agent struct {
	// Name of the peer; empty: the host's name.
	Name    string
	DataDir string
	// Advertise is the IP address for other peers; empty: that of the default
	// route's device.
	Advertise string
	Zone      string
	Labels    map[string]string
	// Physnets by name.
	Physnets map[string]Physnet
	// BridgeType is BridgeLinux or BridgeOVS: what the bridges are that Tenks makes.
	BridgeType string
	OVS        AgentOVS
	// Drivers maps the drivers to offer ("libvirt", "fake") to their options, with
	// defaults filled in. Empty: the peer is no hypervisor.
	Drivers    map[string]map[string]string
	Overcommit Overcommit
	BMC        AgentBMC
	Mesh       AgentMesh
	Backup     AgentBackup
	// VXLAN is where the overlays of this host end.
	VXLAN AgentVXLAN
}

// AgentVXLAN is an endpoint of overlays (a VTEP, RFC 7348 §4).
type AgentVXLAN struct {
	// Address is an IP address of the host; empty: as Advertise.
	Address string
	// Port is a UDP port.
	Port int
}

// The types of bridges.
const (
	BridgeLinux = "linux"
	BridgeOVS   = "openvswitch"
)

// The datapaths of Open vSwitch bridges: the kernel's module, and the one in ovs-vswitchd.
const (
	DatapathSystem = "system"
	DatapathNetdev = "netdev"
)

// AgentOVS is the host's Open vSwitch.
type AgentOVS struct {
	// DB is where its database listens: "unix:" and an absolute path.
	DB string
	// Datapath is DatapathSystem or DatapathNetdev, for bridges that Tenks makes.
	Datapath string
}

// AgentBackup is how often an agent keeps a backup of the mesh's state beside it.
type AgentBackup struct {
	// Every is the time between two; 0: none are made.
	Every time.Duration
	// Keep is how many are kept.
	Keep int
}

// AgentMesh is where this peer listens for others, at Advertise.
type AgentMesh struct {
	// Port is a TCP port: log and API. GossipPort is TCP and UDP. 0: any free one.
	Port, GossipPort int
}

// Physnet is how a host reaches a physical network.
type Physnet struct {
	// Device is an interface or bridge of the host; empty: the physnet is isolated, or an
	// overlay.
	Device string
	// VLAN is one of Device's, 1 to 4094; 0: its untagged frames.
	VLAN int
	// VXLAN is the network identifier (VNI) of an overlay; 0: the physnet is none.
	VXLAN int
	// MTU is in bytes; 0: worked out.
	MTU int
}

// Overcommit has the factors by which a hypervisor may be promised more than it
// has.
type Overcommit struct {
	VCPUs, Memory, Disk float64
}

// AgentBMC is where this host's BMCs listen.
type AgentBMC struct {
	// Address is an IP address; empty: as Advertise.
	Address string
	// IPMIPorts are UDP ports, one per node.
	IPMIPorts PortRange
	// RedfishPort is a TCP port; 0: there is no Redfish service here.
	RedfishPort int
	// SNMPPort is a UDP port, for PDUs; 0: they are not reached here.
	SNMPPort int
	// Device has the BMC network, for nodes whose BMC has an address of its own; empty:
	// whichever device has a link in the address's network. Network is the prefix of that
	// network, for a device without an address in it.
	Device, Network string
	// TLSCert and TLSKey are files of the Redfish service's certificate and key; both are
	// empty for one that the mesh's authority signs.
	TLSCert, TLSKey string
	// MediaSize is how large an image may be that is put into a node's drive.
	MediaSize Size
	// MediaLocal lets images come from the host itself and from its links' own addresses.
	MediaLocal bool
}

// PortRange is a range of ports, both ends included.
type PortRange struct {
	First, Last int
}

// DefaultAgent returns what an empty agent.yml means.
func DefaultAgent() Agent {
	a := agentBase()
	a.finish()
	return a
}

// LoadAgent reads an agent.yml, in which every key has a default. The name is for
// faults. The error is Faults.
func LoadAgent(name string, data []byte) (Agent, error) {
	r := &reader{file: name}
	root := r.parse(data)
	if root == nil {
		return Agent{}, r.err()
	}
	a, _ := orNothing(agentFile()).read(r, root)
	r.checkPhysnets(a, root)
	r.checkBMC(root)
	r.checkListeners(a, root)
	if err := r.err(); err != nil {
		return Agent{}, err
	}
	a.finish()
	return a, nil
}

func agentBase() Agent {
	return Agent{
		DataDir:    "/var/lib/tenks",
		BridgeType: BridgeLinux,
		OVS:        AgentOVS{DB: "unix:/run/openvswitch/db.sock", Datapath: DatapathSystem},
		Drivers:    map[string]map[string]string{"libvirt": libvirtBase()},
		Overcommit: Overcommit{VCPUs: 4, Memory: 1, Disk: 2},
		BMC:        AgentBMC{IPMIPorts: PortRange{First: 6230, Last: 16229}, RedfishPort: 8000, SNMPPort: 1610, MediaSize: 16 << 30},
		Mesh:       AgentMesh{Port: 7740, GossipPort: 7741},
		Backup:     AgentBackup{Every: 24 * time.Hour, Keep: 7},
		VXLAN:      AgentVXLAN{Port: 4789},
	}
}

func libvirtBase() map[string]string {
	return map[string]string{"uri": "qemu:///system", "domain_type": "auto", "pool_mode": "711", "vnc_address": "127.0.0.1"}
}

// finish sets the defaults that depend on other keys.
func (a *Agent) finish() {
	if o, ok := a.Drivers["libvirt"]; ok && o["pool_path"] == "" {
		o["pool_path"] = a.DataDir + "/pool"
	}
}

func agentFile() shape[Agent] {
	return object(agentBase,
		opt("name", "Name of the peer.", func(a *Agent) *string { return &a.Name }, text(plainName)),
		opt("data_dir", "Where the agent keeps its state.",
			func(a *Agent) *string { return &a.DataDir }, text(filePath)),
		opt("advertise", "IP address for other peers.",
			func(a *Agent) *string { return &a.Advertise }, also(text(address), hostAddress)),
		opt("zone", "Failure domain.", func(a *Agent) *string { return &a.Zone }, text(plainName)),
		opt("labels", "For specs' placement.",
			func(a *Agent) *map[string]string { return &a.Labels }, mapOf(100, labelKey, anyText(oneLine))),
		opt("physnets", "Physical networks and how this host reaches them.",
			func(a *Agent) *map[string]Physnet { return &a.Physnets }, mapOf(1000, plainName, orNothing(physnet()))),
		opt("bridge_type", "Type of the bridges that Tenks makes.",
			func(a *Agent) *string { return &a.BridgeType },
			choice([]string{BridgeLinux, BridgeOVS}, nil)),
		opt("ovs", "The host's Open vSwitch.", func(a *Agent) *AgentOVS { return &a.OVS }, agentOVS()),
		opt("drivers", "What embodies nodes here.",
			func(a *Agent) *map[string]map[string]string { return &a.Drivers }, drivers()),
		opt("overcommit", "Factors on what the host has.",
			func(a *Agent) *Overcommit { return &a.Overcommit }, overcommit()),
		opt("bmc", "Where BMCs listen.", func(a *Agent) *AgentBMC { return &a.BMC }, agentBMC()),
		opt("mesh", "Where this peer listens for others.", func(a *Agent) *AgentMesh { return &a.Mesh }, agentMesh()),
		opt("backup", "Backups of the mesh's state on this host.", func(a *Agent) *AgentBackup { return &a.Backup }, agentBackup()),
		opt("vxlan", "Where this host's overlays end.", func(a *Agent) *AgentVXLAN { return &a.VXLAN }, agentVXLAN()),
	)
}

func agentOVS() shape[AgentOVS] {
	base := func() AgentOVS { return agentBase().OVS }
	return object(base,
		opt("db", "Where its database listens.", func(o *AgentOVS) *string { return &o.DB }, text(ovsDB)),
		opt("datapath", "Datapath of the bridges that Tenks makes: the kernel's, or in userspace.",
			func(o *AgentOVS) *string { return &o.Datapath }, choice([]string{DatapathSystem, DatapathNetdev}, nil)),
	)
}

func drivers() shape[map[string]map[string]string] {
	none := func() map[string]map[string]string { return map[string]map[string]string{} }
	libvirt := object(libvirtBase,
		entry("uri", "uri", "Which libvirt.", text(libvirtURI)),
		entry("domain_type", "domain_type", "KVM where the host has it, or one for all.",
			choice([]string{"auto", "kvm", "qemu"}, nil)),
		entry("pool_type", "pool_type", "What volumes are: files in pool_path, or logical volumes of LVM.", choice([]string{"dir", "logical"}, nil)),
		entry("pool_source", "pool_source", "With pool_type logical: the volume group, which is there.", text(volumeGroup)),
		entry("pool_path", "pool_path", "Where volumes are that are files, and firmware variables.", text(filePath)),
		entry("pool_mode", "pool_mode", "Mode of that directory, when it is made, in octal.", text(poolMode)),
		entry("vnc_address", "vnc_address", "Where screens are shared.", also(text(address), screenAddress)),
	)
	libvirt = poolRules(libvirt)
	fake := object(func() map[string]string { return map[string]string{} },
		entry("delay", "delay", "How long each operation takes.", also(text(duration), delay)),
	)
	return object(none,
		entry("libvirt", "libvirt", "Domains of libvirt.", orNothing(libvirt)),
		entry("fake", "fake", "Nodes without a VM.", orNothing(fake)),
		later[map[string]map[string]string]("openstack"),
	)
}

// poolRules wants a volume group with pool_type: logical, and with nothing else.
func poolRules(s shape[map[string]string]) shape[map[string]string] {
	logical := schema{"properties": schema{"pool_type": schema{"const": "logical"}}, "required": []string{"pool_type"}}
	source := schema{"required": []string{"pool_source"}}
	s.schema = s.schema.with(schema{"anyOf": []schema{{"allOf": []schema{logical, source}}, {"not": schema{"anyOf": []schema{logical, source}}}}})
	read := s.read
	s.read = func(r *reader, n *node) (map[string]string, bool) {
		v, ok := read(r, n)
		kind, hasType := n.get("pool_type")
		source, hasSource := n.get("pool_source")
		switch logical := v["pool_type"] == "logical"; {
		case logical && !hasSource:
			r.fault(kind, "needs pool_source too: the volume group")
		case hasSource && !logical && (!hasType || !kind.bad):
			r.fault(source, "only goes with pool_type: logical")
		}
		return v, ok
	}
	return s
}

func overcommit() shape[Overcommit] {
	factor := number(0.01, 1000)
	base := func() Overcommit { return agentBase().Overcommit }
	return object(base,
		opt("vcpus", "Virtual processors.", func(o *Overcommit) *float64 { return &o.VCPUs }, factor),
		opt("memory", "Memory.", func(o *Overcommit) *float64 { return &o.Memory }, factor),
		opt("disk", "Disk space.", func(o *Overcommit) *float64 { return &o.Disk }, factor),
	)
}

func agentBMC() shape[AgentBMC] {
	base := func() AgentBMC { return agentBase().BMC }
	return object(base,
		opt("address", "IP address.",
			func(b *AgentBMC) *string { return &b.Address }, also(text(address), hostAddress)),
		opt("ipmi_ports", "UDP ports, first-last.",
			func(b *AgentBMC) *PortRange { return &b.IPMIPorts }, checked(portRange.schema(), ports, portRange.want, "")),
		opt("redfish_port", "TCP port of the Redfish service; 0: none.",
			func(b *AgentBMC) *int { return &b.RedfishPort }, whole[int](0, 65535)),
		opt("snmp_port", "UDP port of PDUs, once a cluster has some; 0: none.",
			func(b *AgentBMC) *int { return &b.SNMPPort }, whole[int](0, 65535)),
		opt("device", "Device in the BMC network. Absent: whichever has an address in the network of a node's BMC.",
			func(b *AgentBMC) *string { return &b.Device }, also(text(device), notDots)),
		opt("network", "With device: the BMC network's prefix, where the device has no address in it.",
			func(b *AgentBMC) *string { return &b.Network }, also(text(networkPrefix), isNetwork)),
		opt("tls_cert", "Certificate of the Redfish service with its chain, in PEM. Absent: the mesh's authority signs one.",
			func(b *AgentBMC) *string { return &b.TLSCert }, text(filePath)),
		opt("tls_key", "Key of tls_cert, in PEM.",
			func(b *AgentBMC) *string { return &b.TLSKey }, text(filePath)),
		opt("media_size", "How large an image of virtual media may be: 16GiB, 16GB, or a number of bytes.",
			func(b *AgentBMC) *Size { return &b.MediaSize }, capacity()),
		opt("media_local", "Whether images may come from loopback and link-local addresses.",
			func(b *AgentBMC) *bool { return &b.MediaLocal }, flag()),
	).saying(schema{"dependentRequired": map[string][]string{"tls_cert": {"tls_key"}, "tls_key": {"tls_cert"}, "network": {"device"}}})
}

func agentMesh() shape[AgentMesh] {
	base := func() AgentMesh { return agentBase().Mesh }
	return object(base,
		opt("port", "TCP port: log and API.",
			func(m *AgentMesh) *int { return &m.Port }, whole[int](0, 65535)),
		opt("gossip_port", "TCP and UDP port.",
			func(m *AgentMesh) *int { return &m.GossipPort }, whole[int](0, 65535)),
	)
}

func agentBackup() shape[AgentBackup] {
	base := func() AgentBackup { return agentBase().Backup }
	return object(base,
		opt("every", "Time between two; 0s: none.",
			func(b *AgentBackup) *time.Duration { return &b.Every }, backupPeriod()),
		opt("keep", "How many are kept.",
			func(b *AgentBackup) *int { return &b.Keep }, whole[int](1, 1000)),
	)
}

// checkBMC refuses a certificate without its key, a key without its certificate, and a
// network without its device.
func (r *reader) checkBMC(root *node) {
	bmc, ok := root.get("bmc")
	if !ok {
		return
	}
	cert, hasCert := bmc.get("tls_cert")
	key, hasKey := bmc.get("tls_key")
	switch {
	case hasCert && !hasKey:
		r.fault(cert, "needs tls_key too")
	case hasKey && !hasCert:
		r.fault(key, "needs tls_cert too")
	}
	network, hasNetwork := bmc.get("network")
	if _, hasDevice := bmc.get("device"); hasNetwork && !hasDevice {
		r.fault(network, "needs device too")
	}
}

// checkListeners refuses one port for two services of the agent at one address. 0 is any port
// that is free, or none.
func (r *reader) checkListeners(a Agent, root *node) {
	type listener struct {
		port         int
		section, key string
	}
	log, gossip := listener{a.Mesh.Port, "mesh", "port"}, listener{a.Mesh.GossipPort, "mesh", "gossip_port"}
	redfish, snmp := listener{a.BMC.RedfishPort, "bmc", "redfish_port"}, listener{a.BMC.SNMPPort, "bmc", "snmp_port"}
	elsewhere := a.BMC.Address != "" && a.BMC.Address != a.Advertise
	for _, pair := range [][2]listener{{gossip, log}, {redfish, log}, {redfish, gossip}, {snmp, gossip}} {
		one, other := pair[0], pair[1]
		if one.port == 0 || one.port != other.port || one.section == "bmc" && elsewhere {
			continue
		}
		at := root.at(one.section, one.key)
		if at.name != one.key { // it is the default that is in the way
			at, other = root.at(other.section, other.key), one
		}
		r.fault(at, "%d is %s.%s already: each has a port of its own", one.port, other.section, other.key)
	}
}

// backupTime is a time between backups.
var backupTime = pattern{re: regexp.MustCompile(``), most: 255, want: "a time of 1m to 8760h, such as 24h, or 0s for none"}

func backupPeriod() shape[time.Duration] {
	return checked(backupTime.schema(), func(s string) (time.Duration, string) {
		d, err := time.ParseDuration(s)
		if err != nil || d != 0 && (d < time.Minute || d > 8760*time.Hour) {
			return 0, "want " + backupTime.want + ", found " + quote(s)
		}
		return d, ""
	}, backupTime.want, "")
}
