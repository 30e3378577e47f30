package ironiclab

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // the configuration
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"
	"time"
)

//go:embed ironic.conf.tmpl
var confTemplate string

// startTimeout bounds Start on a busy machine; 4 s is usual.
const startTimeout = 90 * time.Second

// stateTimeout bounds what Ironic does to a node: one boot of it, or a few.
const stateTimeout = 5 * time.Minute

// microversion is the newest that Ironic 21.4 (Debian 12) knows.
const microversion = "1.82"

// Options say where an Ironic runs and how.
type Options struct {
	// Dir gets configuration, database and logs; it is kept. Required.
	Dir string
	// Netns is the network namespace, by its ip-netns(8) name; empty: the caller's.
	Netns string
	// Bind is the address of the API, 127.0.0.1 if empty; Port its port, 6385 if 0.
	Bind string
	Port int
	// Username and Password switch HTTP basic authentication on.
	Username, Password string
	// AutomatedClean makes nodes be cleaned before they are available, for which they
	// need a deploy ramdisk that runs an agent.
	AutomatedClean bool
	// Sensors is how often Ironic reads the sensors of all nodes, in whole seconds; 0: never.
	// What it would send to its users is in its log (see Notifications).
	Sensors time.Duration
	// Files has what is in http of Dir served at FilesURL, as a deployer does for Ironic.
	Files bool
	// Bootloader is that of DeployImages, if Ironic is to make ISOs for UEFI (redfish-virtual-media
	// with deploy_kernel and deploy_ramdisk).
	Bootloader string
}

// grubTemplate is the menu of those ISOs: the one that Ironic has waits 5 s.
const grubTemplate = `set timeout=0
menuentry "boot" {
linux {{ linux }} {{ kernel_params }} --
initrd {{ initrd }}
}
`

// Ironic is a running Ironic: API and conductor in one process.
type Ironic struct {
	// URL is the endpoint, as seen in its network namespace.
	URL string
	// Log is the path of its log, which has every API request.
	Log    string
	opts   Options
	daemon *daemon
	files  *daemon // may be nil
}

// Start runs an Ironic until the test ends or Stop is called. It returns once the API
// answers and a conductor offers its hardware types. The database of an earlier Start
// in the same Dir is used again.
func Start(ctx context.Context, t testing.TB, o Options) *Ironic {
	t.Helper()
	i, err := Run(ctx, o)
	if err != nil {
		t.Fatalf("ironic: %v", err)
	}
	t.Cleanup(i.Stop)
	return i
}

// Run is Start for a caller that calls Stop itself.
func Run(ctx context.Context, o Options) (*Ironic, error) {
	if o.Bind == "" {
		o.Bind = "127.0.0.1"
	}
	if o.Port == 0 {
		o.Port = 6385
	}
	i := &Ironic{opts: o, URL: fmt.Sprintf("http://%s:%d", o.Bind, o.Port), Log: filepath.Join(o.Dir, "ironic.log")}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := i.configure(ctx); err != nil {
		return nil, err
	}
	if err := mend(o.Dir); err != nil {
		return nil, err
	}
	if err := i.schema(ctx); err != nil {
		return nil, err
	}
	// Stop ends it, not the context: it has children, and shall end politely.
	cmd := command(context.WithoutCancel(ctx), o.Netns, "ironic", "--config-file", i.conf(), "--log-file", i.Log)
	cmd.Env = append([]string{"PATH=" + filepath.Join(o.Dir, "bin") + ":" + strings.Join(systemPath, ":"),
		"PYTHONPATH=" + filepath.Join(o.Dir, "python")}, cmd.Env[1:]...)
	d, err := start(cmd, o.Dir, filepath.Join(o.Dir, "ironic.out"))
	if err != nil {
		return nil, err
	}
	i.daemon = d
	if err := i.serve(ctx); err != nil {
		i.Stop()
		return nil, err
	}
	if err := await(ctx, "start", i.ready(ctx)); err != nil {
		i.Stop()
		return nil, fmt.Errorf("%w\n%s", err, tail(i.Log, 3000))
	}
	return i, nil
}

// Stop ends the Ironic and what it started. It may be repeated.
func (i *Ironic) Stop() {
	i.daemon.end(5 * time.Second)
	if i.files != nil {
		i.files.end(time.Second)
	}
}

// FilesURL is where a file in FilesDir is served.
func (i *Ironic) FilesURL(name string) string {
	return fmt.Sprintf("http://%s:%d/%s", i.opts.Bind, i.opts.Port+1, name)
}

