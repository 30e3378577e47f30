package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// copyPart is how many bytes of a file are copied until somebody may stop it, and hears how far
// it is.
const copyPart = 64 << 20

// placeFile puts a file into a place on another file system, whole or not at all, and deletes the
// one that was. What a crash leaves is from, and perhaps an unfinished file: a repeat begins anew.
func placeFile(ctx context.Context, from, to string, tell telling) error {
	src, err := os.Open(from) //nolint:gosec // a file of ours
	if err != nil {
		return err
	}
	defer src.Close()
	if err := removeFile(unfinished(to)); err != nil {
		return err
	}
	if err := copyWhole(ctx, src, unfinished(to), tell); err != nil {
		return errors.Join(fmt.Errorf("copy to %s: %w", to, err), removeFile(unfinished(to)))
	}
	if err := os.Rename(unfinished(to), to); err != nil {
		return errors.Join(err, removeFile(unfinished(to)))
	}
	if err := syncDir(filepath.Dir(to)); err != nil { // before the other one goes
		return err
	}
	return removeFile(from)
}

// overwrite fills a block device, or a file, with zeros. What the host itself has in use is refused.
func overwrite(ctx context.Context, path string, tell telling) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_EXCL, 0) //nolint:gosec // a volume of ours
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size && err == nil; at += int64(len(zeros)) {
		if at%copyPart == 0 {
			// The page cache is the guests' as well.
			if err = errors.Join(ctx.Err(), f.Sync()); err != nil {
				break
			}
			tell(farText(at, size))
		}
		_, err = f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // a directory of ours
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// copyWhole makes a file that is a copy of another; it is on disk then.
func copyWhole(ctx context.Context, src *os.File, to string, tell telling) error {
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	// File systems that share blocks, such as two subvolumes of Btrfs, need no copy (ioctl_ficlone(2)).
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) != nil { //nolint:gosec // descriptors are small
		err = copyData(ctx, src, dst, tell)
	}
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// copyData copies what there is between the holes of a file (lseek(2), SEEK_DATA).
func copyData(ctx context.Context, src, dst *os.File, tell telling) error {
	var s unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &s); err != nil { //nolint:gosec // as above
		return err
	}
	need := uint64(max(s.Blocks, 0)) * 512 // what it takes on disk
	room, err := roomIn(filepath.Dir(dst.Name()))
	if err == nil && need > room {
		err = noRoom(need, room, filepath.Dir(dst.Name()))
	}
	if err != nil {
		return err
	}
	if err := dst.Truncate(s.Size); err != nil {
		return err
	}
	var done uint64
	for at := int64(0); ; {
		begin, err := src.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		if at, err = src.Seek(begin, unix.SEEK_HOLE); err != nil {
			return err
		}
		for begin < at {
			if err := ctx.Err(); err != nil {
				return err
			}
			tell(fmt.Sprintf("%s of %s", sizeText(done), sizeText(need)))
			n := min(at-begin, copyPart)
			if err := copyRange(src, dst, begin, n); err != nil {
				return err
			}
			begin += n
			done += uint64(n) //nolint:gosec // it is no less than 0
		}
	}
}

// copyRange copies n bytes that are at the same place in both files.
func copyRange(src, dst *os.File, at, n int64) error {
	if _, err := src.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if _, err := dst.Seek(at, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(dst, src, n)
	return err
}
