package daemon

import (
	"context"
	"os"
	"time"
)

const (
	// largeMesh is how many hypervisors and nodes make a mesh large, for its agents.
	largeMesh = 1000
	// sparePercent is how much an agent of a large mesh lets its heap grow between two
	// collections, in percent of what is in use; a small one has what the runtime takes,
	// or GOGC says.
	sparePercent = 400
	// sizedEvery is how often an agent looks how large the mesh is.
	sizedEvery = 5 * time.Second
)

// size makes the agent of a large mesh collect garbage less often: every peer that
// follows the log applies each entry of thousands of nodes, and half of the processor
// time of that went into marking a heap that had hardly changed. It costs memory where the
// state is large: about three times what it takes.
func (a *agent) size(ctx context.Context) error {
	if a.opt.SetGCPercent == nil || os.Getenv("GOGC") != "" {
		return nil
	}
	ticker := time.NewTicker(sizedEvery)
	defer ticker.Stop()
	usual, large := 0, false
	for {
		snap, _ := a.source.Snapshot()
		switch is := len(snap.Hypervisors())+len(snap.Nodes()) >= largeMesh; {
		case is && !large:
			usual, large = a.opt.SetGCPercent(sparePercent), true
		case !is && large:
			a.opt.SetGCPercent(usual)
			large = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
