package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tenks/cmd/internal/api"
	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Moves to this host.
const (
	// moveAgain is the first pause after a failure, doubled up to moveAgainMax for as long
	// as nothing comes.
	moveAgain, moveAgainMax = time.Second, 30 * time.Second
	// moveBusy is how often a driver or the other host may be busy, as what starts is,
	// until that is told.
	moveBusy = 4
	// moveReport is how often the mesh may be told how far moves are.
	moveReport = time.Second
	// moveBatch is how many chunks come before they are synced, moveAtOnce of them at a
	// time.
	moveBatch, moveAtOnce = 8, 4
	// luggageTime and chunkTime bound single requests; a list may take the reading of an
	// image.
	luggageTime, chunkTime = 10 * time.Minute, time.Minute
	// moveSpare is how much is to stay free on a file system, in bytes.
	moveSpare = 64 << 20
)

// incoming fetches the nodes that move to this host.
type incoming struct {
	a    *agent
	sums fileSums

	// What follows belongs to run.
	transfers map[string]*transfer
	reported  time.Time
}

// transfer is one node that comes.
type transfer struct {
	in     *incoming
	uuid   string
	start  uint64
	cancel context.CancelFunc
	ended  chan struct{}
	// received counts the bytes of files that came since the agent started.
	received atomic.Uint64

	mu          sync.Mutex // guards what follows
	done, total uint64
	err         string
}

