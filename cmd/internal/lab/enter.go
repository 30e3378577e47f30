package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const enterScript = `#!/bin/sh
# enter HOST [COMMAND [ARGUMENT...]]: runs a command, or a shell, in a host of this lab.
lab=%s
if [ $# = 0 ] || ! [ -s "$lab/$1/init" ]; then
	echo "usage: $0 HOST [COMMAND [ARGUMENT...]]; a HOST that is on:" $(cd "$lab" && ls -d */init 2>/dev/null | sed 's,/init,,') >&2
	exit 2
fi
init=$(cat "$lab/$1/init")
export LAB_HOST=%s-$1 PATH=%s:"$PATH"
shift
[ $# != 0 ] || set -- "${SHELL:-/bin/sh}"
exec nsenter --target "$init" --net --mount --uts -- "$@"
`

// WriteEnter makes the program "enter" in the lab's directory, for people: enter HOST
// [COMMAND]. In a host its PATH begins with bin. It returns the program's path.
func (l *Lab) WriteEnter(bin string) (string, error) {
	path := filepath.Join(l.dir, "enter")
	text := fmt.Sprintf(enterScript, quote(l.dir), l.prefix, quote(bin))
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		return "", fmt.Errorf("lab %s: %w", l.dir, err)
	}
	return path, nil
}

// quote makes one word of text for a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// pidFile has init's process ID while the host is on.
func (h *Host) pidFile() string { return filepath.Join(h.Dir(), "init") }
