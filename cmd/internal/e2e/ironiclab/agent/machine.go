package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"tenks/cmd/internal/e2e/ironiclab/gpt"
)

// machine is the hardware, as Linux shows it.
type machine struct {
	// sys and dev are where sysfs and devices are.
	sys, dev string
	// power switches it off.
	power func() error
	// reread tells the kernel that a disk's partitions are others.
	reread func(disk *os.File)
}

func reboot() error {
	syscall.Sync()
	return syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// reread: the kernel refuses while a partition is used, which none is.
func reread(disk *os.File) {
	const blkrrpart = 0x125f // <linux/fs.h>
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, disk.Fd(), blkrrpart, 0)
}

// macs are the MAC addresses of the network cards.
func (m machine) macs() (out []string) {
	cards, _ := filepath.Glob(m.sys + "/class/net/*/device")
	for _, c := range cards {
		if b, err := os.ReadFile(filepath.Join(filepath.Dir(c), "address")); err == nil {
			out = append(out, strings.TrimSpace(string(b)))
		}
	}
	return out
}

// disks are the devices of those that can be written to, in the kernel's order.
func (m machine) disks() (out []string) {
	for _, kind := range []string{"vd*", "sd*", "nvme*", "hd*"} {
		found, _ := filepath.Glob(m.sys + "/class/block/" + kind)
		for _, path := range found {
			name := filepath.Base(path)
			if _, err := os.Stat(path + "/partition"); err == nil || m.size(name) == 0 || m.attribute(name, "ro") == "1" {
				continue
			}
			out = append(out, filepath.Join(m.dev, name))
		}
	}
	return out
}

func (m machine) attribute(disk, name string) string {
	b, err := os.ReadFile(filepath.Join(m.sys, "class/block", disk, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// size is a disk's in bytes; 0: a drive without a medium, or no disk.
func (m machine) size(disk string) int64 {
	sectors, err := strconv.ParseInt(m.attribute(disk, "size"), 10, 64)
	if err != nil {
		return 0
	}
	return sectors * gpt.SectorSize
}

var errNoDisk = errors.New("no disk is as the root device hints say")

// rootDisk is the one that an image goes to: the smallest one, or the one that the hints say
// (name, serial, wwn, size in GiB).
func (m machine) rootDisk(node object) (string, error) {
	hints := part(part(node, "instance_info"), "root_device")
	if hints == nil {
		hints = part(part(node, "properties"), "root_device")
	}
	var fit []string
	for _, path := range m.disks() {
		ok, err := m.fits(path, hints)
		if err != nil {
			return "", err
		}
		if ok {
			fit = append(fit, path)
		}
	}
	if len(fit) == 0 {
		return "", errNoDisk
	}
	return slices.MinFunc(fit, func(a, b string) int {
		return int((m.size(filepath.Base(a)) - m.size(filepath.Base(b))) / gpt.SectorSize)
	}), nil
}

func (m machine) fits(path string, hints object) (bool, error) {
	disk := filepath.Base(path)
	for hint, value := range hints {
		want := strings.TrimSpace(strings.TrimLeft(strings.TrimPrefix(fmt.Sprint(value), "s=="), "= "))
		var has []string
		switch hint {
		case "name":
			has = []string{path}
		case "serial":
			has = []string{m.attribute(disk, "serial"), m.attribute(disk, "device/serial")}
		case "wwn":
			has = []string{strings.TrimPrefix(m.attribute(disk, "wwid"), "naa."), strings.TrimPrefix(m.attribute(disk, "device/wwid"), "naa.")}
			want = strings.TrimPrefix(want, "0x")
		case "size":
			has = []string{strconv.FormatInt(m.size(disk)>>30, 10)}
		default:
			return false, fmt.Errorf("root device hint %q is not known to this agent", hint) //nolint:err113 // for people
		}
		if !slices.Contains(has, want) {
			return false, nil
		}
	}
	return true, nil
}

// wiped is how much of a disk goes at either end: partition tables, boot loaders and what software
// RAID and file systems know themselves by.
const wiped = 1 << 20

// wipe overwrites both ends of a disk.
func (m machine) wipe(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size := m.size(filepath.Base(path))
	zeros := make([]byte, min(wiped, size))
	for _, at := range []int64{0, size - int64(len(zeros))} {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	m.reread(f)
	return nil
}

// writeAll copies an image to a disk that is not smaller, and returns the image's size.
func writeAll(disk *os.File, size int64, image io.Reader) (int64, error) {
	// Neither side's shortcut: large writes are what is quick without KVM.
	n, err := io.CopyBuffer(struct{ io.Writer }{disk}, struct{ io.Reader }{io.LimitReader(image, size+1)}, make([]byte, 1<<20))
	if n > size || errors.Is(err, syscall.ENOSPC) {
		return n, fmt.Errorf("the image is larger than the disk of %d bytes", size) //nolint:err113 // for people
	}
	return n, err
}
