package daemon

import (
	"context"
	"time"

	"tenks/cmd/internal/recovery"
	"tenks/raftfsm/state"
)

// backupLook is how often an agent looks whether a backup is due.
const backupLook = time.Minute

// backupSettle is for how long changes to what is declared are gathered.
const backupSettle = 10 * time.Minute

// Place is the peer's data directory for work without its agent.
func (p Paths) Place() recovery.Place {
	return recovery.Place{Mesh: p.Mesh, Backups: p.Backups, Part: p.Part}
}

// keepBackups writes backups of the whole state, where this peer has it, as agent.yml
// says.
func (a *agent) keepBackups(ctx context.Context) error {
	c := a.opt.Config.Backup
	if c.Every == 0 {
		return nil
	}
	for ctx.Err() == nil {
		if snap, due := a.backupDue(time.Now()); due {
			file, err := recovery.Keep(a.paths.Backups, snap, time.Now())
			if err == nil {
				a.log.InfoContext(ctx, "backup written", "file", file, "index", snap.Index())
				err = recovery.Prune(a.paths.Backups, c.Every, c.Keep)
			}
			if err != nil {
				a.log.WarnContext(ctx, "backup not written; will retry", "err", err)
			}
		}
		sleep(ctx, backupLook)
	}
	return nil
}

// backupDue returns the state if its last backup is old, and it has changed since.
func (a *agent) backupDue(now time.Time) (*state.Snapshot, bool) {
	if !a.hasAll() {
		return nil, false
	}
	list, err := recovery.List(a.paths.Backups)
	if err != nil {
		a.log.Warn("backups cannot be listed; will retry", "err", err)
		return nil, false
	}
	snap, _ := a.fsm.Source().Snapshot()
	return snap, snap.Mesh().ID != "" && due(list, snap, now, a.opt.Config.Backup.Every)
}

// due says whether there is to be another backup: the last one is old, or something was
// declared since that nobody would want to declare again.
func due(list []recovery.Entry, snap *state.Snapshot, now time.Time, every time.Duration) bool {
	if len(list) == 0 {
		return true
	}
	age, last := now.Sub(list[0].Time), list[0].Index
	return last != snap.Index() && (age >= every || age >= min(backupSettle, every) && declared(snap) > last)
}

// declared is the log index of the newest change to what people declared, and to keys.
func declared(snap *state.Snapshot) uint64 {
	newest := uint64(0)
	for _, c := range snap.Clusters() {
		newest = max(newest, c.ModifyIndex)
	}
	for _, p := range snap.Peers() {
		newest = max(newest, p.CreateIndex)
	}
	if k, ok := snap.Keys(); ok {
		newest = max(newest, k.ModifyIndex)
	}
	return newest
}
