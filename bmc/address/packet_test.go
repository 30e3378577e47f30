package address

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"reflect"
	"testing"
)

var testMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

func TestARPPackets(t *testing.T) {
	probe := arp{senderMAC: testMAC, senderIP: netip.IPv4Unspecified(), targetIP: addr("192.0.2.9")}
	if got, want := hex.EncodeToString(probe.bytes()), "0001080006040001525400000001000000000000000000"+"00c0000209"; got != want {
		t.Errorf("probe\n%s, want\n%s", got, want)
	}
	told := arp{senderMAC: testMAC, senderIP: addr("192.0.2.9"), targetIP: addr("192.0.2.9")}
	if got, want := hex.EncodeToString(told.bytes()), "0001080006040001525400000001c0000209000000000000"+"c0000209"; got != want {
		t.Errorf("announcement\n%s, want\n%s", got, want)
	}
	for name, tt := range map[string]struct {
		packet  arp
		claimed string
	}{
		"a probe":         {probe, "192.0.2.9"},
		"an announcement": {told, "192.0.2.9"},
		"a request":       {arp{senderMAC: testMAC, senderIP: addr("192.0.2.1"), targetIP: addr("192.0.2.9")}, "192.0.2.1"},
		"a reply":         {arp{reply: true, senderMAC: testMAC, senderIP: addr("192.0.2.9"), targetIP: netip.IPv4Unspecified()}, "192.0.2.9"},
		"nonsense":        {arp{reply: true, senderMAC: testMAC, senderIP: netip.IPv4Unspecified(), targetIP: addr("192.0.2.9")}, ""},
	} {
		got, ok := parseARP(append(tt.packet.bytes(), make([]byte, 18)...)) // Ethernet's padding
		if !ok || !reflect.DeepEqual(got, tt.packet) {
			t.Errorf("%s: %+v, want %+v", name, got, tt.packet)
		}
		if a, claims := got.claimed(); claims != (tt.claimed != "") || claims && a.String() != tt.claimed {
			t.Errorf("%s: claims %s, %t", name, a, claims)
		}
	}
	for _, b := range [][]byte{nil, probe.bytes()[:27], append([]byte{0, 6}, probe.bytes()[2:]...), append(bytes.Clone(probe.bytes()[:7]), append([]byte{3}, probe.bytes()[8:]...)...)} {
		if p, ok := parseARP(b); ok {
			t.Errorf("%x is %+v", b, p)
		}
	}
}

func TestNeighbourDiscovery(t *testing.T) {
	a := addr("2001:db8::1:203")
	if got, want := hex.EncodeToString(solicitation(a, testMAC)), "8700000000000000"+"20010db8000000000000000000010203"+"0101525400000001"; got != want {
		t.Errorf("solicitation\n%s, want\n%s", got, want)
	}
	told := advertisement(a, testMAC)
	if got, want := hex.EncodeToString(told), "8800000020000000"+"20010db8000000000000000000010203"+"0201525400000001"; got != want {
		t.Errorf("advertisement\n%s, want\n%s", got, want)
	}
	if got := solicitedNode(a); got != addr("ff02::1:ff01:203") {
		t.Errorf("solicited node %s", got)
	}
	with := func(options ...byte) []byte { return append(bytes.Clone(told[:24]), options...) }
	for name, tt := range map[string]struct {
		packet []byte
		ok     bool
		mac    string
	}{
		"an advertisement":         {told, true, testMAC.String()},
		"without an option":        {with(), true, ""},
		"with another option":      {with(14, 1, 0, 0, 0, 0, 0, 0), true, ""},
		"with one of no length":    {with(2, 0, 0, 0, 0, 0, 0, 0), false, ""},
		"with one that is cut":     {with(2, 2, 0, 0, 0, 0, 0, 0), false, ""},
		"with one of a byte":       {with(2), false, ""},
		"with a longer MAC":        {with(2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), true, ""},
		"a solicitation":           {solicitation(a, testMAC), false, ""},
		"a cut one":                {told[:23], false, ""},
		"one with an unknown code": {append([]byte{136, 1}, told[2:]...), false, ""},
	} {
		got, mac, ok := parseAdvertisement(tt.packet)
		if ok != tt.ok || ok && (got != a || mac.String() != tt.mac) {
			t.Errorf("%s: %s, %s, %t", name, got, mac, ok)
		}
	}
}

// FuzzParseARP: what is read and written again is the same.
func FuzzParseARP(f *testing.F) {
	f.Add(arp{senderMAC: testMAC, senderIP: addr("192.0.2.1"), targetIP: addr("192.0.2.9")}.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parseARP(b)
		if !ok {
			return
		}
		if again := p.bytes(); !bytes.Equal(again[:18], b[:18]) || !bytes.Equal(again[24:], b[24:arpLength]) {
			t.Errorf("%x, was %x", again, b[:arpLength])
		}
	})
}

// FuzzParseAdvertisement: no packet is a panic, or has a MAC that is none.
func FuzzParseAdvertisement(f *testing.F) {
	f.Add(advertisement(addr("2001:db8::9"), testMAC))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, mac, ok := parseAdvertisement(b); ok && (!a.Is6() || mac != nil && len(mac) != 6) {
			t.Errorf("%x: %s %s", b, a, mac)
		}
	})
}

// FuzzParseRecord: a file is read or refused.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"boot":"b","addresses":[{"address":"192.0.2.9","device":"eth0","index":3}]}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseRecord(b) })
}
