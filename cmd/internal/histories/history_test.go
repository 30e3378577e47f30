package histories

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/anishathalye/porcupine"
)

// What clients do.
const (
	opRead = iota
	opPut
	opApply
)

// input is what a client asks for.
type input struct {
	op  int
	key string
	// value is what is written, if expect is what is there (opApply).
	value, expect string
}

// output is what it was told.
type output struct {
	outcome outcome
	// value is what was read.
	value string
	// index is where the log has it; 0: not known.
	index uint64
}

// history is what all clients did, in the order in which it began and ended.
type history struct {
	mu   sync.Mutex // guards what follows
	time int64
	ops  []porcupine.Operation
	// begun counts all that began.
	begun int
}

// pending is an operation that has begun.
type pending struct {
	history *history
	op      porcupine.Operation
}

func (h *history) begin(client int, in input) *pending {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.time++
	h.begun++
	return &pending{h, porcupine.Operation{ClientId: client, Input: in, Call: h.time}}
}

// end notes what became of it. What was never made is left out; what may be made still
// has no end.
func (p *pending) end(o outcome, value string, index uint64) {
	p.history.mu.Lock()
	defer p.history.mu.Unlock()
	p.history.time++
	p.op.Return, p.op.Output = p.history.time, output{o, value, index}
	if o == unknown {
		p.op.Return = math.MaxInt64
	}
	p.history.ops = append(p.history.ops, p.op)
}

// all returns the writes and the answered reads.
func (h *history) all() []porcupine.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ops)
}

func (h *history) outcomes() map[outcome]int {
	out := map[outcome]int{}
	for _, op := range h.all() {
		out[op.Output.(output).outcome]++
	}
	return out
}

// registers is what every key should behave like: one register. A write whose outcome is
// unknown may have been made at any time after it began, or at the end of all, which
// nobody sees.
var registers = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		keys := map[string][]porcupine.Operation{}
		for _, op := range ops {
			key := op.Input.(input).key
			keys[key] = append(keys[key], op)
		}
		var out [][]porcupine.Operation
		for _, key := range slices.Concat(clusterKeys, registerKeys) {
			out = append(out, keys[key])
		}
		return out
	},
	Init:              func() any { return "" },
	Step:              step,
	DescribeOperation: describe,
	DescribeState:     func(s any) string { return fmt.Sprintf("%q", s) },
}

func step(now, in, out any) (bool, any) {
	have, i, o := now.(string), in.(input), out.(output)
	fits := i.op == opPut || have == i.expect
	switch {
	case i.op == opRead:
		return have == o.value, have
	case o.outcome == never:
		return true, have
	case o.outcome == refused:
		return !fits, have
	case fits:
		return true, i.value
	}
	return o.outcome == unknown, have
}

func describe(in, out any) string {
	i, o := in.(input), out.(output)
	at := ""
	if o.index > 0 {
		at = fmt.Sprintf(" @%d", o.index)
	}
	switch i.op {
	case opRead:
		return fmt.Sprintf("%s = %q%s", i.key, o.value, at)
	case opPut:
		return fmt.Sprintf("%s := %q: %s%s", i.key, i.value, o.outcome, at)
	}
	return fmt.Sprintf("%s: %q to %q: %s%s", i.key, i.expect, i.value, o.outcome, at)
}
