package libvirt

import (
	"context"
	"crypto/md5"  //nolint:gosec // what the operator gave; not for security
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tenks/raftfsm/state"
)

const (
	// fetchStall is how long a server of images may send less than fetchLeast, in bytes.
	fetchStall = time.Minute
	fetchLeast = 64 << 10
	// fetchPart is after how many bytes it is looked at how much room is left.
	fetchPart = 16 << 20
)

// isURL says whether an image is to be fetched.
func isURL(image string) bool {
	return strings.HasPrefix(image, "http://") || strings.HasPrefix(image, "https://")
}

var unusualInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// fetchedDir is where images are that were fetched: in the pool, where QEMU gets to.
func fetchedDir(pool string) string { return filepath.Join(pool, "images") }

// fetchedPath is the file of the image at an address. The checksum is in its name: another content of
// the same address is another image.
func fetchedPath(pool, address, checksum string) string {
	sum := sha256.Sum256([]byte(address + " " + checksum))
	name := unusualInName.ReplaceAllString(path.Base(address), "_")
	return filepath.Join(fetchedDir(pool), hex.EncodeToString(sum[:8])+"-"+name[max(0, len(name)-100):])
}

// fetch is an image that is to be brought here.
type fetch struct {
	url, to string
	// stall is how long its server may send less than fetchLeast.
	stall time.Duration
	// room is roomIn.
	room func(dir string) (uint64, error)
	tell telling
	// check says why a file is not the right image.
	check func(ctx context.Context, file string) error
}

// image brings it here, whole or not at all.
func (f fetch) image(ctx context.Context) error {
	if err := f.get(ctx); err != nil {
		return fmt.Errorf("image %s: %w", f.url, err)
	}
	return nil
}

func (f fetch) get(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(f.stall, func() { cancel(fmt.Errorf("the server sent next to nothing for %s", f.stall)) })
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity") // its length is told then
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.Join(context.Cause(ctx), notURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server says %s", resp.Status)
	}
	if _, err := f.fits(resp.ContentLength, 0); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.to), 0o711); err != nil { //nolint:gosec // QEMU's user gets through it
		return err
	}
	err = f.save(ctx, resp, func() { stall.Reset(f.stall) })
	stall.Stop() // what follows takes as long as it takes
	if err == nil {
		err = selfContained(unfinished(f.to))
	}
	if err == nil {
		err = f.check(ctx, unfinished(f.to))
	}
	if err == nil {
		err = os.Rename(unfinished(f.to), f.to)
	}
	if err != nil {
		return errors.Join(err, removeFile(unfinished(f.to)))
	}
	return nil
}

// fits says how many bytes of an image may come next, or why there is no room for all of it: it
// is length bytes, of which so many are here; a length less than 0 is not known.
func (f fetch) fits(length, here int64) (next int64, err error) {
	dir := filepath.Dir(f.to)
	room, err := f.room(dir)
	if err != nil {
		return 0, err
	}
	left := uint64(max(length-here, 0)) //nolint:gosec // it is no less than 0
	switch {
	case length >= 0 && left > room:
		return 0, noRoom(left, room, dir)
	case length < 0 && room == 0:
		return 0, fmt.Errorf("after %s of it there is no room left where %s is: make room there, a reserve stays free", farText(here, 0), dir)
	}
	return int64(min(room, fetchPart)), nil //nolint:gosec // it is small
}

// save writes what the server sends to the unfinished file.
func (f fetch) save(ctx context.Context, resp *http.Response, alive func()) error {
	out, err := os.OpenFile(unfinished(f.to), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644) //nolint:gosec // QEMU's user reads it
	if err != nil {
		return err
	}
	n, err := f.receive(resp, out, alive)
	switch cause := context.Cause(ctx); {
	case err != nil && cause != nil:
		err = cause // of what the read says
	case errors.Is(err, io.ErrUnexpectedEOF) && resp.ContentLength >= 0:
		err = fmt.Errorf("the server ended after %d of %d bytes", n, resp.ContentLength)
	case err == nil && n == 0:
		err = errors.New("it is empty")
	case err == nil:
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// receive copies a part at a time: others fill the file system, too.
func (f fetch) receive(resp *http.Response, out *os.File, alive func()) (int64, error) {
	heard := 0
	body := readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		if heard += n; heard >= fetchLeast {
			alive()
			heard = 0
		}
		return n, err
	})
	var here int64
	for {
		next, err := f.fits(resp.ContentLength, here)
		if err != nil {
			return here, err
		}
		n, err := io.CopyN(out, body, max(next, 1)) // one more, to hear of the end
		here += n
		switch {
		case errors.Is(err, io.EOF):
			return here, nil
		case err != nil:
			return here, err
		}
		f.tell(farText(here, resp.ContentLength))
	}
}

// farText says how much of an image is here; its length may be unknown.
func farText(here, length int64) string {
	text := sizeText(uint64(max(here, 0)))
	if length > 0 {
		text += " of " + sizeText(uint64(length))
	}
	return text
}

// notURL takes the address off an error, which names it twice otherwise.
func notURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// content tells one content of a file from another, wherever it is renamed to.
type content struct {
	device, inode uint64
	size, mtime   int64
	kind          string
}

// sums are checksums of files' contents, each computed once. It is safe for concurrent use.
type sums struct {
	mu  sync.Mutex
	all map[content]string
}

// of returns the checksum of a file, as "kind:hexadecimal".
func (s *sums) of(ctx context.Context, file, kind string) (string, error) {
	f, err := os.Open(file) //nolint:gosec // the operator's path
	if err != nil {
		return "", fmt.Errorf("image %s: %w", file, err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("image %s: %w", file, err)
	}
	key := content{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), kind}
	s.mu.Lock()
	sum, known := s.all[key]
	s.mu.Unlock()
	if known {
		return sum, nil
	}
	h, err := hashOf(kind)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", file, err)
	}
	_, err = io.Copy(h, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(p)
	}))
	if err != nil {
		return "", fmt.Errorf("image %s: %w", file, err)
	}
	sum = kind + ":" + hex.EncodeToString(h.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[key] = sum
	return sum, nil
}

func hashOf(kind string) (hash.Hash, error) {
	switch kind {
	case "sha256":
		return sha256.New(), nil
	case "sha512":
		return sha512.New(), nil
	case "sha1":
		return sha1.New(), nil //nolint:gosec // what the operator gave
	case "md5":
		return md5.New(), nil //nolint:gosec // as above
	}
	return nil, fmt.Errorf("checksum %q: want sha256, sha512, sha1 or md5: %w", kind, state.ErrUnsupported)
}

// check compares an image with what it should be.
func (s *sums) check(ctx context.Context, file, want string) error {
	kind, _, _ := strings.Cut(want, ":")
	got, err := s.of(ctx, file, kind)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("image %s: %w", file, wrongSum{got, want})
	}
	return nil
}

// wrongSum is the error of an image that has another checksum than was declared.
type wrongSum struct{ got, want string }

func (w wrongSum) Error() string {
	return fmt.Sprintf("its checksum is %s, want %s: put the right image there, or mend the cluster file", w.got, w.want)
}
