package ironiclab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const ipxeDir = "/usr/lib/ipxe"

// PXEOptions say which layer 2 a boot server is on and what it serves.
type PXEOptions struct {
	// Dir gets configuration, leases, logs and the files that are served. Required.
	Dir string
	// Netns has the bridge, by its ip-netns(8) name; empty: the caller's.
	Netns string
	// Bridge exists; the server is plugged into it with a veth pair of its own.
	Bridge string
	// Address is the server's, with the network that it gives addresses of.
	Address netip.Prefix
	// Script is the URL of an iPXE script; empty: Guest is booted.
	Script string
	Guest  Guest
	// Append goes on the kernel's command line, beside the console.
	Append string
}

// PXEServer is a running DHCP and TFTP server.
type PXEServer struct {
	opts   PXEOptions
	daemon *daemon
	// ipv6 says that the server has an address of it.
	ipv6 bool
}

// PXE runs a DHCP and TFTP server on a bridge until the test ends. Guests that boot
// from the network, with BIOS or UEFI, run the Guest with ttyS0 as console: firmware
// that is iPXE already gets the script, another one gets iPXE first.
func PXE(ctx context.Context, t testing.TB, o PXEOptions) *PXEServer {
	t.Helper()
	s, err := runPXE(ctx, o)
	if err != nil {
		t.Fatalf("boot server on %s: %v", o.Bridge, err)
	}
	t.Cleanup(s.Stop)
	return s
}

func runPXE(ctx context.Context, o PXEOptions) (*PXEServer, error) {
	s := &PXEServer{opts: o}
	if err := s.files(); err != nil {
		return nil, err
	}
	if err := s.plug(ctx); err != nil {
		return nil, err
	}
	conf := filepath.Join(o.Dir, "dnsmasq.conf")
	if err := os.WriteFile(conf, []byte(s.config()), 0o600); err != nil {
		return nil, err
	}
	cmd := command(context.WithoutCancel(ctx), o.Netns, "dnsmasq", "--keep-in-foreground", "--conf-file="+conf)
	d, err := start(cmd, o.Dir, filepath.Join(o.Dir, "dnsmasq.log"))
	if err != nil {
		s.unplug(ctx)
		return nil, err
	}
	s.daemon = d
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = await(ctx, "start", func() (bool, error) {
		if err := d.alive(); err != nil {
			return false, fmt.Errorf("%w: %w", errEnded, err)
		}
		log, err := s.Log()
		return strings.Contains(log, "TFTP root is"), err
	})
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop ends the server and unplugs it. It may be repeated.
func (s *PXEServer) Stop() {
	s.daemon.end(2 * time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.unplug(ctx)
}

// Log is what the server did: each DHCP message and file sent, with the MAC or
// address that it was for.
func (s *PXEServer) Log() (string, error) {
	b, err := os.ReadFile(filepath.Join(s.opts.Dir, "server.log"))
	return string(b), err
}

// links are the ends of the cable: the server's, and the bridge's.
func (s *PXEServer) links() (server, bridge string) {
	name := s.opts.Bridge[max(0, len(s.opts.Bridge)-9):]
	return "pxe-s-" + name, "pxe-b-" + name
}

func (s *PXEServer) plug(ctx context.Context) error {
	server, bridge := s.links()
	s.unplug(ctx)
	for _, args := range [][]string{
		{"link", "add", server, "type", "veth", "peer", "name", bridge},
		{"link", "set", bridge, "master", s.opts.Bridge, "up"},
		{"addr", "add", s.opts.Address.String(), "dev", server},
		{"link", "set", server, "up"},
	} {
		if err := run(ctx, s.opts.Netns, "ip", args...); err != nil {
			s.unplug(ctx)
			return err
		}
	}
	// A kernel without IPv6 is as good, only slower.
	s.ipv6 = run(ctx, s.opts.Netns, "ip", "addr", "add", "fd77:7e4c::1/64", "dev", server, "nodad") == nil
	return nil
}

func (s *PXEServer) unplug(ctx context.Context) {
	server, _ := s.links()
	_ = run(ctx, s.opts.Netns, "ip", "link", "del", server) // absent is as good
}

func (s *PXEServer) root() string { return filepath.Join(s.opts.Dir, "tftp") }

func (s *PXEServer) files() error {
	if err := os.MkdirAll(s.root(), 0o755); err != nil {
		return err
	}
	files := map[string]string{"undionly.kpxe": filepath.Join(ipxeDir, "undionly.kpxe"), "snponly.efi": filepath.Join(ipxeDir, "snponly.efi")}
	if s.opts.Script == "" {
		files["vmlinuz"], files["initrd.gz"] = s.opts.Guest.Kernel, s.opts.Guest.Initrd
	}
	for name, from := range files {
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.root(), name), b, 0o644); err != nil { //nolint:gosec // served to everybody
			return err
		}
	}
	// initrd= is how a kernel that is an EFI program finds it.
	script := "#!ipxe\nkernel vmlinuz initrd=initrd.gz console=ttyS0,115200 quiet panic=10 " + s.opts.Append +
		"\ninitrd initrd.gz\nboot\n"
	return os.WriteFile(filepath.Join(s.root(), "boot.ipxe"), []byte(script), 0o644) //nolint:gosec // served to everybody
}

// config: see dnsmasq(8). no-ping matters: a ping before each offer costs 3 s. So do
// router advertisements: without one, iPXE waits 16 s for it after it has its lease.
func (s *PXEServer) config() string {
	server, _ := s.links()
	script := s.opts.Script
	if script == "" {
		script = "boot.ipxe"
	}
	base := s.opts.Address.Masked().Addr().As4()
	at := func(last byte) string { return netip.AddrFrom4([4]byte{base[0], base[1], base[2], last}).String() }
	lines := []string{
		"port=0", "interface=" + server, "bind-interfaces", "user=root", "no-ping", "dhcp-authoritative", "log-dhcp",
		"log-facility=" + filepath.Join(s.opts.Dir, "server.log"), "no-resolv", "no-hosts",
		"dhcp-leasefile=" + filepath.Join(s.opts.Dir, "leases"),
		"dhcp-range=" + at(100) + "," + at(199) + ",255.255.255.0,10m",
		"enable-tftp", "tftp-root=" + s.root(),
		"dhcp-match=set:ipxe,175",
		// There is no other boot server to wait for (iPXE option no-pxedhcp).
		"dhcp-option=encap:175,176,1b",
		"dhcp-match=set:efi,option:client-arch,7", "dhcp-match=set:efi,option:client-arch,9",
		"dhcp-boot=tag:ipxe," + script,
		"dhcp-boot=tag:!ipxe,tag:efi,snponly.efi",
		"dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe",
	}
	if s.ipv6 {
		lines = append(lines, "enable-ra", "dhcp-range=fd77:7e4c::,ra-only,64,10m")
	}
	return strings.Join(lines, "\n") + "\n"
}
