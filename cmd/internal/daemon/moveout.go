package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tenks/cmd/internal/api"
	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// outgoing hands out the files of nodes that move away from this host, to the peers
// that they move to. It is safe for concurrent use.
type outgoing struct {
	a    *agent
	sums fileSums
	// sent counts the bytes of files that were handed out.
	sent atomic.Uint64

	mu sync.Mutex
	// listed are the files of each node whose luggage was asked for, by UUID.
	listed map[string]listed
}

// listed are the files of a node as they were listed for one move.
type listed struct {
	start uint64
	files []driver.File
}

func newOutgoing(a *agent) *outgoing { return &outgoing{a: a, listed: map[string]listed{}} }

// Luggage implements api.Moves.
func (o *outgoing) Luggage(ctx context.Context, uuid, to string) (api.Luggage, error) {
	out, err := o.a.host.Outgoing(ctx, uuid, to)
	if err != nil {
		return api.Luggage{}, err
	}
	l := api.Luggage{Start: out.Start, Notes: out.Notes, Chassis: out.Chassis, Files: []api.LuggageFile{}}
	for _, f := range out.Files {
		one, err := o.list(f)
		if err != nil {
			return api.Luggage{}, fmt.Errorf("file %s: %w", f.Path, err)
		}
		l.Files = append(l.Files, one)
	}
	snap, _ := o.a.source.Snapshot()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listed[uuid] = listed{out.Start, out.Files}
	for uuid := range o.listed {
		if n, ok := snap.Node(uuid); !ok || !n.Moving() {
			delete(o.listed, uuid)
		}
	}
	return l, nil
}

func (o *outgoing) list(f driver.File) (one api.LuggageFile, err error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return one, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return one, err
	}
	one = api.LuggageFile{Name: f.Name, Size: info.Size(), Modified: info.ModTime().UnixNano(), Image: f.Image}
	if one.Data, err = dataOf(file, one.Size); err != nil {
		return one, err
	}
	if f.Image != "" {
		one.ImageSum, err = o.sums.of(f.Image)
	}
	return one, err
}

// dataOf returns the parts of a file that are more than a hole (lseek(2), SEEK_DATA),
// widened to whole chunks: offsets and lengths, in order.
func dataOf(f *os.File, size int64) (out [][2]int64, err error) {
	for at := int64(0); at < size; {
		begin, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("find data: %w", err)
		}
		end, err := unix.Seek(int(f.Fd()), begin, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("find a hole: %w", err)
		}
		begin -= begin % api.MoveChunk
		at = min(size, (end+api.MoveChunk-1)/api.MoveChunk*api.MoveChunk)
		if n := len(out); n > 0 && out[n-1][0]+out[n-1][1] >= begin {
			begin = out[n-1][0]
			out = out[:n-1]
		}
		out = append(out, [2]int64{begin, at - begin})
	}
	return out, nil
}

// Chunk implements api.Moves.
func (o *outgoing) Chunk(_ context.Context, uuid, to string, file int, offset, length int64) ([]byte, error) {
	n, err := o.a.host.MayLeave(uuid, to)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	known := o.listed[uuid]
	o.mu.Unlock()
	if known.start != n.Move.Start || file < 0 || file >= len(known.files) {
		return nil, fmt.Errorf("file %d of node %s: %w: ask for its files first", file, n.Name, state.ErrNotFound)
	}
	f, err := os.Open(known.files[file].Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, length)
	if _, err := f.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("read %d bytes at %d of %s: %w", length, offset, f.Name(), err)
	}
	if allZero(b) {
		return nil, nil
	}
	o.sent.Add(uint64(len(b)))
	return b, nil
}

func allZero(b []byte) bool { return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

// fileSums remembers the SHA-256 of files for as long as they stay as they are. The zero
// value is ready.
type fileSums struct {
	mu sync.Mutex
	// known are sums by path; mu is held while one is made, so that it is made once.
	known map[string]fileSum
}

type fileSum struct {
	size     int64
	modified time.Time
	sum      string
}

func (s *fileSums) of(path string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if old, ok := s.known[path]; ok && old.size == info.Size() && old.modified.Equal(info.ModTime()) {
		return old.sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	if s.known == nil {
		s.known = map[string]fileSum{}
	}
	sum := hex.EncodeToString(h.Sum(nil))
	s.known[path] = fileSum{info.Size(), info.ModTime(), sum}
	return sum, nil
}
