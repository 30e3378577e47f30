package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/declare"
	"tenks/config"
	"tenks/raftfsm/state"
)

// checks are doctor's findings about the running agent.
func (a *agent) checks(ctx context.Context) []api.Check {
	out := []api.Check{a.checkLog()}
	if err := a.mesh.Rival(); err != nil {
		out = append(out, api.Check{Name: "generation", State: "error", Detail: err.Error(), Fix: "see docs/recovery.md"})
	}
	out = append(out, a.checkLevel()...)
	for _, d := range a.drivers {
		out = append(out, checkDriver(ctx, d))
	}
	out = append(out, a.redfish.check(), a.pdus.check())
	if a.opt.Config.BridgeType == config.BridgeOVS {
		out = append(out, a.checkSwitches(ctx))
	}
	out = append(out, a.checkAddresses()...)
	out = append(out, a.checkFlavors()...)
	out = append(out, a.checkPhysnets()...)
	return append(append(out, a.checkNodes()...), slices.Concat(a.checkPlaces(), a.checkQuarantine())...)
}

func (a *agent) checkLog() api.Check {
	c := api.Check{Name: "log", State: "ok"}
	snap, _ := a.source.Snapshot()
	c.Detail = fmt.Sprintf("index %d", snap.Index())
	switch leader, ok := a.mesh.Leader(); {
	case a.fsm.Err() != nil:
		c.State, c.Detail, c.Fix = "error", a.fsm.Err().Error(), "install the newer tenks on this host"
	case !ok || leader == "":
		c.State, c.Detail, c.Fix = "error", "no leader is known", "see agent.log; a leader is elected once a majority of voters runs"
	}
	return c
}

// checkSwitches asks Open vSwitch for a sign of life.
func (a *agent) checkSwitches(ctx context.Context) api.Check {
	c := api.Check{Name: "bridges", State: "ok", Detail: "Open vSwitch, datapath " + a.opt.Config.OVS.Datapath}
	if err := a.switches.Probe(ctx); err != nil {
		c.State, c.Detail, c.Fix = "error", err.Error(), "tenks host check says what is missing, tenks host setup installs it"
	}
	return c
}

func checkDriver(ctx context.Context, d *managedDriver) api.Check {
	c := api.Check{Name: "driver " + d.name, State: "ok"}
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := d.available(bounded); err != nil {
		c.State, c.Detail = "error", err.Error()
		c.Fix = "tenks host check says what is missing, tenks host setup installs it; this host goes on as a peer without this driver"
		return c
	}
	info, err := d.Info(bounded)
	if err != nil {
		c.State, c.Detail = "warning", err.Error()
		return c
	}
	c.Detail = "version " + info.Version
	for _, key := range slices.Sorted(maps.Keys(info.Facts)) {
		c.Detail += fmt.Sprintf(", %s %s", strings.ReplaceAll(key, "_", " "), info.Facts[key])
	}
	return c
}

// checkFlavors names every cluster whose flavors are not as declared, and why.
func (a *agent) checkFlavors() []api.Check {
	var out []api.Check
	snap, _ := a.source.Snapshot()
	for _, c := range snap.Clusters() {
		if _, why := c.FlavorsSettled(); why != "" {
			out = append(out, api.Check{Name: "flavors of cluster " + c.Name, State: "error", Detail: why, Fix: "see docs/cluster-file.md#flavors"})
		}
	}
	return out
}

// checkPlaces says what this host no longer has for the nodes on it.
func (a *agent) checkPlaces() []api.Check {
	var out []api.Check
	snap, _ := a.source.Snapshot()
	for _, note := range declare.Misplaced(snap, snap.NodesOn(a.mesh.ID())) {
		nodes, detail, _ := strings.Cut(note, ": ")
		detail, fix, _ := strings.Cut(detail, ": ")
		out = append(out, api.Check{Name: "nodes " + nodes, State: "warning", Detail: detail, Fix: fix})
	}
	return out
}

// checkNodes names every node on this host with an error.
func (a *agent) checkNodes() []api.Check {
	var out []api.Check
	snap, _ := a.source.Snapshot()
	for _, n := range snap.Nodes() {
		phase, reason := n.Phase()
		if reason == "" || phase == state.PhaseRemoving && n.Ironic.Error == "" {
			continue
		}
		c := api.Check{Name: "node " + n.Name, State: "warning", Detail: string(phase) + ": " + reason,
			Fix: "it is retried; see tenks events, and agent.log"}
		if phase == state.PhaseError {
			c.State = "error"
		}
		out = append(out, c)
	}
	return out
}
