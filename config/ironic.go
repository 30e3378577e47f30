package config

import "slices"

// IronicConfig is what Ironic is told of a node beyond its hardware.
type IronicConfig struct {
	ResourceClass string
	Traits        []string
	// Properties holds scalars as they are written in the file, Objects what is no scalar, as
	// JSON: among it root_device, the root device hints.
	Properties, Objects map[string]string
	// Extra has values as JSON.
	Extra          map[string]string
	ConductorGroup string
	Description    string
	// Shard, Owner and Lessee are names of Ironic's users' choice.
	Shard, Owner, Lessee string
	// Interfaces maps the kind ("network") to the interface ("noop").
	Interfaces map[string]string
	// RedfishVerifyCA is a path on Ironic's conductors; empty: certificates are not checked.
	RedfishVerifyCA string
	// AutomatedClean is nil where Ironic's own configuration says it.
	AutomatedClean *bool
	// State is "enroll", "manageable" or "available": what nodes are taken to.
	State string
	// Inspect has nodes inspected once on their way; Recover takes them out of failed states.
	Inspect, Recover bool
	// PXEEnabled lists the ports that nodes boot from, from 0; nil: it is not said.
	PXEEnabled *[]int
	PortGroups []PortGroup
	// NetworkData is JSON; empty: none. MAC addresses in it may be as PortAddress.
	NetworkData string
}

// PortGroup is ports of a node that are one link (a bond).
type PortGroup struct {
	// Name is unique in the spec: in Ironic the node's name goes before it.
	Name string
	// Ports are its members, from 0.
	Ports []int
	// Mode is as Ironic and its switch drivers know it; empty: Ironic's default.
	Mode string
	// Address is a MAC address, or FirstPort; empty: none.
	Address string
	// StandalonePorts is nil where Ironic's default (true) will do.
	StandalonePorts *bool
	// Properties has values as JSON.
	Properties map[string]string
}

// FirstPort as the address of a port group means that of its first port.
const FirstPort = "first-port"

// Ironic says how the Ironic API is reached: by Cloud, or else by Endpoint.
type Ironic struct {
	// Cloud is an entry of clouds.yaml.
	Cloud    string
	Endpoint string
	// Auth is "none" or "http_basic" where Endpoint is set, else empty.
	Auth         string
	Username     string
	PasswordFile string
	// Concurrency bounds the requests at a time, Rate those in a second; 0: the default, and
	// no bound.
	Concurrency int
	Rate        float64
}

func ironicConfig() shape[IronicConfig] {
	base := func() IronicConfig { return IronicConfig{Interfaces: map[string]string{}, State: "available"} }
	fields := []field[IronicConfig]{
		req("resource_class", "Resource class.",
			func(i *IronicConfig) *string { return &i.ResourceClass }, text(resourceClass)),
		opt("traits", "Traits, standard or CUSTOM_….",
			func(i *IronicConfig) *[]string { return &i.Traits }, distinct(listOf(maxTraits, text(trait)))),
		properties(),
		rootDevice(),
		opt("extra", "Extra data, of any form. The key tenks is ours.",
			func(i *IronicConfig) *map[string]string { return &i.Extra },
			mapOf(100, patchable, jsonValue()).saying(schema{"not": schema{"required": []string{"tenks"}}})),
		opt("network_data", "Network configuration, in the form of Nova's network_data.json: links, networks, services. port0 is the MAC address of port 0.",
			func(i *IronicConfig) *string { return &i.NetworkData }, networkData()),
		opt("conductor_group", "Conductor group.",
			func(i *IronicConfig) *string { return &i.ConductorGroup }, text(conductorGroup)),
		opt("shard", "Shard.",
			func(i *IronicConfig) *string { return &i.Shard }, text(someLine)),
		opt("owner", "Project that owns the nodes.",
			func(i *IronicConfig) *string { return &i.Owner }, text(someLine)),
		opt("lessee", "Project that leases the nodes.",
			func(i *IronicConfig) *string { return &i.Lessee }, text(someLine)),
		opt("description", "Description.",
			func(i *IronicConfig) *string { return &i.Description }, text(description)),
		opt("redfish_verify_ca", "With ironic_driver redfish: the file or folder of authorities, on Ironic's conductors, that certificates are checked by. Absent: they are not.",
			func(i *IronicConfig) *string { return &i.RedfishVerifyCA }, text(filePath)),
		opt("automated_clean", "Whether nodes are cleaned on their way to available. Absent: as Ironic is configured.",
			func(i *IronicConfig) **bool { return &i.AutomatedClean }, pointer(flag())),
		opt("state", "What nodes are taken to.",
			func(i *IronicConfig) *string { return &i.State }, choice([]string{"enroll", "manageable", "available"}, nil)),
		opt("inspect", "Whether nodes are inspected, once, before they are provided.",
			func(i *IronicConfig) *bool { return &i.Inspect }, flag()),
		opt("recover", "Whether nodes are taken out of failed states, in a few tries.",
			func(i *IronicConfig) *bool { return &i.Recover }, flag()),
		opt("pxe_enabled", "The ports that nodes boot from, from 0. Absent: all, unless somebody else says so.",
			func(i *IronicConfig) **[]int { return &i.PXEEnabled }, pointer(portList(0))),
		opt("port_groups", "Ports that are one link.",
			func(i *IronicConfig) *[]PortGroup { return &i.PortGroups }, listOf(maxPorts, portGroup())),
	}
	for _, kind := range interfaceKinds {
		f := entry(kind+"_interface", kind, "Ironic's "+kind+" interface.", text(ironicInterface))
		fields = append(fields, field[IronicConfig]{
			key: f.key, doc: f.doc, schema: f.schema,
			read: func(r *reader, n *node, into *IronicConfig) { f.read(r, n, &into.Interfaces) },
		})
	}
	return object(base, fields...).saying(schema{
		"if":   schema{"properties": schema{"state": schema{"const": "enroll"}}, "required": []string{"state"}},
		"then": schema{"not": schema{"properties": schema{"inspect": schema{"const": true}}, "required": []string{"inspect"}}},
	})
}

