package libvirt

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// reserveBytes is what fetches and copies leave free on a file system, or a reservePart-th of
	// it where that is less: its other users, such as QEMU and the log, stop when it is full.
	reserveBytes = 1 << 30
	reservePart  = 20
)

// roomIn is how many bytes may be written to the file system of a directory, that exists or is
// going to: what is free, but for a reserve.
func roomIn(dir string) (uint64, error) {
	var s unix.Statfs_t
	err := unix.Statfs(dir, &s)
	for err != nil && dir != "/" && dir != "." {
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &s)
	}
	if err != nil {
		return 0, fmt.Errorf("file system of %s: %w", dir, err)
	}
	block := uint64(max(s.Bsize, 0))
	return roomOf(s.Blocks*block, s.Bavail*block), nil
}

// roomOf is roomIn for a file system of a size with so much free, in bytes.
func roomOf(size, free uint64) uint64 {
	return free - min(free, reserveBytes, size/reservePart)
}

// noRoom says that something of a size does not fit; what is how many bytes it has or needs.
func noRoom(need, room uint64, dir string) error {
	return fmt.Errorf("needs %s, and where %s is there is room for %s: make room there, a reserve stays free", sizeText(need), dir, sizeText(room))
}

// sizeText is a number of bytes for people.
func sizeText(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}
