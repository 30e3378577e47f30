package ironiclab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// socatScript stands before socat(1) for Ironic, which quotes a console's command for a shell
// since OSSA-2026-008 (Debian's 21.4.4 has that patch), while socat's EXEC has none: it takes
// all of it for the name of one program, and no console works. The outer quotes go.
const socatScript = `#!/bin/sh
for arg; do
	shift
	case $arg in
	"EXEC:\"'"*"'\","*) arg=$(printf '%s' "$arg" | sed "s/^EXEC:\"'\(.*\)'\",/EXEC:\"\1\",/") ;;
	esac
	set -- "$@" "$arg"
done
exec /usr/bin/socat "$@"
`

// sushyDir is the distribution's sushy, Ironic's Redfish library.
const sushyDir = "/usr/lib/python3/dist-packages/sushy"

// registriesDir is a folder of sushy that Debian's package (4.3.3-1) lacks: without it sushy can
// read no registry of a service either, and no task, so that Ironic's firmware updates and
// volumes never end.
const registriesDir = "standard_registries"

// mend works around what is broken in the distribution's packages, for an Ironic that has bin of
// dir in its PATH and python of dir in its PYTHONPATH. The packages stay as they are.
func mend(dir string) error {
	bin, python := filepath.Join(dir, "bin"), filepath.Join(dir, "python/sushy")
	for _, d := range []string{bin, python} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "socat"), []byte(socatScript), 0o700); err != nil { //nolint:gosec // a program
		return err
	}
	parts, err := os.ReadDir(sushyDir)
	if err != nil {
		return err
	}
	for _, part := range parts {
		err := os.Symlink(filepath.Join(sushyDir, part.Name()), filepath.Join(python, part.Name()))
		if err != nil && !errors.Is(err, fs.ErrExist) { // of an earlier start
			return err
		}
	}
	return os.MkdirAll(filepath.Join(python, registriesDir), 0o755)
}
