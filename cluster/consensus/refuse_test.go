package consensus

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
)

// flaky is a disk that fails every few writes for as long as bad is set.
type flaky struct {
	raft.LogStore
	bad    atomic.Bool
	writes atomic.Int64
}

func (f *flaky) StoreLog(l *raft.Log) error { return f.StoreLogs([]*raft.Log{l}) }

func (f *flaky) StoreLogs(logs []*raft.Log) error {
	if f.bad.Load() && f.writes.Add(1)%3 == 0 {
		return errors.New("input/output error")
	}
	return f.LogStore.StoreLogs(logs)
}

// A follower that refuses entries gets them again, however many are on their way to it.
func TestAFollowerThatRefusesEntriesGetsThemAgain(t *testing.T) {
	m, disk := newMesh(), &flaky{}
	ids := []string{"p0", "p1", "p2"}
	for _, id := range ids {
		m.start(t, id, ids, func(c *Config) {
			if id == "p2" {
				c.Disk = func(s raft.LogStore) raft.LogStore { disk.LogStore = s; return disk }
			}
		})
	}
	if m.leader(t) == "p2" {
		if err := m.logs["p2"].Transfer(t.Context(), "p0"); err != nil {
			t.Fatal(err)
		}
		m.leader(t, "p2")
	}
	for range 6 {
		disk.bad.Store(true)
		before := disk.writes.Load()
		stop := make(chan struct{})
		_, wait := m.writer(t, stop)
		_, waitToo := m.writer(t, stop)
		eventually(t, "many writes that fail", func() bool { return disk.writes.Load() > before+150 || m.now() == "p2" })
		disk.bad.Store(false)
		close(stop)
		wait()
		waitToo()
		m.write(t, "after")
		m.everywhere(t, "after", ids...)
	}
}
