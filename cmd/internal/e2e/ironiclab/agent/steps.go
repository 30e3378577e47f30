package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
)

// handler does what a command says, and returns what the conductor reads of it.
type handler func(ctx context.Context, a *agent, params object) (object, error)

// handlers are the commands, by the name that the conductor calls them by.
var handlers = map[string]handler{
	"clean.get_clean_steps": func(context.Context, *agent, object) (object, error) {
		return steps("clean_steps", step("erase_devices_metadata", 99)), nil
	},
	"clean.execute_clean_step": func(_ context.Context, a *agent, params object) (object, error) {
		s := part(params, "step")
		if name := text(s, "step"); name != "erase_devices_metadata" {
			return nil, fmt.Errorf("no clean step %q", name) //nolint:err113 // for people
		}
		return object{"clean_result": nil, "clean_step": s}, a.machine.eraseMetadata()
	},
	"deploy.get_deploy_steps": func(context.Context, *agent, object) (object, error) {
		return steps("deploy_steps", step("write_image", 0), step("erase_devices_metadata", 0)), nil
	},
	"deploy.execute_deploy_step": deployStep,
	// Of a whole-disk image there are none, and it has a boot loader: firmware finds
	// \EFI\BOOT\BOOTX64.EFI by itself, and the BIOS the first sector.
	"standby.get_partition_uuids": func(context.Context, *agent, object) (object, error) { return object{}, nil },
	"image.install_bootloader": func(context.Context, *agent, object) (object, error) {
		return object{"result": "install_bootloader: the image has one"}, nil
	},
	"standby.sync":      func(context.Context, *agent, object) (object, error) { syscall.Sync(); return nil, nil },
	"standby.power_off": powerOff,
	"standby.run_image": powerOff, // the conductor switches it on again
	"log.collect_system_logs": func(context.Context, *agent, object) (object, error) {
		return object{"system_logs": ""}, nil
	},
}

// steps is the answer that lists some.
func steps(key string, list ...object) object {
	return object{key: object{"GenericHardwareManager": list}, "hardware_manager_version": object{"generic_hardware_manager": "1.2"}}
}

func step(name string, priority int) object {
	return object{"step": name, "priority": priority, "interface": "deploy", "reboot_requested": false, "abortable": true}
}

func deployStep(ctx context.Context, a *agent, params object) (object, error) {
	s := part(params, "step")
	var result object
	var err error
	switch name := text(s, "step"); name {
	case "write_image":
		result, err = a.writeImage(ctx, part(params, "node"), part(s, "args"))
	case "erase_devices_metadata":
		err = a.machine.eraseMetadata()
	default:
		err = fmt.Errorf("no deploy step %q", name) //nolint:err113 // for people
	}
	return object{"deploy_result": result, "deploy_step": s}, err
}

// powerOff lets the answer out first.
func powerOff(ctx context.Context, a *agent, _ object) (object, error) {
	go func() { // the machine's last
		pause(ctx, retryEvery, nil)
		if err := a.machine.power(); err != nil {
			a.log.ErrorContext(ctx, "power off", "err", err)
		}
	}()
	return nil, nil
}

// eraseMetadata makes what was on all disks unreadable to who looks for partitions, file systems
// and RAID sets.
func (m machine) eraseMetadata() error {
	var errs []error
	for _, d := range m.disks() {
		if err := m.wipe(d); err != nil {
			errs = append(errs, fmt.Errorf("disk %s: %w", filepath.Base(d), err))
		}
	}
	return errors.Join(errs...)
}
