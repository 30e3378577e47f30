package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// modules are what has the kernel know a kind of link.
var modules = map[string]string{kindVLAN: "8021q", kindVXLAN: "vxlan"}

// createSingle creates a VLAN or VXLAN link down, marks it, puts it into its bridge, and then
// sets it up.
func (h *Host) createSingle(s Step) error {
	master, err := 0, error(nil)
	if !s.Loose {
		master, err = h.bridgeIndex(s.Bridge)
	}
	if err != nil {
		return err
	}
	if s.Op == OpCreateVLAN {
		err = h.addVLAN(s)
	} else {
		err = h.addVXLAN(s)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	l, oursErr := h.ours(s.Link)
	switch {
	case errors.Is(oursErr, unix.ENODEV) && err != nil:
		return errors.New("the host has another link for the same: delete that")
	case oursErr != nil:
		return oursErr
	}
	index := l.Attrs().Index
	if err := h.rtnl.set(change{index: index, alias: s.Alias, master: master, quiet: true}); err != nil {
		return err
	}
	return h.rtnl.set(change{index: index, up: true})
}

func (h *Host) addVLAN(s Step) error {
	parent, err := h.rtnl.get(s.Parent, 0)
	if err != nil {
		return fmt.Errorf("device %s: %w", s.Parent, err)
	}
	return h.rtnl.addLink(change{name: s.Link, mac: birthMAC(h.mesh, s.Link), mtu: s.MTU}, kindVLAN, parent.Attrs().Index, func(data *nl.RtAttr) {
		data.AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(uint16(s.VLAN)))
	})
}

// addVXLAN makes a link that learns nothing: whom frames go to is in its list of remotes.
func (h *Host) addVXLAN(s Step) error {
	local, err := netip.ParseAddr(s.Overlay.Local)
	if err != nil {
		return err
	}
	from := nl.IFLA_VXLAN_LOCAL
	if local.Is6() {
		from = nl.IFLA_VXLAN_LOCAL6
	}
	return h.rtnl.addLink(change{name: s.Link, mac: birthMAC(h.mesh, s.Link), mtu: s.MTU}, kindVXLAN, 0, func(data *nl.RtAttr) {
		data.AddRtAttr(nl.IFLA_VXLAN_ID, nl.Uint32Attr(uint32(s.Overlay.VNI)))
		data.AddRtAttr(from, local.AsSlice())
		data.AddRtAttr(nl.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, uint16(s.Overlay.Port)))
		data.AddRtAttr(nl.IFLA_VXLAN_LEARNING, []byte{0})
		data.AddRtAttr(nl.IFLA_VXLAN_UDP_CSUM, []byte{1})
	})
}

// addLink creates a link with options of its kind; an existing one is unix.EEXIST.
func (r *rtnl) addLink(c change, kind string, parent int, options func(data *nl.RtAttr)) error {
	data, err := c.attributes()
	if err != nil {
		return err
	}
	if parent != 0 {
		data = append(data, nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(parent))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	options(info.AddRtAttr(nl.IFLA_INFO_DATA, nil))
	err = r.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(data, info))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("this kernel has no %s links (%w): modprobe %s, and for every boot a file in /etc/modules-load.d", kind, err, modules[kind])
	}
	return err
}

// zeroMAC stands for all frames without an entry of their own: broadcast, multicast and
// unknown unicast, and here each frame (bridge(8) "fdb append").
var zeroMAC = make(net.HardwareAddr, 6)