var interfaceKinds = []string{
	"bios", "boot", "console", "deploy", "firmware", "inspect", "management",
	"network", "power", "raid", "rescue", "storage", "vendor",
}

// properties are scalars, as they are written in the file, and mappings of any form.
func properties() field[IronicConfig] {
	type value struct{ text, object string }
	scalars, objects := anyText(description), jsonValue()
	one := shape[value]{
		read: func(r *reader, n *node) (v value, ok bool) {
			if n.kind == mapping && n.name != "capabilities" { // which are merged
				v.object, ok = objects.read(r, n)
				return v, ok
			}
			v.text, ok = scalars.read(r, n)
			return v, ok
		},
		schema: scalars.schema.with(schema{"type": []string{"string", "number", "boolean", "object"}}),
	}
	all := mapOf(100, patchable, one).saying(schema{"properties": schema{"capabilities": scalars.schema}})
	return field[IronicConfig]{
		key: "properties", schema: all.schema, doc: "Properties, laid over the ones derived from the node type.",
		read: func(r *reader, n *node, into *IronicConfig) {
			values, _ := all.read(r, n)
			for key, v := range values {
				if v.object == "" {
					put(&into.Properties, key, v.text)
					continue
				}
				put(&into.Objects, key, v.object)
			}
		},
	}
}

func put(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}

// rootDevice is an entry of Objects.
func rootDevice() field[IronicConfig] {
	hints := mapOf(len(hintNames), rootDeviceHint, jsonScalar())
	return field[IronicConfig]{
		key: "root_device", schema: hints.schema, doc: "Root device hints: the disk to deploy to, as properties.root_device.",
		read: func(r *reader, n *node, into *IronicConfig) {
			if values, ok := hints.read(r, n); ok && !n.bad {
				put(&into.Objects, "root_device", jsonObject(values))
			}
		},
	}
}

// hintNames are Ironic's root device hints (ironic_lib.utils, VALID_ROOT_DEVICE_HINTS).
var hintNames = []string{"by_path", "hctl", "model", "name", "rotational", "serial", "size", "vendor", "wwn",
	"wwn_vendor_extension", "wwn_with_extension"}

func portGroup() shape[PortGroup] {
	return object(zero[PortGroup],
		req("name", "Name, unique in the spec; in Ironic the node's goes before it.",
			func(g *PortGroup) *string { return &g.Name }, text(plainName)),
		req("ports", "The ports in it, from 0, all of one physical network.",
			func(g *PortGroup) *[]int { return &g.Ports }, portList(1)),
		opt("mode", "Mode, such as active-backup or 802.3ad. Absent: Ironic's default.",
			func(g *PortGroup) *string { return &g.Mode }, text(plainName)),
		opt("address", "MAC address: first-port for that of its first port, or, with one node, an address. Absent: none.",
			func(g *PortGroup) *string { return &g.Address }, text(groupAddress)),
		opt("standalone_ports", "Whether its ports may be used by themselves. Absent: yes.",
			func(g *PortGroup) **bool { return &g.StandalonePorts }, pointer(flag())),
		opt("properties", "Properties, such as miimon.",
			func(g *PortGroup) *map[string]string { return &g.Properties }, mapOf(100, someLine, jsonValue())),
	)
}

// portList is numbers of ports, at least some, none twice.
func portList(least int) shape[[]int] {
	numbers := listOf(maxPorts, whole[int](0, maxPorts-1))
	return shape[[]int]{
		read: func(r *reader, n *node) ([]int, bool) {
			v, ok := numbers.read(r, n)
			if !ok {
				return nil, false
			}
			if len(v) < least {
				r.fault(n, "want at least %d port", least)
				return nil, false
			}
			for i, port := range v {
				if first := slices.Index(v, port); first < i && !n.items[i].bad && !n.items[first].bad {
					r.fault(n.items[i], "port %d is in the list already", port)
				}
			}
			return v, true
		},
		schema: numbers.schema.with(schema{"minItems": least, "uniqueItems": true}),
	}
}

func ironic() shape[Ironic] {
	return object(zero[Ironic],
		opt("cloud", "Entry of clouds.yaml.",
			func(i *Ironic) *string { return &i.Cloud }, text(someLine)),
		opt("endpoint", "URL of the Ironic API, for one without Keystone.",
			func(i *Ironic) *string { return &i.Endpoint }, also(text(endpoint), endpointParses)),
		opt("auth", "With endpoint: none (default) or http_basic.",
			func(i *Ironic) *string { return &i.Auth }, choice([]string{"none", "http_basic"}, nil)),
		opt("username", "With auth http_basic.",
			func(i *Ironic) *string { return &i.Username }, text(someLine)),
		opt("password_file", "With auth http_basic: a file that holds the password.",
			func(i *Ironic) *string { return &i.PasswordFile }, text(filePath)),
		opt("concurrency", "Requests at a time. Absent: 8.",
			func(i *Ironic) *int { return &i.Concurrency }, whole[int](1, 256)),
		opt("rate", "Requests in a second. Absent: as many as it takes.",
			func(i *Ironic) *float64 { return &i.Rate }, number(0.1, 10_000)),
	).saying(ironicRules)
}
