package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"tenks/hostops/ovs/ovstest"
)

// RequireOVS skips a test where hosts cannot have an Open vSwitch.
func RequireOVS(tb TB) {
	tb.Helper()
	Require(tb)
	if missing := ovstest.Missing(); missing != "" {
		tb.Skip("no Open vSwitch for hosts: " + missing)
	}
}

// StartOVS starts an Open vSwitch of the host's own, whose database listens where it does
// by default, /run/openvswitch/db.sock, and outlives a boot; the daemons do not, and are
// to be started again. Only userspace bridges (datapath_type netdev) work: the kernel's
// module is not in every kernel.
func (h *Host) StartOVS(ctx context.Context) (*ovstest.Switch, error) {
	dir, run := filepath.Join(h.Dir(), "ovs"), h.Path("/run/openvswitch")
	for _, d := range []string{dir, run} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("host %q: open vswitch: %w", h.name, err)
		}
	}
	s, err := ovstest.Start(ctx, dir, filepath.Join(run, "db.sock"), h.Command)
	if err != nil {
		return nil, fmt.Errorf("host %q: open vswitch: %w", h.name, err)
	}
	return s, nil
}
