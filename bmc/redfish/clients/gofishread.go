package clients

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stmcginnis/gofish/common"
	"github.com/stmcginnis/gofish/redfish"
)

// inspect is what inspect.py reads.
func (f *fish) inspect() {
	f.call("memory_summary.size_gib", f.with(func(n *redfish.ComputerSystem) error {
		return same("memory", float64(n.MemorySummary.TotalSystemMemoryGiB), f.MemoryGiB)
	}))
	f.call("processors.summary", f.with(func(n *redfish.ComputerSystem) error {
		all, err := n.Processors()
		threads := 0
		for _, p := range all {
			threads += p.TotalThreads
		}
		return errors.Join(err, same("threads", threads, f.CPUs), same("count", n.ProcessorSummary.LogicalProcessorCount, f.CPUs))
	}))
	f.call("processor model, max_speed_mhz, instruction_set", f.with(func(n *redfish.ComputerSystem) error {
		all, err := n.Processors()
		if err != nil {
			return err
		}
		return errors.Join(same("has a model", all[0].Model != "", true), same("instructions", all[0].InstructionSet, redfish.X8664InstructionSet))
	}))
	f.call("ethernet_interfaces.summary", f.with(func(n *redfish.ComputerSystem) error {
		all, err := n.EthernetInterfaces()
		var macs []string
		for _, e := range all {
			macs = append(macs, strings.ToLower(e.MACAddress))
			err = errors.Join(err, same("state", e.Status.State, common.EnabledState))
		}
		return errors.Join(err, sameList("MACs", macs, f.MACs))
	}))
	f.inspectDisks()
	f.inspectDevices()
}

// inspectDisks is what _detect_local_gb reads.
func (f *fish) inspectDisks() {
	f.call("simple_storage.disks_sizes_bytes", f.with(f.simpleSizes))
	f.call("simple_storage.devices", f.with(f.simpleSizes))
	f.call("storage.volumes_sizes_bytes", func() error {
		volumes, err := f.volumes()
		var sizes []uint64
		for _, v := range volumes {
			sizes = append(sizes, uint64(v.CapacityBytes)) //nolint:gosec // no volume is negative
		}
		return errors.Join(err, sameList("volumes", sizes, f.Disks))
	})
	for _, name := range []string{"storage.drives_sizes_bytes", "drive name, capacity_bytes"} {
		f.call(name, func() error {
			drives, err := f.drives()
			var sizes []uint64
			for _, d := range drives {
				sizes = append(sizes, uint64(d.CapacityBytes)) //nolint:gosec // no drive is negative
				err = errors.Join(err, same("has a name", d.Name != "", true))
			}
			return errors.Join(err, sameList("drives", sizes, f.Disks))
		})
	}
}

// inspectDevices is what is left of inspect.py, and what firmware.py reads.
func (f *fish) inspectDevices() {
	f.call("system name, serial_number, manufacturer", f.with(func(n *redfish.ComputerSystem) error {
		return same("all there", n.Name != "" && n.SerialNumber != "" && n.Manufacturer != "", true)
	}))
	f.call("bios_version", f.with(func(n *redfish.ComputerSystem) error { return same("there", n.BIOSVersion != "", true) }))
	f.call("pcie_devices, pcie_functions", f.with(func(n *redfish.ComputerSystem) error {
		devices, err := n.PCIeDevices()
		if err != nil || len(devices) == 0 {
			return fmt.Errorf("%d devices: %w", len(devices), err)
		}
		for _, d := range devices {
			functions, err := d.PCIeFunctions()
			if err != nil || len(functions) == 0 {
				return fmt.Errorf("%s: %d functions: %w", d.ID, len(functions), err)
			}
			if fn := functions[0]; fn.VendorID == "" || fn.DeviceID == "" || fn.ClassCode == "" || fn.RevisionID == "" {
				return fmt.Errorf("%s: function %+v", d.ID, fn)
			}
		}
		return nil
	}))
	f.call("network adapter controllers", f.adapters)
}

// adapters have a controller with a version each.
func (f *fish) adapters() error {
	c, err := f.chassis()
	if err != nil {
		return err
	}
	adapters, err := c.NetworkAdapters()
	for _, a := range adapters {
		if len(a.Controllers) == 0 || a.Controllers[0].FirmwarePackageVersion == "" {
			err = errors.Join(err, fmt.Errorf("adapter %s: controllers %+v", a.ID, a.Controllers))
		}
	}
	return errors.Join(err, same("adapters", len(adapters), len(f.MACs)))
}

