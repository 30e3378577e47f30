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
	// jobPatience is how long a caller waits for a job; the next call waits again.
	jobPatience = 20 * time.Second
	// fetchStall is how long a server of images may send nothing.
	fetchStall = time.Minute
)

// jobs are what takes longer than a caller may wait: copies, checksums, fetches. One that many
// ask for runs once. They end with the driver. It is safe for concurrent use.
type jobs struct {
	// start runs a function in the background, unless the driver is closed.
	start func(do func()) bool
	alive context.Context //nolint:containedctx // jobs live as long as the driver
	// patience is jobPatience.
	patience time.Duration

	// mu guards what follows.
	mu  sync.Mutex
	all map[string]*job
}

type job struct {
	done   chan struct{}
	cancel context.CancelFunc
	err    error
}

// run does what is named by key, or waits for it if it is under way. Errors: state.ErrBusy
// while it is; the next call goes on waiting.
func (j *jobs) run(ctx context.Context, key string, do func(ctx context.Context) error) error {
	j.mu.Lock()
	one := j.all[key]
	if one == nil {
		inner, cancel := context.WithCancel(j.alive)
		one = &job{done: make(chan struct{}), cancel: cancel}
		started := j.start(func() { // ends with the job, or with the driver
			one.err = do(inner)
			close(one.done)
		})
		if !started {
			cancel()
			j.mu.Unlock()
			return fmt.Errorf("%s: the driver is being closed: %w", key, state.ErrBusy)
		}
		j.all[key] = one
	}
	j.mu.Unlock()
	timer := time.NewTimer(j.patience)
	defer timer.Stop()
	select {
	case <-one.done:
	case <-timer.C:
		return fmt.Errorf("%s: under way: %w", key, state.ErrBusy)
	case <-ctx.Done():
		return fmt.Errorf("%s: under way: %w", key, state.ErrBusy)
	}
	one.cancel()
	j.mu.Lock()
	if j.all[key] == one { // the first who hears of the end forgets it: a failure is tried again
		delete(j.all, key)
	}
	j.mu.Unlock()
	return one.err
}

// stop ends a job, and returns once it has ended.
func (j *jobs) stop(key string) {
	j.mu.Lock()
	one := j.all[key]
	delete(j.all, key)
	j.mu.Unlock()
	if one != nil {
		one.cancel()
		<-one.done
	}
}

// isURL says whether an image is to be fetched.
func isURL(image string) bool {
	return strings.HasPrefix(image, "http://") || strings.HasPrefix(image, "https://")
}

var unusualInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// fetchedDir is where images are that were fetched: in the pool, where QEMU gets to.
func fetchedDir(pool string) string { return filepath.Join(pool, "images") }

// fetchedPath is the file of a URL's image. The checksum is in its name: another content of
// the same URL is another image.
func fetchedPath(pool, url, checksum string) string {
	sum := sha256.Sum256([]byte(url + " " + checksum))
	name := unusualInName.ReplaceAllString(path.Base(url), "_")
	return filepath.Join(fetchedDir(pool), hex.EncodeToString(sum[:8])+"-"+name[max(0, len(name)-100):])
}

// fetchImage brings an image here, whole or not at all.
func fetchImage(ctx context.Context, url, to string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(fetchStall, func() { cancel(fmt.Errorf("the server sent nothing for %s", fetchStall)) })
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("image %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // it is, below
	if err != nil {
		return fmt.Errorf("image: %w", errors.Join(context.Cause(ctx), err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("image %s: the server says %s", url, resp.Status)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o711); err != nil { //nolint:gosec // QEMU's user gets through it
		return fmt.Errorf("image %s: %w", url, err)
	}
	f, err := os.OpenFile(unfinished(to), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644) //nolint:gosec // QEMU's user reads it
	if err != nil {
		return fmt.Errorf("image %s: %w", url, err)
	}
	n, err := io.Copy(f, readerFunc(func(p []byte) (int, error) {
		stall.Reset(fetchStall)
		return resp.Body.Read(p)
	}))
	switch cause := context.Cause(ctx); {
	case err != nil && cause != nil:
		err = cause // of what the read says
	case err == nil && n == 0:
		err = errors.New("it is empty")
	case err == nil:
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = selfContained(unfinished(to))
	}
	if err == nil {
		err = os.Rename(unfinished(to), to)
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", url, errors.Join(err, removeFile(unfinished(to))))
	}
	return nil
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// content tells one content of a file from another.
type content struct {
	path        string
	inode       uint64
	size, mtime int64
	kind        string
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
	key := content{file, st.Ino, st.Size, st.Mtim.Nano(), kind}
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
		return fmt.Errorf("image %s: its checksum is %s, want %s: put the right image there, or mend the cluster file", file, got, want)
	}
	return nil
}
