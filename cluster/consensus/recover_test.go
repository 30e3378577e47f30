package consensus

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// diary is a state machine that remembers all of what it was told.
type diary struct{ lines []string }

func (b *diary) Apply(l *raft.Log) any {
	b.lines = append(b.lines, string(l.Data))
	return nil
}

func (b *diary) Snapshot() (raft.FSMSnapshot, error) {
	return diaryPage(strings.Join(b.lines, " ")), nil
}

func (b *diary) Restore(r io.ReadCloser) error {
	defer r.Close()
	all, err := io.ReadAll(r)
	b.lines = strings.Fields(string(all))
	return err
}

type diaryPage string

func (p diaryPage) Persist(sink raft.SnapshotSink) error {
	_, err := io.WriteString(sink, string(p))
	return errors.Join(err, sink.Close())
}

func (diaryPage) Release() {}

func TestReplayHasEveryEntryAndWhoVotes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := bootstrap(dir, []string{"a", "b", "c"}, []byte("one"), []byte("two")); err != nil {
		t.Fatal(err)
	}
	var b diary
	r, err := Replay(dir, &b)
	if err != nil {
		t.Fatal(err)
	}
	// None of it was ever committed: nobody but this log may have it.
	if got := strings.Join(b.lines, " "); got != "one two" || r.Index != 3 || r.Term != 1 || !slices.Equal(r.Voters, []string{"a", "b", "c"}) {
		t.Errorf("%q, %+v", got, r)
	}
	if _, err := Replay(filepath.Join(dir, "none"), &b); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a log that is not there: %v", err)
	}
}

func TestALogThatBeginsWithASnapshotGoesOnAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	start := Start{Voter: "a", Index: 1000, Term: 7, Snapshot: func(w io.Writer) error { _, err := io.WriteString(w, "kept"); return err }}
	for range 2 { // what an earlier try left is in nobody's way
		if err := Found(dir, start); err != nil {
			t.Fatal(err)
		}
	}
	var b diary
	r, err := Replay(dir, &b)
	if err != nil || r.Index != 1000 || r.Term != 7 || !slices.Equal(r.Voters, []string{"a"}) || strings.Join(b.lines, " ") != "kept" {
		t.Fatalf("%+v, %v, %q", r, err, b.lines)
	}
	fsm := &diary{}
	l, err := Open(Config{Dir: dir, ID: "a", FSM: fsm, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for err = ErrNotLeader; errors.Is(err, ErrNotLeader) && t.Context().Err() == nil; {
		_, err = l.Propose(t.Context(), []byte("new"))
	}
	if err != nil || l.Term() <= 7 || l.LastIndex() <= 1000 {
		t.Errorf("propose: %v, in term %d at index %d", err, l.Term(), l.LastIndex())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(fsm.lines, " "); got != "kept new" {
		t.Errorf("the state is %q", got)
	}
	again := &diary{}
	if r, err := Replay(dir, again); err != nil || r.Index <= 1000 || strings.Join(again.lines, " ") != "kept new" {
		t.Errorf("replayed: %+v, %v, %q", r, err, again.lines)
	}
}

func TestALogWithAHoleIsNotReplayed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := bootstrap(dir, []string{"a"}, []byte("one"), []byte("two")); err != nil {
		t.Fatal(err)
	}
	s, err := openStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.bolt.DeleteRange(1, 2), s.bolt.Close()); err != nil {
		t.Fatal(err)
	}
	if r, err := Replay(dir, &diary{}); err == nil || !strings.Contains(err.Error(), "entries 1 to 2 are missing") {
		t.Errorf("%+v, %v", r, err)
	}
}
