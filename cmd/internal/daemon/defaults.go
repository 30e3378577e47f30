package daemon

import (
	"context"
	"net"
	"os"

	"tenks/config"
)

// Resolve fills in what agent.yml leaves to the host: its name and addresses.
func Resolve(ctx context.Context, c config.Agent) (config.Agent, error) {
	if c.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return c, err
		}
		c.Name = name
	}
	if c.Advertise == "" {
		c.Advertise = hostAddress(ctx)
	}
	if c.BMC.Address == "" {
		c.BMC.Address = c.Advertise
	}
	return c, nil
}

// hostAddress returns the address of the default route's device, else the first
// one that other hosts could reach, else loopback.
func hostAddress(ctx context.Context) string {
	// Connecting a UDP socket sends nothing: the kernel only picks the route. The
	// address is of TEST-NET-1 (RFC 5737), so it is never a host's own.
	if conn, err := (&net.Dialer{}).DialContext(ctx, "udp", "192.0.2.1:9"); err == nil {
		defer conn.Close()
		if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			return a.IP.String()
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
