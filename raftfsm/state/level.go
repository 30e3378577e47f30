package state

import "github.com/hashicorp/go-memdb"

// Level is which fields and kinds of commands the mesh may use: what each level has, package
// raftfsm says. A mesh without one is at level 0.
type Level struct {
	Number int
	// Index is the log index at which the mesh came to it.
	Index uint64
}

// levelRow is the only row of its table.
type levelRow struct {
	Key   string
	Level Level
}

// RaiseLevel lets commands use what a level has. A mesh that is there already stays as it is,
// and none goes back: who does not know the level, does not know this command either or
// refuses to read it, and so stops before the first entry that uses more than it knows.
type RaiseLevel struct{ Level int }

func (RaiseLevel) kind() string { return "raise-level" }

func (c RaiseLevel) apply(t *tx) error {
	if c.Level <= levelOf(t.Txn).Number {
		return nil
	}
	t.putLevel(Level{Number: c.Level, Index: t.index})
	t.event(EventLevel, "", "", "level %d", c.Level)
	return nil
}

// putLevel wakes every peer: each has a part in it.
func (t *tx) putLevel(l Level) {
	if l.Number <= 0 || levelOf(t.Txn) == l {
		return
	}
	t.put(tableLevel, &levelRow{Key: levelKey, Level: l})
	t.touch(peersView)
}

func levelOf(txn *memdb.Txn) Level {
	row, ok := first[*levelRow](txn, tableLevel, "id", levelKey)
	if !ok {
		return Level{}
	}
	return row.Level
}

// Level is the mesh's.
func (s *Snapshot) Level() Level { return levelOf(s.txn) }

// dumped is the level as dumps and parts have it: nil for level 0.
func (l Level) dumped() *Level {
	if l.Number == 0 {
		return nil
	}
	return &l
}
