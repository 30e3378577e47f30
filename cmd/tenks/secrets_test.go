package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/cmd/internal/daemon"
)

// planted are secrets that must not be found anywhere but in files that only their
// owner can read.
var planted = []string{"s3cretBMCpw", "s3cretBasicPw", "s3cretCloudPw"}

// TestSecretsAreNowhereToBeSeen plants the passwords of a BMC account, of an Ironic
// with http_basic and of an entry of clouds.yaml, lets the agent use them, and looks
// for them wherever somebody else could.
func TestSecretsAreNowhereToBeSeen(t *testing.T) {
	l := newLeakLab(t)
	l.tenks("init")
	if err := killAgent(l.data); err != nil {
		t.Fatal(err)
	}
	l.agent()

	// Ironic refuses both logins, so errors go through log, events and node list.
	l.failing("apply", "-f", "basic.yml", "--wait=1s")
	l.failing("apply", "-f", "cloud.yml", "--wait=1s")
	for secret, how := range map[string]string{planted[1]: "http_basic", planted[2]: "clouds.yaml"} {
		if !l.ironic.saw(secret) {
			t.Errorf("Ironic never saw the password of %s: the test proves nothing", how)
		}
	}
	for _, args := range [][]string{
		{"plan", "-f", "basic.yml"}, {"plan", "-f", "cloud.yml", "-o", "json"},
		{"node", "list"}, {"node", "list", "-o", "json"}, {"node", "list", "-o", "yaml"},
		{"node", "show", "basic0"}, {"node", "show", "cloud0", "-o", "json"},
		{"events"}, {"events", "-o", "json"}, {"status"}, {"status", "-o", "json"}, {"peer", "list", "-o", "json"},
		{"cluster", "list", "-o", "json"}, {"cluster", "show", "basic", "-o", "json"},
		{"cluster", "export", "basic"}, {"cluster", "export", "cloud"}, {"version"},
	} {
		l.look(strings.Join(args, " "), l.tenks(args...))
	}
	_, _ = l.run("doctor") // its exit code depends on the host
	for _, path := range []string{"/metrics", "/v1/openapi.json", "/v1/nodes", "/v1/clusters", "/v1/events", "/v1/doctor", "/v1/clusters/basic/file"} {
		l.look("GET "+path, l.get(path))
	}
	if out := l.tenks("node", "show", "basic0", "--secrets", "-o", "json"); !strings.Contains(out, planted[0]) {
		t.Errorf("node show --secrets does not show the password that was asked for:\n%s", out)
	}
	l.lookAtProcesses()
	l.tenks("destroy", "basic", "--forget-ironic", "--wait=20s")
	l.tenks("destroy", "cloud", "--forget-ironic", "--wait=20s")
	l.look("events after destroy", l.tenks("events"))
	l.lookAtFiles()
}

// leakLab is a data directory, an agent and the Ironic that it logs in to.
type leakLab struct {
	t         *testing.T
	dir, data string
	ironic    *refusingIronic
}

