package raftfsm

import (
	"errors"
	"fmt"

	"tenks/raftfsm/state"
)

// Answers carries what Apply answers between peers.
type Answers struct{}

// answer is a Result on its way.
type answer struct {
	Index uint64 `cbor:"index"`
	// Err is the refusal's text; empty: there was none.
	Err string `cbor:"err,omitempty"`
	// Cause names the error that callers branch on, if the refusal is one.
	Cause string `cbor:"cause,omitempty"`
}

// causes are the errors that keep their identity on the way. Their names never
// change.
var causes = []struct {
	name string
	err  error
}{
	{"conflict", state.ErrConflict},
	{"not-found", state.ErrNotFound},
	{"refused", state.ErrRefused},
	{"newer", state.ErrNewer},
}

// Encode writes a Result.
func (Answers) Encode(v any) ([]byte, error) {
	r, ok := v.(Result)
	if !ok {
		return nil, fmt.Errorf("the log answered with a %T", v)
	}
	a := answer{Index: r.Index}
	if r.Err != nil {
		a.Err = r.Err.Error()
		for _, c := range causes {
			if errors.Is(r.Err, c.err) {
				a.Cause = c.name
				break
			}
		}
	}
	return encoder.Marshal(a)
}

// Decode reads a Result.
func (Answers) Decode(b []byte) (any, error) {
	var a answer
	if err := decoder.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("answer of the log: decode: %w", err)
	}
	r := Result{Index: a.Index}
	if a.Err == "" {
		return r, nil
	}
	r.Err = errors.New(a.Err)
	for _, c := range causes {
		if c.name == a.Cause {
			r.Err = &carried{text: a.Err, cause: c.err}
		}
	}
	return r, nil
}

// carried is a refusal of another peer's state machine.
type carried struct {
	text  string
	cause error
}

func (c *carried) Error() string { return c.text }
func (c *carried) Unwrap() error { return c.cause }
