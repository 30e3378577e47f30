package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Config says whose links a Host deals with.
type Config struct {
	// Mesh is the mesh's ID, part of every mark.
	Mesh string
	// Userspace has Link.Offload observed of all our links.
	Userspace bool
	Log       *slog.Logger
}

// Host is the links of one network namespace. It is safe for concurrent use.
type Host struct {
	mesh string
	log  *slog.Logger
	rtnl *rtnl
	// deletions has links go together.
	deletions deletions
	// creating lets one pair be created at a time: the kernel does no more, and those
	// who wait for it burn the processors that guests are defined with.
	creating sync.Mutex
	// routes is for addresses and routes, which rtnl does not know.
	routes *netlink.Handle
	ns     netns.NsHandle
	// offloads is a socket in the namespace, for ethtool's requests.
	offloads  int
	userspace bool
}

// Open binds to the network namespace of the calling thread. It needs CAP_NET_ADMIN
// for Apply only.
func Open(c Config) (*Host, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("network namespace: open: %w", err)
	}
	r, err := openRTNL()
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("netlink: open: %w", err)
	}
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		r.close()
		_ = ns.Close()
		return nil, fmt.Errorf("netlink: open: %w", err)
	}
	offloads, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.close()
		routes.Close()
		_ = ns.Close()
		return nil, fmt.Errorf("ethtool: open: %w", err)
	}
	return &Host{mesh: c.Mesh, log: c.Log, rtnl: r, deletions: deletions{rtnl: r}, routes: routes, ns: ns, offloads: offloads, userspace: c.Userspace}, nil
}

// Close frees the sockets. No other call may be under way or follow.
func (h *Host) Close() error {
	h.rtnl.close()
	h.routes.Close()
	return errors.Join(unix.Close(h.offloads), h.ns.Close())
}

// Observe returns all links. It costs one dump, whatever their number, and a call for each
// link whose offloads are looked at.
func (h *Host) Observe(ctx context.Context) (Have, error) {
	if err := ctx.Err(); err != nil {
		return Have{}, err
	}
	links, err := h.rtnl.dump()
	if err != nil {
		return Have{}, fmt.Errorf("links: list: %w", err)
	}
	have := observed(h.mesh, links)
	for name, l := range have.Links {
		if l.Kind == kindVeth && l.Ours() && (h.userspace || l.Mark.Role == RoleUplink) {
			l.Offload = offloads(h.offloads, name)
			have.Links[name] = l
		}
	}
	if have.Addresses, err = h.addresses(links); err != nil {
		return Have{}, err
	}
	return have, h.observeUplinks(have, links)
}

// observed turns the kernel's answer into values.
func observed(mesh string, links []netlink.Link) Have {
	byIndex := make(map[int]*netlink.LinkAttrs, len(links))
	for _, l := range links {
		byIndex[l.Attrs().Index] = l.Attrs()
	}
	have := Have{Mesh: mesh, Links: make(map[string]Link, len(links))}
	for _, l := range links {
		a := l.Attrs()
		out := Link{
			Name: a.Name, Kind: l.Type(), MAC: a.HardwareAddr.String(), MTU: a.MTU,
			Up: a.RawFlags&unix.IFF_UP != 0,
		}
		if master := byIndex[a.MasterIndex]; master != nil && a.MasterIndex != 0 {
			out.Master = master.Name
		}
		if peer := byIndex[peerIndex(l)]; peer != nil {
			out.Peer = peer.Name
		}
		out.describe(l, byIndex)
		out.Mark, out.Unmarked = ownMark(mesh, a)
		have.Links[a.Name] = out
	}
	for name, l := range have.Links {
		if peer, ok := have.Links[l.Peer]; ok && !l.Ours() && peer.Ours() {
			l.Mark, l.Unmarked = peer.Mark, true
			have.Links[name] = l
		}
	}
	return have
}

// describe adds what only links of one kind have.
func (out *Link) describe(l netlink.Link, byIndex map[int]*netlink.LinkAttrs) {
	switch l := l.(type) {
	case *netlink.Bridge:
		out.Filters = l.VlanFiltering != nil && *l.VlanFiltering
	case *netlink.Vlan:
		out.VLAN = l.VlanId
		if parent := byIndex[l.ParentIndex]; parent != nil && l.NetNsID < 0 {
			out.Parent = parent.Name
		}
	case *netlink.Vxlan:
		local, _ := netip.AddrFromSlice(l.SrcAddr)
		out.Overlay = &Overlay{VNI: l.VxlanId, Local: local.Unmap().String(), Port: l.Port}
	}
}

// ownMark says what a link says of itself: by its alias, or by its address of birth
// if it never got one. The node-side end of a pair is known by its peer then.
func ownMark(mesh string, a *netlink.LinkAttrs) (m Mark, unmarked bool) {
	if m, ok := parseMark(mesh, a.Alias); ok {
		return m, false
	}
	if a.HardwareAddr.String() == birthMAC(mesh, a.Name) {
		return Mark{Role: RoleUnknown}, true
	}
	return Mark{}, false
}

// peerIndex is the interface index of a veth's other end, 0 if it has none in this
// namespace.
func peerIndex(l netlink.Link) int {
	if l.Type() != kindVeth || l.Attrs().NetNsID >= 0 {
		return 0
	}
	return l.Attrs().ParentIndex
}
