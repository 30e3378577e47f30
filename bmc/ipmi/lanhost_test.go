package ipmi

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"
)

func TestALANIsWhatTheSystemSaysOfAnAddress(t *testing.T) {
	client := netip.MustParseAddrPort("127.0.0.1:9")
	for _, tc := range []struct{ name, local, want string }{
		{"the address that is listened on", "127.0.0.1", "127.0.0.1/8"},
		{"another one of the loopback interface's network", "127.0.3.1", "127.0.3.1/8"},
		{"the one that a client is answered from", "0.0.0.0", "127.0.0.1/8"},
		{"IPv4 in IPv6", "::ffff:127.0.0.1", "127.0.0.1/8"},
		{"an address that no interface has", "192.0.2.1", "192.0.2.1/32"},
	} {
		lan := lanOf(netip.MustParseAddr(tc.local), client)
		if lan.Address != netip.MustParsePrefix(tc.want) || lan.MAC != [6]byte{} || lan.Gateway.IsValid() {
			t.Errorf("%s, %s: got %+v, want %s without MAC and gateway", tc.name, tc.local, lan, tc.want)
		}
	}
}

func TestTheGatewayIsTheDefaultRouteOfTheInterface(t *testing.T) {
	const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0102A8C0	0003	0	0	100	00000000	0	0	0
eth0	0002A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
eth1	0000000A	0100000A	0003	0	0	0	000000FF	0	0	0
eth2	00000000	00000000	0001	0	0	0	00000000	0	0	0
eth3	00000000	xx	0003	0	0	0	00000000	0	0	0
eth4	00000000
`
	for link, want := range map[string]string{"eth0": "192.168.2.1", "eth1": "invalid IP", "eth2": "invalid IP", "eth3": "invalid IP", "eth4": "invalid IP", "eth9": "invalid IP"} {
		if got := gatewayIn(bufio.NewScanner(strings.NewReader(table)), link); got.String() != want {
			t.Errorf("%s: got %v, want %s", link, got, want)
		}
	}
}

func TestLANParametersOfABMCWithIPv6(t *testing.T) {
	l := newLabOf(t, func(cfg *Config) {
		cfg.LAN = func(netip.AddrPort) LAN {
			return LAN{Address: netip.MustParsePrefix("2001:db8::5/64"), MAC: [6]byte{2, 0, 0, 0, 0, 1}}
		}
	})
	c := l.loggedIn(3)
	for param, want := range map[byte]string{
		3:  "11 00 00 00 00",
		6:  "11 00 00 00 00",
		5:  "11 02 00 00 00 00 01",
		51: "11 01",
		56: "11 00 80 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 05 40 00",
	} {
		code, data, err := c.command(0x0c, 2, lanChannel, param, 0, 0)
		if got := show(data); code != 0 || err != nil || got != want {
			t.Errorf("parameter %d: code %02x, %v, %s; want %s", param, byte(code), err, got, want)
		}
	}
}
