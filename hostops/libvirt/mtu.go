package libvirt

import (
	"fmt"
	"slices"
	"strconv"

	"libvirt.org/go/libvirtxml"
)

// mtuProperty is QEMU's property of a virtio NIC that tells the guest its MTU
// (VIRTIO_NET_F_MTU, virtio v1.2 §5.1.3).
const mtuProperty = "host_mtu"

// tellMTUs has the guest know of its NICs' MTUs. libvirt's own element <mtu> is refused for
// interfaces of type direct, so the property is set past it (libvirt 8.2, "override"), by the
// alias that libvirt gives to NIC i. Other models have no such property.
func (b blueprint) tellMTUs(d *libvirtxml.Domain) {
	for i, p := range b.Spec.Ports {
		n := d.Devices.Interfaces[i]
		if p.MTU == 0 || n.Model == nil || n.Model.Type != "virtio" {
			continue
		}
		if d.QEMUOverride == nil {
			d.QEMUOverride = &libvirtxml.DomainQEMUOverride{}
		}
		d.QEMUOverride.Devices = append(d.QEMUOverride.Devices, libvirtxml.DomainQEMUOverrideDevice{
			Alias: nicAlias(i),
			Frontend: libvirtxml.DomainQEMUOverrideFrontend{Properties: []libvirtxml.DomainQEMUOverrideProperty{
				{Name: mtuProperty, Type: "unsigned", Value: strconv.Itoa(p.MTU)}}},
		})
	}
}

// nicAlias is libvirt's name for a domain's NIC i.
func nicAlias(i int) string { return fmt.Sprintf("net%d", i) }

// mtuOf is what the guest is told of NIC i; 0: nothing. A NIC that was plugged in while the
// guest runs has another alias, and is told nothing: QEMU takes the property at its start only.
func mtuOf(d *libvirtxml.Domain, i int) int {
	alias := nicAlias(i)
	if a := d.Devices.Interfaces[i].Alias; a != nil {
		alias = a.Name
	}
	if d.QEMUOverride == nil {
		return 0
	}
	for _, o := range d.QEMUOverride.Devices {
		at := slices.IndexFunc(o.Frontend.Properties, func(p libvirtxml.DomainQEMUOverrideProperty) bool { return p.Name == mtuProperty })
		if o.Alias == alias && at >= 0 {
			mtu, _ := strconv.Atoi(o.Frontend.Properties[at].Value)
			return mtu
		}
	}
	return 0
}
