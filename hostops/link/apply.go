package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Apply carries out one step of a plan. It may be repeated, also after it was
// killed half-way, and looks again whether a link is ours before it changes it.
func (h *Host) Apply(ctx context.Context, s Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := h.apply(s)
	if err == nil {
		h.log.DebugContext(ctx, "link changed", "step", s.String(), "node", s.Node)
		return nil
	}
	if s.Op == OpConflict {
		return err
	}
	return fmt.Errorf("interface %s: %s: %w", s.Link, s.Op, err)
}

func (h *Host) apply(s Step) error {
	switch s.Op {
	case OpConflict:
		return errors.New(s.Reason)
	case OpCreateBridge:
		return h.createBridge(s)
	case OpCreatePair:
		return h.createPair(s)
	case OpCreateVLAN, OpCreateVXLAN:
		return h.createSingle(s)
	case OpAddRemote, OpDropRemote:
		return h.changeRemote(s)
	case OpPlug:
		return h.plug(s)
	case OpRelease:
		return h.release(s)
	case OpDelete:
		return h.delete(s)
	case OpAdopt:
		return h.adopt(s)
	case OpUp: // of a device as well
		return h.rtnl.set(change{name: s.Link, up: true})
	}
	return h.modify(s)
}

// modify changes a property of a link of ours.
func (h *Host) modify(s Step) error {
	l, err := h.ours(s.Link)
	if err != nil {
		return err
	}
	c := change{index: l.Attrs().Index}
	switch s.Op {
	case OpSetVLAN:
		return h.setAccess(l, s.VLAN)
	case OpMark:
		c.alias, c.quiet = s.Alias, true
	case OpSetMAC:
		c.mac = s.MAC
	case OpSetMTU:
		c.mtu = s.MTU
	case OpComplete:
		return complete(h.offloads, s.Link)
	case OpRename:
		return h.rename(c.index, s.Name)
	case OpJoin:
		if c.master, err = h.bridgeIndex(s.Bridge); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown operation %q", s.Op)
	}
	return h.rtnl.set(c)
}

// adopt makes a link ours that is nobody's. A bridge keeps its address from then on,
// which otherwise is that of one of its ports.
func (h *Host) adopt(s Step) error {
	l, err := h.rtnl.get(s.Link, 0)
	if err != nil {
		return err
	}
	a := l.Attrs()
	switch {
	case a.Alias == s.Alias:
		return nil // by an agent that was killed afterwards
	case a.Alias != "":
		return fmt.Errorf("is somebody's: its alias is %q", a.Alias)
	case a.HardwareAddr.String() != s.MAC:
		return fmt.Errorf("has another address, %s, than when it was looked at, %s", a.HardwareAddr, s.MAC)
	}
	c := change{index: a.Index, alias: s.Alias}
	if l.Type() == kindBridge {
		c.mac = s.MAC
	}
	return h.rtnl.set(c)
}

// createBridge sets everything but the birth address in a second message, with the
// alias: the kernel takes none in the first.
func (h *Host) createBridge(s Step) error {
	err := h.rtnl.addBridge(change{name: s.Link, mac: birthMAC(h.mesh, s.Link)})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	l, err := h.ours(s.Link)
	if err != nil {
		return err
	}
	index := l.Attrs().Index
	if err := h.rtnl.set(change{index: index, alias: s.Alias, mac: s.MAC, mtu: s.MTU, quiet: true}); err != nil {
		return err
	}
	return h.rtnl.set(change{index: index, up: true})
}

// createPair creates the ends down, marks them, and then sets them up: the order
// keeps IPv6 addresses off them.
func (h *Host) createPair(s Step) error {
	inner := change{name: s.Link, mac: birthMAC(h.mesh, s.Link), mtu: s.MTU}
	outer := change{name: s.Peer, mac: s.MAC, mtu: s.MTU}
	master, outerMaster, err := h.masters(s)
	if err != nil {
		return err
	}
	h.creating.Lock()
	defer h.creating.Unlock()
	err = h.rtnl.addPair(inner, outer)
	if errors.Is(err, unix.EEXIST) {
		err = h.isPair(s.Link, s.Peer)
	}
	if err != nil {
		return err
	}
	if s.Complete {
		if err := errors.Join(complete(h.offloads, s.Link), complete(h.offloads, s.Peer)); err != nil {
			return fmt.Errorf("complete checksums: %w", err)
		}
	}
	for _, c := range []change{
		{name: s.Link, alias: s.Alias, master: master, quiet: true},
		{name: s.Peer, alias: s.Alias, master: outerMaster, quiet: true},
	} {
		if err := h.rtnl.set(c); err != nil {
			return err
		}
	}
	if s.VLAN != 0 {
		peer, err := h.ours(s.Peer)
		if err != nil {
			return err
		}
		if err := h.setAccess(peer, s.VLAN); err != nil {
			return err
		}
	}
	if err := h.rtnl.set(change{name: s.Peer, up: true}); err != nil {
		return err
	}
	return h.rtnl.set(change{name: s.Link, up: true})
}

// masters are the bridges that the ends of a new pair go into, by index; 0: none.
func (h *Host) masters(s Step) (inner, outer int, err error) {
	if !s.Loose {
		if inner, err = h.bridgeIndex(s.Bridge); err != nil {
			return 0, 0, err
		}
	}
	if s.PeerBridge != "" {
		if outer, err = h.bridgeIndex(s.PeerBridge); err != nil {
			return 0, 0, err
		}
	}
	return inner, outer, nil
}

