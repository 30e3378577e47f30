package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tenks/hostops/driver"
	"tenks/raftfsm"
	"tenks/raftfsm/state"
)

// How often what this host offers is looked at: often until all drivers work.
const (
	publishSoon = 100 * time.Millisecond
	publishNow  = 30 * time.Second
	// publishRaise is how often while the mesh may not use all that this version knows.
	publishRaise = 2 * time.Second
)

// tellAgain is when what this host offers is proposed again although the log took it, and the
// state does not show it.
const tellAgain = 5 * time.Minute

// driverPatience is how long an agent waits, from when it opened its drivers, before it
// takes work without those that are busy: a libvirtd that has just started looks at
// QEMU for several seconds first.
const driverPatience = 30 * time.Second

// ready says why the agent cannot take work yet: it does not know what this host
// offers.
func (a *agent) ready() error {
	if a.published.Load() || time.Since(a.driversOpened) > driverPatience {
		return nil
	}
	return errors.New("the agent is starting: its drivers do not all answer yet")
}

// publish keeps the mesh told of what this host offers.
func (a *agent) publish(ctx context.Context) error {
	stopped := false
	for {
		if err := a.fsm.Err(); err != nil && !stopped {
			stopped = true
			a.log.ErrorContext(ctx, "this peer no longer follows the log; what is placed here goes on", "err", err)
		}
		h, complete, settled := a.facts(ctx)
		snap, _ := a.source.Snapshot()
		if err := errors.Join(a.publishPeer(ctx, snap), a.publishOnce(ctx, snap, h)); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "what this host offers was not published; will retry", "err", err)
			complete, settled = false, false
		}
		wait := publishSoon
		if complete {
			wait = publishNow
			if snap.Level().Number < raftfsm.Level {
				wait = publishRaise
			}
		}
		if settled {
			a.published.Store(true)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (a *agent) publishOnce(ctx context.Context, snap *state.Snapshot, h state.Hypervisor) error {
	old, there := snap.Hypervisor(h.ID)
	h = fitRow(snap, h, old)
	// Once for each level: peers that did not know it may have dropped what they were told.
	again := there && old.ModifyIndex < snap.Level().Index
	if there {
		same := *old
		same.CreateIndex, same.ModifyIndex = 0, 0
		if !again && reflect.DeepEqual(same, h) {
			return nil
		}
		// A driver that does not answer for a moment is no reason to change the log. One
		// that agent.yml no longer names is.
		h.Drivers = union(h.Drivers, slices.DeleteFunc(slices.Clone(old.Drivers), func(name string) bool {
			_, named := a.opt.Config.Drivers[name]
			return !named
		}))
		if len(h.Drivers) > 0 && len(h.Archs) == 0 {
			h.Archs = old.Archs // as long as its driver says nothing
		}
		if !again && reflect.DeepEqual(same, h) {
			return nil
		}
	}
	// Where the state comes from a peer of an older version, it never shows what that does not
	// know.
	if there && !again && reflect.DeepEqual(a.proposed, h) && time.Since(a.proposedAt) < tellAgain {
		return nil
	}
	_, err := a.propose(ctx, "", state.PutHypervisor{Hypervisor: h})
	if err == nil {
		a.proposed, a.proposedAt = h, time.Now()
	}
	return err
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// facts returns what this host offers, whether that is all it ever will, and whether
// nothing more is to be expected soon.
func (a *agent) facts(ctx context.Context) (h state.Hypervisor, complete, settled bool) {
	c := a.opt.Config
	h = state.Hypervisor{ID: a.mesh.ID(), Name: c.Name, Address: c.Advertise, Zone: c.Zone, Labels: c.Labels,
		Version: a.opt.Version, Physnets: slices.Sorted(maps.Keys(c.Physnets)), Drivers: []string{},
		Overcommit: state.Overcommit{VCPUs: c.Overcommit.VCPUs, Memory: c.Overcommit.Memory, Disk: c.Overcommit.Disk},
		BMC:        state.PortRange{Address: c.BMC.Address, First: c.BMC.IPMIPorts.First, Last: c.BMC.IPMIPorts.Last},
		Reserved:   a.mesh.Ports(), Redfish: c.BMC.RedfishPort, SNMP: c.BMC.SNMPPort, Networks: a.networks(ctx)}
	h.PhysnetLinks, h.VXLAN = a.physnetLinks(ctx)
	complete, settled = true, true
	for _, d := range a.drivers {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		archs, err := d.available(bounded)
		cancel()
		if err != nil {
			complete = complete && d.missing != nil
			// What is busy may be starting; another error is an answer.
			settled = settled && (d.missing != nil || errors.Is(err, driver.ErrNotStarted) || !errors.Is(err, state.ErrBusy))
			continue
		}
		h.Drivers = append(h.Drivers, d.name)
		h.Archs = union(h.Archs, archs)
	}
	capacity, err := a.capacity()
	if err != nil {
		a.log.WarnContext(ctx, "this host's capacity is not known", "err", err)
		return h, false, false
	}
	h.Capacity = capacity
	return h, complete, settled
}

// capacity returns what the host has in all. Disk is the whole file system that the
// data directory is on.
func (a *agent) capacity() (state.Resources, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return state.Resources{}, fmt.Errorf("memory: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(a.paths.Dir, &fs); err != nil {
		return state.Resources{}, fmt.Errorf("file system of %s: %w", a.paths.Dir, err)
	}
	size := fs.Blocks * uint64(max(fs.Bsize, 0))
	return state.Resources{
		VCPUs:    runtime.NumCPU(),
		MemoryMB: info.Totalram * uint64(info.Unit) >> 20,
		DiskGB:   uint64(math.Max(float64(size>>30), 0)),
	}, nil
}
