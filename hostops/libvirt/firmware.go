package libvirt

import (
	"fmt"
	"os"

	"tenks/raftfsm/state"
)

// firmware is a pair of UEFI images: code, and the template of a node's variables.
type firmware struct{ Code, Vars string }

// firmwares are where distributions put them: Debian, Fedora, SUSE, Arch. The 4 MiB
// ones come first: the 2 MiB ones are too small for what current tools enrol.
var firmwares = []firmware{
	{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
	{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
	{"/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"},
	{"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"},
	{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
	{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
}

// findFirmware returns the UEFI images of this host; none for BIOS.
func findFirmware(mode state.BootMode) (firmware, error) {
	switch mode {
	case state.BootBIOS, "":
		return firmware{}, nil
	case state.BootUEFI:
	default:
		return firmware{}, fmt.Errorf("boot mode %q: %w", mode, state.ErrUnsupported)
	}
	for _, f := range firmwares {
		if readable(f.Code) && readable(f.Vars) {
			return f, nil
		}
	}
	return firmware{}, fmt.Errorf("boot mode uefi: no OVMF firmware in the usual places, such as %s: install ovmf (Debian), edk2-ovmf (Fedora) or qemu-ovmf-x86_64 (SUSE)", firmwares[0].Code)
}

func readable(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.Mode().IsRegular()
}
