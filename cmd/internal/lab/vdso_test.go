package lab

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// ownImage is this process's vDSO.
func ownImage(t *testing.T) []byte {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("a clock is shifted on amd64 only")
	}
	v, err := readVDSO("self")
	must(t, err)
	return v.image
}

func TestAShiftChangesNothingButTheBeginsOfThreeFunctionsAndTheUnusedEnd(t *testing.T) {
	image := ownImage(t)
	p, err := planShift(image, time.Hour)
	must(t, err)
	shifted := edited(image, append([]edit{p.code}, p.entries...))
	changed := 0
	for i := range image {
		if image[i] != shifted[i] && i < p.code.offset {
			changed++
		}
	}
	if len(p.entries) != 3 || changed == 0 || changed > 3*jumpLen {
		t.Errorf("%d bytes of %d functions are changed", changed, len(p.entries))
	}
	if bytes.ContainsFunc(image[p.code.offset:], func(r rune) bool { return r != 0 }) {
		t.Error("the end is in use")
	}
	other, err := planShift(image, -time.Minute)
	must(t, err)
	if !other.fits(shifted) || !other.fits(image) {
		t.Error("one shift does not take the place of another")
	}
	back := edited(shifted, p.undo())
	if !bytes.Equal(back[:p.code.offset], image[:p.code.offset]) {
		t.Error("the functions are not what they were")
	}
	shifted[100]++
	if other.fits(shifted) || other.fits(image[1:]) {
		t.Error("another vDSO would be written to")
	}
}

func TestAVDSOThatIsNotForAShiftIsRefused(t *testing.T) {
	image := ownImage(t)
	full, arm := slices.Clone(image), slices.Clone(image)
	nameless := bytes.ReplaceAll(image, []byte("__vdso_time"), []byte("__vdso_tide"))
	full[len(full)-50] = 1
	arm[18] = 183 // e_machine: EM_AARCH64
	for _, c := range []struct {
		name  string
		image []byte
		by    time.Duration
		want  string
	}{
		{"one that is full", full, 0, "no room"},
		{"one of another architecture", arm, 0, "on amd64 only"},
		{"one without a function", nameless, 0, "no function __vdso_time"},
		{"no ELF", image[1:], 0, "bad magic"},
		{"a century", image, 100 * 365 * 24 * time.Hour, "more than"},
		{"a century ago", image, -100 * 365 * 24 * time.Hour, "more than"},
	} {
		if _, err := planShift(c.image, c.by); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFindVDSO(t *testing.T) {
	const line = "7ffe0c04c000-7ffe0c04e000 r-xp 00000000 00:00 0                          [vdso]\n"
	for _, c := range []struct {
		maps       string
		begin, end uint64
	}{
		{"7ffe0c04a000-7ffe0c04c000 r--p 00000000 00:00 0 [vvar]\n" + line, 0x7ffe0c04c000, 0x7ffe0c04e000},
		{"7ffe0c04a000-7ffe0c04c000 r--p 00000000 00:00 0 [vvar]\n", 0, 0},
		{strings.Replace(line, "7ffe0c04e000", "7ffe0c04b000", 1), 0, 0},
		{strings.Replace(line, "7ffe0c04e000", "x", 1), 0, 0},
		{"", 0, 0},
	} {
		begin, end, err := findVDSO(c.maps)
		if begin != c.begin || end != c.end || (err == nil) != (c.end != 0) {
			t.Errorf("%q: got %x-%x, %v; want %x-%x", c.maps, begin, end, err, c.begin, c.end)
		}
	}
}

func TestFloor(t *testing.T) {
	for by, want := range map[time.Duration]struct {
		seconds int
		rest    time.Duration
	}{
		0: {0, 0}, time.Hour: {3600, 0}, -time.Hour: {-3600, 0}, 1500 * time.Millisecond: {1, time.Second / 2},
		-1: {-1, time.Second - 1}, -1500 * time.Millisecond: {-2, time.Second / 2},
	} {
		if seconds, rest := floor(by); seconds != want.seconds || rest != want.rest {
			t.Errorf("%s: got %d s and %s, want %+v", by, seconds, rest, want)
		}
	}
}

func TestParseExecIgnoresWhatIsNone(t *testing.T) {
	event := make([]byte, 76)
	event[whatAt], event[tgidAt], event[tgidAt+1] = procExec, 1, 2
	if pid, ok := parseExec(event); !ok || pid != 0x201 {
		t.Errorf("got %d, %t", pid, ok)
	}
	other := slices.Clone(event)
	other[whatAt] = 1 // fork
	for _, b := range [][]byte{other, event[:50], nil} {
		if pid, ok := parseExec(b); ok {
			t.Errorf("%x: got %d", b, pid)
		}
	}
}
