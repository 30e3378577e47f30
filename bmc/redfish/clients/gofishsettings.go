package clients

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/stmcginnis/gofish/common"
	"github.com/stmcginnis/gofish/redfish"
)

// decode reads a body.
func decode(resp *http.Response, v any) error { return json.NewDecoder(resp.Body).Decode(v) }

// withBIOS gets the BIOS for a call.
func (f *fish) withBIOS(do func(*redfish.Bios) error) func() error {
	return f.with(func(n *redfish.ComputerSystem) error {
		b, err := n.Bios()
		if err != nil {
			return err
		}
		return do(b)
	})
}

// timeout waits for an attribute.
func (f *fish) timeout(want float64) error {
	return f.until("the attribute", func() (bool, error) {
		var got any
		err := f.withBIOS(func(b *redfish.Bios) error { got = b.Attributes["BootTimeout"]; return nil })()
		return got == want, err
	})
}

// bios is what bios.py does.
func (f *fish) bios() {
	f.call("bios.attributes", func() error { return f.timeout(0) })
	f.call("bios.get_attribute_registry", f.withBIOS(func(b *redfish.Bios) error {
		registries, err := f.api.Service.Registries()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(registries, func(r *redfish.MessageRegistryFile) bool { return r.Registry == b.AttributeRegistry })
		if i < 0 || len(registries[i].Location) == 0 {
			return fmt.Errorf("no registry %s", b.AttributeRegistry)
		}
		registry, err := redfish.GetAttributeRegistry(f.api, registries[i].Location[0].URI)
		if err != nil {
			return err
		}
		return same("attributes", len(registry.RegistryEntries.Attributes), len(b.Attributes))
	}))
	f.call("bios.supported_apply_times", f.withBIOS(func(b *redfish.Bios) error {
		return same("at the next start", slices.Contains(b.AllowedAttributeUpdateApplyTimes(), common.OnResetApplyTime), true)
	}))
	f.call("bios.set_attributes(ON_RESET)", f.withBIOS(func(b *redfish.Bios) error {
		err := b.UpdateBiosAttributesApplyAt(redfish.SettingsAttributes{"BootTimeout": 9, "NumLock": false}, common.OnResetApplyTime)
		if err != nil {
			return err
		}
		return errors.Join(f.restart(), f.timeout(9))
	}))
	f.call("BadRequestError of bios.set_attributes", f.withBIOS(func(b *redfish.Bios) error {
		return status(b.UpdateBiosAttributesApplyAt(redfish.SettingsAttributes{"Nonsense": 1}, common.OnResetApplyTime), http.StatusBadRequest)
	}))
	f.call("bios.reset_bios", f.withBIOS(func(b *redfish.Bios) error {
		return errors.Join(b.ResetBios(), f.restart(), f.timeout(0))
	}))
}

// secureBoot is what management.py does.
func (f *fish) secureBoot() {
	get := func(do func(*redfish.SecureBoot) error) func() error {
		return f.with(func(n *redfish.ComputerSystem) error {
			s, err := n.SecureBoot()
			if err != nil {
				return err
			}
			return do(s)
		})
	}
	enabled := func(want bool) error {
		return get(func(s *redfish.SecureBoot) error { return same("enabled", s.SecureBootEnable, want) })()
	}
	enable := func(on bool) error {
		return get(func(s *redfish.SecureBoot) error { s.SecureBootEnable = on; return s.Update() })()
	}
	keys := func(how redfish.ResetKeysType) error {
		return get(func(s *redfish.SecureBoot) error { return s.ResetKeys(how) })()
	}
	f.call("secure_boot.enabled", func() error { return enabled(false) })
	if !f.SecureBoot {
		return
	}
	f.call("secure_boot.set_enabled", func() error { return errors.Join(enable(true), f.restart(), enabled(true)) })
	f.call("secure_boot.reset_keys(DELETE_ALL)", func() error {
		return errors.Join(keys(redfish.DeleteAllKeysResetKeysType), f.restart(), enabled(false))
	})
	f.call("secure_boot.reset_keys(DEFAULT)", func() error {
		return errors.Join(keys(redfish.ResetAllKeysToDefaultResetKeysType), f.restart(), enable(true), enable(false))
	})
}

// payload is what raid.py sends for a volume.
func (f *fish) payload(at common.OperationApplyTime) (map[string]any, error) {
	drives, err := f.drives()
	if err != nil {
		return nil, err
	}
	kind, links := "RAID0", []map[string]string{}
	for _, d := range drives[:min(2, len(drives))] {
		links = append(links, map[string]string{"@odata.id": d.ODataID})
	}
	if len(links) > 1 {
		kind = "RAID1"
	}
	return map[string]any{"Encrypted": false, "Name": "root", "RAIDType": kind, "CapacityBytes": 1 << 29, "Links": map[string]any{"Drives": links},
		"@Redfish.OperationApplyTime": string(at)}, nil
}

