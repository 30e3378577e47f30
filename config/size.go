package config

import (
	"fmt"
	"math/bits"
	"regexp"
	"strconv"
)

// Size is an amount of storage in bytes.
type Size uint64

// Bounds of a volume. The lower one catches a forgotten unit; the upper one keeps
// the sum of a node's volumes within 63 bits.
const (
	minVolume Size = 1_000_000
	maxVolume Size = 1 << 58
)

var sizeText = regexp.MustCompile(`^([0-9]{1,20}) ?([KkMmGgTt]?)([Ii]?[Bb])?$`)

const wantSize = "a size, such as 20GiB, 20GB or a number of bytes"

// ParseSize reads a size as Tenks' capacity filter does: a whole number and a unit
// of K, M, G or T, in any case. Alone or with "iB" the unit is a power of 1024,
// with "B" a power of 1000; without a unit the number counts bytes.
func ParseSize(s string) (Size, error) {
	m := sizeText.FindStringSubmatch(s)
	if m == nil || m[2] == "" && len(m[3]) > 1 {
		return 0, fmt.Errorf("want %s, found %s", wantSize, quote(s))
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is too large", quote(s))
	}
	base := uint64(1024)
	if len(m[3]) == 1 {
		base = 1000
	}
	for range exponent(m[2]) {
		hi, lo := bits.Mul64(n, base)
		if hi != 0 {
			return 0, fmt.Errorf("%s is too large", quote(s))
		}
		n = lo
	}
	return Size(n), nil
}

func exponent(unit string) int {
	switch unit {
	case "K", "k":
		return 1
	case "M", "m":
		return 2
	case "G", "g":
		return 3
	case "T", "t":
		return 4
	}
	return 0
}

// capacity is the size of a volume: a text with a unit, or a number of bytes.
func capacity() shape[Size] { return sized(minVolume, maxVolume) }

// Bounds of a log's file.
const (
	minLog Size = 64 << 10
	maxLog Size = 1 << 40
)

// logSize is how large a log may get.
func logSize() shape[Size] { return sized(minLog, maxLog) }

func sized(least, most Size) shape[Size] {
	read := func(r *reader, n *node) (Size, bool) {
		if !n.isText() && !n.isWhole() {
			r.fault(n, "want %s, found %s", wantSize, n.describe())
			return 0, false
		}
		size, err := ParseSize(n.text)
		switch {
		case err != nil:
			r.fault(n, "%s", err)
		case size == 0:
			r.fault(n, "zero: want %s", wantSize)
		case size < least:
			r.fault(n, "%s is %d bytes: at least %d; is the unit missing, as in 20GiB?", quote(n.text), size, least)
		case size > most:
			r.fault(n, "%s is too large: at most %dTiB", quote(n.text), most>>40)
		default:
			return size, true
		}
		return 0, false
	}
	return shape[Size]{read, schema{"anyOf": []schema{
		{"type": "integer", "minimum": least, "maximum": most},
		{"type": "string", "pattern": `^0*[1-9][0-9]* ?([KkMmGgTt]([Ii]?[Bb])?|[Bb])?$`},
	}}}
}
