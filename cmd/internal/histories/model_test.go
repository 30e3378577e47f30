package histories

import (
	"math"
	"testing"

	"github.com/anishathalye/porcupine"
)

// op is an operation from one time to another.
func op(from, to int64, in input, out output) porcupine.Operation {
	return porcupine.Operation{Call: from, Return: to, Input: in, Output: out}
}

func TestTheModelTellsHistoriesApart(t *testing.T) {
	read := func(from, to int64, value string) porcupine.Operation {
		return op(from, to, input{op: opRead, key: "ca"}, output{value: value})
	}
	write := func(from, to int64, expect, value string, o outcome) porcupine.Operation {
		return op(from, to, input{op: opApply, key: "ca", expect: expect, value: value}, output{outcome: o})
	}
	const end = math.MaxInt64
	for name, c := range map[string]struct {
		want bool
		ops  []porcupine.Operation
	}{
		"a read of what was written":          {true, []porcupine.Operation{write(1, 2, "", "x", done), read(3, 4, "x")}},
		"a stale read":                        {false, []porcupine.Operation{write(1, 2, "", "x", done), read(3, 4, "")}},
		"a read during the write":             {true, []porcupine.Operation{write(1, 4, "", "x", done), read(2, 3, "")}},
		"reads that go back":                  {false, []porcupine.Operation{write(1, 9, "", "x", done), read(2, 3, "x"), read(4, 5, "")}},
		"two writes over the same":            {false, []porcupine.Operation{write(1, 2, "", "x", done), write(3, 4, "", "y", done)}},
		"a refusal with a reason":             {true, []porcupine.Operation{write(1, 2, "", "x", done), write(3, 4, "", "y", refused)}},
		"a refusal without":                   {false, []porcupine.Operation{write(1, 2, "", "x", refused)}},
		"what was never made is not read":     {false, []porcupine.Operation{write(1, 2, "", "x", never), read(3, 4, "x")}},
		"an unknown one that was made late":   {true, []porcupine.Operation{write(1, end, "", "x", unknown), read(3, 4, ""), read(5, 6, "x")}},
		"an unknown one that was never made":  {true, []porcupine.Operation{write(1, end, "", "x", unknown), read(3, 4, "")}},
		"an unknown one that was made undone": {false, []porcupine.Operation{write(1, end, "", "x", unknown), read(3, 4, "x"), read(5, 6, "")}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := porcupine.CheckOperations(registers, c.ops); got != c.want {
				t.Errorf("linearizable: %t, want %t", got, c.want)
			}
		})
	}
}
