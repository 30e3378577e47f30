package hostcheck

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
)

// programs makes a PATH that holds only these shell scripts.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

func TestEveryCheckThatFindsSomethingSaysWhatToDo(t *testing.T) {
	programs(t, nil)
	checks := Run(t.Context(), OVS{DB: "unix:" + filepath.Join(t.TempDir(), "db.sock")})
	names := map[string]bool{}
	for _, c := range checks {
		if c.Name == "" || c.Detail == "" || names[c.Name] {
			t.Errorf("%+v: a name of its own and a detail are missing", c)
		}
		names[c.Name] = true
		if !slices.Contains([]string{"ok", "warning", "error"}, c.State) {
			t.Errorf("%s: state %q", c.Name, c.State)
		}
		if (c.State == "ok") != (c.Fix == "") {
			t.Errorf("%+v: a fix belongs to what is wrong, and only there", c)
		}
	}
	for _, c := range checks {
		if c.Name == "qemu" && c.State == "ok" && !strings.HasPrefix(c.Detail, "/usr/libexec/") {
			t.Errorf("QEMU was found on an empty PATH: %+v", c)
		}
		if c.Name == "ipmitool" && c.State != "warning" {
			t.Errorf("a missing ipmitool is a warning, not %+v", c)
		}
	}
}

func TestAHostWithoutGuestsNeedsNothingOfThem(t *testing.T) {
	programs(t, nil)
	all := Run(t.Context(), OVS{})
	left := WithoutGuests(all)
	if len(all)-len(left) != len(guests) {
		t.Errorf("%d of %d checks are left; those of guests are %v", len(left), len(all), guests)
	}
	for _, c := range left {
		if c.Fix == setupFix && c.State == "error" {
			t.Errorf("%+v", c)
		}
	}
}

func TestProgramTakesTheFirstCandidateThereIs(t *testing.T) {
	dir := programs(t, map[string]string{"b": "", "c": ""})
	if c := program("x", "a", "b", "c"); c.State != "ok" || c.Detail != filepath.Join(dir, "b") {
		t.Errorf("%+v", c)
	}
	if c := program("x", "a"); c.State != "error" || c.Detail != "a is not installed" || c.Fix != setupFix {
		t.Errorf("%+v", c)
	}
}

func TestDevtmpfsGoesByTheMountThatShows(t *testing.T) {
	const kernel, own = "udev /dev devtmpfs rw,relatime 0 0\n", "tmpfs /dev tmpfs rw,nosuid 0 0\n"
	const pts, elsewhere = "devpts /dev/pts devpts rw 0 0\n", "udev /mnt/dev devtmpfs rw 0 0\n"
	for mounts, want := range map[string]bool{
		kernel: true, kernel + pts: true, own + kernel: true,
		own: false, kernel + own: false, elsewhere: false, pts: false, "": false, "broken\n": false,
	} {
		if got := devtmpfs(mounts); got != want {
			t.Errorf("%q: got %t, want %t", mounts, got, want)
		}
	}
}

func TestOptionalChangesErrorsOnly(t *testing.T) {
	for state, want := range map[string]string{"ok": "ok", "warning": "warning", "error": "warning"} {
		if got := optional(api.Check{State: state}).State; got != want {
			t.Errorf("%s became %s, want %s", state, got, want)
		}
	}
}

func TestInstallableMeansAPackageNotADaemonThatDoesNotRun(t *testing.T) {
	tests := map[string]struct {
		programs []string
		checks   []api.Check
		want     bool
	}{
		"a package is missing":                {[]string{"libvirtd"}, []api.Check{missing("qemu", "x", setupFix)}, true},
		"an optional package is missing":      {[]string{"libvirtd"}, []api.Check{optional(missing("ipmitool", "x", setupFix))}, true},
		"libvirtd does not run":               {[]string{"libvirtd"}, []api.Check{missing("libvirtd", "x", setupFix)}, false},
		"virtqemud does not run":              {[]string{"virtqemud"}, []api.Check{missing("libvirtd", "x", setupFix)}, false},
		"libvirtd is not installed":           {nil, []api.Check{missing("libvirtd", "x", setupFix)}, true},
		"what no package mends is not for us": {[]string{"libvirtd"}, []api.Check{missing("kernel", "x", "modprobe tun")}, false},
		"everything is there":                 {[]string{"libvirtd"}, []api.Check{ok("qemu", "x")}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			scripts := map[string]string{}
			for _, p := range tt.programs {
				scripts[p] = ""
			}
			programs(t, scripts)
			if got := installable(tt.checks); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func TestManagerIsTheOneThatTheHostHas(t *testing.T) {
	for _, name := range []string{"apt-get", "dnf", "zypper"} {
		programs(t, map[string]string{name: ""})
		if m, err := findManager(); err != nil || m.name != name || len(m.packages) < 4 {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
	programs(t, nil)
	if _, err := findManager(); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("none: %v", err)
	}
}

// TestManagerRefreshesItsListsOnlyWhenItMust records the calls of a package manager
// that fails as told.
func TestManagerRefreshesItsListsOnlyWhenItMust(t *testing.T) {
	// The manager fails its first $FAIL calls of install, and update if $STALE is set.
	const body = `echo "$DEBIAN_FRONTEND $*" >> "$LOG"
case $1 in
update) [ -z "$STALE" ] || { echo "no network" >&2; exit 1; } ;;
install) n=0; [ ! -f "$LOG.n" ] || read -r n < "$LOG.n"; n=$((n+1)); echo $n > "$LOG.n"
  [ $n -gt $FAIL ] || { for i in 1 2 3 4; do echo "line $i" >&2; done; exit 1; } ;;
esac
`
	tests := map[string]struct {
		fail, stale string
		calls       []string
		err         string
	}{
		"at once":                 {"0", "", []string{"install"}, ""},
		"with lists that are old": {"1", "", []string{"install", "update", "install"}, ""},
		"it never works":          {"2", "", []string{"install", "update", "install"}, "host setup: apt-get install: exit status 1: line 2; line 3; line 4"},
		"without a network":       {"1", "yes", []string{"install", "update"}, "host setup: apt-get update: exit status 1: no network"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := programs(t, map[string]string{"apt-get": body})
			log := filepath.Join(dir, "calls")
			t.Setenv("LOG", log)
			t.Setenv("FAIL", tt.fail)
			t.Setenv("STALE", tt.stale)
			m, err := findManager()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.run(t.Context()); (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			b, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(b)) {
				words := strings.Fields(line)
				got = append(got, words[1])
				if words[0] != "noninteractive" {
					t.Errorf("it may ask: %s", line)
				}
				if words[1] == "install" && !slices.Contains(words, "libvirt-daemon-system") {
					t.Errorf("libvirt is not asked for: %s", line)
				}
			}
			if !slices.Equal(got, tt.calls) {
				t.Errorf("calls %v, want %v", got, tt.calls)
			}
		})
	}
}

func TestLastLinesKeepsTheEnd(t *testing.T) {
	for in, want := range map[string]string{"": "", "a\n": "a", "a\nb\nc\nd\n\n": "b; c; d"} {
		if got := lastLines([]byte(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestLibvirtdEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c := libvirtd(ctx); c.State != "error" || c.Fix != setupFix {
		t.Errorf("%+v", c)
	}
	if err := waitLibvirtd(ctx); err == nil {
		t.Error("a cancelled wait found libvirtd")
	}
}