// isPair checks that two existing links are ends of one pair of ours.
func (h *Host) isPair(a, b string) error {
	la, err := h.ours(a)
	if err != nil {
		return err
	}
	lb, err := h.ours(b)
	if err != nil {
		return err
	}
	if peerIndex(la) != lb.Attrs().Index {
		return fmt.Errorf("%s and %s exist and are not a pair", a, b)
	}
	return nil
}

// plug puts a device into a bridge of ours. The host would lose whatever it says
// over IP on the device, so it must say nothing.
func (h *Host) plug(s Step) error {
	if s.Loose {
		return h.plugLoose(s)
	}
	bridge, err := h.ours(s.Bridge)
	if err != nil {
		return err
	}
	dev, err := h.rtnl.get(s.Link, 0)
	if err != nil {
		return err
	}
	if dev.Attrs().MasterIndex == bridge.Attrs().Index {
		return nil
	}
	if err := h.usedByHost(dev); err != nil {
		return err
	}
	return h.rtnl.set(change{index: dev.Attrs().Index, master: bridge.Attrs().Index, up: true})
}

// plugLoose leaves the device ready for Open vSwitch.
func (h *Host) plugLoose(s Step) error {
	dev, err := h.rtnl.get(s.Link, 0)
	if err != nil {
		return err
	}
	if err := h.usedByHost(dev); err != nil {
		return err
	}
	return h.rtnl.set(change{index: dev.Attrs().Index, up: true})
}

// rename takes the link down, since not every kernel renames one that is up. The other end
// of a pair stays, and whatever uses it sees the carrier go and come.
func (h *Host) rename(index int, name string) error {
	for _, c := range []change{{index: index, down: true}, {index: index, rename: name}, {index: index, up: true}} {
		if err := h.rtnl.set(c); err != nil {
			return err
		}
	}
	return nil
}

// MoveAddresses says how a host keeps the addresses of a device that a physnet is mapped to.
func MoveAddresses(device string) string {
	bridge := "br-" + device
	if len(bridge) > maxName {
		bridge = "br-ex"
	}
	return fmt.Sprintf("have the host's network configuration (and its DHCP client) put addresses and routes on a bridge that %[1]s is in, such as "+
		"ip link add %[2]s type bridge; ip link set %[2]s up; ip link set %[1]s master %[2]s; ip addr flush dev %[1]s; ip addr add ADDRESS dev %[2]s; "+
		"then map device: %[2]s in agent.yml; or remove them, if nobody needs them", device, bridge)
}

// whence says that an address is not there for good (IFA_F_PERMANENT).
func whence(a netlink.Addr) string {
	switch {
	case a.Flags&unix.IFA_F_PERMANENT != 0:
		return ""
	case a.IP.To4() == nil:
		return ", by a router's advertisements or DHCP"
	}
	return ", by DHCP"
}

// usedByHost is an error if the host speaks IP on the device.
func (h *Host) usedByHost(dev netlink.Link) error {
	addrs, err := whole(func() ([]netlink.Addr, error) { return h.routes.AddrList(dev, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if a.Scope == unix.RT_SCOPE_UNIVERSE {
			return fmt.Errorf("the host has address %s on it%s, which a bridge's port does not answer for: %s", a.IPNet, whence(a), MoveAddresses(dev.Attrs().Name))
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{LinkIndex: dev.Attrs().Index}
		routes, err := h.routes.RouteListFiltered(family, filter, netlink.RT_FILTER_OIF)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if isDefault(r) {
				return fmt.Errorf("the host's default route is on it: %s", MoveAddresses(dev.Attrs().Name))
			}
		}
	}
	return nil
}

func isDefault(r netlink.Route) bool {
	if r.Type != unix.RTN_UNICAST {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0 && r.Dst.IP.IsUnspecified()
}

func (h *Host) release(s Step) error {
	bridge, err := h.ours(s.Bridge)
	if err != nil {
		return ignoreAbsent(err)
	}
	dev, err := h.rtnl.get(s.Link, 0)
	if err != nil {
		return ignoreAbsent(err)
	}
	if dev.Attrs().MasterIndex != bridge.Attrs().Index {
		return nil
	}
	return h.rtnl.set(change{index: dev.Attrs().Index, noMaster: true})
}

func (h *Host) delete(s Step) error {
	l, err := h.ours(s.Link)
	if err != nil {
		return ignoreAbsent(err)
	}
	return ignoreAbsent(h.deletions.delete(l.Attrs().Index))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// ours returns the link if this mesh made it.
func (h *Host) ours(name string) (netlink.Link, error) {
	l, err := h.rtnl.get(name, 0)
	if err != nil {
		return nil, err
	}
	if m, _ := ownMark(h.mesh, l.Attrs()); m.Role != "" {
		return l, nil
	}
	if i := peerIndex(l); i != 0 {
		peer, err := h.rtnl.get("", i)
		if err != nil {
			return nil, err
		}
		if m, _ := ownMark(h.mesh, peer.Attrs()); m.Role != "" {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%s exists and is not ours", name)
}

func (h *Host) bridgeIndex(name string) (int, error) {
	l, err := h.rtnl.get(name, 0)
	switch {
	case err != nil:
		return 0, fmt.Errorf("bridge %s: %w", name, err)
	case l.Type() != kindBridge:
		return 0, fmt.Errorf("%s is not a bridge", name)
	}
	return l.Attrs().Index, nil
}
