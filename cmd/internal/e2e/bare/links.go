//go:build cgo && libvirt_dlopen

package main

import "github.com/vishvananda/netlink"

// links makes a veth pair whose other end is in the bridge.
func links(name string) error {
	bridge, err := netlink.LinkByName("brbare")
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = name+"-br", bridge.Attrs().Index
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-tap"}); err != nil {
		return err
	}
	for _, end := range []string{name + "-br", name + "-tap"} {
		l, err := netlink.LinkByName(end)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
	}
	return nil
}