// changeRemote adds or drops an entry of a VXLAN link of ours.
func (h *Host) changeRemote(s Step) error {
	l, err := h.ours(s.Link)
	if s.Op == OpDropRemote && errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	to, err := netip.ParseAddr(s.Remote.Address)
	if err != nil {
		return err
	}
	data := []nl.NetlinkRequestData{
		&netlink.Ndmsg{Family: unix.AF_BRIDGE, Index: uint32(l.Attrs().Index), State: netlink.NUD_NOARP | netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF},
		nl.NewRtAttr(netlink.NDA_LLADDR, zeroMAC),
		nl.NewRtAttr(netlink.NDA_DST, to.AsSlice()),
		nl.NewRtAttr(netlink.NDA_PORT, binary.BigEndian.AppendUint16(nil, uint16(s.Remote.Port))),
	}
	if s.Op == OpAddRemote {
		return h.rtnl.send(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_APPEND, data)
	}
	err = h.rtnl.send(unix.RTM_DELNEIGH, 0, data)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// remotes returns the entries for all frames of a VXLAN link.
func (r *rtnl) remotes(l *netlink.Vxlan) ([]Remote, error) {
	// With this header, and not the one of neighbours, the kernel takes the index for a filter.
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(l.Index)
	msgs, err := whole(func() ([][]byte, error) {
		return r.execute(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, []nl.NetlinkRequestData{msg}, unix.RTM_NEWNEIGH)
	})
	if err != nil {
		return nil, err
	}
	var out []Remote
	for _, m := range msgs {
		if remote, ok := parseRemote(m, l); ok {
			out = append(out, remote)
		}
	}
	SortRemotes(out)
	return out, nil
}

// ndmsgLen is the length of struct ndmsg (linux/neighbour.h).
const ndmsgLen = 12

// parseRemote reads an RTM_NEWNEIGH message; false: it is no entry for all frames.
func parseRemote(m []byte, l *netlink.Vxlan) (Remote, bool) {
	if len(m) < ndmsgLen || int(int32(binary.NativeEndian.Uint32(m[4:]))) != l.Index || m[10]&netlink.NTF_SELF == 0 {
		return Remote{}, false
	}
	attrs, err := nl.ParseRouteAttr(m[ndmsgLen:])
	if err != nil {
		return Remote{}, false
	}
	out, all := Remote{Port: l.Port}, false
	for _, a := range attrs {
		switch a.Attr.Type {
		case netlink.NDA_LLADDR:
			all = slices.Equal(a.Value, []byte(zeroMAC))
		case netlink.NDA_DST:
			to, _ := netip.AddrFromSlice(a.Value)
			out.Address = to.Unmap().String()
		case netlink.NDA_PORT:
			if len(a.Value) == 2 {
				out.Port = int(binary.BigEndian.Uint16(a.Value))
			}
		}
	}
	return out, all && out.Address != ""
}

// addresses returns the host's addresses by link.
func (h *Host) addresses(links []netlink.Link) (map[string][]netip.Prefix, error) {
	addrs, err := whole(func() ([]netlink.Addr, error) { return h.routes.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("addresses: list: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	out := map[string][]netip.Prefix{}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		name, known := names[a.LinkIndex]
		if !ok || !known || a.Scope != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		bits, _ := a.Mask.Size()
		out[name] = append(out[name], netip.PrefixFrom(ip.Unmap(), bits))
	}
	for _, prefixes := range out {
		slices.SortFunc(prefixes, netip.Prefix.Compare)
	}
	return out, nil
}

// observeUplinks adds what links do not say of themselves: remotes of overlays, and the VLANs
// of our access ports. Both are asked for only where there are such links.
func (h *Host) observeUplinks(have Have, links []netlink.Link) error {
	access := false
	for _, l := range links {
		out := have.Links[l.Attrs().Name]
		if vx, ok := l.(*netlink.Vxlan); ok && out.Ours() {
			remotes, err := h.rtnl.remotes(vx)
			if err != nil && !errors.Is(err, unix.ENODEV) {
				return fmt.Errorf("interface %s: list remotes: %w", out.Name, err)
			}
			out.Overlay.Remotes = remotes
		}
		access = access || out.Mark.Role == RoleUplink && out.Mark.VLAN != 0
	}
	if !access {
		return nil
	}
	vlans, err := whole(h.routes.BridgeVlanList)
	if err != nil {
		return fmt.Errorf("bridge ports: list VLANs: %w", err)
	}
	for _, l := range links {
		out := have.Links[l.Attrs().Name]
		if out.Mark.Role == RoleUplink && out.Mark.VLAN != 0 && out.Master != "" && !have.Links[out.Master].Ours() {
			out.VLAN = accessOf(vlans[int32(l.Attrs().Index)])
			have.Links[out.Name] = out
		}
	}
	return nil
}

// accessOf is the VLAN of an access port; 0: it is none.
func accessOf(vlans []*nl.BridgeVlanInfo) int {
	const access = nl.BRIDGE_VLAN_INFO_PVID | nl.BRIDGE_VLAN_INFO_UNTAGGED
	if len(vlans) != 1 || vlans[0].Flags&access != access {
		return 0
	}
	return int(vlans[0].Vid)
}

// setAccess makes a link of ours, in a bridge that filters VLANs, an access port of one.
func (h *Host) setAccess(l netlink.Link, vlan int) error {
	if err := h.routes.BridgeVlanAdd(l, uint16(vlan), true, true, false, true); err != nil {
		return fmt.Errorf("VLAN %d: %w", vlan, err)
	}
	vlans, err := whole(h.routes.BridgeVlanList)
	if err != nil {
		return fmt.Errorf("list VLANs: %w", err)
	}
	for _, v := range vlans[int32(l.Attrs().Index)] {
		if int(v.Vid) != vlan {
			if err := h.routes.BridgeVlanDel(l, v.Vid, false, false, false, true); err != nil {
				return fmt.Errorf("VLAN %d: leave: %w", v.Vid, err)
			}
		}
	}
	return nil
}
