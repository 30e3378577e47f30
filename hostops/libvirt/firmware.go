package libvirt

import (
	"fmt"
	"os"

	"tenks/raftfsm/state"
)

// firmware is what a UEFI guest begins with.
type firmware struct {
	// Code is an image, and Vars the template of a node's variables.
	Code, Vars string
	// Secure is whether Code does Secure Boot, for which it needs System Management Mode.
	Secure bool
}

// firmwares are where distributions put them: Debian, Fedora, SUSE, Arch. The 4 MiB
// ones come first: the 2 MiB ones are too small for what current tools enrol.
var firmwares = []firmware{
	{Code: "/usr/share/OVMF/OVMF_CODE_4M.fd", Vars: "/usr/share/OVMF/OVMF_VARS_4M.fd"},
	{Code: "/usr/share/edk2/ovmf/OVMF_CODE.fd", Vars: "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
	{Code: "/usr/share/qemu/ovmf-x86_64-4m-code.bin", Vars: "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"},
	{Code: "/usr/share/qemu/ovmf-x86_64-code.bin", Vars: "/usr/share/qemu/ovmf-x86_64-vars.bin"},
	{Code: "/usr/share/edk2/x64/OVMF_CODE.4m.fd", Vars: "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
	{Code: "/usr/share/OVMF/OVMF_CODE.fd", Vars: "/usr/share/OVMF/OVMF_VARS.fd"},
}

// secureFirmware is firmware that does Secure Boot, and variables with the keys that it comes
// with; what else is in them is not used.
type secureFirmware struct{ Code, Keys string }

// secureFirmwares are where distributions put them, as above. Arch has no variables with keys.
var secureFirmwares = []secureFirmware{
	{"/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"},
	{"/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"},
	{"/usr/share/qemu/ovmf-x86_64-smm-ms-code.bin", "/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin"},
	{"/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.secboot.4m.fd"},
	{"/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"},
}

// armFirmwares are those of aarch64's machine virt.
var armFirmwares = []firmware{
	{Code: "/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", Vars: "/usr/share/AAVMF/AAVMF_VARS.fd"},
	{Code: "/usr/share/AAVMF/AAVMF_CODE.fd", Vars: "/usr/share/AAVMF/AAVMF_VARS.fd"},
	{Code: "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", Vars: "/usr/share/edk2/aarch64/vars-template-pflash.raw"},
	{Code: "/usr/share/qemu/aavmf-aarch64-code.bin", Vars: "/usr/share/qemu/aavmf-aarch64-vars.bin"},
	{Code: "/usr/share/edk2/aarch64/QEMU_CODE.fd", Vars: "/usr/share/edk2/aarch64/QEMU_VARS.fd"},
}

// findARMFirmware returns the UEFI images for aarch64.
func findARMFirmware() (firmware, error) {
	for _, f := range armFirmwares {
		if readable(f.Code) && readable(f.Vars) {
			return f, nil
		}
	}
	return firmware{}, fmt.Errorf("architecture %s: no firmware for it in the usual places, such as %s: install qemu-efi-aarch64 (Debian), edk2-aarch64 (Fedora, Arch) or qemu-uefi-aarch64 (SUSE)",
		state.ArchARM, armFirmwares[0].Code)
}

const installFirmware = "install ovmf (Debian), edk2-ovmf (Fedora) or qemu-ovmf-x86_64 (SUSE)"

// firmwareFor returns what a node's guest begins with.
func firmwareFor(m state.Machine, secure bool) (firmware, error) {
	if m.Arch() == state.ArchARM {
		return findARMFirmware()
	}
	return findFirmware(m.BootMode, secure)
}

// findFirmware returns the UEFI images of this host; none for BIOS. Secure is for a node
// that is to do Secure Boot.
func findFirmware(mode state.BootMode, secure bool) (firmware, error) {
	switch mode {
	case state.BootBIOS, "":
		return firmware{}, nil
	case state.BootUEFI:
	default:
		return firmware{}, fmt.Errorf("boot mode %q: %w", mode, state.ErrUnsupported)
	}
	for _, f := range firmwares {
		if !readable(f.Code) || !readable(f.Vars) {
			continue
		}
		if !secure {
			return f, nil
		}
		s, err := findSecure(f.Vars)
		return firmware{Code: s.Code, Vars: f.Vars, Secure: true}, err
	}
	return firmware{}, fmt.Errorf("boot mode uefi: no OVMF firmware in the usual places, such as %s: %s", firmwares[0].Code, installFirmware)
}

// findSecure returns firmware that does Secure Boot with variables laid out as those in the
// file vars.
func findSecure(vars string) (secureFirmware, error) {
	i, err := os.Stat(vars)
	if err != nil {
		return secureFirmware{}, fmt.Errorf("secure boot: %w", err)
	}
	for _, s := range secureFirmwares {
		if k, err := os.Stat(s.Keys); err == nil && k.Size() == i.Size() && readable(s.Code) {
			return s, nil
		}
	}
	return secureFirmware{}, fmt.Errorf("secure boot: no OVMF firmware with it and with keys for %s in the usual places, such as %s and %s: %s",
		vars, secureFirmwares[0].Code, secureFirmwares[0].Keys, installFirmware)
}

func readable(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.Mode().IsRegular()
}
