package hostops

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tenks/raftfsm/state"
)

const (
	// reportBatch bounds how many statuses one Report gets.
	reportBatch = 256
	// reportTimeout bounds one Report, which waits for the mesh's leader.
	reportTimeout = 30 * time.Second
	// reportAgain is when a status is reported again that the state does not show.
	reportAgain = 10 * time.Second
)

// reporter takes statuses to Config.Report in order, without holding up a pass: the
// mesh may have no leader for long.
type reporter struct {
	report func(ctx context.Context, nodes []state.NodeHostReport) error
	log    *slog.Logger

	mu sync.Mutex
	// queue has the newest status of each node that is to be reported.
	queue map[string]state.NodeHostReport
	// sent is what was last queued of each node until the state shows it.
	sent map[string]sentReport
	// running says that a goroutine works on the queue.
	running bool
}

type sentReport struct {
	state.NodeHostReport
	at time.Time
}

// offer queues the statuses that the state does not show and that are not on their
// way.
func (r *reporter) offer(ctx context.Context, h *Host, reports []state.NodeHostReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range reports {
		if r.news(h, n) {
			r.queue[n.UUID] = n
			r.sent[n.UUID] = sentReport{n, time.Now()}
		}
	}
	if len(r.queue) > 0 && !r.running {
		r.running = h.start(func() { r.drain(ctx) })
	}
}

// news reports whether a status is to be reported; r.mu is held.
func (r *reporter) news(h *Host, n state.NodeHostReport) bool {
	last, sent := r.sent[n.UUID]
	if sent && last.Epoch == n.Epoch && last.Status.Equal(n.Status) {
		_, queued := r.queue[n.UUID]
		waiting := queued || time.Since(last.at) < reportAgain
		if waiting {
			return false
		}
	}
	snap, _ := h.cfg.Source.Snapshot()
	now, ok := snap.Node(n.UUID)
	if ok && now.Placement != nil && now.Placement.Epoch == n.Epoch && now.Host.Equal(n.Status) {
		return sent && !last.Status.Equal(n.Status) // undo what is on its way
	}
	return ok
}

// drain reports what is queued until nothing is, or the mesh does not take it.
func (r *reporter) drain(ctx context.Context) {
	for {
		batch := r.take()
		if len(batch) == 0 {
			return
		}
		bounded, cancel := context.WithTimeout(ctx, reportTimeout)
		err := r.report(bounded, batch)
		cancel()
		if err == nil {
			continue
		}
		if ctx.Err() == nil {
			r.log.WarnContext(ctx, "statuses not reported; will retry", "nodes", len(batch), "err", err)
		}
		r.giveUp()
		return
	}
}

// take returns the next batch, in the order of UUIDs; none ends the goroutine.
func (r *reporter) take() []state.NodeHostReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.SortedFunc(maps.Values(r.queue), func(a, b state.NodeHostReport) int { return strings.Compare(a.UUID, b.UUID) })
	batch := all[:min(len(all), reportBatch)]
	for _, n := range batch {
		delete(r.queue, n.UUID)
	}
	r.running = len(batch) > 0
	return batch
}

// giveUp leaves it to the next pass to report again.
func (r *reporter) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.queue)
	clear(r.sent)
	r.running = false
}

// forget drops what is known of a node that is gone.
func (r *reporter) forget(uuid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.queue, uuid)
	delete(r.sent, uuid)
}
