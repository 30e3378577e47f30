package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
)

const mib = 1 << 20

// twoFiles are a disk with a hole in it, and a small file.
func twoFiles() api.Luggage {
	return api.Luggage{Start: 7, Notes: []byte("notes"), Chassis: []byte("{}"), Files: []api.LuggageFile{
		{Name: "vol0", Size: 64 * mib, Modified: 1, Data: [][2]int64{{0, 8 * mib}, {32 * mib, 4 * mib}}},
		{Name: "nvram", Size: 3, Modified: 2, Data: [][2]int64{{0, 3}}}}}
}

func reread(t *testing.T, p *progress) *progress {
	t.Helper()
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	again, err := readProgress(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.close() })
	return again
}

func TestProgressIsWhatCameSoFar(t *testing.T) {
	dir := t.TempDir()
	if p, err := readProgress(dir); p != nil || err != nil {
		t.Fatalf("progress of nothing: %v, %v", p, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vol0"), []byte("of another move"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := newProgress(dir, twoFiles())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "vol0")); err == nil {
		t.Error("what was in the stage is left")
	}
	if p.done != 0 || p.total != 12*mib+3 {
		t.Errorf("%d of %d bytes", p.done, p.total)
	}
	if err := p.add(progressLine{Chunk: &chunk{0, 4 * mib}, Sum: "s"}, progressLine{Chunk: &chunk{1, 0}}); err != nil {
		t.Fatal(err)
	}
	// A crash in the middle of a line.
	if _, err := p.file.WriteString(`{"chunk":{"f":0,"o":0},"su`); err != nil {
		t.Fatal(err)
	}
	p = reread(t, p)
	if p.done != 4*mib+3 || p.verified || !same(p.luggage, twoFiles()) {
		t.Errorf("%d bytes, verified %t, %+v", p.done, p.verified, p.luggage)
	}
	if err := p.add(progressLine{Chunk: &chunk{0, 0}, Sum: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := p.add(progressLine{Verified: true}); err != nil {
		t.Fatal(err)
	}
	p = reread(t, p)
	want := map[chunk]string{{0, 4 * mib}: "s", {1, 0}: "", {0, 0}: "t"}
	if diff := cmp.Diff(want, p.sums); diff != "" || !p.verified {
		t.Errorf("verified %t, -want +got\n%s", p.verified, diff)
	}
}

func TestVerifyNoticesWhatIsNotWhatWasSent(t *testing.T) {
	data := bytes.Repeat([]byte("tenks"), mib)[:4*mib]
	for name, tt := range map[string]struct {
		damage func(t *testing.T, p *progress)
		want   string
	}{
		"all is well": {func(*testing.T, *progress) {}, ""},
		"a bit":       {func(t *testing.T, p *progress) { poke(t, filepath.Join(p.dir, "vol0"), 5*mib) }, "the 4194304 bytes at 4194304"},
		"zeros":       {func(t *testing.T, p *progress) { poke(t, filepath.Join(p.dir, "vol0"), 33*mib) }, "the 4194304 bytes at 33554432"},
		"too short": {func(t *testing.T, p *progress) {
			if err := os.Truncate(filepath.Join(p.dir, "vol0"), 63*mib); err != nil {
				t.Fatal(err)
			}
		}, "is not 67108864 bytes"},
		"not all came": {func(_ *testing.T, p *progress) { delete(p.sums, chunk{1, 0}) }, "nothing came for the 3 bytes at 0"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newProgress(t.TempDir(), twoFiles())
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			disk := make([]byte, 64*mib)
			copy(disk, data)
			copy(disk[4*mib:], data)
			for name, b := range map[string][]byte{"vol0": disk, "nvram": []byte("abc")} {
				if err := os.WriteFile(filepath.Join(p.dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			sum := sumOf(data)
			if err := p.add(progressLine{Chunk: &chunk{0, 0}, Sum: sum}, progressLine{Chunk: &chunk{0, 4 * mib}, Sum: sum},
				progressLine{Chunk: &chunk{0, 32 * mib}}, progressLine{Chunk: &chunk{1, 0}, Sum: sumOf([]byte("abc"))}); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, p)
			switch err := p.verify(); {
			case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// poke changes one byte of a file.
func poke(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1}, at); err != nil {
		t.Fatal(err)
	}
}

func TestLuggageThatNoPeerSendsIsRefused(t *testing.T) {
	if err := checkLuggage(twoFiles()); err != nil {
		t.Errorf("good: %v", err)
	}
	for name, change := range map[string]func(f *api.LuggageFile){
		"no name":          func(f *api.LuggageFile) { f.Name = "" },
		"a path":           func(f *api.LuggageFile) { f.Name = "../../etc/passwd" },
		"our own file":     func(f *api.LuggageFile) { f.Name = progressName },
		"a directory":      func(f *api.LuggageFile) { f.Name = ".." },
		"negative":         func(f *api.LuggageFile) { f.Size = -1 },
		"beyond the end":   func(f *api.LuggageFile) { f.Data = [][2]int64{{60 * mib, 8 * mib}} },
		"wraps around":     func(f *api.LuggageFile) { f.Data = [][2]int64{{4 * mib, 1<<63 - 1}} },
		"not a chunk":      func(f *api.LuggageFile) { f.Data = [][2]int64{{1, 4 * mib}} },
		"nothing":          func(f *api.LuggageFile) { f.Data = [][2]int64{{0, 0}} },
		"within a chunk":   func(f *api.LuggageFile) { f.Data = [][2]int64{{0, 1}} },
		"twice":            func(f *api.LuggageFile) { f.Data = [][2]int64{{0, 8 * mib}, {4 * mib, 8 * mib}} },
		"before the start": func(f *api.LuggageFile) { f.Data = [][2]int64{{-4 * mib, 8 * mib}} },
	} {
		l := twoFiles()
		change(&l.Files[0])
		if checkLuggage(l) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDataOfLeavesHolesOut(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 65*mib + 5
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if got, err := dataOf(f, size); err != nil || len(got) != 0 {
		t.Errorf("a file of holes: %v, %v", got, err)
	}
	for _, at := range []int64{5 * mib, 9 * mib, 30 * mib, size - 1} {
		if _, err := f.WriteAt([]byte{1}, at); err != nil {
			t.Fatal(err)
		}
	}
	got, err := dataOf(f, size)
	want := [][2]int64{{4 * mib, 8 * mib}, {28 * mib, 4 * mib}, {64 * mib, mib + 5}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, -want +got\n%s", err, diff)
	}
}

func TestAllZero(t *testing.T) {
	for text, want := range map[string]bool{"": true, "\x00": true, "\x00\x00\x00": true, "\x01": false, "\x00\x01": false, "\x01\x01": false, "\x01\x00": false} {
		if got := allZero([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestSumsOfFilesAreMadeAnewWhenTheyChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	var s fileSums
	if _, err := s.of(path); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	for _, text := range []string{"a", "bc", "bc"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.of(path); err != nil || got != sumOf([]byte(text)) {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}
