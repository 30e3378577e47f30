package libvirt

import (
	"cmp"
	"slices"

	"libvirt.org/go/libvirtxml"

	"tenks/raftfsm/state"
)

// menuTimeout is how long the firmware's menu waits when somebody asked for it, in
// milliseconds. (65535 is the most that SeaBIOS takes.)
const menuTimeout = "60000"

// bootOrder is what a domain boots from.
type bootOrder struct {
	// Devices are names of disks ("vda", "sda" for the CD-ROM, "sdb" for a USB stick) and MACs
	// of NICs.
	Devices []string
	// Menu shows the firmware's menu and waits there.
	Menu bool
	// Wait is for how long the menu waits that nobody asked for, in milliseconds; empty:
	// there is none.
	Wait string
}

func (o bootOrder) equal(p bootOrder) bool {
	return o.Menu == p.Menu && o.Wait == p.Wait && slices.Equal(o.Devices, p.Devices)
}

// orderOf decides what the devices of d boot in which order. An override puts devices of
// its kind before all others.
func orderOf(d *libvirtxml.Domain, b state.Boot, s starting) bootOrder {
	of := bootable(d)
	first := of[b.Device]
	all := s.sort(of)
	has := func(some []string, want bool) func(string) bool {
		return func(dev string) bool { return slices.Contains(some, dev) != want }
	}
	o := bootOrder{Devices: slices.Concat(slices.DeleteFunc(slices.Clone(all), has(first, true)), slices.DeleteFunc(slices.Clone(all), has(first, false)))}
	if s.NoNetwork {
		o.Devices = slices.DeleteFunc(o.Devices, has(of[state.BootPXE], false))
	}
	if o.Menu = b.Device == state.BootSetup; !o.Menu {
		o.Wait = s.Wait
	}
	return o
}

// bootable are the devices of a domain by what starts from them.
func bootable(d *libvirtxml.Domain) map[state.BootDevice][]string {
	of := map[state.BootDevice][]string{}
	for _, k := range d.Devices.Disks {
		if k.Target == nil {
			continue
		}
		kind := state.BootDisk
		switch {
		case k.Device == "cdrom":
			kind = state.BootCDROM
		case isStick(k):
			kind = state.BootUSB
		}
		of[kind] = append(of[kind], k.Target.Dev)
	}
	for _, n := range d.Devices.Interfaces {
		if n.MAC != nil {
			of[state.BootPXE] = append(of[state.BootPXE], n.MAC.Address)
		}
	}
	return of
}

// setOrder writes an order into a domain.
func setOrder(d *libvirtxml.Domain, o bootOrder) {
	place := map[string]*libvirtxml.DomainDeviceBoot{}
	for i, name := range o.Devices {
		place[name] = &libvirtxml.DomainDeviceBoot{Order: uint(i + 1)}
	}
	for i, k := range d.Devices.Disks {
		if k.Target != nil {
			d.Devices.Disks[i].Boot = place[k.Target.Dev]
		}
	}
	for i, n := range d.Devices.Interfaces {
		if n.MAC != nil {
			d.Devices.Interfaces[i].Boot = place[n.MAC.Address]
		}
	}
	d.OS.BootDevices, d.OS.BootMenu = nil, nil
	wait := o.Wait
	if o.Menu {
		wait = menuTimeout
	}
	if wait != "" {
		d.OS.BootMenu = &libvirtxml.DomainBootMenu{Enable: "yes", Timeout: wait}
	}
}

// getOrder reads the order that a domain has.
func getOrder(d *libvirtxml.Domain) bootOrder {
	type entry struct {
		order uint
		name  string
	}
	var all []entry
	add := func(b *libvirtxml.DomainDeviceBoot, name string) {
		if b != nil {
			all = append(all, entry{b.Order, name})
		}
	}
	for _, k := range d.Devices.Disks {
		if k.Target != nil {
			add(k.Boot, k.Target.Dev)
		}
	}
	for _, n := range d.Devices.Interfaces {
		if n.MAC != nil {
			add(n.Boot, n.MAC.Address)
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.order, b.order) })
	var o bootOrder
	for _, e := range all {
		o.Devices = append(o.Devices, e.name)
	}
	if d.OS != nil && d.OS.BootMenu != nil && d.OS.BootMenu.Enable == "yes" {
		if o.Menu = d.OS.BootMenu.Timeout == menuTimeout; !o.Menu {
			o.Wait = d.OS.BootMenu.Timeout
		}
	}
	return o
}
