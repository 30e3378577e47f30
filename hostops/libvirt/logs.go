package libvirt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// maxLogs is how many older files of a console's log are looked for.
const maxLogs = 1000

// boundLog rotates a console's log that is larger than limit, as virtlogd names older files,
// and deletes those beyond keep; 0: no bound. virtlogd has the file open and appends to it, so
// it is copied and cut: what the guest writes meanwhile may be lost.
func boundLog(path string, limit uint64, keep int) error {
	older := func(n int) string { return path + "." + strconv.Itoa(n) }
	i, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || !i.Mode().IsRegular() {
		return err
	}
	if limit > 0 && uint64(max(i.Size(), 0)) > limit {
		last := 0
		for last < maxLogs && fileThere(older(last)) {
			last++
		}
		for n := last; n > 0; n-- {
			if err := os.Rename(older(n-1), older(n)); err != nil {
				return fmt.Errorf("console log: %w", err)
			}
		}
		if err := copyAndCut(path, older(0), i.Mode().Perm()); err != nil {
			return fmt.Errorf("console log %s: %w", path, err)
		}
	}
	if keep == 0 {
		return nil
	}
	for n := keep; n < maxLogs && fileThere(older(n)); n++ {
		if err := removeFile(older(n)); err != nil {
			return fmt.Errorf("console log: %w", err)
		}
	}
	return nil
}

func fileThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func copyAndCut(from, to string, mode os.FileMode) error {
	in, err := os.OpenFile(from, os.O_RDWR, 0) //nolint:gosec // a log of ours
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode) //nolint:gosec // as above
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return in.Truncate(0)
}
