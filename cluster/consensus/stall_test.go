package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// disk is a log store that hangs while its gate is shut.
type disk struct {
	raft.LogStore
	mu   sync.Mutex // guards gate
	gate chan struct{}
	err  error
}

func (d *disk) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = make(chan struct{})
}

func (d *disk) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gate != nil {
		close(d.gate)
	}
	d.gate = nil
}

func (d *disk) wait() error {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return d.err
}

func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d *disk) StoreLogs(logs []*raft.Log) error {
	if err := d.wait(); err != nil || d.LogStore == nil {
		return err
	}
	return d.LogStore.StoreLogs(logs)
}

func (d *disk) DeleteRange(first, last uint64) error {
	if err := d.wait(); err != nil || d.LogStore == nil {
		return err
	}
	return d.LogStore.DeleteRange(first, last)
}

// notices is what Stalled was told.
type notices struct {
	mu   sync.Mutex // guards told
	told []bool
}

func (n *notices) add(hangs bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, hangs)
}

func (n *notices) all() []bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.told)
}

func (n *notices) want(t *testing.T, when string, want ...bool) {
	t.Helper()
	if got := n.all(); !slices.Equal(got, want) {
		t.Errorf("%s: told %v, want %v", when, got, want)
	}
}

func TestAWriteThatHangsIsToldOnceAndSoIsItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told notices
		d := &disk{err: errors.New("EIO")}
		s := &stallStore{LogStore: d, limit: stallTime, stalled: told.add}
		begin := func(write func() error) {
			go func() {
				if err := write(); !errors.Is(err, d.err) {
					t.Errorf("error %v", err)
				}
			}()
			synctest.Wait()
		}
		pass := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		store := func() error { return s.StoreLog(&raft.Log{}) }
		for range 3 {
			begin(store)
			pass(2 * stallTime)
		}
		told.want(t, "writes that take no time")

		d.shut()
		begin(store)
		pass(stallTime - time.Millisecond)
		told.want(t, "a write that is in time still")
		d.open()
		pass(2 * stallTime)
		told.want(t, "a slow write")

		d.shut()
		begin(store)
		pass(stallTime + time.Millisecond)
		told.want(t, "a write that hangs", true)
		begin(func() error { return s.DeleteRange(1, 2) })
		pass(time.Hour)
		told.want(t, "two that hang", true)
		d.open()
		pass(0)
		told.want(t, "both go on", true, false)
		begin(store)
		pass(time.Hour)
		told.want(t, "a write after it", true, false)

		d.shut()
		begin(store)
		pass(time.Hour)
		told.want(t, "the next hang", true, false, true)
		d.open()
		pass(0)
		told.want(t, "and its end", true, false, true, false)
	})
}

// A hang may end at the very moment at which it is noticed.
func TestNoticesAlternateWhateverTheTiming(t *testing.T) {
	var told notices
	s := &stallStore{limit: time.Microsecond, stalled: told.add}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 200 {
				_ = s.watch(func() error { <-time.After(time.Duration(i) * time.Microsecond); return nil })
			}
		})
	}
	wg.Wait()
	got := told.all()
	for i, hangs := range got {
		if hangs != (i%2 == 0) {
			t.Fatalf("notice %d of %d is %t", i, len(got), hangs)
		}
	}
	if t.Logf("%d notices", len(got)); len(got)%2 != 0 {
		t.Error("the last hang has no end")
	}
}

// threeDisks starts three voters on disks that can hang; Stalled parts a peer from the
// others, and joins it to them again.
func threeDisks(t *testing.T, limit time.Duration) (*mesh, map[string]*disk, map[string]*notices) {
	m, disks, told := newMesh(), map[string]*disk{}, map[string]*notices{}
	ids := []string{"p0", "p1", "p2"}
	for _, id := range ids {
		d, n := &disk{}, &notices{}
		disks[id], told[id] = d, n
		m.start(t, id, ids, func(c *Config) {
			c.stall = limit
			c.Disk = func(s raft.LogStore) raft.LogStore { d.LogStore = s; return d }
			c.Stalled = func(hangs bool) {
				if hangs {
					for _, o := range ids {
						if o != id {
							m.cut(id, o)
						}
					}
				} else {
					m.rejoin(id)
				}
				n.add(hangs)
			}
		})
		t.Cleanup(d.open) // before Close, which waits for the write
	}
	m.leader(t)
	return m, disks, told
}

