package clients

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/stmcginnis/gofish/redfish"
)

// boot is what management.py does to the override.
func (f *fish) boot() {
	f.call("boot target, enabled, mode", f.with(func(n *redfish.ComputerSystem) error {
		return errors.Join(same("enabled", n.Boot.BootSourceOverrideEnabled, redfish.DisabledBootSourceOverrideEnabled),
			same("mode", n.Boot.BootSourceOverrideMode, redfish.UEFIBootSourceOverrideMode),
			same("has a target", n.Boot.BootSourceOverrideTarget != "", true))
	}))
	f.call("boot.allowed_values", func() error {
		resp, err := f.api.Get(f.System)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var system struct {
			Boot struct {
				Values []string `json:"BootSourceOverrideTarget@Redfish.AllowableValues"`
			}
		}
		if err = decode(resp, &system); err != nil {
			return err
		}
		for _, want := range []string{"Pxe", "Hdd", "Cd", "BiosSetup", "UefiHttp"} {
			if !slices.Contains(system.Boot.Values, want) {
				err = errors.Join(err, fmt.Errorf("%s is not in %v", want, system.Boot.Values))
			}
		}
		return err
	})
	f.overrides()
}

// overrides sets each of those that Ironic sets.
func (f *fish) overrides() {
	once, always := redfish.OnceBootSourceOverrideEnabled, redfish.ContinuousBootSourceOverrideEnabled
	for _, set := range []struct {
		call    string
		boot    redfish.Boot
		enabled redfish.BootSourceOverrideEnabled
	}{
		{"set_system_boot_options(PXE, ONCE)", redfish.Boot{BootSourceOverrideTarget: redfish.PxeBootSourceOverrideTarget, BootSourceOverrideEnabled: once}, once},
		{"set_system_boot_options(HDD, CONTINUOUS)", redfish.Boot{BootSourceOverrideTarget: redfish.HddBootSourceOverrideTarget, BootSourceOverrideEnabled: always}, always},
		{"set_system_boot_options(CD, None)", redfish.Boot{BootSourceOverrideTarget: redfish.CdBootSourceOverrideTarget}, always},
		{"set_system_boot_options(BIOS_SETUP, ONCE)", redfish.Boot{BootSourceOverrideTarget: redfish.BiosSetupBootSourceOverrideTarget, BootSourceOverrideEnabled: once}, once},
		{"set_system_boot_options(UEFI_HTTP, http_boot_uri)",
			redfish.Boot{BootSourceOverrideTarget: redfish.UefiHTTPBootSourceOverrideTarget, BootSourceOverrideEnabled: once, HTTPBootURI: f.Image}, once},
	} {
		f.call(set.call, f.with(func(n *redfish.ComputerSystem) error {
			if err := n.SetBoot(set.boot); err != nil {
				return err
			}
			now, err := f.node()
			if err != nil {
				return err
			}
			return errors.Join(same("target", now.Boot.BootSourceOverrideTarget, set.boot.BootSourceOverrideTarget),
				same("enabled", now.Boot.BootSourceOverrideEnabled, set.enabled))
		}))
	}
	f.call("set_system_boot_options(mode=UEFI)", f.with(func(n *redfish.ComputerSystem) error {
		return n.SetBoot(redfish.Boot{BootSourceOverrideMode: redfish.UEFIBootSourceOverrideMode})
	}))
	f.call("refresh(force=True)", f.with(func(n *redfish.ComputerSystem) error {
		if err := n.SetBoot(redfish.Boot{BootSourceOverrideTarget: redfish.PxeBootSourceOverrideTarget, BootSourceOverrideEnabled: once}); err != nil {
			return err
		}
		again, err := redfish.GetComputerSystem(n.GetClient(), n.ODataID)
		if err != nil {
			return err
		}
		return same("target", again.Boot.BootSourceOverrideTarget, redfish.PxeBootSourceOverrideTarget)
	}))
}

// power is what power.py does.
func (f *fish) power() {
	f.call("power_state", f.with(func(n *redfish.ComputerSystem) error { return same("power", n.PowerState, redfish.OffPowerState) }))
	f.call("reset_system(ON)", func() error {
		if err := f.reset(redfish.OnResetType, redfish.OnPowerState); err != nil {
			return err
		}
		return f.until("the override to be used", func() (bool, error) {
			n, err := f.node()
			return err == nil && n.Boot.BootSourceOverrideEnabled == redfish.DisabledBootSourceOverrideEnabled, err
		})
	})
	f.call("reset_system(NMI)", func() error { return f.reset(redfish.NmiResetType, redfish.OnPowerState) })
	f.call("reset_system(FORCE_RESTART)", f.restart)
	f.call("reset_system(GRACEFUL_SHUTDOWN)", func() error {
		if f.Guest { // nothing in it reacts
			return f.reset(redfish.GracefulShutdownResetType, redfish.OnPowerState)
		}
		if err := f.reset(redfish.GracefulShutdownResetType, redfish.OffPowerState); err != nil {
			return err
		}
		return f.reset(redfish.OnResetType, redfish.OnPowerState)
	})
	f.call("reset_system(GRACEFUL_RESTART)", func() error { return f.reset(redfish.GracefulRestartResetType, redfish.OnPowerState) })
}

