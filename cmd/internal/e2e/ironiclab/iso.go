package ironiclab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// grubDir has GRUB's modules, by platform.
const grubDir = "/usr/lib/grub"

// isoModules are what GRUB needs to start a kernel from a CD-ROM; it looks for all the ways of
// partitioning that it knows.
const isoModules = "linux normal iso9660 search search_fs_file configfile fat part_acorn part_amiga part_apple part_bsd part_dfly part_dvh" +
	" part_gpt part_msdos part_plan part_sun part_sunpc"

// ISO writes a CD-ROM image, 20 MB, that boots the guest with BIOS and with UEFI, ttyS0 as its
// console and more on the kernel's command line.
func ISO(ctx context.Context, path string, g Guest, more string) error {
	root, err := os.MkdirTemp(filepath.Dir(path), "iso")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(root) }()
	if err := os.MkdirAll(filepath.Join(root, "boot/grub"), 0o755); err != nil {
		return err
	}
	menu := fmt.Sprintf("linux /vmlinuz console=ttyS0,115200 quiet panic=10 %s\ninitrd /initrd.gz\nboot\n", more)
	if err := os.WriteFile(filepath.Join(root, "boot/grub/grub.cfg"), []byte(menu), 0o600); err != nil {
		return err
	}
	for name, from := range map[string]string{"vmlinuz": g.Kernel, "initrd.gz": g.Initrd} {
		if err := os.Link(from, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	return run(ctx, "", "grub-mkrescue", "--output="+path, "--install-modules="+isoModules, "--fonts=", "--locales=", "--themes=", root)
}