// sameList compares without regard to order.
func sameList[T interface{ ~string | ~uint64 }](what string, got, want []T) error {
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s are %v, want %v", what, got, want)
	}
	return nil
}

func (f *fish) simpleSizes(n *redfish.ComputerSystem) error {
	all, err := n.SimpleStorages()
	var sizes []uint64
	for _, s := range all {
		for _, d := range s.Devices {
			sizes = append(sizes, uint64(d.CapacityBytes)) //nolint:gosec // no device is negative
			err = errors.Join(err, same("has a name", d.Name != "", true), same("health", d.Status.Health, common.OKHealth))
		}
	}
	return errors.Join(err, sameList("devices", sizes, f.Disks))
}

// storage is the first one.
func (f *fish) storage() (*redfish.Storage, error) {
	n, err := f.node()
	if err != nil {
		return nil, err
	}
	all, err := n.Storage()
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("%d storage: %w", len(all), err)
	}
	return all[0], nil
}

func (f *fish) drives() ([]*redfish.Drive, error) {
	s, err := f.storage()
	if err != nil {
		return nil, err
	}
	all, err := s.Drives() // gofish gets them at the same time, in no order
	slices.SortFunc(all, func(a, b *redfish.Drive) int { return strings.Compare(a.ID, b.ID) })
	return all, err
}

func (f *fish) volumes() ([]*redfish.Volume, error) {
	s, err := f.storage()
	if err != nil {
		return nil, err
	}
	return s.Volumes()
}

// sensors are those of management.py's get_sensors_data.
func (f *fish) sensors() {
	f.call("thermal.fans", func() error {
		t, err := f.thermal()
		if err != nil || len(t.Fans) == 0 {
			return fmt.Errorf("no fans: %w", err)
		}
		return errors.Join(same("turns", t.Fans[0].Reading > 0, true), same("health", t.Fans[0].Status.Health, common.OKHealth))
	})
	f.call("thermal.temperatures", func() error {
		t, err := f.thermal()
		if err != nil || len(t.Temperatures) == 0 {
			return fmt.Errorf("no temperatures: %w", err)
		}
		return same("is warm", t.Temperatures[0].ReadingCelsius > 0, true)
	})
	f.call("power.power_supplies", func() error {
		c, err := f.chassis()
		if err != nil {
			return err
		}
		p, err := c.Power()
		if err != nil || len(p.PowerSupplies) == 0 {
			return fmt.Errorf("no supplies: %w", err)
		}
		return same("has a capacity", p.PowerSupplies[0].PowerCapacityWatts > 0, true)
	})
	f.indicators()
}

// indicators are those of system, chassis and drives.
func (f *fish) indicators() {
	f.call("system.set_indicator_led", func() error {
		return f.indicator(func(led common.IndicatorLED) (common.IndicatorLED, error) {
			n, err := f.node()
			if err != nil {
				return "", err
			}
			n.IndicatorLED = led
			if err = n.Update(); err != nil {
				return "", err
			}
			n, err = f.node()
			if err != nil {
				return "", err
			}
			return n.IndicatorLED, nil
		})
	})
	f.call("chassis.set_indicator_led", func() error {
		return f.indicator(func(led common.IndicatorLED) (common.IndicatorLED, error) {
			c, err := f.chassis()
			if err != nil {
				return "", err
			}
			c.IndicatorLED = led
			if err = c.Update(); err != nil {
				return "", err
			}
			if c, err = f.chassis(); err != nil {
				return "", err
			}
			return c.IndicatorLED, nil
		})
	})
	f.call("drive.set_indicator_led", func() error {
		return f.indicator(func(led common.IndicatorLED) (common.IndicatorLED, error) {
			all, err := f.drives()
			if err != nil {
				return "", err
			}
			all[0].IndicatorLED = led
			if err = all[0].Update(); err != nil {
				return "", err
			}
			if all, err = f.drives(); err != nil {
				return "", err
			}
			return all[0].IndicatorLED, nil
		})
	})
}

func (f *fish) thermal() (*redfish.Thermal, error) {
	c, err := f.chassis()
	if err != nil {
		return nil, err
	}
	return c.Thermal()
}

// indicator turns one on and off; set returns what it is then.
func (f *fish) indicator(set func(common.IndicatorLED) (common.IndicatorLED, error)) error {
	for _, led := range []common.IndicatorLED{common.LitIndicatorLED, common.OffIndicatorLED} {
		got, err := set(led)
		if err := errors.Join(err, same("indicator", got, led)); err != nil {
			return err
		}
	}
	return nil
}