func newLeakLab(t *testing.T) *leakLab {
	t.Helper()
	dir, err := os.MkdirTemp(shortTemp(), "tk") //nolint:usetesting // the path of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	l := &leakLab{t: t, dir: dir, data: filepath.Join(dir, "d"), ironic: newRefusingIronic(t)}
	t.Cleanup(func() {
		if err := killAgent(l.data); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	if err := os.Mkdir(l.data, 0o755); err != nil {
		t.Fatal(err)
	}
	l.write("d/agent.yml", fmt.Sprintf("data_dir: %s\nadvertise: %s\ndrivers: {fake: {delay: 2ms}}\n", l.data, freshAddress()))
	l.write("bmc.pw", planted[0]+"\n")
	l.write("basic.pw", planted[1]+"\n")
	const types = "node_types: {small: {memory_mb: 512, vcpus: 1, driver: fake}}\n" +
		"specs: [{type: small, count: 1, node_name_prefix: NAME, ironic_config: {resource_class: baremetal}}]\n" +
		"bmc: {password_file: DIR/bmc.pw}\n"
	file := func(name, ironic string) {
		text := strings.NewReplacer("NAME", name, "DIR", dir).Replace("cluster: NAME\n" + types + "ironic: " + ironic + "\n")
		l.write(name+".yml", text)
	}
	file("basic", fmt.Sprintf("{endpoint: %q, auth: http_basic, username: admin, password_file: DIR/basic.pw}", l.ironic.URL))
	file("cloud", "{cloud: lab}")
	l.write("clouds.yaml", fmt.Sprintf(`clouds:
  lab:
    auth: {auth_url: %q, username: admin, project_name: admin, user_domain_name: Default, project_domain_name: Default}
`, l.ironic.URL+"/v3"))
	l.write("secure.yaml", fmt.Sprintf("clouds: {lab: {auth: {password: %s}}}\n", planted[2]))
	return l
}

func (l *leakLab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// run runs the program, looks at what it prints, and returns that.
func (l *leakLab) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 40*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, "tenks", args...)
	c.Dir = l.dir
	c.Env = append(os.Environ(), "TENKS_DATA_DIR="+l.data, "OS_CLIENT_CONFIG_FILE="+filepath.Join(l.dir, "clouds.yaml"))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.lookAtProcesses()
	err := c.Wait()
	if args[len(args)-1] != "json" || args[1] != "show" {
		l.look(strings.Join(args, " "), out.String())
	}
	return out.String(), err
}

func (l *leakLab) tenks(args ...string) string {
	l.t.Helper()
	out, err := l.run(args...)
	if err != nil {
		l.t.Fatalf("tenks %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (l *leakLab) failing(args ...string) {
	l.t.Helper()
	if out, err := l.run(args...); err == nil {
		l.t.Fatalf("tenks %s: no error\n%s", strings.Join(args, " "), out)
	}
}

// agent starts an agent that logs all it can, and waits until it answers.
func (l *leakLab) agent() {
	l.t.Helper()
	log, err := os.OpenFile(daemon.PathsOf(l.data).Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(l.t.Context()), "tenks", "agent", "--log-level", "debug")
	c.Env = append(os.Environ(), "TENKS_DATA_DIR="+l.data)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		l.t.Error(err)
	}
	l.t.Cleanup(func() {
		if err := killAgent(l.data); err != nil {
			l.t.Error(err)
		}
		_ = c.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; pause() {
		if out, err := l.run("status"); err == nil {
			return
		} else if time.Now().After(end) {
			l.t.Fatalf("the agent does not answer: %s", out)
		}
	}
}

func (l *leakLab) get(path string) string {
	l.t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", daemon.PathsOf(l.data).Socket)
	}
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, "http://tenks"+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || len(b) == 0 {
		l.t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
	}
	return string(b)
}

func (l *leakLab) look(where, text string) {
	l.t.Helper()
	for _, secret := range planted {
		if strings.Contains(text, secret) {
			l.t.Errorf("%s shows %s:\n%s", where, secret, text)
		}
	}
}

// lookAtProcesses reads every command line that anybody can see.
func (l *leakLab) lookAtProcesses() {
	l.t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(lines) == 0 {
		l.t.Fatalf("no processes: %v", err)
	}
	for _, path := range lines {
		if b, err := os.ReadFile(path); err == nil {
			l.look(path, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
}

// lookAtFiles reads what the agent wrote: the log whatever its mode, the rest if
// others can read it. At least one file must hold each secret, or nothing was tested.
func (l *leakLab) lookAtFiles() {
	l.t.Helper()
	held := map[string]bool{}
	err := filepath.WalkDir(l.data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, secret := range planted {
			if !bytes.Contains(b, []byte(secret)) {
				continue
			}
			held[secret] = true
			if info.Mode().Perm()&0o077 != 0 || path == daemon.PathsOf(l.data).Log {
				l.t.Errorf("%s (%v) holds %s", path, info.Mode(), secret)
			}
		}
		return nil
	})
	if err != nil {
		l.t.Error(err)
	}
	if len(held) != len(planted) {
		l.t.Errorf("only %v were found in files of the agent: the test looks at the wrong ones", held)
	}
}

// refusingIronic is an Ironic, and a Keystone, that remembers passwords and refuses
// every login.
type refusingIronic struct {
	*httptest.Server
	// mu guards passwords.
	mu        sync.Mutex
	passwords map[string]bool
}

func newRefusingIronic(t *testing.T) *refusingIronic {
	t.Helper()
	r := &refusingIronic{passwords: map[string]bool{}}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *refusingIronic) saw(password string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passwords[password]
}

func (r *refusingIronic) serve(w http.ResponseWriter, req *http.Request) {
	_, basic, _ := req.BasicAuth()
	var login struct {
		Auth struct {
			Identity struct {
				Password struct{ User struct{ Password string } }
			}
		}
	}
	_ = json.NewDecoder(req.Body).Decode(&login) // not every request is a login
	r.mu.Lock()
	r.passwords[basic], r.passwords[login.Auth.Identity.Password.User.Password] = true, true
	r.mu.Unlock()
	http.Error(w, `{"error": {"code": 401, "message": "wrong password"}}`, http.StatusUnauthorized)
}
