// Package libvirttest runs a libvirtd for tests, in namespaces of its own: it shares
// no socket, configuration, domain, pool or network device with the host's. Main runs
// a test binary inside them; Start runs a daemon, which ends with its test.
package libvirttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// insideEnv marks the process that Main started in the namespaces.
const insideEnv = "TENKS_LIBVIRTTEST_INSIDE"

// Main runs the tests of a package inside network and mount namespaces, which end with
// it, if this host lets it; else as they are, and Start skips. It returns the exit
// code.
func Main(m *testing.M) int {
	if os.Getenv(insideEnv) != "" { //nolint:forbidigo // how a test tells itself
		return inside(m)
	}
	if lacking() != "" {
		return m.Run()
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...) //nolint:noctx,gosec // this program again, for as long as it runs
	cmd.Env = append(os.Environ(), insideEnv+"=1")  //nolint:forbidigo // as above
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "libvirttest: namespaces:", err)
		return m.Run()
	}
	return 0
}

func inside(m *testing.M) int {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		fmt.Fprintln(os.Stderr, "libvirttest: private mounts:", err)
		return 1
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil { //nolint:noctx // it is over at once
		fmt.Fprintf(os.Stderr, "libvirttest: ip link: %v: %s\n", err, out)
		return 1
	}
	return m.Run()
}

// lacking says what this host lacks.
func lacking() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	for _, tool := range []string{"libvirtd", "qemu-system-x86_64", "qemu-img", "ip", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed"
		}
	}
	return ""
}

// Server is a libvirtd.
type Server struct {
	// URI reaches it.
	URI string
	// Dir has all its files.
	Dir string
	cmd *exec.Cmd
	// screens is the first TCP port of the guests' screens: servers of one test binary share
	// its network, and two that look for a free one at the same time find the same.
	screens int
}

// maxScreens is how many guests with a screen a server can have.
const maxScreens = 20

// servers counts those of this test binary.
var servers atomic.Int32

// Start runs a daemon for a test, or skips the test and says why.
func Start(t testing.TB) *Server {
	t.Helper()
	if why := lacking(); why != "" {
		t.Skip("needs a libvirtd: " + why)
	}
	if os.Getenv(insideEnv) == "" { //nolint:forbidigo // as above
		t.Skip("needs network and mount namespaces: this test binary has no TestMain that calls libvirttest.Main, or is not allowed to make them")
	}
	s := &Server{Dir: shortDir(t), screens: 5900 + int(servers.Add(1))*maxScreens}
	s.URI = "qemu+unix:///system?socket=" + s.socket()
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(t) })
	return s
}

// shortDir makes a directory whose sockets' paths fit in 108 bytes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "libvirttest") //nolint:usetesting // its paths are too long
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s *Server) socket() string { return filepath.Join(s.Dir, "run", "libvirt-sock") }

// mounts are what the daemon sees of its own.
var mounts = map[string]string{"run": "/run/libvirt", "etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "log": "/var/log/libvirt", "cache": "/var/cache/libvirt"}

// tpmMounts are what swtpm sees of its own, where it is installed: its logs, and the authority
// that it signs certificates of TPMs with.
var tpmMounts = map[string]string{"log/swtpm": "/var/log/swtpm", "lib/swtpm-localca": "/var/lib/swtpm-localca"}

func (s *Server) prepare() error {
	for _, dir := range []string{"run", "etc/qemu", "lib/qemu", "lib/images", "lib/boot", "log/swtpm", "lib/swtpm-localca", "cache"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/qemu.conf": `user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
swtpm_user = "root"
swtpm_group = "root"
stdio_handler = "file"
` + fmt.Sprintf("remote_display_port_min = %d\nremote_display_port_max = %d\n", s.screens, s.screens+maxScreens-1),
		"etc/libvirtd.conf": `auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
log_outputs = "3:file:` + s.Dir + `/log/libvirtd.log"
max_client_requests = 50
`,
	}
	script := "set -e\nmount --make-rprivate /\n"
	for dir, at := range mounts {
		script += "mkdir -p " + at + "\nmount --bind " + filepath.Join(s.Dir, dir) + " " + at + "\n"
	}
	if _, err := exec.LookPath("swtpm"); err == nil {
		for dir, at := range tpmMounts {
			script += "mkdir -p " + at + "\nmount --bind " + filepath.Join(s.Dir, dir) + " " + at + "\n"
		}
	}
	files["start.sh"] = script + "exec libvirtd --pid-file /run/libvirt/libvirtd.pid\n"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // nothing secret
			return err
		}
	}
	return nil
}

// Run starts the daemon, also again after Stop, and returns when it answers.
func (s *Server) Run() error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "libvirtd.out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // nothing secret
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command("unshare", "--mount", "/bin/sh", filepath.Join(s.Dir, "start.sh")) //nolint:noctx,gosec // it ends with the test
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("libvirtd: %w", err)
	}
	deadline := time.Now().Add(20 * time.Second)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		out, err := exec.Command("virsh", "-c", s.URI, "list").CombinedOutput() //nolint:noctx,gosec // it is over soon
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("libvirtd does not answer: %w: %s", err, out)
		}
		<-ticker.C
	}
}

// Virsh runs a command of virsh's and returns what it prints.
func (s *Server) Virsh(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("virsh", append([]string{"-q", "-c", s.URI}, args...)...).CombinedOutput() //nolint:noctx,gosec // it is over soon
	if err != nil {
		t.Fatalf("virsh %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Pause makes the daemon hang until Resume.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume is the inverse of Pause.
func (s *Server) Resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// Stop ends the daemon; its guests go on.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = s.cmd.Wait() // however it ended
	return nil
}

// GuestPIDs returns the processes of its running guests.
func (s *Server) GuestPIDs() []int {
	files, err := filepath.Glob(filepath.Join(s.Dir, "run", "qemu", "*.pid"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range files {
		if filepath.Base(f) == "driver.pid" { // the daemon's own
			continue
		}
		b, err := os.ReadFile(f) //nolint:gosec // in a directory of the test
		if err != nil {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// end stops guests that a test left running, and the daemon.
func (s *Server) end(t testing.TB) {
	t.Helper()
	for _, pid := range s.GuestPIDs() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	_ = s.Resume()
	if err := s.Stop(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("libvirtd's files are kept in %s", s.Dir)
		return
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		t.Error(err)
	}
}

// Veth makes a pair of links that are up.
func Veth(t testing.TB, a, b string) {
	t.Helper()
	ip(t, "link", "add", a, "type", "veth", "peer", "name", b)
	ip(t, "link", "set", a, "up")
	ip(t, "link", "set", b, "up")
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", a).Run() //nolint:noctx,gosec // the test may have done so
	})
}

// DeleteLink deletes a link.
func DeleteLink(t testing.TB, name string) {
	t.Helper()
	ip(t, "link", "del", name)
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil { //nolint:noctx,gosec // it is over at once
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
