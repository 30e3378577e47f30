package address

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// link is a device by its number, up, with addresses.
func link(index int, has ...string) device {
	return device{index: index, name: fmt.Sprintf("eth%d", index), mac: []byte{2, 0, 0, 0, 0, byte(index)}, up: true, has: prefixes(has...)}
}

func wants(texts ...string) (out []Want) {
	for _, s := range texts {
		out = append(out, Want{Address: addr(s)})
	}
	return out
}

func ours(texts ...string) map[netip.Addr]entry {
	out := map[netip.Addr]entry{}
	for _, s := range texts {
		a, index, _ := strings.Cut(s, "@")
		out[addr(a)] = entry{addr(a), "eth" + index, int(index[0] - '0')}
	}
	return out
}

// said is a program as text.
func said(p program) string {
	var out []string
	for _, at := range sorted(maps.Keys(p.keep)) {
		out = append(out, "keep "+at.String())
	}
	for _, e := range p.remove {
		out = append(out, fmt.Sprintf("remove %s from %s", e.Address, e.Device))
	}
	for _, a := range p.add {
		out = append(out, fmt.Sprintf("add %s to %s", a.address, a.device.name))
	}
	for _, at := range sorted(maps.Keys(p.errs)) {
		out = append(out, p.errs[at].Error())
	}
	return strings.Join(out, "; ")
}

func TestPlan(t *testing.T) {
	down := link(1, "192.0.2.1/24")
	down.up = false
	tests := map[string]struct {
		want    []Want
		devices []device
		ours    map[netip.Addr]entry
		does    string
	}{
		"adds to the device in the network":              {wants("192.0.2.9"), []device{link(1, "198.51.100.1/24"), link(2, "192.0.2.1/24")}, nil, "add 192.0.2.9 to eth2"},
		"adds to the longest prefix":                     {wants("192.0.2.9"), []device{link(1, "192.0.2.1/24"), link(2, "192.0.2.2/28"), link(3, "192.0.0.1/16")}, nil, "add 192.0.2.9 to eth2"},
		"adds to the lowest index among equals":          {wants("192.0.2.9"), []device{link(2, "192.0.2.1/24"), link(1, "192.0.2.2/24")}, nil, "add 192.0.2.9 to eth1"},
		"adds IPv6":                                      {wants("2001:db8::9"), []device{link(1, "192.0.2.1/24", "fe80::1/64", "2001:db8::1/64")}, nil, "add 2001:db8::9 to eth1"},
		"leaves alone what is there":                     {wants("192.0.2.9"), []device{link(1, "192.0.2.1/24", "192.0.2.9/32")}, ours("192.0.2.9@1"), "keep 192.0.2.9"},
		"leaves it alone though its network is gone":     {wants("192.0.2.9"), []device{link(1, "192.0.2.9/32")}, ours("192.0.2.9@1"), "keep 192.0.2.9"},
		"removes what is not wanted":                     {nil, []device{link(1, "192.0.2.1/24", "192.0.2.9/32")}, ours("192.0.2.9@1"), "remove 192.0.2.9 from eth1"},
		"forgets what is not there":                      {nil, []device{link(1, "192.0.2.1/24")}, ours("192.0.2.9@1"), ""},
		"forgets what is there with another prefix":      {nil, []device{link(1, "192.0.2.9/24")}, ours("192.0.2.9@1"), ""},
		"forgets what is on another device":              {nil, []device{link(1), link(2, "192.0.2.9/32")}, ours("192.0.2.9@1"), ""},
		"never removes what it did not add":              {nil, []device{link(1, "192.0.2.1/24", "192.0.2.9/32")}, nil, ""},
		"adds again what somebody took away":             {wants("192.0.2.9"), []device{link(1, "192.0.2.1/24")}, ours("192.0.2.9@1"), "add 192.0.2.9 to eth1"},
		"moves to the device that has the network now":   {wants("192.0.2.9"), []device{link(1, "192.0.2.9/32"), link(2, "192.0.2.1/24")}, ours("192.0.2.9@1"), "remove 192.0.2.9 from eth1; add 192.0.2.9 to eth2"},
		"does not take the host's own":                   {wants("192.0.2.1"), []device{link(1, "192.0.2.1/24")}, nil, "192.0.2.1 is this host's own, on eth1: take it out of bmc.addresses"},
		"does not take the host's own without a network": {wants("192.0.2.1"), []device{link(1, "192.0.2.2/24"), link(2, "192.0.2.1/32")}, nil, "192.0.2.1 is this host's own, on eth2: take it out of bmc.addresses"},
		"has no link in the network":                     {wants("192.0.2.1"), []device{link(1, "198.51.100.1/24", "192.0.2.2/32")}, nil, "no link in the BMC network of 192.0.2.1"},
		"has a link that is down":                        {wants("192.0.2.9"), []device{down}, nil, "eth1, which is in the BMC network of 192.0.2.9, is down"},
		"waits": {[]Want{{addr("192.0.2.9"), errors.New("not yet")}, {addr("192.0.2.8"), errors.New("not yet")}}, []device{link(1, "192.0.2.1/24", "192.0.2.8/32")}, ours("192.0.2.8@1"),
			"keep 192.0.2.8; not yet"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			devices, _ := choose(tt.devices, "", netip.Prefix{})
			if got := said(plan(tt.want, devices, tt.ours)); got != tt.does {
				t.Errorf("got  %s\nwant %s", got, tt.does)
			}
		})
	}
}

