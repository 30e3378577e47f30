package declare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mostRuns is how many runs of names a line has.
const mostRuns = 6

// Names lists nodes for people: those that follow each other as "tk0…tk9".
func Names(nodes []string) string {
	sorted := slices.SortedFunc(slices.Values(nodes), byNumber)
	var runs []string
	listed := 0
	for i := 0; i < len(sorted); {
		j := i + 1
		for j < len(sorted) && follows(sorted[j-1], sorted[j]) {
			j++
		}
		if len(runs) == mostRuns {
			return fmt.Sprintf("%s and %d more", strings.Join(runs, ", "), len(sorted)-listed)
		}
		switch j - i {
		case 1:
			runs = append(runs, sorted[i])
		case 2:
			runs = append(runs, sorted[i], sorted[i+1])
		default:
			runs = append(runs, sorted[i]+"…"+sorted[j-1])
		}
		listed, i = j, j
	}
	return strings.Join(runs, ", ")
}

// follows reports whether b is the name after a.
func follows(a, b string) bool {
	prefix, x := numbered(a)
	other, y := numbered(b)
	return prefix == other && x >= 0 && y == x+1
}

// byNumber orders tk2 before tk10, and all of tk before those of tl.
func byNumber(a, b string) int {
	prefix, x := numbered(a)
	other, y := numbered(b)
	if prefix != other || x == y {
		return strings.Compare(a, b)
	}
	return x - y
}

// numbered splits a name into prefix and number; -1: it has none.
func numbered(name string) (string, int) {
	prefix := strings.TrimRight(name, "0123456789")
	n, err := strconv.Atoi(name[len(prefix):])
	if err != nil || strconv.Itoa(n) != name[len(prefix):] {
		return name, -1
	}
	return prefix, n
}
