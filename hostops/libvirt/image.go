package libvirt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// image is a disk image that backs volumes.
type image struct {
	// Format is raw or qcow2.
	Format string
	// Size is that of the disk in it, in bytes.
	Size uint64
}

// foreignFormats are images that a guest would see the container of, not the disk.
var foreignFormats = map[string]string{"KDMV": "VMDK", "vhdxfile": "VHDX", "QED\x00": "QED", "conectix": "VHD", "<<<": "VDI"}

// readImage says what an image is (qcow2: docs/interop/qcow2.txt of QEMU).
func readImage(path string) (image, error) {
	f, err := os.Open(path) //nolint:gosec // the operator's path
	if errors.Is(err, os.ErrNotExist) {
		return image{}, fmt.Errorf("image %s: does not exist on this host", path)
	}
	if err != nil {
		return image{}, fmt.Errorf("image %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return image{}, fmt.Errorf("image %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return image{}, fmt.Errorf("image %s: is no regular file", path)
	}
	head := make([]byte, 32)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return image{}, fmt.Errorf("image %s: %w", path, err)
	}
	if bytes.HasPrefix(head, []byte("QFI\xfb")) {
		if n < len(head) {
			return image{}, fmt.Errorf("image %s: a qcow2 file that is cut off", path)
		}
		return image{Format: formatQcow, Size: binary.BigEndian.Uint64(head[24:])}, nil
	}
	for magic, format := range foreignFormats {
		if bytes.HasPrefix(head, []byte(magic)) {
			return image{}, fmt.Errorf("image %s: is %s: convert it with qemu-img convert -O qcow2", path, format)
		}
	}
	return image{Format: formatRaw, Size: uint64(max(info.Size(), 0))}, nil
}

// backingOf returns the image that backs a qcow2 file.
func backingOf(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // a volume of ours
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 20)
	if _, err := io.ReadFull(f, head); err != nil {
		return "", err
	}
	name := make([]byte, min(binary.BigEndian.Uint32(head[16:]), 1023)) // the format's limit
	at := binary.BigEndian.Uint64(head[8:])
	if at == 0 {
		return "", nil
	}
	if _, err := f.ReadAt(name, int64(min(at, 1<<20))); err != nil { //nolint:gosec // bounded
		return "", err
	}
	return string(name), nil
}

// makeVolume makes a volume's file unless it is there; the caller has recorded it as
// ours.
func makeVolume(ctx context.Context, v volume) error {
	if v.Format != "" {
		if _, err := os.Stat(v.Path); err != nil {
			return fmt.Errorf("volume %s: was taken over from another tool, and is gone: %w", v.Path, err)
		}
		return nil
	}
	if v.Image == "" && v.format() == formatRaw {
		return makeBlank(v)
	}
	_, err := os.Stat(v.Path)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	how, err := making(v)
	if err != nil {
		return fmt.Errorf("volume %s: %w", v.Path, err)
	}
	// A crash while it is made leaves only the file that is not the volume yet.
	if err := removeFile(unfinished(v.Path)); err != nil {
		return fmt.Errorf("volume %s: %w", v.Path, err)
	}
	for _, args := range how {
		if err = qemuImg(ctx, args...); err != nil {
			break
		}
	}
	if err == nil {
		err = os.Chmod(unfinished(v.Path), 0o600)
	}
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, unfinished(v.Path), unix.AT_FDCWD, v.Path, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return fmt.Errorf("volume %s: create: %w", v.Path, err)
	}
	return nil
}

// making are the arguments of qemu-img that make the file of a volume, in turn.
func making(v volume) ([][]string, error) {
	size := strconv.FormatUint(v.Capacity, 10)
	create := []string{"create", "-q", "-f", v.format()}
	if v.Image == "" {
		return [][]string{append(create, unfinished(v.Path), size)}, nil
	}
	img, err := readImage(v.base())
	if err != nil {
		return nil, err
	}
	if v.Capacity < img.Size {
		return nil, fmt.Errorf("%d bytes are less than the %d of image %s", v.Capacity, img.Size, v.Image)
	}
	if !v.Copy {
		return [][]string{append(create, "-b", v.base(), "-F", img.Format, unfinished(v.Path), size)}, nil
	}
	return [][]string{
		{"convert", "-q", "-f", img.Format, "-O", v.format(), v.base(), unfinished(v.Path)},
		{"resize", "-q", "-f", v.format(), unfinished(v.Path), size},
	}, nil
}

func unfinished(path string) string { return path + ".new" }

// makeBlank makes a sparse file of a volume's size; one that is too small is what a
// crash left.
func makeBlank(v volume) error {
	f, err := os.OpenFile(v.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return growBlank(v)
	}
	if err != nil {
		return fmt.Errorf("volume %s: create: %w", v.Path, err)
	}
	return errors.Join(f.Truncate(int64(v.Capacity)), f.Close()) //nolint:gosec // no disk has 2⁶³ bytes
}

func growBlank(v volume) error {
	i, err := os.Lstat(v.Path)
	if err != nil {
		return fmt.Errorf("volume %s: %w", v.Path, err)
	}
	if !i.Mode().IsRegular() {
		return fmt.Errorf("volume %s: is no regular file", v.Path)
	}
	if uint64(max(i.Size(), 0)) >= v.Capacity {
		return nil
	}
	if err := os.Truncate(v.Path, int64(v.Capacity)); err != nil { //nolint:gosec // as above
		return fmt.Errorf("volume %s: grow: %w", v.Path, err)
	}
	return nil
}

// growVolume makes a volume larger; its guest is off.
func growVolume(ctx context.Context, v volume) error {
	if v.Group != "" {
		return nil // it has its size
	}
	if v.format() == formatRaw {
		return growBlank(v)
	}
	now, err := readImage(v.Path)
	if err != nil || now.Size >= v.Capacity {
		return err
	}
	if err := qemuImg(ctx, "resize", "-q", "-f", formatQcow, v.Path, strconv.FormatUint(v.Capacity, 10)); err != nil {
		return fmt.Errorf("volume %s: grow: %w", v.Path, err)
	}
	return nil
}

func qemuImg(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "qemu-img", args...) //nolint:gosec // no shell; what could be an option is an absolute path
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("qemu-img is not installed: install qemu-utils (Debian), qemu-img (Fedora) or qemu-tools (SUSE)")
	}
	if err != nil {
		return fmt.Errorf("qemu-img: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// selfContained refuses a qcow2 file that has other files be read with it: fetched from
// somewhere, it would bring a guest any file of the host.
func selfContained(path string) error {
	f, err := os.Open(path) //nolint:gosec // a file of ours
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 80)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	if head = head[:n]; !bytes.HasPrefix(head, []byte("QFI\xfb")) || n < 16 {
		return nil
	}
	const externalData = 1 << 2 // incompatible_features
	switch {
	case binary.BigEndian.Uint64(head[8:]) != 0:
		return errors.New("it is a difference to another image: convert it with qemu-img convert -O qcow2")
	case n == len(head) && binary.BigEndian.Uint32(head[4:]) >= 3 && binary.BigEndian.Uint64(head[72:])&externalData != 0:
		return errors.New("its data is in another file: convert it with qemu-img convert -O qcow2")
	}
	return nil
}