// clock is what verify_bmc_clock does.
func (f *fish) clock() {
	f.call("manager datetime, datetime_local_offset", f.with(func(n *redfish.ComputerSystem) error {
		m, err := f.manager(n)
		if err != nil {
			return err
		}
		return same("there", m.DateTime != "" && m.DateTimeLocalOffset != "", true)
	}))
	f.call("manager.set_datetime", f.with(func(n *redfish.ComputerSystem) error {
		m, err := f.manager(n)
		if err != nil {
			return err
		}
		m.DateTime, m.DateTimeLocalOffset = "2031-02-03T04:05:06+00:00", "+00:00"
		if err = m.Update(); err != nil {
			return err
		}
		if m, err = f.manager(n); err != nil {
			return err
		}
		return same("time", strings.HasPrefix(m.DateTime, "2031-02-03T04:05:"), true)
	}))
	f.call("manager manager_type, firmware_version", f.with(func(n *redfish.ComputerSystem) error {
		m, err := f.manager(n)
		if err != nil {
			return err
		}
		return errors.Join(same("type", m.ManagerType, redfish.BMCManagerType), same("has a version", m.FirmwareVersion != "", true))
	}))
}

// drive is the drive for media of a type, of the system or its manager.
func (f *fish) drive(ofManager bool, kind redfish.VirtualMediaType) (*redfish.VirtualMedia, error) {
	n, err := f.node()
	if err != nil {
		return nil, err
	}
	var all []*redfish.VirtualMedia
	if ofManager {
		m, failed := f.manager(n)
		if failed != nil {
			return nil, failed
		}
		all, err = m.VirtualMedia()
	} else {
		all, err = n.VirtualMedia()
	}
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(v *redfish.VirtualMedia) bool { return slices.Contains(v.MediaTypes, kind) })
	if i < 0 {
		return nil, fmt.Errorf("no drive for %s among %d", kind, len(all))
	}
	return all[i], nil
}

// inserted puts the image in, by insert, and ejects it.
func (f *fish) inserted(ofManager bool, kind redfish.VirtualMediaType, insert func(*redfish.VirtualMedia) error) error {
	d, err := f.drive(ofManager, kind)
	if err != nil {
		return err
	}
	if err = insert(d); err != nil {
		return err
	}
	if d, err = f.drive(ofManager, kind); err != nil {
		return err
	}
	if err = errors.Join(same("inserted", d.Inserted, true), same("image", d.Image, f.Image)); err != nil {
		return err
	}
	if err = d.EjectMedia(); err != nil {
		return err
	}
	if d, err = f.drive(ofManager, kind); err != nil {
		return err
	}
	return errors.Join(same("inserted", d.Inserted, false), same("image", d.Image, ""))
}

// media is what boot.py does.
func (f *fish) media() {
	insert := func(d *redfish.VirtualMedia) error { return d.InsertMedia(f.Image, true, true) }
	f.call("manager virtual_media", func() error { return f.inserted(true, redfish.CDMediaType, insert) })
	f.call("system virtual_media", func() error { return f.inserted(false, redfish.CDMediaType, insert) })
	f.call("insert_media", func() error {
		return f.inserted(false, redfish.CDMediaType, func(d *redfish.VirtualMedia) error {
			n, err := f.node()
			if err != nil {
				return err
			}
			err = n.SetBoot(redfish.Boot{BootSourceOverrideTarget: redfish.CdBootSourceOverrideTarget, BootSourceOverrideEnabled: redfish.OnceBootSourceOverrideEnabled})
			return errors.Join(err, insert(d), f.restart())
		})
	})
	f.call("eject_media", func() error {
		d, err := f.drive(false, redfish.CDMediaType)
		if err != nil {
			return err
		}
		return d.EjectMedia() // of what is empty
	})
	f.call("insert_media(USBSTICK)", func() error { return f.inserted(false, redfish.USBStickMediaType, insert) })
	f.call("insert_media(username, password)", func() error {
		return f.inserted(false, redfish.CDMediaType, func(d *redfish.VirtualMedia) error {
			return d.InsertMediaConfig(redfish.VirtualMediaConfig{Image: f.Image, Inserted: true, WriteProtected: true, UserName: "u", Password: "p"})
		})
	})
	f.call("BadRequestError of insert_media", func() error {
		d, err := f.drive(false, redfish.CDMediaType)
		if err != nil {
			return err
		}
		return status(d.InsertMedia("file:///etc/passwd", true, true), http.StatusBadRequest)
	})
}
