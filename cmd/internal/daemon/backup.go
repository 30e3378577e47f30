package daemon

import (
	"context"
	"time"

	"tenks/cmd/internal/recovery"
	"tenks/raftfsm/state"
)

// backupLook is how often an agent looks whether a backup is due.
const backupLook = time.Minute

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
				err = recovery.Prune(a.paths.Backups, c.Keep)
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
	if len(list) > 0 && (now.Sub(list[0].Time) < a.opt.Config.Backup.Every || list[0].Index == snap.Index()) {
		return nil, false
	}
	return snap, snap.Mesh().ID != ""
}