// create posts a volume; it returns its path, or that of a task's monitor.
func (f *fish) create(at common.OperationApplyTime, want int) (string, error) {
	s, err := f.storage()
	if err != nil {
		return "", err
	}
	payload, err := f.payload(at)
	if err != nil {
		return "", err
	}
	resp, err := f.api.Post(s.ODataID+"/Volumes", payload)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.Header.Get("Location"), same("status", resp.StatusCode, want)
}

// remove deletes at once.
func (f *fish) remove(path string) error {
	_, err := f.api.Delete(path) //nolint:bodyclose // gofish has closed it
	return err
}

// raid is what raid.py reads.
func (f *fish) raid() {
	f.call("storage_controllers, raid_types", func() error {
		s, err := f.storage()
		if err != nil || len(s.StorageControllers) == 0 {
			return fmt.Errorf("no controller: %w", err)
		}
		return same("RAID0", slices.Contains(s.StorageControllers[0].SupportedRAIDTypes, redfish.RAID0RAIDType), true)
	})
	f.call("drive media_type, protocol, status", f.wholeDrives)
	f.call("volumes.operation_apply_time_support", func() error {
		s, err := f.storage()
		if err != nil {
			return err
		}
		times, err := s.GetOperationApplyTimeValues()
		n, failed := f.node()
		if failed != nil {
			return failed
		}
		// A controller that makes volumes real changes them while the machine is off.
		runs := f.Guest && n.PowerState == redfish.OnPowerState
		return errors.Join(err, same("Immediate", slices.Contains(times, common.ImmediateOperationApplyTime), !runs),
			same("OnReset", slices.Contains(times, common.OnResetOperationApplyTime), true))
	})
	f.call("volume raid_type, name, capacity_bytes", func() error {
		all, err := f.volumes()
		for _, v := range all {
			if v.RAIDType == "" || v.Name == "" || v.CapacityBytes <= 0 {
				err = errors.Join(err, fmt.Errorf("volume %s: %s %d", v.ID, v.RAIDType, v.CapacityBytes))
			}
		}
		return err
	})
	f.changeVolumes()
}

// wholeDrives have all that Ironic chooses drives by.
func (f *fish) wholeDrives() error {
	all, err := f.drives()
	for _, d := range all {
		if d.MediaType == "" || d.Protocol == "" || d.Manufacturer == "" || d.Model == "" || d.SerialNumber == "" || d.Status.Health != common.OKHealth {
			err = errors.Join(err, fmt.Errorf("drive %s: %s %s %s", d.ID, d.MediaType, d.Protocol, d.Status.Health))
		}
		if _, failed := d.Volumes(); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// changeVolumes is what raid.py changes.
func (f *fish) changeVolumes() {
	if f.Guest {
		// A controller that makes volumes real changes them while the machine is off.
		f.call("reset_system(FORCE_OFF)", func() error { return f.reset(redfish.ForceOffResetType, redfish.OffPowerState) })
	}
	f.call("volume.delete(IMMEDIATE)", func() error {
		all, err := f.volumes()
		for _, v := range all {
			err = errors.Join(err, f.remove(v.ODataID))
		}
		return errors.Join(err, f.count(0))
	})
	f.call("volumes.create(IMMEDIATE)", func() error {
		path, err := f.create(common.ImmediateOperationApplyTime, http.StatusCreated)
		if err != nil {
			return err
		}
		v, err := redfish.GetVolume(f.api, path)
		if err != nil {
			return err
		}
		return errors.Join(same("capacity", v.CapacityBytes, 1<<29), f.remove(v.ODataID), f.count(0))
	})
	f.call("volumes.create(ON_RESET)", func() error {
		monitor, err := f.create(common.OnResetOperationApplyTime, http.StatusAccepted)
		if err != nil {
			return err
		}
		return errors.Join(f.finish(monitor), f.count(1))
	})
	f.call("volume.delete(ON_RESET)", f.deleteAtReset)
}

// deleteAtReset has the apply time where sushy puts it: gofish's own DELETE has no body.
func (f *fish) deleteAtReset() error {
	all, err := f.volumes()
	if err != nil || len(all) != 1 {
		return fmt.Errorf("%d volumes: %w", len(all), err)
	}
	body := jsonBody(map[string]string{"@Redfish.OperationApplyTime": string(common.OnResetOperationApplyTime)})
	resp, err := f.api.RunRawRequestWithHeaders(http.MethodDelete, all[0].ODataID, body, "application/json", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return errors.Join(same("status", resp.StatusCode, http.StatusAccepted), f.finish(resp.Header.Get("Location")), f.count(0))
}

func (f *fish) count(want int) error {
	all, err := f.volumes()
	return errors.Join(err, same("volumes", len(all), want))
}