// run fetches nodes until ctx ends.
func (in *incoming) run(ctx context.Context) error {
	in.transfers = map[string]*transfer{}
	tick := time.NewTicker(moveReport)
	defer tick.Stop()
	for {
		snap, changed := in.a.source.Snapshot()
		in.match(ctx, snap)
		in.report(ctx, snap)
		select {
		case <-ctx.Done():
			for _, t := range in.transfers {
				<-t.ended
			}
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// match begins the transfers of a snapshot's moves, and ends others.
func (in *incoming) match(ctx context.Context, snap *state.Snapshot) {
	coming := map[string]uint64{}
	for _, n := range snap.MovingTo(in.a.mesh.ID()) {
		coming[n.UUID] = n.Move.Start
	}
	for uuid, t := range in.transfers {
		if coming[uuid] != t.start {
			t.cancel()
			<-t.ended
			delete(in.transfers, uuid)
		}
	}
	for uuid, start := range coming {
		if in.transfers[uuid] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		t := &transfer{in: in, uuid: uuid, start: start, cancel: cancel, ended: make(chan struct{})}
		in.transfers[uuid] = t
		go func() { // waited for by match and run
			defer close(t.ended)
			defer cancel()
			t.run(ctx)
		}()
	}
}

// report tells the mesh how far the moves are, if that is more than a per cent further
// than it knows.
func (in *incoming) report(ctx context.Context, snap *state.Snapshot) {
	if time.Since(in.reported) < moveReport {
		return
	}
	c := state.ReportMoves{Hypervisor: in.a.mesh.ID()}
	for _, n := range snap.MovingTo(c.Hypervisor) {
		t := in.transfers[n.UUID]
		if t == nil {
			continue
		}
		now := t.progress()
		if now.Total == 0 { // it has just begun, or begun again: that is no news
			now.Done, now.Total = n.Move.Done, n.Move.Total
		}
		m := state.Move{Done: now.Done, Total: now.Total}
		if m.Percent() != n.Move.Percent() || now.Total != n.Move.Total || now.Error != n.Move.Error {
			c.Moves = append(c.Moves, now)
		}
	}
	if len(c.Moves) == 0 {
		return
	}
	in.reported = time.Now()
	bounded, cancel := context.WithTimeout(ctx, seenTime)
	defer cancel()
	if _, err := in.a.propose(bounded, "", c); err != nil && ctx.Err() == nil {
		in.a.log.WarnContext(ctx, "progress of moves not recorded; will retry", "err", err)
	}
}

func (t *transfer) progress() state.MoveReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	return state.MoveReport{UUID: t.uuid, Start: t.start, Done: t.done, Total: t.total, Error: t.err}
}

func (t *transfer) set(done, total uint64, err string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done, t.total, t.err = done, total, err
}

// run fetches the node, until it is here or ctx ends.
func (t *transfer) run(ctx context.Context) {
	pause, last := moveAgain, ""
	for busy := 0; ; busy++ {
		before := t.progress().Done
		err := t.fetch(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		now := t.progress()
		if !errors.Is(err, state.ErrBusy) {
			busy = moveBusy
		}
		if busy >= moveBusy {
			t.set(now.Done, now.Total, err.Error())
		}
		if err.Error() != last {
			last = err.Error()
			t.in.a.log.WarnContext(ctx, "node does not come; will go on", "node", t.uuid, "err", err)
		}
		if now.Done > before {
			pause, busy = moveAgain, 0
		}
		sleep(ctx, pause)
		pause = min(2*pause, moveAgainMax)
	}
}

// fetch brings the node here from wherever it got to. It may be repeated.
func (t *transfer) fetch(ctx context.Context) error {
	snap, _ := t.in.a.source.Snapshot()
	n, ok := snap.Node(t.uuid)
	if !ok || !n.Moving() || n.Move.Start != t.start {
		return nil
	}
	dir, err := t.in.a.host.Stage(ctx, n)
	if err != nil {
		return err
	}
	if dir != "" {
		if err := t.bring(ctx, n, dir); err != nil {
			return err
		}
	}
	t.in.a.log.InfoContext(ctx, "all of a node is here", "node", n.Name, "received", t.received.Load())
	_, err = t.in.a.propose(ctx, "", state.FinishMove{UUID: t.uuid, Start: t.start})
	if errors.Is(err, state.ErrConflict) {
		return nil // it was cancelled
	}
	return err
}

// bring fills the stage and imports what is in it.
func (t *transfer) bring(ctx context.Context, n *state.Node, dir string) (err error) {
	p, err := readProgress(dir)
	if err != nil {
		return err
	}
	if p == nil || !p.verified || p.luggage.Start != t.start {
		if p, err = t.begin(ctx, n, dir, p); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if !p.verified {
		if err := t.fill(ctx, n, p); err != nil {
			return err
		}
	}
	var l driver.Luggage
	for _, f := range p.luggage.Files {
		l.Files = append(l.Files, driver.File{Name: f.Name, Image: f.Image})
	}
	l.Notes = p.luggage.Notes
	return t.in.a.host.Import(ctx, n, l, p.luggage.Chassis)
}

// begin asks what there is to come, and goes on with what came of it, or begins anew.
func (t *transfer) begin(ctx context.Context, n *state.Node, dir string, p *progress) (*progress, error) {
	l, err := t.luggage(ctx, n)
	if err == nil {
		err = t.checkImages(n, l)
	}
	if err != nil {
		if p != nil {
			err = errors.Join(err, p.close())
		}
		return nil, err
	}
	if p != nil && !same(p.luggage, l) {
		t.in.a.log.WarnContext(ctx, "what was to come has changed: all of it comes again", "node", n.Name)
		if err := p.close(); err != nil {
			return nil, err
		}
		p = nil
	}
	if p == nil {
		if p, err = newProgress(dir, l); err != nil {
			return nil, err
		}
	}
	t.set(p.done, p.total, "")
	t.in.a.log.InfoContext(ctx, "node comes", "node", n.Name, "files", len(l.Files), "bytes", p.total, "here", p.done)
	if err := checkSpace(dir, p.total-p.done); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// checkImages refuses files that are differences to others than those of this host.
func (t *transfer) checkImages(n *state.Node, l api.Luggage) error {
	for _, f := range l.Files {
		if f.Image == "" {
			continue
		}
		sum, err := t.in.sums.of(f.Image)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("image %s is not on this host: copy it here", f.Image)
		}
		if err != nil {
			return fmt.Errorf("image %s: %w", f.Image, err)
		}
		if sum != f.ImageSum {
			return fmt.Errorf("image %s is another one on this host: node %s would lose its data", f.Image, n.Name)
		}
	}
	return nil
}

func checkSpace(dir string, need uint64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("file system of %s: %w", dir, err)
	}
	if free := fs.Bavail * uint64(max(fs.Bsize, 0)); free < need+moveSpare {
		return fmt.Errorf("%d MiB are to come, and %d MiB are free where %s is", need>>20, free>>20, dir)
	}
	return nil
}

// fill brings every file into the stage, and makes sure that it is what was sent, and
// that it did not change meanwhile.
func (t *transfer) fill(ctx context.Context, n *state.Node, p *progress) error {
	for i, f := range p.luggage.Files {
		if err := t.fillFile(ctx, n, p, i, f); err != nil {
			return fmt.Errorf("file %s: %w", f.Name, err)
		}
	}
	after, err := t.luggage(ctx, n)
	if err != nil {
		return err
	}
	if !same(p.luggage, after) {
		return errors.New("its files changed while they were copied")
	}
	if err := p.verify(); err != nil {
		// Whatever is wrong with it: the next try begins with nothing.
		return errors.Join(err, os.Remove(filepath.Join(p.dir, progressName)))
	}
	return p.add(progressLine{Verified: true})
}

func (t *transfer) fillFile(ctx context.Context, n *state.Node, p *progress, i int, f api.LuggageFile) (err error) {
	file, err := os.OpenFile(filepath.Join(p.dir, f.Name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := file.Truncate(f.Size); err != nil {
		return err
	}
	var missing []chunk
	for _, c := range p.chunks(i) {
		if _, came := p.sums[c]; !came {
			missing = append(missing, c)
		}
	}
	for len(missing) > 0 {
		batch := missing[:min(moveBatch, len(missing))]
		missing = missing[len(batch):]
		lines := make([]progressLine, len(batch))
		g, bounded := errgroup.WithContext(ctx)
		g.SetLimit(moveAtOnce)
		for j, c := range batch {
			g.Go(func() error {
				sum, err := t.chunk(bounded, n, c, int64(p.length(c)), file) //nolint:gosec // at most api.MoveChunk
				lines[j] = progressLine{Chunk: &c, Sum: sum}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		if err := p.add(lines...); err != nil {
			return err
		}
		t.set(p.done, p.total, "")
	}
	return file.Sync()
}

// chunk brings one chunk into a file and returns its sum; empty: it is all zeros.
func (t *transfer) chunk(ctx context.Context, n *state.Node, c chunk, length int64, file io.WriterAt) (sum string, err error) {
	ctx, cancel := context.WithTimeout(ctx, chunkTime)
	defer cancel()
	resp, err := t.get(ctx, n, fmt.Sprintf("/v1/moves/%s/files/%d", n.UUID, c.File), api.Range(c.Offset, length))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return "", nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, length+1))
	if err != nil {
		return "", fmt.Errorf("read from %s: %w", n.Placement.Hypervisor, err)
	}
	if sum = sumOf(b); int64(len(b)) != length || sum != resp.Header.Get(api.SumHeader) {
		return "", fmt.Errorf("%d bytes came for %d at %d, or others than were sent", len(b), length, c.Offset)
	}
	t.received.Add(uint64(len(b)))
	_, err = file.WriteAt(b, c.Offset)
	return sum, err
}

func (t *transfer) luggage(ctx context.Context, n *state.Node) (l api.Luggage, err error) {
	ctx, cancel := context.WithTimeout(ctx, luggageTime)
	defer cancel()
	resp, err := t.get(ctx, n, "/v1/moves/"+n.UUID+"/files", "")
	if err != nil {
		return l, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&l); err != nil {
		return l, fmt.Errorf("list of files: %w", err)
	}
	if l.Start != t.start {
		return l, fmt.Errorf("list of files: of a move that began at log index %d, not %d", l.Start, t.start)
	}
	return l, checkLuggage(l)
}

// get asks the host that the node leaves.
func (t *transfer) get(ctx context.Context, n *state.Node, path, part string) (*http.Response, error) {
	if t.in.a.peerHTTP == nil {
		return nil, errNoPeers
	}
	from := n.Placement.Hypervisor
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+from+path, nil)
	if err != nil {
		return nil, err
	}
	api.Forward(req.Header, t.in.a.mesh.ID())
	if part != "" {
		req.Header.Set("Range", part)
	}
	snap, _ := t.in.a.source.Snapshot()
	name := from
	if p, ok := snap.Peer(from); ok {
		name = p.Name
	}
	resp, err := t.in.a.peerHTTP.RoundTrip(req)
	if err != nil {
		return nil, passing{fmt.Errorf("%s does not answer: %w", name, err)}
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp, nil
	}
	defer resp.Body.Close()
	var e api.ErrorBody
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&e); err != nil || e.Error == "" {
		e.Error = resp.Status
	}
	err = fmt.Errorf("%s: %s", name, e.Error)
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusServiceUnavailable {
		err = passing{err} // it does not know of the move yet, or has just started
	}
	return nil, err
}

// passing is an error that is likely to be over soon. It is state.ErrBusy.
type passing struct{ error }

// Unwrap makes it so.
func (p passing) Unwrap() []error { return []error{p.error, state.ErrBusy} }
