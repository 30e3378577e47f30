package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"tenks/bmc/address"
	"tenks/bmc/endpoint"
	"tenks/bmc/redfish"
	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// lapseLook is how often it is looked whether a node's address must go for want of a lease.
const lapseLook = 500 * time.Millisecond

func (a *agent) openAddresses(bootID string) error {
	a.lapses = make(chan struct{}, 1)
	c := address.Config{File: a.paths.Addresses, BootID: strings.TrimSpace(bootID), Device: a.opt.Config.BMC.Device, Log: a.log}
	if text := a.opt.Config.BMC.Network; text != "" {
		var err error
		if c.Network, err = netip.ParsePrefix(text); err != nil {
			return fmt.Errorf("bmc.network: %w", err)
		}
	}
	var err error
	if a.addresses, err = address.Open(c); err != nil {
		return fmt.Errorf("addresses of BMCs: %w", err)
	}
	return nil
}

// ClearAddresses removes the addresses of BMCs that an agent left on this host. The agent
// does not run.
func ClearAddresses(ctx context.Context, dir string, log *slog.Logger) error {
	file := PathsOf(dir).Addresses
	if _, err := os.Stat(file); err != nil {
		return nil //nolint:nilerr // there is nothing to remove
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("boot ID: %w", err)
	}
	return address.Clear(ctx, address.Config{File: file, BootID: strings.TrimSpace(string(bootID)), Log: log})
}

// watchLapses wakes who keeps the BMCs when this host must give up some, or may have them
// again: the state does not change then.
func (a *agent) watchLapses(ctx context.Context) error {
	var before []string
	for ctx.Err() == nil {
		var now []string
		snap, _ := a.source.Snapshot()
		for _, n := range snap.NodesOn(a.mesh.ID()) {
			if n.BMCAddress != "" && a.host.Lapsed(n) {
				now = append(now, n.UUID)
			}
		}
		if !slices.Equal(before, now) {
			before = now
			select {
			case a.lapses <- struct{}{}:
			default:
			}
		}
		sleep(ctx, lapseLook)
	}
	return nil
}

// networks are those that this host can serve addresses of BMCs in; those that it told
// of before, where they cannot be listed.
func (a *agent) networks(ctx context.Context) []string {
	out, err := a.addresses.Networks()
	if err == nil {
		return out
	}
	a.log.WarnContext(ctx, "this host's networks for BMCs are not known", "err", err)
	snap, _ := a.source.Snapshot()
	if h, ok := snap.Hypervisor(a.mesh.ID()); ok {
		return h.Networks
	}
	return nil
}

// serveRedfish answers for one node alone, at its own address.
func (a *agent) serveRedfish(ctx context.Context, uuid string, l net.Listener) error {
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return err
	}
	m := a.redfish
	conf := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return m.cert.of(hello.Context(), at.Addr().Unmap())
	}, MinVersion: tls.VersionTLS12}
	return m.service.ServeBy(ctx, l, conf, endpoint.ForNode(uuid, redfish.Only(uuid, m.handler)))
}

// checkAddresses is doctor's finding about addresses of BMCs.
func (a *agent) checkAddresses() []api.Check {
	snap, _ := a.source.Snapshot()
	held := a.addresses.Held()
	var pools, unserved []string
	self, known := snap.Hypervisor(a.mesh.ID())
	for _, c := range snap.Clusters() {
		if len(c.BMCPool) == 0 {
			continue
		}
		pools = append(pools, c.Name)
		if known && len(c.BMCPool.In(self.Prefixes())) == 0 {
			unserved = append(unserved, fmt.Sprintf("%s of cluster %s", c.BMCPool, c.Name))
		}
	}
	if len(pools)+len(held) == 0 {
		return nil
	}
	out := api.Check{Name: "BMC addresses", State: "ok", Detail: fmt.Sprintf("%d here", len(held))}
	var wrong []string
	for _, n := range snap.NodesOn(a.mesh.ID()) {
		if n.BMCAddress == "" {
			continue
		}
		if err := a.bmcs.Err(n); err != nil {
			wrong = append(wrong, n.Name+": "+err.Error())
		}
	}
	switch {
	case len(wrong) > 0:
		out.State, out.Detail = "error", strings.Join(wrong[:min(len(wrong), mostWrong)], "; ")
		out.Fix = "take the address from whoever has it, or out of bmc.addresses, and apply the file again; it is retried"
	case len(unserved) > 0:
		out.State, out.Detail = "warning", "no link in the BMC network of "+strings.Join(unserved, ", ")
		out.Fix = "give a device an address there, or name it: bmc.device and bmc.network in agent.yml; until then such nodes go to other hosts"
	}
	return []api.Check{out}
}

// mostWrong is how many nodes a finding names.
const mostWrong = 5

// ownAddress is an address that a node which is placed on a peer has for its BMC.
func ownAddress(snap *state.Snapshot, peer, text string) (netip.Addr, bool) {
	at, err := netip.ParseAddr(text)
	mine := slices.ContainsFunc(snap.NodesOn(peer), func(n *state.Node) bool { return n.BMCAddress == text })
	return at, err == nil && mine
}
