package hostcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tenks/cmd/internal/api"
)

// OVS says what the host is to have of Open vSwitch.
type OVS struct {
	// DB is where its database listens, "unix:" and an absolute path; empty: none is needed.
	DB string
	// Kernel says that bridges are switched by the kernel's module.
	Kernel bool
}

const ovsName, ovsFix = "open vswitch", "tenks host setup --openvswitch"

// check looks whether the database answers, and whether the switch itself runs: its process
// ID is in a file beside the socket.
func (o OVS) check(ctx context.Context) api.Check {
	path := strings.TrimPrefix(o.DB, "unix:")
	if err := dial(ctx, path); err != nil {
		if _, found := exec.LookPath("ovs-vswitchd"); found != nil {
			return missing(ovsName, "ovs-vswitchd is not installed", ovsFix)
		}
		return missing(ovsName, "its database does not listen at "+path, ovsFix)
	}
	if pid := filepath.Join(filepath.Dir(path), "ovs-vswitchd.pid"); !runs(pid) {
		return missing(ovsName, "ovs-vswitchd does not run: no process of "+pid, ovsFix)
	}
	if _, err := os.Stat("/sys/module/openvswitch"); o.Kernel && err != nil {
		return missing(ovsName, "the kernel's module is not loaded", "modprobe openvswitch; or ovs: {datapath: netdev} in agent.yml, for bridges in userspace")
	}
	return ok(ovsName, path)
}

func dial(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// runs reports whether the process runs whose ID is in a file.
func runs(pidFile string) bool {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return false
	}
	_, err = os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}

// ovsPackages are what Open vSwitch is in, by package manager.
var ovsPackages = map[string]string{"apt-get": "openvswitch-switch", "dnf": "openvswitch", "zypper": "openvswitch"}

// setup installs and starts Open vSwitch.
func (o OVS) setup(ctx context.Context, say func(string)) error {
	if o.DB == "" || o.check(ctx).State == "ok" {
		return nil
	}
	if _, err := exec.LookPath("ovs-vswitchd"); err != nil {
		m, err := findManager()
		if err != nil {
			return err
		}
		m.packages = []string{ovsPackages[m.name]}
		say("installing " + m.packages[0] + " with " + m.name)
		if err := m.run(ctx); err != nil {
			return err
		}
	}
	say("starting Open vSwitch")
	return o.start(ctx)
}

// start starts the daemons, by systemd where it runs the host.
func (o OVS) start(ctx context.Context) error {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		for _, unit := range []string{"openvswitch-switch", "openvswitch"} {
			if exec.CommandContext(ctx, "systemctl", "enable", "--now", unit).Run() == nil {
				return o.await(ctx)
			}
		}
		return errors.New("host setup: systemctl enable --now openvswitch-switch failed: see systemctl status openvswitch-switch")
	}
	const ctl = "/usr/share/openvswitch/scripts/ovs-ctl"
	if out, err := exec.CommandContext(ctx, ctl, "start", "--system-id=random").CombinedOutput(); err != nil {
		return fmt.Errorf("host setup: %s start: %w: %s", ctl, err, lastLines(out))
	}
	return o.await(ctx)
}

func (o OVS) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for dial(ctx, strings.TrimPrefix(o.DB, "unix:")) != nil {
		select {
		case <-ctx.Done():
			return fmt.Errorf("host setup: Open vSwitch was started and its database does not listen at %s: see its log, and ovs.db in agent.yml", strings.TrimPrefix(o.DB, "unix:"))
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}
