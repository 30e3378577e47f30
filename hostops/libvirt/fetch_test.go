package libvirt

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fetchFrom brings an image from a server that answers so; room is that of the file system.
func fetchFrom(t *testing.T, room uint64, answer http.HandlerFunc) (file string, err error) {
	t.Helper()
	web := httptest.NewServer(answer)
	t.Cleanup(web.Close)
	dir := t.TempDir()
	f := fetch{url: web.URL + "/a.img", to: filepath.Join(dir, "images", "a.img"), stall: 200 * time.Millisecond, tell: func(string) {}}
	f.check = func(context.Context, string) error { return nil }
	f.room = func(string) (uint64, error) {
		if i, err := os.Stat(unfinished(f.to)); err == nil {
			return room - min(room, uint64(i.Size())), nil //nolint:gosec // a size
		}
		return room, nil
	}
	err = f.image(t.Context())
	if left, _ := filepath.Glob(filepath.Join(dir, "images", "*.new")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if (err == nil) != fileExists(f.to) {
		t.Errorf("%v, and the file is there: %t", err, fileExists(f.to))
	}
	return f.to, err
}

func TestAnImageIsFetchedWholeOrRefusedInOneLine(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16)
	for name, tt := range map[string]struct {
		room   uint64
		answer http.HandlerFunc
		want   string
	}{
		"whole": {room: 4 << 20, answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }},
		"larger than the room": {room: 2 << 20, want: "needs 3072 KiB, and where ", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write(content)
		}},
		"that fits to the byte": {room: 3 << 20, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content)
		}},
		"of unknown length": {room: 40 << 20, want: "after 40 MiB of it there is no room left where ", answer: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write(content)
			}
		}},
		"cut off": {room: 9 << 20, want: "the server ended after 1000 of 3145728 bytes", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:1000])
		}},
		"empty":     {room: 9 << 20, want: "it is empty", answer: func(http.ResponseWriter, *http.Request) {}},
		"not there": {room: 9 << 20, want: "the server says 404 Not Found", answer: http.NotFound},
		"stalled": {room: 9 << 20, want: "the server sent next to nothing for 200ms", answer: func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(content[:1<<20])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
		"a byte at a time": {room: 9 << 20, want: "the server sent next to nothing for 200ms", answer: func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				_, _ = w.Write(content[:1])
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-tick.C:
				}
			}
		}},
		"nothing at all": {room: 9 << 20, want: "the server sent next to nothing for 200ms", answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := fetchFrom(t, tt.room, tt.answer)
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Count(err.Error(), "http://") != 1) {
				t.Fatalf("%v, want %q and the URL once", err, tt.want)
			}
			if err == nil && whole(t, file) != string(content) {
				t.Error("it is not what the server sent")
			}
		})
	}
}

func TestAReserveOfTheFileSystemStaysFree(t *testing.T) {
	for _, c := range []struct{ size, free, want uint64 }{
		{100 << 30, 50 << 30, 49 << 30}, {100 << 30, 1 << 29, 0}, {1 << 30, 1 << 30, 1<<30 - 1<<30/20}, {0, 0, 0},
	} {
		if got := roomOf(c.size, c.free); got != c.want {
			t.Errorf("%d bytes, %d free: room for %d, want %d", c.size, c.free, got, c.want)
		}
	}
	if room, err := roomIn(filepath.Join(t.TempDir(), "not", "yet")); err != nil || room == 0 {
		t.Errorf("%d, %v", room, err)
	}
}
