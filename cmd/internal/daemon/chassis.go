package daemon

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"tenks/bmc"
	"tenks/bmc/pdu"
	"tenks/hostops"
	"tenks/hostops/driver"
	"tenks/raftfsm/reconcile"
	"tenks/raftfsm/state"
)

// Chassis implements api.Host and what bmc/endpoint needs.
func (a *agent) Chassis(uuid string) (bmc.Chassis, bool) {
	c, ok := a.host.Chassis(uuid)
	if !ok {
		return nil, false
	}
	return chassis{Chassis: c, host: a.host, source: a.source, uuid: uuid}, true
}

// chassis gives a host's chassis the type that protocols expect.
type chassis struct {
	*hostops.Chassis
	host   *hostops.Host
	source reconcile.Source
	uuid   string
}

func (c chassis) Status() bmc.Status { return bmc.Status(c.Chassis.Status()) }

// Power implements bmc.Chassis: without power nothing starts.
func (c chassis) Power(ctx context.Context, action state.PowerAction) error {
	if action == state.ActionOn || action == state.ActionCycle || action == state.ActionReset {
		snap, _ := c.source.Snapshot()
		if n, ok := snap.Node(c.uuid); ok && n.Outlet != nil && pdu.IsCut(c) {
			return fmt.Errorf("node %s: power %s: %w: outlet %d of PDU %s, which it is plugged into, is off", n.Name, action, state.ErrWrongState,
				n.Outlet.Number, n.Outlet.PDU.Name)
		}
	}
	return c.Chassis.Power(ctx, action)
}

func (c chassis) Console(ctx context.Context) (io.ReadWriteCloser, error) {
	return c.host.Console(ctx, c.uuid)
}

func (c chassis) Hardware() bmc.Hardware {
	snap, _ := c.source.Snapshot()
	n, ok := snap.Node(c.uuid)
	if !ok {
		return bmc.Hardware{UUID: c.uuid}
	}
	h := hardwareOf(n)
	h.BootMode = c.BootMode(h.BootMode)
	return h
}

// hardwareOf is what a node is declared to consist of: what a running guest does not have
// yet, it has from its next start on.
func hardwareOf(n *state.Node) bmc.Hardware {
	h := bmc.Hardware{UUID: strings.ToLower(n.UUID), Name: n.Name, MemoryMB: n.Machine.MemoryMB, VCPUs: n.Machine.VCPUs,
		Arch: n.Machine.Arch(), BootMode: n.Machine.BootMode, TPM: n.Machine.TPM,
		Identity: identity(n), Display: n.Host.Display}
	for i, p := range n.Ports {
		nic := bmc.NIC{MAC: strings.ToLower(p.MAC), Physnet: p.Physnet}
		if i < len(n.Host.Links) {
			l := n.Host.Links[i]
			nic.Switch = bmc.SwitchPort{Name: l.Bridge, MAC: strings.ToLower(l.BridgeMAC), Port: l.Link}
		}
		h.NICs = append(h.NICs, nic)
	}
	for _, v := range n.Machine.Volumes {
		h.Disks = append(h.Disks, bmc.Disk{CapacityBytes: v.CapacityBytes})
	}
	return h
}

// Unwrap implements bmc.Wrapper: what the node's firmware can do besides, as far as is known now.
func (c chassis) Unwrap() bmc.Chassis {
	if c.Hardware().BootMode == state.BootUEFI {
		if _, able := c.Chassis.SecureBoot(); able {
			return secureChassis{c}
		}
	}
	return nil
}

// identity is what a node's SMBIOS says it is, if its type says anything of that; the driver
// fills in the same.
func identity(n *state.Node) bmc.Identity {
	s := n.Machine.Hardware.SMBIOS
	if s == (state.SMBIOS{}) {
		return bmc.Identity{}
	}
	fill := strings.NewReplacer("{name}", n.Name, "{uuid}", strings.ToLower(n.UUID)).Replace
	return bmc.Identity{Manufacturer: fill(cmp.Or(s.Manufacturer, "Tenks")), Product: fill(cmp.Or(s.Product, "Virtual Machine")),
		Version: fill(cmp.Or(s.Version, "1.0")), Serial: fill(cmp.Or(s.Serial, "{uuid}")), SKU: fill(s.SKU), Asset: fill(s.Asset)}
}

func (c chassis) Load() (bmc.Load, bool) {
	l, ok := c.Chassis.Load()
	return bmc.Load(l), ok
}

func (c chassis) Subscribe(on func(bmc.Event)) (cancel func()) {
	return c.host.Subscribe(c.uuid, func(e hostops.ChassisEvent) {
		on(bmc.Event{At: e.At, Kind: bmc.EventKind(e.Kind), ByCommand: e.ByCommand})
	})
}

func (c chassis) InsertMedia(ctx context.Context, m bmc.Media) error {
	return c.Chassis.InsertMedia(ctx, hostops.Media(m))
}

func (c chassis) Media() bmc.MediaStatus { return bmc.MediaStatus(c.Chassis.Media()) }

// drive gives a host's drive the type that protocols expect.
type drive struct{ *hostops.Drive }

func (d drive) InsertMedia(ctx context.Context, m bmc.Media) error {
	return d.Drive.InsertMedia(ctx, hostops.Media(m))
}

func (d drive) Media() bmc.MediaStatus { return bmc.MediaStatus(d.Drive.Media()) }

// USB implements bmc.USBPort.
func (c chassis) USB() bmc.Drive { return drive{c.Chassis.USB()} }

// What the guest's hardware can be made besides: SetAttributes, BootOrder and SetBootOrder
// are the host's own.
var (
	_ bmc.BIOSer      = chassis{}
	_ bmc.BootOrderer = chassis{}
	_ bmc.RAID        = chassis{}
	_ bmc.USBPort     = chassis{}
)

// SetVolumes implements bmc.RAID.
func (c chassis) SetVolumes(ctx context.Context, volumes []bmc.Volume) error {
	var all []driver.RAIDVolume
	for _, v := range volumes {
		all = append(all, driver.RAIDVolume{ID: v.ID, Level: v.Level, Disks: v.Disks, CapacityBytes: v.CapacityBytes, Serial: v.Serial})
	}
	return c.Chassis.SetVolumes(ctx, all)
}