func TestWhichNetworksAreBMCNetworks(t *testing.T) {
	devices := func() []device {
		port := link(4, "203.0.113.1/24")
		port.port = true
		return []device{port, link(1, "127.0.0.1/8", "::1/128"), link(2, "192.0.2.1/24", "192.0.2.9/32", "fe80::1/64", "2001:db8::1/64"), link(3)}
	}
	for _, tt := range []struct{ only, extra, want, err string }{
		{"", "", "eth2 192.0.2.1/24, eth2 2001:db8::1/64", ""},
		{"eth2", "", "eth2 192.0.2.1/24, eth2 2001:db8::1/64", ""},
		{"eth3", "", "", ""},
		{"eth3", "198.51.100.0/24", "eth3 198.51.100.0/24", ""},
		{"eth2", "192.0.2.0/24", "eth2 192.0.2.1/24, eth2 2001:db8::1/64", ""},
		{"eth9", "", "", "bmc.device cannot be used: this host has no eth9"},
		{"eth4", "", "", "bmc.device cannot be used: eth4 is in a bridge, which is the one to name"},
	} {
		extra, _ := netip.ParsePrefix(tt.extra)
		all, err := choose(devices(), tt.only, extra)
		var got []string
		for _, d := range all {
			for _, n := range d.networks {
				got = append(got, d.name+" "+n.String())
			}
		}
		if text := strings.Join(got, ", "); text != tt.want || fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
			t.Errorf("device %q, network %q: %s, %v", tt.only, tt.extra, text, err)
		}
	}
}

// TestPlanProperties: what is carried out leaves nothing to do, and what is not ours stays.
func TestPlanProperties(t *testing.T) {
	some := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.8", "192.0.2.9", "198.51.100.9", "2001:db8::9", "203.0.113.1"}), rapid.ID[string])
	rapid.Check(t, func(rt *rapid.T) {
		devices := []device{link(1, "192.0.2.1/24", "192.0.2.7/32"), link(2, "198.51.100.1/24", "2001:db8::1/64")}
		foreign := map[netip.Prefix]bool{}
		for _, d := range devices {
			for _, p := range d.has {
				foreign[p] = true
			}
		}
		known := map[netip.Addr]entry{}
		for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
			chosen, _ := choose(devices, "", netip.Prefix{})
			p := plan(wants(some.Draw(rt, "want")...), chosen, known)
			known = carryOut(p, devices)
		}
		list := wants(some.Draw(rt, "want")...)
		chosen, _ := choose(devices, "", netip.Prefix{})
		known = carryOut(plan(list, chosen, known), devices)
		chosen, _ = choose(devices, "", netip.Prefix{})
		again := plan(list, chosen, known)
		if len(again.add)+len(again.remove) > 0 || len(again.keep)+len(again.errs) != len(list) {
			rt.Fatalf("left to do: %s", said(again))
		}
		for _, d := range devices {
			for _, p := range d.has {
				if !foreign[p] && known[p.Addr()].Device != d.name {
					rt.Fatalf("%s on %s is nobody's", p, d.name)
				}
				delete(foreign, p)
			}
		}
		if len(foreign) > 0 {
			rt.Fatalf("gone, and was never ours: %v", foreign)
		}
	})
}

// carryOut does what a program says, as Keep does.
func carryOut(p program, devices []device) map[netip.Addr]entry {
	known := maps.Clone(p.keep)
	for _, e := range p.remove {
		for i := range devices {
			if devices[i].index == e.Index {
				devices[i].has = slices.DeleteFunc(slices.Clone(devices[i].has), func(p netip.Prefix) bool { return p == host(e.Address) })
			}
		}
	}
	for _, a := range p.add {
		for i := range devices {
			if devices[i].index == a.device.index {
				devices[i].has = append(slices.Clone(devices[i].has), host(a.address))
			}
		}
		known[a.address] = entry{a.address, a.device.name, a.device.index}
	}
	return known
}
