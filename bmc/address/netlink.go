package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linux is the kernel of this host, in one network namespace.
type linux struct{ handle *netlink.Handle }

func openKernel() (*linux, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: open: %w", err)
	}
	return &linux{handle}, nil
}

func (l *linux) close() { l.handle.Close() }

// attempts are how often a list is asked for that changes meanwhile.
const attempts = 5

func (l *linux) devices() ([]device, error) {
	var links []netlink.Link
	var addrs []netlink.Addr
	var err error
	for range attempts {
		if links, err = l.handle.LinkList(); err == nil {
			addrs, err = l.handle.AddrList(nil, netlink.FAMILY_ALL)
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("addresses of this host: list: %w", err)
	}
	bridges := map[int]bool{}
	for _, link := range links {
		bridges[link.Attrs().Index] = link.Type() == "bridge"
	}
	at := map[int]int{}
	var out []device
	for _, link := range links {
		a := link.Attrs()
		d := device{index: a.Index, name: a.Name, up: a.RawFlags&unix.IFF_UP != 0, port: bridges[a.MasterIndex],
			quiet: a.RawFlags&(unix.IFF_NOARP|unix.IFF_LOOPBACK|unix.IFF_POINTOPOINT) != 0}
		if len(a.HardwareAddr) == 6 {
			d.mac = a.HardwareAddr
		}
		at[a.Index] = len(out)
		out = append(out, d)
	}
	for _, a := range addrs {
		i, known := at[a.LinkIndex]
		if p, ok := prefixOf(a); known && ok {
			out[i].has = append(out[i].has, p)
		}
	}
	return out, nil
}

// prefixOf leaves out IPv6 addresses that come and go by themselves (RFC 8981): they say
// nothing that another address of the device does not.
func prefixOf(a netlink.Addr) (netip.Prefix, bool) {
	address, ok := netip.AddrFromSlice(a.IP)
	if !ok || a.IPNet == nil || a.Flags&unix.IFA_F_TEMPORARY != 0 && a.IP.To4() == nil {
		return netip.Prefix{}, false
	}
	bits, _ := a.Mask.Size()
	return netip.PrefixFrom(address.Unmap(), bits), true
}

// single is an address without a network. Nobody is asked for it again by the kernel.
func single(a netip.Addr) *netlink.Addr {
	out := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
	if a.Is6() {
		out.Flags = unix.IFA_F_NODAD
	}
	return out
}

func (l *linux) add(index int, a netip.Addr) error {
	return l.handle.AddrAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}, single(a))
}

func (l *linux) remove(index int, a netip.Addr) error {
	err := l.handle.AddrDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}, single(a))
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
