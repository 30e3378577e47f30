package lab

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
)

// validNetwork keeps "eth-<name>" within the 15 bytes of an interface's name.
var validNetwork = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,10}$`)

// Switch is the network namespace, by its ip-netns(8) name, with the bridge "lab" that
// every host's eth0 is wired to as "h<n>". The bridge has the address 10.77.0.254/24.
func (l *Lab) Switch() string { return l.prefix + "-switch" }

func (l *Lab) addSwitch(ctx context.Context) error {
	if err := run(ctx, "ip", "netns", "add", l.Switch()); err != nil {
		return err
	}
	return run(ctx, "ip", "-n", l.Switch(), "-batch", "-",
		"link set lo up",
		"link add name lab type bridge forward_delay 0 stp_state 0",
		"addr add "+network+".254/24 dev lab",
		"link set lab up")
}

// AddNetwork wires every host, those included that are added later, to one more
// network, for guests: as "eth-<name>", up and without addresses, to the bridge
// "net-<name>" of the switch. A name has at most 11 bytes.
func (l *Lab) AddNetwork(ctx context.Context, name string) error {
	if !validNetwork.MatchString(name) {
		return fmt.Errorf("network %q: not a name for a network", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock() // until all have it: a network is whole or not there
	if slices.Contains(l.networks, name) {
		return fmt.Errorf("network %q: exists", name)
	}
	bridge := "net-" + name
	err := run(ctx, "ip", "-n", l.Switch(), "-batch", "-",
		"link add name "+bridge+" type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
		"link set "+bridge+" up")
	if err != nil {
		return fmt.Errorf("network %q: %w", name, err)
	}
	l.networks = append(l.networks, name)
	for _, h := range l.hosts {
		if h.started() == nil {
			continue // gets it when it boots
		}
		if err := h.plugIn(ctx, h.cable(len(l.networks), name)); err != nil {
			return fmt.Errorf("network %q: host %q: %w", name, h.name, err)
		}
	}
	return nil
}

// cable is between a host and a bridge of the switch.
type cable struct {
	device, port, bridge string
	// mac is the device's, the same after each boot.
	mac string
}

// cable returns the host's cable to a network by its number from 1 on.
func (h *Host) cable(number int, name string) cable {
	return cable{device: "eth-" + name, port: fmt.Sprintf("h%dn%d", h.number, number), bridge: "net-" + name,
		mac: h.mac(number)}
}

func (h *Host) mac(network int) string {
	return fmt.Sprintf("02:4c:41:00:%02x:%02x", network, h.number)
}

func (h *Host) switchPort() string { return fmt.Sprintf("h%d", h.number) }

// cables returns all of the host's, eth0's first.
func (h *Host) cables() []cable {
	all := []cable{{device: "eth0", port: h.switchPort(), bridge: "lab", mac: h.mac(0)}}
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	for i, name := range h.lab.networks {
		all = append(all, h.cable(i+1, name))
	}
	return all
}

// wire makes the network namespace and its cables to the switch.
func (h *Host) wire(ctx context.Context) error {
	if err := run(ctx, "ip", "netns", "add", h.Netns()); err != nil {
		return err
	}
	for _, c := range h.cables() {
		if err := h.plugIn(ctx, c); err != nil {
			return err
		}
	}
	h.mu.Lock()
	address, unplugged, delay := h.address, h.unplugged, h.delay
	h.mu.Unlock()
	err := run(ctx, "ip", "-n", h.Netns(), "-batch", "-", "link set lo up", "addr add "+address+"/24 dev eth0")
	if err == nil && unplugged {
		err = h.setPort(ctx, "down")
	}
	if err == nil && delay > 0 {
		err = h.lengthen(ctx, delay)
	}
	return err
}

// plugIn makes a cable, both ends up.
func (h *Host) plugIn(ctx context.Context, c cable) error {
	err := run(ctx, "ip", "-n", h.lab.Switch(), "-batch", "-",
		"link add name "+c.port+" type veth peer name "+c.device+" address "+c.mac+" netns "+h.Netns(),
		"link set "+c.port+" master "+c.bridge+" up")
	if err != nil {
		return err
	}
	return run(ctx, "ip", "-n", h.Netns(), "link", "set", c.device, "up")
}

// unwire undoes wire. The kernel takes cables away with the namespace, but not at once.
func (h *Host) unwire(ctx context.Context) error {
	for _, c := range h.cables() {
		_ = run(ctx, "ip", "-n", h.lab.Switch(), "link", "del", c.port) // gone if the boot came to nothing
	}
	return deleteNetns(ctx, h.Netns())
}

// Unplug pulls eth0's cable at the switch, until Plug puts it back: the host sees that
// its carrier is lost. Other networks stay. It may be repeated, and outlives a boot.
func (h *Host) Unplug(ctx context.Context) error { return h.plug(ctx, "down") }

// Plug is the inverse of Unplug.
func (h *Host) Plug(ctx context.Context) error { return h.plug(ctx, "up") }

func (h *Host) plug(ctx context.Context, state string) error {
	h.mu.Lock()
	h.unplugged = state == "down"
	h.mu.Unlock()
	if h.started() == nil {
		return nil
	}
	return h.setPort(ctx, state)
}

func (h *Host) setPort(ctx context.Context, state string) error {
	return run(ctx, "ip", "-n", h.lab.Switch(), "link", "set", h.switchPort(), state)
}

// Readdress gives eth0 another address instead of the one it has, now or when the host
// boots: one from 10.77.0.201 to 10.77.0.253 that no host has, or its first one, which
// undoes it.
func (h *Host) Readdress(ctx context.Context, address string) error {
	if err := h.take(address); err != nil {
		return fmt.Errorf("host %q: readdress: %w", h.name, err)
	}
	if h.started() == nil {
		return nil
	}
	return run(ctx, "ip", "-4", "-n", h.Netns(), "-batch", "-",
		"addr flush dev eth0",
		"addr add "+address+"/24 dev eth0")
}

// take makes an address the host's if it may have it.
func (h *Host) take(address string) error {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	first := netip.MustParseAddr(fmt.Sprintf("%s.%d", network, h.number))
	low, high := netip.MustParseAddr(network+".201"), netip.MustParseAddr(network+".253")
	if ip != first && (ip.Less(low) || high.Less(ip)) {
		return fmt.Errorf("%s is neither %s nor within %s and %s", ip, first, low, high)
	}
	h.lab.mu.Lock() // nobody else takes one meanwhile
	defer h.lab.mu.Unlock()
	for _, other := range h.lab.hosts {
		if other != h && other.Address() == ip.String() {
			return fmt.Errorf("%s is host %q's", ip, other.name)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.address = ip.String()
	return nil
}