// FilesDir is where FilesURL's files are.
func (i *Ironic) FilesDir() string { return filepath.Join(i.opts.Dir, "http") }

// Serve puts copies of files where FilesURL has them, by name.
func (i *Ironic) Serve(files map[string]string) error {
	for name, from := range files {
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(i.FilesDir(), name), b, 0o644); err != nil { //nolint:gosec // served to everybody
			return err
		}
	}
	return nil
}

// serve runs a file server, if there is to be one.
func (i *Ironic) serve(ctx context.Context) error {
	if !i.opts.Files {
		return nil
	}
	cmd := command(context.WithoutCancel(ctx), i.opts.Netns, "python3", "-m", "http.server", "--bind", i.opts.Bind, "--directory", i.FilesDir(), fmt.Sprint(i.opts.Port+1))
	d, err := start(cmd, i.opts.Dir, filepath.Join(i.opts.Dir, "files.log"))
	i.files = d
	return err
}

func (i *Ironic) conf() string { return filepath.Join(i.opts.Dir, "ironic.conf") }

func (i *Ironic) configure(ctx context.Context) error {
	for _, dir := range []string{"state", "tmp", "locks", "http", "tftp", "console", "images/tftp", "images/instance", "images/master"} {
		if err := os.MkdirAll(filepath.Join(i.opts.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	tmpl, err := template.New("ironic.conf").Parse(confTemplate)
	if err != nil {
		return err
	}
	var conf bytes.Buffer
	err = tmpl.Execute(&conf, struct {
		Options
		URL      string
		HTTPPort int
		// ISOLinux and ISOLinuxC32 are what ISOs for BIOS are made with.
		ISOLinux, ISOLinuxC32 string
		ImagesDir             string
		// Services are clients that Ironic has and that must not look for Keystone.
		Services []string
	}{i.opts, i.URL, i.opts.Port + 1, isolinuxBin, isolinuxC32, filepath.Dir(kernelDir), []string{"glance", "neutron", "inspector", "nova", "cinder", "swift"}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(i.conf(), conf.Bytes(), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(i.opts.Dir, "grub.template"), []byte(grubTemplate), 0o600); err != nil {
		return err
	}
	if i.opts.Username == "" {
		return nil
	}
	return i.htpasswd(ctx)
}

// htpasswd: Ironic takes bcrypt only.
func (i *Ironic) htpasswd(ctx context.Context) error {
	cmd := command(ctx, "", "python3", "-c", "import bcrypt, sys; u, p = sys.stdin.read().split('\\0'); "+
		"print(u + ':' + bcrypt.hashpw(p.encode(), bcrypt.gensalt(4)).decode())")
	cmd.Stdin = strings.NewReader(i.opts.Username + "\x00" + i.opts.Password)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("htpasswd: %w", err)
	}
	return os.WriteFile(filepath.Join(i.opts.Dir, "htpasswd"), out, 0o600)
}

// schema creates the database unless there is one.
func (i *Ironic) schema(ctx context.Context) error {
	db := filepath.Join(i.opts.Dir, "ironic.sqlite")
	if _, err := os.Stat(db); err == nil {
		return nil
	}
	if err := run(ctx, "", "ironic-dbsync", "--config-file", i.conf(), "--log-file", filepath.Join(i.opts.Dir, "dbsync.log"), "create_schema"); err != nil {
		_ = os.Remove(db)
		return err
	}
	// Readers that do not wait for the writer: without it, "database is locked".
	return run(ctx, "", "sqlite3", db, "PRAGMA journal_mode=WAL;")
}

func (i *Ironic) ready(ctx context.Context) func() (bool, error) {
	return func() (bool, error) {
		if err := i.daemon.alive(); err != nil {
			return false, fmt.Errorf("%w: %w", errEnded, err)
		}
		var body struct{ Drivers []struct{ Name string } }
		if err := i.Call(ctx, "GET", "/v1/drivers", nil, &body); err != nil {
			return false, err
		}
		return len(body.Drivers) >= 5, nil
	}
}

// Call makes an API request, in the Ironic's network namespace; body and out are JSON
// and may be nil. An answer other than 2xx is an error with Ironic's words.
func (i *Ironic) Call(ctx context.Context, method, path string, body, out any) error {
	args := []string{"-sS", "--max-time", "60", "-X", method, "-w", "\n%{http_code}",
		"-H", "X-OpenStack-Ironic-API-Version: " + microversion, "-H", "Content-Type: application/json", "-K", "-", i.URL + path}
	config := ""
	if i.opts.Username != "" {
		config += fmt.Sprintf("user = %q\n", i.opts.Username+":"+i.opts.Password)
	}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		args = append(args, "--data-binary", string(b))
	}
	cmd := command(ctx, i.opts.Netns, "curl", args...)
	cmd.Stdin = strings.NewReader(config)
	answer, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", method, path, err, answer)
	}
	at := bytes.LastIndexByte(answer, '\n')
	text, code := answer[:max(at, 0)], string(answer[at+1:])
	if !strings.HasPrefix(code, "2") {
		return fmt.Errorf("%s %s: HTTP %s: %s", method, path, code, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// Node is what tests look at of a node.
type Node struct {
	UUID           string         `json:"uuid"`
	Name           string         `json:"name"`
	ProvisionState string         `json:"provision_state"`
	PowerState     string         `json:"power_state"`
	LastError      string         `json:"last_error"`
	ResourceClass  string         `json:"resource_class"`
	DriverInfo     map[string]any `json:"driver_info"`
	Extra          map[string]any `json:"extra"`
	Traits         []string       `json:"traits"`
}

// Nodes returns all nodes.
func (i *Ironic) Nodes(ctx context.Context) ([]Node, error) {
	var body struct{ Nodes []Node }
	err := i.Call(ctx, "GET", "/v1/nodes/detail", nil, &body)
	return body.Nodes, err
}

// Port is what tests look at of a port.
type Port struct {
	UUID                string            `json:"uuid"`
	NodeUUID            string            `json:"node_uuid"`
	Address             string            `json:"address"`
	PhysicalNetwork     string            `json:"physical_network"`
	LocalLinkConnection map[string]string `json:"local_link_connection"`
}

// Ports returns all ports.
func (i *Ironic) Ports(ctx context.Context) ([]Port, error) {
	var body struct{ Ports []Port }
	err := i.Call(ctx, "GET", "/v1/ports/detail", nil, &body)
	return body.Ports, err
}

// SetBootDevice has Ironic tell the node's BMC what to boot from next ("pxe", "disk").
func (i *Ironic) SetBootDevice(ctx context.Context, uuid, device string, persistent bool) error {
	return i.Call(ctx, "PUT", "/v1/nodes/"+uuid+"/management/boot_device",
		map[string]any{"boot_device": device, "persistent": persistent}, nil)
}

// powered is the power state that a target leads to, where it is another word.
var powered = map[string]string{"rebooting": "power on", "soft rebooting": "power on", "soft power off": "power off"}

// SetPower has Ironic ask the node's BMC for a power state ("power on", "power off",
// "rebooting", "soft power off", "soft rebooting") and waits until Ironic sees it.
func (i *Ironic) SetPower(ctx context.Context, uuid, target string) error {
	s, err := i.Ask(ctx, uuid, "power", map[string]any{"target": target})
	want := target
	if word := powered[target]; word != "" {
		want = word
	}
	if err == nil && (s.Power != want || s.TargetPower != "") {
		err = fmt.Errorf("%s: %s is %s: %s", target, uuid, s.Power, s.LastError) //nolint:err113 // for people
	}
	return err
}

// request is a line of the API server's log: `… "POST /v1/nodes HTTP/1.1" status: 201 …`.
var request = regexp.MustCompile(`"(POST|PUT|PATCH|DELETE) (\S+) HTTP/[\d.]+" status: (\d+)`)

// Writes returns the API requests that were answered before it was called and that could
// change something, as "PUT /v1/… 202", oldest first; those of Call too.
func (i *Ironic) Writes(ctx context.Context) ([]string, error) {
	log, err := i.settled(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range request.FindAllStringSubmatch(log, -1) {
		out = append(out, strings.Join(m[1:], " "))
	}
	return out, nil
}

// logTimeout bounds how long Ironic takes to log a request that it has answered.
const logTimeout = time.Minute

// settled returns the log once it has the lines of all requests that were answered by now.
// Ironic logs a request after it has answered, and one after the other: the line of a request
// that is made here comes after those of the earlier ones.
func (i *Ironic) settled(ctx context.Context) (log string, err error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	mark := "/v1/nodes?fields=uuid&description_contains=" + rand.Text() // no node has that
	if err := i.Call(ctx, "GET", mark, nil, nil); err != nil {
		return "", err
	}
	err = await(ctx, "the log to have "+mark, func() (bool, error) {
		b, err := os.ReadFile(i.Log)
		log = string(b)
		return strings.Contains(log, `"GET `+mark+" "), err
	})
	return log, err
}
