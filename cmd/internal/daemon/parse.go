package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenks/cmd/internal/api"
	"tenks/config"
	"tenks/raftfsm/state"
)

// ParseCluster reads the cluster file of a request, with what the client read of
// the files that it names.
func ParseCluster(r *api.ApplyRequest) (state.Cluster, error) {
	name := r.Name
	if name == "" {
		name = "cluster file"
	}
	c, err := config.LoadCluster(name, []byte(r.File))
	if err != nil {
		return state.Cluster{}, err
	}
	if err := checkOverlays(name, c); err != nil {
		return state.Cluster{}, err
	}
	out := convert(c)
	out.Source = r.File
	if c.BMC.PasswordFile != "" {
		if r.BMCPassword == "" {
			return state.Cluster{}, fmt.Errorf("%s: bmc.password_file: the request does not carry its content", name)
		}
		out.BMC.Password = state.NewSecret(r.BMCPassword)
	}
	if out.PDUs, err = pdus(name, c.PDUs, r.PDUs); err != nil {
		return state.Cluster{}, err
	}
	if c.BMC.KeyFile != "" {
		if r.BMCKey == "" {
			return state.Cluster{}, fmt.Errorf("%s: bmc.key_file: the request does not carry its content", name)
		}
		if out.BMC.Key, err = state.ParseKey(r.BMCKey); err != nil {
			return state.Cluster{}, fmt.Errorf("%s: bmc.key_file: %s: %w", name, c.BMC.KeyFile, err)
		}
	}
	if out.Ironic == nil {
		return out, nil
	}
	if err := addIronicSecrets(&out, name, c.Ironic, r); err != nil {
		return state.Cluster{}, err
	}
	return out, nil
}

// addIronicSecrets takes over what the client read of the files that say how Ironic is reached.
func addIronicSecrets(out *state.Cluster, name string, i *config.Ironic, r *api.ApplyRequest) error {
	switch {
	case i.Cloud != "" && r.CloudYAML == "":
		return fmt.Errorf("%s: ironic.cloud: the request does not carry the entry of clouds.yaml", name)
	case i.PasswordFile != "" && r.IronicPassword == "":
		return fmt.Errorf("%s: ironic.password_file: the request does not carry its content", name)
	}
	if i.Cloud != "" {
		out.Ironic.CloudYAML = state.NewSecret(r.CloudYAML)
	}
	if i.PasswordFile != "" {
		out.Ironic.Password = state.NewSecret(r.IronicPassword)
	}
	return nil
}

// stopAfter is nothing where the nodes wait for their host.
func stopAfter(s config.Spec) int64 {
	d, err := time.ParseDuration(s.StopAfter)
	if err != nil || state.LossPolicy(s.OnHostLoss) != state.LossRebuild {
		return 0
	}
	return d.Milliseconds()
}

// convert turns a cluster file into what the state holds.
func convert(c config.Cluster) state.Cluster {
	out := state.Cluster{Name: c.Name, Types: map[string]state.Machine{},
		DeployKernel: fileURL(c.DeployKernel), DeployRamdisk: fileURL(c.DeployRamdisk),
		BMC: state.Account{Username: c.BMC.Username, IPMI15: c.BMC.IPMI15}}
	for _, r := range c.BMC.Addresses {
		out.BMCPool = append(out.BMCPool, state.AddressRange{First: r.First, Last: r.Last})
	}
	for name, t := range c.NodeTypes {
		out.Types[name] = machine(t)
	}
	out.Flavors, out.WaitForPlacement = flavors(c), c.WaitForPlacement
	seen := map[string]int{}
	for _, s := range c.Specs {
		key := s.Type + "/" + s.NodeNamePrefix
		out.Specs = append(out.Specs, state.Spec{Key: key + "/" + strconv.Itoa(seen[key]), Type: s.Type,
			Count: s.Count, Prefix: s.NodeNamePrefix, VolumePrefix: unless(s.VolNamePrefix, "vol"), Enrol: enrolment(s.IronicConfig, c.NodeTypes[s.Type]),
			Constraints: state.Constraints{Spread: s.Placement.Spread, Require: s.Placement.Require},
			OnHostLoss:  state.LossPolicy(s.OnHostLoss), StopAfterMilli: stopAfter(s), PDU: s.PDU, Nodes: namedNodes(s.Nodes)})
		seen[key]++
	}
	if i := c.Ironic; i != nil {
		out.Ironic = &state.IronicAccess{Endpoint: i.Endpoint, Auth: i.Auth, Cloud: i.Cloud, Username: i.Username}
		if i.Cloud != "" {
			out.Ironic.Auth = "cloud"
		}
		out.IronicLimits = state.IronicLimits{Concurrency: i.Concurrency, Rate: i.Rate}
	}
	return out
}

func namedNodes(all []config.NamedNode) []state.NamedNode {
	var out []state.NamedNode
	for _, n := range all {
		out = append(out, state.NamedNode(n))
	}
	return out
}

// Bounds of what PDUs are reached by: a community as net-snmp takes it, a password as RFC
// 3414 §11.2 recommends and Ironic demands.
const (
	maxCommunity                     = 32
	minSNMPPassword, maxSNMPPassword = 8, 255
)

// pdus returns the PDUs of a cluster file, by name, with what their files hold.
func pdus(file string, declared map[string]config.PDU, secrets map[string]api.PDUSecrets) ([]state.PDU, error) {
	var out []state.PDU
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		p, s := declared[name], secrets[name]
		switch {
		case p.CommunityFile != "" && s.Community == "":
			return nil, fmt.Errorf("%s: pdus.%s.community_file: the request does not carry its content", file, name)
		case p.PasswordFile != "" && s.Password == "":
			return nil, fmt.Errorf("%s: pdus.%s.password_file: the request does not carry its content", file, name)
		case len(s.Community) > maxCommunity || !printable(s.Community):
			return nil, fmt.Errorf("%s: pdus.%s.community_file: want 1 to %d printable ASCII characters", file, name, maxCommunity)
		case s.Password != "" && (len(s.Password) < minSNMPPassword || len(s.Password) > maxSNMPPassword || !printable(s.Password)):
			return nil, fmt.Errorf("%s: pdus.%s.password_file: want %d to %d printable ASCII characters", file, name, minSNMPPassword, maxSNMPPassword)
		}
		out = append(out, state.PDU{Name: name, Community: state.NewSecret(s.Community), User: p.User, Password: state.NewSecret(s.Password)})
	}
	return out, nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// fileURL gives a path the form that Ironic takes: a bare one is refused.
func fileURL(image string) string {
	if strings.HasPrefix(image, "/") {
		return "file://" + image
	}
	return image
}
