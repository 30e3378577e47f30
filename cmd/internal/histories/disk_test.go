package histories

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// errPowerless is what a write gets that hung when its host was killed: nobody hears of
// it any more.
var errPowerless = errors.New("the host is off")

// disk is what a host's log is written to: it may be slow, or hang.
type disk struct {
	mu    sync.Mutex // guards what follows
	delay time.Duration
	// hangs is closed when writes go on; nil: none hangs. lost drops those that hang.
	hangs chan struct{}
	lost  bool
}

func (d *disk) slow(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// hang keeps all writes waiting until goOn.
func (d *disk) hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hangs == nil {
		d.hangs, d.lost = make(chan struct{}), false
	}
}

// goOn ends hang; what waited is written, or lost with its host.
func (d *disk) goOn(lost bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hangs != nil {
		d.lost = lost
		close(d.hangs)
		d.hangs = nil
	}
}

// wait returns when a write may be made.
func (d *disk) wait() error {
	d.mu.Lock()
	delay, hangs := d.delay, d.hangs
	d.mu.Unlock()
	if hangs != nil {
		<-hangs
		d.mu.Lock()
		lost := d.lost
		d.mu.Unlock()
		if lost {
			return errPowerless
		}
	}
	if delay > 0 {
		<-time.After(delay)
	}
	return nil
}

// under returns a log store whose writes this disk holds up.
func (d *disk) under(s raft.LogStore) raft.LogStore { return diskLog{s, d} }

type diskLog struct {
	raft.LogStore
	disk *disk
}

// StoreLog implements raft.LogStore.
func (l diskLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore.
func (l diskLog) StoreLogs(e []*raft.Log) error {
	if err := l.disk.wait(); err != nil {
		return err
	}
	return l.LogStore.StoreLogs(e)
}

// DeleteRange implements raft.LogStore.
func (l diskLog) DeleteRange(first, last uint64) error {
	if err := l.disk.wait(); err != nil {
		return err
	}
	return l.LogStore.DeleteRange(first, last)
}
