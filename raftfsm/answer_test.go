package raftfsm

import (
	"errors"
	"fmt"
	"testing"

	"tenks/raftfsm/state"
)

func TestAnAnswerKeepsWhatCallersBranchOn(t *testing.T) {
	for _, want := range []Result{
		{Index: 7},
		{Index: 8, Err: errors.New("no such thing")},
		{Index: 9, Err: fmt.Errorf("cluster %q: %w", "demo", state.ErrConflict)},
		{Index: 10, Err: fmt.Errorf("peer: %w", state.ErrRefused)},
		{Index: 11, Err: fmt.Errorf("node: %w", state.ErrNotFound)},
	} {
		b, err := Answers{}.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Answers{}.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		got := v.(Result)
		if got.Index != want.Index || (got.Err == nil) != (want.Err == nil) || got.Err != nil && got.Err.Error() != want.Err.Error() {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for _, c := range causes {
			if errors.Is(got.Err, c.err) != errors.Is(want.Err, c.err) {
				t.Errorf("%v: is %v: %t", want.Err, c.err, errors.Is(got.Err, c.err))
			}
		}
	}
	if _, err := (Answers{}).Encode("text"); err == nil {
		t.Error("a text was encoded")
	}
}

func FuzzAnswer(f *testing.F) {
	b, err := Answers{}.Encode(Result{Index: 1, Err: state.ErrConflict})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Answers{}.Decode(b) })
}
