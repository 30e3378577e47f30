package ipmi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc/bmcbench"
	"tenks/bmc/bmctest"
)

// What VirtualBMC 3.3 (pyghmi 1.5.34) came to: Python, a process per BMC, suite 3, on a
// machine with two cores that its clients and libvirtd shared. The best are of runs with 1
// to 50 BMCs and 1 to 32 clients on a machine that did nothing else; the busy ones are the
// middle of runs with 50 BMCs beside other work (session 1.6 to 2.2 ms and libvirtd's 0.5 to
// 0.75, command 0.45 to 0.6 and 0.3 to 0.5).
var (
	virtualBMCSession = bmcbench.Peer{Name: "VirtualBMC", Rate: 1154, Best: (670 + 310) * time.Microsecond, Busy: (1900 + 625) * time.Microsecond}
	virtualBMCCommand = bmcbench.Peer{Name: "VirtualBMC", Rate: 1882, Best: (280 + 310) * time.Microsecond, Busy: (525 + 400) * time.Microsecond}
)

// loadTime is for how long each number of clients is measured: three are the second that
// a benchmark lasts by default.
const loadTime = 350 * time.Millisecond

// benchServer is what the process of a server does.
func benchServer() bmcbench.Commands {
	return bmcbench.Commands{"listen": func(...string) (string, error) {
		s, err := Listen(context.Background(), "127.0.0.1:0", testConfig(bmctest.NewChassis()))
		if err != nil {
			return "", err
		}
		return s.Addr().String(), nil
	}}
}

// BenchmarkServer loads a BMC in a process of its own over loopback. A session is a whole
// one: capabilities, open, RAKP 1 and 3, privilege, one chassis status, close. A command is
// one chassis status in a session that stays open.
func BenchmarkServer(b *testing.B) {
	var table bmcbench.Table
	server := bmcbench.Start(b)
	addr := netip.MustParseAddrPort(server.Do("listen"))
	for _, bench := range []struct {
		name    string
		peer    bmcbench.Peer
		connect func(*console) (bmcbench.Client, error)
	}{{"session", virtualBMCSession, sessionClient}, {"command", virtualBMCCommand, commandClient}} {
		b.Run(bench.name, func(b *testing.B) {
			var results []bmcbench.Result
			for b.Loop() {
				results = nil
				for _, clients := range benchClients {
					results = append(results, bmcbench.Load(server, clients, loadTime, func() (bmcbench.Client, error) {
						c, hangUp, err := dialConsole(addr)
						if err != nil {
							return bmcbench.Client{}, err
						}
						client, err := bench.connect(c)
						end := client.Close
						client.Close = func() {
							if end != nil {
								end()
							}
							hangUp()
						}
						return client, err
					}))
				}
			}
			for i, r := range results {
				table.Load(b, "IPMI "+bench.name, benchClients[i], r, bench.peer)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	table.Print()
}

// benchClients are the numbers of clients to measure with.
var benchClients = []int{1, 8, 32}

// dialConsole is a console with a socket of its own; suite 3 is what the peers were
// measured with.
func dialConsole(to netip.AddrPort) (c *console, hangUp func(), err error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, nil, err
	}
	l := &link{conn, patience}
	c = newConsole(l.ask)
	c.suite = types.CipherSuiteID3
	return c, func() { _ = conn.Close() }, nil
}

func sessionClient(c *console) (bmcbench.Client, error) {
	return bmcbench.Client{Do: func() error { return wholeSession(c) }}, nil
}

func commandClient(c *console) (bmcbench.Client, error) {
	return bmcbench.Client{Do: func() error { return succeeds(c.command(0, 1)) }, Close: func() { _ = c.close() }}, c.login()
}

func wholeSession(c *console) error {
	if c.ask(frame15(message(1, 6, 0x38, 0x8e, 4))) == nil {
		return errors.New("no capabilities")
	}
	if err := c.login(); err != nil {
		return err
	}
	if err := succeeds(c.command(6, 0x3b, 4)); err != nil {
		return fmt.Errorf("privilege: %w", err)
	}
	if err := succeeds(c.command(0, 1)); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return c.close()
}

func succeeds(code types.CompletionCode, _ []byte, err error) error {
	if err == nil && code != 0 {
		err = fmt.Errorf("code %02x", byte(code))
	}
	return err
}

// BenchmarkEngine is the same command without sockets, the server's part alone.
func BenchmarkEngine(b *testing.B) {
	l := newLab(b)
	c := newConsole(l.ask)
	if err := c.login(); err != nil {
		b.Fatal(err)
	}
	packets := make([][]byte, 0, b.N)
	b.ReportAllocs()
	for b.Loop() {
		if len(packets) == 0 {
			b.StopTimer()
			for range 1024 {
				packets = append(packets, c.request(0, 1))
			}
			b.StartTimer()
		}
		if l.ask(packets[0]) == nil {
			b.Fatal("no answer")
		}
		packets = packets[1:]
	}
}
