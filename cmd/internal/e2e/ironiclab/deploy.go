package ironiclab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tenks/cmd/internal/e2e/ironiclab/gpt"
)

// DiskMarker is on the command line of what boots from the disk image.
const DiskMarker = "tenks.disk=1"

// AgentMarker precedes the node's UUID, once the deploy agent takes commands.
const AgentMarker = "TENKS-AGENT node="

// DeployImages is what nodes are deployed with.
type DeployImages struct {
	// Agent is the deploy ramdisk: the tiny guest with the deploy agent.
	Agent Guest
	// Guest is the tiny guest as it is, for nodes that run from memory.
	Guest Guest
	// Disk is a raw image of a whole disk, 32 MiB, that boots the tiny guest with BIOS and with
	// UEFI, with DiskMarker on its command line. SHA256 is its checksum.
	Disk, SHA256 string
	// Bootloader is the EFI system partition that Ironic puts into the ISOs that it makes.
	Bootloader string
}

// imagesVersion changes when images are made otherwise.
const imagesVersion = "1"

// Images makes all that nodes are deployed with. It is kept in a cache from test to test, and made
// anew when the agent or the guest change.
func Images(ctx context.Context) (DeployImages, error) {
	work, err := os.MkdirTemp(filepath.Dir(kernelDir), ".images")
	if err != nil {
		return DeployImages{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	agent := filepath.Join(work, "agent")
	if err := buildAgent(ctx, agent); err != nil {
		return DeployImages{}, err
	}
	key, err := imagesKey(agent)
	if err != nil {
		return DeployImages{}, err
	}
	dir := filepath.Join(filepath.Dir(kernelDir), "images-"+key)
	if _, err := os.Stat(dir); err != nil {
		if err := makeImages(ctx, work, agent); err != nil {
			return DeployImages{}, err
		}
		// Another test may have been quicker: its images are the same.
		if err := os.Rename(work, dir); err != nil && !errors.Is(err, os.ErrExist) {
			return DeployImages{}, err
		}
		forgetImages(dir)
	}
	return images(dir)
}

// images are those in a directory.
func images(dir string) (DeployImages, error) {
	guest := func(name string) Guest {
		return Guest{Kernel: filepath.Join(dir, name, "vmlinuz"), Initrd: filepath.Join(dir, name, "initrd.gz")}
	}
	i := DeployImages{Agent: guest("deploy"), Guest: guest("tiny"), Disk: filepath.Join(dir, "disk.raw"), Bootloader: filepath.Join(dir, "esp.img")}
	f, err := os.Open(i.Disk)
	if err != nil {
		return i, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	i.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return i, err
}

// forgetImages removes what was made of older sources, unless it is so new that a test may use it.
func forgetImages(newest string) {
	all, _ := filepath.Glob(filepath.Join(filepath.Dir(newest), "images-*"))
	for _, dir := range all {
		if i, err := os.Stat(dir); err == nil && dir != newest && time.Since(i.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(dir) // only room is lost
		}
	}
}

// imagesKey is of all that images are made of.
func imagesKey(agent string) (string, error) {
	program, err := os.ReadFile(agent)
	if err != nil {
		return "", err
	}
	modules, err := filepath.Glob(kernelDir + "/lib/modules/*")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, part := range []string{imagesVersion, tinyScript, diskMenu, isoMenu, strings.Join(modules, " "), string(program)} {
		fmt.Fprintf(sum, "%d %s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// buildAgent builds the deploy agent from the source that is tested. The guest has no libraries.
func buildAgent(ctx context.Context, path string) error {
	cmd := goCommand(ctx, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "tenks/cmd/internal/e2e/ironiclab/agent")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("deploy agent: %w: %s", err, out)
	}
	return nil
}

func makeImages(ctx context.Context, dir, agent string) error {
	i, _ := images(dir)
	for _, g := range []struct {
		dir  string
		with []string
	}{{filepath.Dir(i.Guest.Kernel), nil}, {filepath.Dir(i.Agent.Kernel), []string{agent}}} {
		if err := tiny(ctx, g.dir, g.with...); err != nil {
			return err
		}
	}
	if err := isoBootloader(ctx, i.Bootloader); err != nil {
		return err
	}
	return wholeDisk(ctx, i.Disk, i.Guest)
}

// isoMenu makes GRUB go on with the menu that Ironic puts into its ISOs ([DEFAULT]
// grub_config_path).
const isoMenu = `search --file --set=root /boot/grub/grub.cfg
configfile /boot/grub/grub.cfg
`

// isoBootloader makes an EFI system partition for Ironic's ISOs.
func isoBootloader(ctx context.Context, path string) error {
	loader := path + ".efi"
	defer func() { _ = os.Remove(loader) }()
	if err := grub(ctx, "x86_64-efi", loader, isoMenu, "iso9660", "search_fs_file", "configfile"); err != nil {
		return err
	}
	return espImage(ctx, path, "TENKSISO", 4<<20, map[string]string{"EFI/BOOT/BOOTX64.EFI": loader})
}

// diskMenu is built into both of GRUB's programs on the disk image.
const diskMenu = `search --label --set=root TENKSDISK
linux /vmlinuz console=ttyS0,115200 quiet panic=10 ` + DiskMarker + `
initrd /initrd.gz
boot
`

// Sizes of the disk image and its partitions, in bytes.
const (
	diskSize = 32 << 20
	biosSize = 1 << 20
	espSize  = 28 << 20
)

// wholeDisk makes the disk image: GRUB's second part for BIOS in a partition, and an EFI system
// partition with GRUB for UEFI and the guest.
func wholeDisk(ctx context.Context, path string, g Guest) (err error) {
	core, loader, esp := path+".core", path+".efi", path+".esp"
	defer func() { _, _, _ = os.Remove(core), os.Remove(loader), os.Remove(esp) }()
	more := []string{"part_gpt", "search_label"}
	if err := grub(ctx, "i386-pc", core, diskMenu, append(more, "biosdisk")...); err != nil {
		return err
	}
	if err := grub(ctx, "x86_64-efi", loader, diskMenu, more...); err != nil {
		return err
	}
	files := map[string]string{"EFI/BOOT/BOOTX64.EFI": loader, "vmlinuz": g.Kernel, "initrd.gz": g.Initrd}
	if err := espImage(ctx, esp, "TENKSDISK", espSize, files); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(diskSize); err != nil {
		return err
	}
	var table gpt.Table
	bios := table.Append(gpt.BIOSBoot, "bios", biosSize)
	system := table.Append(gpt.ESP, "esp", espSize)
	boot, rest, err := grubBIOS(core, bios)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(esp)
	if err != nil {
		return err
	}
	for at, what := range map[int64][]byte{0: boot, bios.Offset(): rest, system.Offset(): content} {
		if _, err := f.WriteAt(what, at); err != nil {
			return err
		}
	}
	return table.Write(f, diskSize)
}

// grubBIOS returns GRUB's first sector, and its second part for a partition, each told where what
// follows is: what grub-bios-setup does, which works on devices only. Offsets are those of GRUB's
// include/grub/i386/pc/boot.h.
func grubBIOS(core string, at gpt.Partition) (boot, rest []byte, err error) {
	const (
		kernelSector = 0x5c
		driveCheck   = 0x66
		blockList    = gpt.SectorSize - 12
	)
	boot, err = os.ReadFile(filepath.Join(grubDir, "i386-pc/boot.img"))
	if err != nil {
		return nil, nil, err
	}
	rest, err = os.ReadFile(core)
	if err != nil {
		return nil, nil, err
	}
	if int64(len(rest)) > at.Size() || len(boot) != gpt.SectorSize {
		return nil, nil, fmt.Errorf("GRUB for BIOS has %d and %d bytes", len(boot), len(rest)) //nolint:err113 // for people
	}
	le := binary.LittleEndian
	le.PutUint64(boot[kernelSector:], uint64(at.First)) //nolint:gosec // not negative
	copy(boot[driveCheck:], []byte{0x90, 0x90})         // no operation: a hard disk's number is right
	le.PutUint64(rest[blockList:], uint64(at.First+1))  //nolint:gosec // not negative
	le.PutUint16(rest[blockList+8:], uint16((len(rest)-1)/gpt.SectorSize))
	return boot[:440], rest, nil
}

// grub makes a program of GRUB's with a menu inside.
func grub(ctx context.Context, platform, path, menu string, modules ...string) error {
	file := path + ".cfg"
	if err := os.WriteFile(file, []byte(menu), 0o600); err != nil {
		return err
	}
	defer func() { _ = os.Remove(file) }()
	args := append([]string{"-O", platform, "-p", "/", "-c", file, "-o", path, "fat", "normal", "linux", "search", "boot"}, modules...)
	return run(ctx, "", "grub-mkimage", args...)
}

// espImage makes an image of a FAT file system with files.
func espImage(ctx context.Context, path, label string, size int64, files map[string]string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte{0}, int(size)), 0o600); err != nil {
		return err
	}
	if err := run(ctx, "", "mformat", "-i", path, "-v", label, "-T", fmt.Sprint(size/gpt.SectorSize), "-h", "64", "-s", "32", "-H", "0", "::"); err != nil {
		return err
	}
	made := map[string]bool{}
	for name, from := range files {
		for at := 0; ; {
			slash := strings.IndexByte(name[at:], '/')
			if slash < 0 {
				break
			}
			at += slash
			if dir := name[:at]; !made[dir] {
				made[dir] = true
				if err := run(ctx, "", "mmd", "-i", path, "::/"+dir); err != nil {
					return err
				}
			}
			at++
		}
		if err := run(ctx, "", "mcopy", "-i", path, from, "::/"+name); err != nil {
			return err
		}
	}
	return nil
}
