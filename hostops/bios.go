package hostops

import (
	"context"
	"maps"
	"slices"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// SetAttributes has the hardware be as attributes of the firmware setup say, from the next
// start on; what is not among them has its default. Errors: state.ErrBusy.
func (c *Chassis) SetAttributes(ctx context.Context, attributes map[string]string) error {
	return c.changeSetup(ctx, func(s *driver.Setup) error {
		s.BIOS = maps.Clone(attributes)
		return nil
	})
}

// BootMode is the firmware of the next start of a node that was declared with one.
func (c *Chassis) BootMode(declared state.BootMode) state.BootMode {
	return bootMode(c.setup(), declared)
}

// bootModes are the values of driver.BIOSBootMode.
var bootModes = map[string]state.BootMode{"Uefi": state.BootUEFI, "Legacy": state.BootBIOS}

func bootMode(s driver.Setup, declared state.BootMode) state.BootMode {
	if mode, set := bootModes[s.BIOS[driver.BIOSBootMode]]; set {
		return mode
	}
	return declared
}

// BootOrder is driver.Setup's, from memory.
func (c *Chassis) BootOrder() []string { return c.setup().Order }

// SetBootOrder sets driver.Setup's, from the next start on. Errors: state.ErrBusy.
func (c *Chassis) SetBootOrder(ctx context.Context, order []string) error {
	return c.changeSetup(ctx, func(s *driver.Setup) error {
		s.Order = slices.Clone(order)
		return nil
	})
}
