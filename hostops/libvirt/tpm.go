//go:build cgo && libvirt_dlopen

package libvirt

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	// tpmDir is where libvirtd keeps the state of TPMs: fixed when it is built.
	tpmDir = "/var/lib/libvirt/swtpm"
	// tpmName is what the state of a node's TPM is called on its way to another host.
	tpmName = "tpm"
)

// tpmHome is the directory of a node's TPM.
func (d *Driver) tpmHome(uuid string) string { return filepath.Join(d.tpms, uuid) }

// tpmState is the file of what a node's TPM keeps while it is off (swtpm: the permanent
// state).
func (d *Driver) tpmState(uuid string) string {
	return filepath.Join(d.tpmHome(uuid), "tpm2", "tpm2-00.permall")
}

// checkTPM says what is missing for a TPM. libvirt itself does only when a guest is started.
func checkTPM(version string) error {
	if version == "" {
		return nil
	}
	for _, tool := range []string{"swtpm", "swtpm_setup"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("TPM %s: %s is not installed: install swtpm and swtpm-tools (Debian, Fedora) or swtpm (SUSE, Arch)", version, tool)
		}
	}
	return nil
}

// importTPM puts the state of a TPM from a stage into its place. It may be repeated.
func (d *Driver) importTPM(rec record) error {
	from, place := filepath.Join(rec.Stage, tpmName), d.tpmState(rec.UUID)
	b, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it never was on, or it is in its place already
	}
	if err != nil {
		return err
	}
	// libvirt gives the last directory to the user that swtpm runs as; that of the node all
	// have to get through.
	for dir, mode := range map[string]os.FileMode{d.tpms: 0o711, d.tpmHome(rec.UUID): 0o711} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	if err := writeWhole(place, b); err != nil {
		return err
	}
	// Nobody but root and that user gets into the directory, whoever the file belongs to;
	// swtpm replaces it by one of its own.
	if err := os.Chmod(place, 0o666); err != nil { //nolint:gosec // see above
		return err
	}
	return os.Remove(from)
}
