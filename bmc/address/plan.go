package address

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
)

// Want is an address that this host is to have.
type Want struct {
	Address netip.Addr
	// Wait says why it must not be added now if it is not there; nil: it may. One that is
	// there stays.
	Wait error
}

// device is a link of the host.
type device struct {
	index int
	name  string
	// mac is empty where it has none of Ethernet's.
	mac net.HardwareAddr
	up  bool
	// port says that it is in a bridge, which then has the host's addresses.
	port bool
	// quiet says that it neither asks nor answers who has an address.
	quiet bool
	// has are all of its addresses, with the lengths of their prefixes.
	has []netip.Prefix
	// networks are the prefixes that addresses of BMCs may be in, with its own address in
	// each; the prefix's where it has none.
	networks []netip.Prefix
}

// entry is an address that we added, or were about to.
type entry struct {
	Address netip.Addr `json:"address"`
	Device  string     `json:"device"`
	Index   int        `json:"index"`
}

// addition is an address to add to a device.
type addition struct {
	address netip.Addr
	device  device
}

// program is what makes the host have what is wanted.
type program struct {
	// keep are entries whose addresses are there and wanted.
	keep map[netip.Addr]entry
	// remove are entries whose addresses are there and not wanted there.
	remove []entry
	add    []addition
	// errs says of what is wanted why it cannot be.
	errs map[netip.Addr]error
}

// plan decides what to do. ours are the entries of the host's present boot. What is not
// among them is never removed.
func plan(want []Want, devices []device, ours map[netip.Addr]entry) program {
	p := program{keep: map[netip.Addr]entry{}, errs: map[netip.Addr]error{}}
	wanted := map[netip.Addr]bool{}
	for _, w := range want {
		wanted[w.Address] = true
		to, found := deviceFor(w.Address, devices)
		e, known := ours[w.Address]
		there := known && present(e, devices)
		switch on := owner(w.Address, devices); {
		case there && (!found || to.index == e.Index):
			p.keep[w.Address] = e
			continue
		case there: // the network is at another device by now
			p.remove = append(p.remove, e)
		case on != "":
			p.errs[w.Address] = fmt.Errorf("%s is this host's own, on %s: take it out of bmc.addresses", w.Address, on)
			continue
		}
		switch {
		case !found:
			p.errs[w.Address] = fmt.Errorf("no link in the BMC network of %s", w.Address)
		case !to.up:
			p.errs[w.Address] = fmt.Errorf("%s, which is in the BMC network of %s, is down", to.name, w.Address)
		case w.Wait != nil:
			p.errs[w.Address] = w.Wait
		default:
			p.add = append(p.add, addition{w.Address, to})
		}
	}
	for _, at := range sorted(maps.Keys(ours)) {
		if e := ours[at]; !wanted[at] && present(e, devices) {
			p.remove = append(p.remove, e)
		}
	}
	return p
}

func sorted(addresses func(func(netip.Addr) bool)) []netip.Addr {
	return slices.SortedFunc(addresses, netip.Addr.Compare)
}

// host is an address alone, as we add it.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// present reports whether an entry's address is where we added it. One with a longer prefix
// on another device is the host's own.
func present(e entry, devices []device) bool {
	return slices.ContainsFunc(devices, func(d device) bool {
		return d.index == e.Index && d.name == e.Device && slices.Contains(d.has, host(e.Address))
	})
}

// owner is the device that has an address, with whatever prefix; empty: none has.
func owner(a netip.Addr, devices []device) string {
	for _, d := range devices {
		if slices.ContainsFunc(d.has, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return d.name
		}
	}
	return ""
}

// deviceFor returns the device in an address's network: the one with the longest prefix,
// and the lowest index among equals.
func deviceFor(a netip.Addr, devices []device) (best device, found bool) {
	bits := -1
	for _, d := range devices {
		for _, n := range d.networks {
			if !n.Contains(a) || n.Bits() < bits || n.Bits() == bits && best.index <= d.index {
				continue
			}
			best, bits, found = d, n.Bits(), true
		}
	}
	return best, found
}

// choose sets each device's networks: those of one device, and one more for it, if that is
// named; else of all devices. Prefixes that only one host can be in are no networks.
func choose(devices []device, only string, extra netip.Prefix) ([]device, error) {
	found := only == ""
	for i, d := range devices {
		devices[i].networks = nil
		if only != "" && d.name != only {
			continue
		}
		found = true
		if d.port && only == "" {
			continue
		}
		if d.port {
			return devices, fmt.Errorf("%w: %s is in a bridge, which is the one to name", errDevice, only)
		}
		for _, p := range d.has {
			if !p.IsSingleIP() && p.Addr().IsGlobalUnicast() {
				devices[i].networks = append(devices[i].networks, p)
			}
		}
		inExtra := func(p netip.Prefix) bool { return p.Masked() == extra }
		if only != "" && extra.IsValid() && !slices.ContainsFunc(devices[i].networks, inExtra) {
			devices[i].networks = append(devices[i].networks, extra)
		}
	}
	if !found {
		return devices, fmt.Errorf("%w: this host has no %s", errDevice, only)
	}
	return devices, nil
}

var errDevice = errors.New("bmc.device cannot be used")
