package ipmi

import (
	"bufio"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"strings"
)

// LAN is where a BMC is on the network.
type LAN struct {
	// Address is the one that clients use, with its network; the zero value: not known.
	Address netip.Prefix
	// MAC is the network interface's; zeros: it has none.
	MAC [6]byte
	// Gateway is the default one of IPv4; the zero value: there is none.
	Gateway netip.Addr
}

// lanOf asks the system about the address that a BMC listens on. If that is every
// address, it is about the one that a client is answered from.
func lanOf(local netip.Addr, client netip.AddrPort) LAN {
	local = local.Unmap()
	if local.IsUnspecified() {
		local = towards(client)
	}
	lan := LAN{}
	if local.IsValid() {
		lan.Address = netip.PrefixFrom(local, local.BitLen())
	}
	links, err := net.Interfaces()
	if err != nil {
		return lan
	}
	for _, link := range links {
		addrs, err := link.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			// The loopback interface has a whole network.
			if err != nil || p.Addr().Unmap() != local.WithZone("") && !(local.IsLoopback() && p.Contains(local)) {
				continue
			}
			lan.Address = netip.PrefixFrom(local.WithZone(""), p.Bits())
			copy(lan.MAC[:], link.HardwareAddr)
			lan.Gateway = gatewayOf(link.Name)
			return lan
		}
	}
	return lan
}

// towards is the address that packets to a client come from. Connecting a UDP socket
// sends nothing.
func towards(client netip.AddrPort) netip.Addr {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(client))
	if err != nil {
		return netip.Addr{}
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	_ = conn.Close() // nothing was sent
	return local
}

// routes is proc(5)'s table of IPv4 routes.
const routes = "/proc/net/route"

func gatewayOf(link string) netip.Addr {
	f, err := os.Open(routes)
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = f.Close() }() // it was only read
	return gatewayIn(bufio.NewScanner(f), link)
}

// gatewayIn finds an interface's default route. Addresses are in the machine's order of
// bytes, which is little-endian on all that we run on.
func gatewayIn(table *bufio.Scanner, link string) netip.Addr {
	const iface, destination, gateway, mask, fields = 0, 1, 2, 7, 8
	for table.Scan() {
		f := strings.Fields(table.Text())
		if len(f) < fields || f[iface] != link || f[destination] != "00000000" || f[mask] != "00000000" {
			continue
		}
		if b, err := hex.DecodeString(f[gateway]); err == nil && len(b) == 4 && f[gateway] != "00000000" {
			return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]})
		}
	}
	return netip.Addr{}
}
