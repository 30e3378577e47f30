package cluster

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Generation says which log of a mesh is meant. A mesh that lost its voters gets a new
// log, and with it the next generation: who is still in an old one is refused, and
// comes over.
type Generation struct {
	// Number counts from 1.
	Number uint64 `json:"generation"`
	// Recovery is the random ID of the recovery that made it; empty for the first. Two
	// recoveries that do not know of each other have one number.
	Recovery string `json:"recovery,omitempty"`
	// Since is the log index that it begins at; every one of earlier generations is
	// lower. 0 for the first.
	Since uint64 `json:"since,omitempty"`
}

// span is how far apart generations begin: no log grows to so many entries.
const span = 1_000_000_000

// Next returns the generation of that number, or, for 0, the one after g, if nothing
// so far is beyond a log index.
func (g Generation) Next(number, newest uint64) (Generation, error) {
	number = cmp.Or(number, g.Number+1)
	if number <= g.Number {
		return Generation{}, fmt.Errorf("generation %d: not after %d, which the mesh is in", number, g.Number)
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return Generation{}, err
	}
	since := max(newest/span+1, number-1) * span
	return Generation{Number: number, Recovery: hex.EncodeToString(id), Since: since}, nil
}

// String is how peers tell each other: number, recovery and first index.
func (g Generation) String() string { return fmt.Sprintf("%d/%s/%d", g.Number, g.Recovery, g.Since) }

// maxRecovery bounds the ID of a recovery, in bytes.
const maxRecovery = 64

// parseGeneration reads what String wrote; of nothing it makes generation 0.
func parseGeneration(s string) (Generation, error) {
	if s == "" {
		return Generation{}, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) != 3 || len(parts[1]) > maxRecovery {
		return Generation{}, errors.New("not a generation")
	}
	number, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return Generation{}, errors.New("not a generation")
	}
	since, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return Generation{}, errors.New("not a generation")
	}
	return Generation{Number: number, Recovery: parts[1], Since: since}, nil
}

// relation is what another generation is to one.
type relation int

const (
	// same: the same log.
	same relation = iota
	// older: it was given up.
	older
	// newer: ours was given up.
	newer
	// rival: the same number, made by another recovery.
	rival
)

// of says what theirs is to g.
func (g Generation) of(theirs Generation) relation {
	switch {
	case theirs.Number < g.Number:
		return older
	case theirs.Number > g.Number:
		return newer
	case theirs.Recovery != g.Recovery:
		return rival
	}
	return same
}

// ErrGeneration says that a peer is in another generation of the mesh.
var ErrGeneration = errors.New("another generation of the mesh")

// refusal says why a peer of another generation is not heard; nil: it is.
func (g Generation) refusal(theirs Generation) error {
	switch g.of(theirs) {
	case older:
		return fmt.Errorf("%w: the mesh was recovered: it is in generation %d, not %d", ErrGeneration, g.Number, theirs.Number)
	case newer:
		return fmt.Errorf("%w: this peer is still in %d, not %d, and will follow", ErrGeneration, g.Number, theirs.Number)
	case rival:
		return fmt.Errorf("%w: it was recovered twice to generation %d, by %s and by %s: decide for one host, stop its agent, and there: tenks recover reset --generation %d",
			ErrGeneration, g.Number, showRecovery(g), showRecovery(theirs), g.Number+1)
	case same:
	}
	return nil
}

func showRecovery(g Generation) string {
	if g.Recovery == "" {
		return "init"
	}
	return "recovery " + g.Recovery
}