func TestALeaderWhoseDiskHangsIsReplacedAndComesBackAsAFollower(t *testing.T) {
	m, disks, told := threeDisks(t, 500*time.Millisecond)
	old := m.write(t, "before")
	l := m.logs[old]
	disks[old].shut()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := l.Propose(ctx, []byte("lost?")); !errors.Is(err, ErrUnknown) {
		t.Errorf("a write to a disk that hangs: %v, want ErrUnknown", err)
	}
	lead := m.leader(t, old)
	t.Logf("%s leads %v after the disk of %s began to hang", lead, time.Since(begun).Round(time.Millisecond), old)
	if leads, _ := l.Leading(); leads || l.IsLeader() {
		t.Errorf("leads: %t, %t", leads, l.IsLeader())
	}
	if id, known := l.Leader(); known {
		t.Errorf("takes %s for the leader, want nobody", id)
	}
	if l.raft.State() != raft.Leader {
		t.Error("Raft noticed by itself: this test tests nothing")
	}
	if _, err := l.ReadIndex(t.Context()); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a read: %v, want ErrNotLeader", err)
	}
	for i := range 20 {
		if _, err := m.logs[lead].Propose(t.Context(), []byte(fmt.Sprint("during ", i))); err != nil {
			t.Fatal(err)
		}
	}
	told[old].want(t, "while it hangs", true)

	stop, watched := make(chan struct{}), make(chan struct{})
	go func() { // not for a moment does the old one take itself for the leader
		defer close(watched)
		for {
			if leads, _ := l.Leading(); leads || l.IsLeader() {
				t.Error("leads again though another does")
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	disks[old].open()
	m.everywhere(t, "during 19", old)
	m.write(t, "after")
	m.everywhere(t, "after", m.ids...)
	close(stop)
	<-watched
	told[old].want(t, "at the end", true, false)
	for _, id := range m.ids {
		if m.fsms[id].has("lost?") != m.fsms[lead].has("lost?") {
			t.Errorf("%s and %s differ", id, lead)
		}
	}
	if id, ok := l.Leader(); !ok || id != lead {
		t.Errorf("the old one follows %q, want %s", id, lead)
	}
}

// A follower that hangs costs nothing: the others are a majority.
func TestAFollowerWhoseDiskHangsHoldsNobodyUp(t *testing.T) {
	m, disks, told := threeDisks(t, 200*time.Millisecond)
	lead := m.write(t, "before")
	hung := m.others(lead)[0]
	disks[hung].shut()
	term := m.logs[lead].Term()
	m.write(t, "during")
	eventually(t, "it is noticed", func() bool { return len(told[hung].all()) == 1 })
	m.write(t, "during, too")
	disks[hung].open()
	m.everywhere(t, "during, too", m.ids...)
	told[hung].want(t, "at the end", true, false)
	if now := m.leader(t); now != lead || m.logs[lead].Term() != term {
		t.Errorf("%s leads in term %d, want %s in %d", now, m.logs[now].Term(), lead, term)
	}
}

// Where there is nobody else, the leader leads again once its disk goes on.
func TestAMeshOfOneWhoseDiskHungGoesOn(t *testing.T) {
	m, d, told := newMesh(), &disk{}, &notices{}
	m.start(t, "p0", []string{"p0"}, func(c *Config) {
		c.stall = 100 * time.Millisecond
		c.Disk = func(s raft.LogStore) raft.LogStore { d.LogStore = s; return d }
		c.Stalled = told.add
	})
	t.Cleanup(d.open)
	m.write(t, "before")
	for i := range 3 {
		d.shut()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := m.logs["p0"].Propose(ctx, []byte(fmt.Sprint(i))); !errors.Is(err, ErrUnknown) {
			t.Errorf("error %v, want ErrUnknown", err)
		}
		cancel()
		eventually(t, "it is noticed", func() bool { leads, _ := m.logs["p0"].Leading(); return !leads })
		d.open()
		m.leader(t)
		if m.write(t, "after"); !m.fsms["p0"].has(fmt.Sprint(i)) {
			t.Errorf("what was begun before write %d is lost", i)
		}
	}
	told.want(t, "at the end", true, false, true, false, true, false)
}
