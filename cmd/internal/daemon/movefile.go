package daemon

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"tenks/cmd/internal/api"
)

// progressName is the file in a node's stage that says what has come of its files.
const progressName = ".progress"

// progress is how far a node's files are that come here: what there are, and a line per
// chunk that is on disk. What the file says was synced before it was written.
type progress struct {
	dir     string
	file    *os.File
	luggage api.Luggage
	// sums has the SHA-256 of each chunk that came; empty for one of zeros only.
	sums     map[chunk]string
	verified bool
	// done of total bytes are here; holes are not among them.
	done, total uint64
}

// chunk is a part of a node's files: the index of the file, the offset in it.
type chunk struct {
	File   int   `json:"f"`
	Offset int64 `json:"o"`
}

// progressLine is a line of the file: one of these is set.
type progressLine struct {
	Luggage  *api.Luggage `json:"luggage,omitempty"`
	Chunk    *chunk       `json:"chunk,omitempty"`
	Sum      string       `json:"sum,omitempty"`
	Verified bool         `json:"verified,omitempty"`
}

// readProgress reads what came so far; nil: nothing. A last line that a crash cut short
// is cut off.
func readProgress(dir string) (*progress, error) {
	f, err := os.OpenFile(filepath.Join(dir, progressName), os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, err
	}
	p := &progress{dir: dir, file: f, sums: map[chunk]string{}}
	whole, err := p.load(f)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	if whole == 0 {
		return nil, f.Close()
	}
	p.count()
	return p, nil
}

// load returns how many bytes of the file are whole lines.
func (p *progress) load(r io.Reader) (whole int64, err error) {
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return 0, err
		}
		var l progressLine
		if err := json.Unmarshal(text, &l); err != nil {
			return 0, err
		}
		whole += int64(len(text))
		switch {
		case l.Luggage != nil:
			p.luggage = *l.Luggage
		case l.Chunk != nil:
			p.sums[*l.Chunk] = l.Sum
		}
		p.verified = p.verified || l.Verified
	}
}

// newProgress begins anew: whatever is in the stage goes.
func newProgress(dir string, l api.Luggage) (*progress, error) {
	old, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, progressName), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	p := &progress{dir: dir, file: f, luggage: l, sums: map[chunk]string{}}
	if err := p.add(progressLine{Luggage: &l}); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.count()
	return p, nil
}

func (p *progress) close() error { return p.file.Close() }

// add writes lines; they are on disk when it returns.
func (p *progress) add(lines ...progressLine) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, l := range lines {
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	if _, err := p.file.Write(b.Bytes()); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	for _, l := range lines {
		if l.Chunk != nil {
			p.sums[*l.Chunk] = l.Sum
			p.done += p.length(*l.Chunk)
		}
		p.verified = p.verified || l.Verified
	}
	return nil
}

// same reports whether two lists are of the same files, as they were.
func same(a, b api.Luggage) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// chunks returns the chunks of a file that are more than a hole.
func (p *progress) chunks(file int) (out []chunk) {
	for _, d := range p.luggage.Files[file].Data {
		for at := d[0]; at < d[0]+d[1]; at += api.MoveChunk {
			out = append(out, chunk{file, at})
		}
	}
	return out
}

// length is how many bytes a chunk has.
func (p *progress) length(c chunk) uint64 {
	return uint64(max(0, min(api.MoveChunk, p.luggage.Files[c.File].Size-c.Offset)))
}

// count adds up how many bytes there are to come, and how many have.
func (p *progress) count() {
	p.done, p.total = 0, 0
	for i := range p.luggage.Files {
		for _, c := range p.chunks(i) {
			p.total += p.length(c)
			if _, came := p.sums[c]; came {
				p.done += p.length(c)
			}
		}
	}
}

// What a node may have in its files, in bytes: each chunk of data is remembered.
const (
	maxFile = 1 << 50
	maxData = 16 << 40
)

// checkLuggage refuses what no peer of ours would send: its names become paths, and its
// numbers memory.
func checkLuggage(l api.Luggage) error {
	names, left := map[string]bool{}, int64(maxData)
	for _, f := range l.Files {
		if f.Name == "" || f.Name != filepath.Base(f.Name) || f.Name[0] == '.' || f.Size < 0 || f.Size > maxFile || names[f.Name] {
			return fmt.Errorf("file %q of %d bytes: not one that a node has", f.Name, f.Size)
		}
		names[f.Name] = true
		if err := checkParts(f); err != nil {
			return err
		}
		for _, d := range f.Data {
			if left -= d[1]; left < 0 {
				return fmt.Errorf("file %s: more than %d bytes to move", f.Name, int64(maxData))
			}
		}
	}
	return nil
}

// checkParts wants whole chunks, in order, but for the end of the file.
func checkParts(f api.LuggageFile) error {
	at := int64(0)
	for _, d := range f.Data {
		begins := d[0] >= at && d[0]%api.MoveChunk == 0 && d[1] > 0 && d[1] <= f.Size-d[0]
		if at = d[0] + d[1]; !begins || at%api.MoveChunk != 0 && at != f.Size {
			return fmt.Errorf("file %s: parts %v of %d bytes: not chunks in order", f.Name, f.Data, f.Size)
		}
	}
	return nil
}

// verify reads what came and compares it with what was sent.
func (p *progress) verify() error {
	for i, f := range p.luggage.Files {
		if err := p.verifyFile(i, f); err != nil {
			return fmt.Errorf("file %s: %w", f.Name, err)
		}
	}
	return nil
}

func (p *progress) verifyFile(i int, f api.LuggageFile) error {
	file, err := os.Open(filepath.Join(p.dir, f.Name))
	if err != nil {
		return err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() != f.Size {
		return errors.Join(err, fmt.Errorf("is not %d bytes", f.Size))
	}
	for _, c := range p.chunks(i) {
		want, came := p.sums[c]
		if !came {
			return fmt.Errorf("nothing came for the %d bytes at %d", p.length(c), c.Offset)
		}
		b := make([]byte, p.length(c))
		if _, err := file.ReadAt(b, c.Offset); err != nil {
			return err
		}
		if want == "" && allZero(b) || want == sumOf(b) {
			continue
		}
		return fmt.Errorf("the %d bytes at %d are not what was sent", p.length(c), c.Offset)
	}
	return nil
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
