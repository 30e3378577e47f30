package daemon

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tenks/hostops/driver"
	"tenks/hostops/fake"
)

// managedDriver is a driver of this agent: in its own process if it has a
// supervisor.
type managedDriver struct {
	driver.Driver
	name       string
	supervisor *driver.Supervisor
	// close ends what the driver started in this process; nil: nothing.
	close func()
	// missing says why the driver cannot even be started.
	missing error
}

// openDrivers makes the drivers that agent.yml names, and the fake one. A driver
// that cannot be started is no error: the host then offers no such nodes, and
// doctor says why.
func (a *agent) openDrivers() error {
	snap, _ := a.source.Snapshot()
	// QEMU may run as a user of its own: it must be able to walk down to its files,
	// each of which has a mode of its own.
	if err := os.MkdirAll(a.paths.Console, 0o711); err != nil {
		return fmt.Errorf("console logs: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(a.opt.Config.Drivers)) {
		dir := filepath.Join(a.paths.Dir, name)
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("driver %s: %w", name, err)
		}
		c := driver.Config{Mesh: snap.Mesh().ID, DataDir: dir, ConsoleDir: a.paths.Console,
			Options: a.opt.Config.Drivers[name]}
		d, err := a.openDriver(name, c)
		if err != nil {
			return fmt.Errorf("driver %s: %w", name, err)
		}
		if d.missing != nil {
			a.log.Warn("driver is not available", "driver", name, "err", d.missing)
		}
		a.drivers = append(a.drivers, d)
	}
	return nil
}

func (a *agent) openDriver(name string, c driver.Config) (*managedDriver, error) {
	if name == fake.Name {
		d, err := fake.Open(c)
		if err != nil {
			return nil, err
		}
		return &managedDriver{Driver: d, name: name, close: d.Close}, nil
	}
	d := &managedDriver{name: name}
	path, err := a.opt.LibvirtDriver(a.paths.Dir)
	if err != nil {
		d.missing = err
	}
	d.supervisor = driver.Supervise(driver.SupervisorConfig{Name: name, Path: path, Config: c, Log: a.log})
	d.Driver = d.supervisor
	return d, nil
}

// closeDrivers ends the drivers that have no process of their own.
func (a *agent) closeDrivers() {
	for _, d := range a.drivers {
		if d.close != nil {
			d.close()
		}
	}
}

// available returns which architectures guests of the driver may have if it works, or why it
// does not.
func (d *managedDriver) available(ctx context.Context) (archs []string, err error) {
	if d.missing != nil {
		return nil, d.missing
	}
	info, err := d.Info(ctx)
	return strings.Fields(info.Facts[driver.FactArchs]), err
}
