package declare

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"tenks/raftfsm/state"
)

// maxLinkName is the longest LinkName: "p-" + 6 + "-99" + "-tap" are 15 bytes, the
// most that an interface name holds (IFNAMSIZ, netdevice(7)).
const maxLinkName = 6

// passwordLength is that of a generated BMC password: what IPMI 1.5 clients can
// send too (IPMI v2.0 §22.30).
const passwordLength = 16

// identities hands out names, UUIDs, MACs and link names that nobody in the mesh
// has.
type identities struct {
	snap                   *state.Snapshot
	random                 io.Reader
	names, macs, linkNames map[string]bool
	next                   map[string]int
	// addresses are those that no BMC can be given.
	addresses map[netip.Addr]bool
	// ports are the BMC ports in use, by hypervisor, of those that were asked for.
	ports map[string]map[int]bool
}

func newIdentities(snap *state.Snapshot, random io.Reader) *identities {
	ids := &identities{snap: snap, random: random, names: map[string]bool{}, macs: map[string]bool{},
		linkNames: map[string]bool{}, next: map[string]int{}, ports: map[string]map[int]bool{}}
	for _, n := range snap.Nodes() {
		ids.names[n.Name], ids.linkNames[n.LinkName] = true, true
		for _, p := range n.Ports {
			ids.macs[p.MAC] = true
		}
	}
	return ids
}

// node returns a new node with the name and UUID that it is to have, or else the lowest
// free name of a prefix and a UUID of its own.
func (ids *identities) node(prefix string, want state.NamedNode, ports int) (state.Node, error) {
	id, err := uuid.NewRandomFromReader(ids.random)
	if err != nil {
		return state.Node{}, fmt.Errorf("node UUID: %w", err)
	}
	name := want.Name
	if name == "" {
		name = ids.name(prefix)
	}
	ids.names[name] = true
	password, err := ids.password()
	if err != nil {
		return state.Node{}, fmt.Errorf("BMC password: %w", err)
	}
	n := state.Node{UUID: cmp.Or(want.UUID, id.String()), Name: name,
		BMC: state.Account{Username: "admin", Password: state.NewSecret(password)}}
	n.LinkName = ids.linkName(n.Name, n.UUID)
	for i := range ports {
		n.Ports = append(n.Ports, state.Port{MAC: ids.mac(n.UUID, i)})
	}
	return n, nil
}

func (ids *identities) name(prefix string) string {
	for i := ids.next[prefix]; ; i++ {
		name := prefix + strconv.Itoa(i)
		if !ids.names[name] {
			ids.names[name], ids.next[prefix] = true, i+1
			return name
		}
	}
}

// mac derives a locally unique address from UUID and port index.
func (ids *identities) mac(uuid string, port int) string {
	for attempt := 0; ; attempt++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d", uuid, port, attempt))
		mac := fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
		if !ids.macs[mac] {
			ids.macs[mac] = true
			return mac
		}
	}
}

// linkName is the name cut to six bytes with its trailing digits kept, as the
// Ansible Tenks does, or a hash where that is taken.
func (ids *identities) linkName(name, uuid string) string {
	short := shorten(name)
	for attempt := 0; short == "" || ids.linkNames[short]; attempt++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", uuid, attempt))
		short = hex.EncodeToString(sum[:3])
	}
	ids.linkNames[short] = true
	return short
}

func shorten(name string) string {
	head := strings.TrimRight(name, "0123456789")
	digits := name[len(head):]
	if len(digits) > maxLinkName {
		return ""
	}
	return head[:min(len(head), maxLinkName-len(digits))] + digits
}

func (ids *identities) password() (string, error) {
	const letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	raw := make([]byte, 32)
	if _, err := io.ReadFull(ids.random, raw); err != nil {
		return "", err
	}
	// 256 random bits written in base len(letters): no letter is likelier.
	number, base, digit := new(big.Int).SetBytes(raw), big.NewInt(int64(len(letters))), new(big.Int)
	var b strings.Builder
	for range passwordLength {
		number.DivMod(number, base, digit)
		b.WriteByte(letters[digit.Int64()])
	}
	return b.String(), nil
}

// change declares an existing node anew: ports that stay keep their MAC.
func (ids *identities) change(n *state.Node, spec state.Spec, machine state.Machine, want *state.Cluster) (state.NodeChange, error) {
	pool := poolOf(want, machine)
	if was := n.Machine; !was.Own() && machine.Own() && len(pool) == 0 && n.BMCAddress == "" && !hasEndpoint(n) {
		return state.NodeChange{}, fmt.Errorf("node %q: was made for %s and has no %s port: remove the node, or declare a new type", n.Name, was.IronicDriver, machine.IronicDriver)
	}
	address, err := ids.address(n, pool, machine)
	if err != nil {
		return state.NodeChange{}, fmt.Errorf("node %q: %w", n.Name, err)
	}
	machine.Volumes = remake(n, machine.Volumes)
	c := state.NodeChange{UUID: n.UUID, Spec: spec.Key, Machine: machine, Enrol: spec.Enrol,
		DeployKernel: want.DeployKernel, DeployRamdisk: want.DeployRamdisk,
		Constraints: spec.Constraints, OnHostLoss: spec.OnHostLoss, StopAfterMilli: spec.StopAfterMilli, BMC: n.BMC,
		BMCPool: pool, BMCAddress: address}
	for i, physnet := range machine.Physnets {
		port := state.Port{Physnet: physnet, Trunk: machine.Trunk(i)}
		if i < len(n.Ports) {
			port.MAC = n.Ports[i].MAC
		} else {
			port.MAC = ids.mac(n.UUID, i)
		}
		c.Ports = append(c.Ports, port)
	}
	c.BMC.Key, c.BMC.IPMI15 = want.BMC.Key, want.BMC.IPMI15
	if want.BMC.Username != "" {
		c.BMC.Username = want.BMC.Username
	}
	if !want.BMC.Password.IsZero() {
		c.BMC.Password = want.BMC.Password
	}
	return c, nil
}

// hasEndpoint reports whether a node's BMC has an endpoint of its own where the node is,
// and where it moves to, or will get one.
func hasEndpoint(n *state.Node) bool {
	return (n.Placement == nil || n.Placement.BMC.Port != 0) && (!n.Moving() || n.Move.BMC.Port != 0)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
