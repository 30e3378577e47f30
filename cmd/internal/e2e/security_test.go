package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenks/cluster/pki"
	"tenks/cluster/transport"
	"tenks/cmd/internal/client"
)

// maxScan is up to which size files are read, in bytes: larger ones are disks of nodes.
const maxScan = 64 << 20

// planted are secrets, by name, each in the forms in which it could be written. held are
// those that were found where they may be, so that the search is known to work.
type planted struct {
	t     *testing.T
	forms map[string][][]byte
	held  map[string]bool
}

// text plants a password made up for this run.
func (p *planted) text(name string) string {
	secret := "pw" + rand.Text()[:16]
	p.forms[name] = [][]byte{[]byte(secret), []byte(base64.StdEncoding.EncodeToString([]byte(secret)))}
	return secret
}

// bytes plants a key.
func (p *planted) bytes(name string, key []byte) {
	p.forms[name] = [][]byte{key, []byte(hex.EncodeToString(key)), []byte(base64.StdEncoding.EncodeToString(key)),
		[]byte(base64.RawURLEncoding.EncodeToString(key)), []byte(strings.Trim(fmt.Sprint(key), "[]"))}
}

// pem plants the key of a PEM block: what is 32 bytes of it, and the text.
func (p *planted) pem(name string, text []byte) {
	p.t.Helper()
	block, _ := pem.Decode(text)
	if block == nil || len(block.Bytes) < 32 {
		p.t.Fatalf("%s: no key in %d bytes", name, len(text))
	}
	p.bytes(name, block.Bytes[len(block.Bytes)-32:])
	p.forms[name] = append(p.forms[name], []byte(strings.Split(string(text), "\n")[1]))
}

// in returns which secrets are in b.
func (p *planted) in(b []byte) (names []string) {
	for name, forms := range p.forms {
		for _, form := range forms {
			if bytes.Contains(b, form) {
				names = append(names, name)
				break
			}
		}
	}
	return names
}

// look fails if a secret is where it must not be.
func (p *planted) look(where string, b []byte) {
	p.t.Helper()
	for _, name := range p.in(b) {
		p.t.Errorf("%s has the %s", where, name)
	}
}

func TestIntegrationPlantedSecretsAreNowhereToBeSeen(t *testing.T) {
	besideOthers(t)
	hosts := newPair(t)
	p := &planted{t: t, forms: map[string][][]byte{}, held: map[string]bool{}}
	for _, h := range hosts {
		pid := h.pid()
		h.stopDetached()
		h.wait(30*time.Second, "the detached agent to be gone", func() bool { _, err := h.try("kill", "-0", pid); return err != nil })
		h.spawnDebugging()
	}
	for _, h := range hosts {
		h.wait(30*time.Second, "the agent to answer", func() bool { return h.api.Ready(t.Context()) == nil })
	}
	hosts[0].plantKeys(p)
	a := hosts[0]
	dead := a.Address() + ":9" // nobody listens there
	a.write("bmc.pw", p.text("BMC password")+"\n")
	a.write("bmc.key", p.text("BMC key")+"\n")
	a.write("basic.pw", p.text("Ironic password of http_basic")+"\n")
	a.write("clouds.yaml", fmt.Sprintf("clouds: {lab: {auth: {auth_url: 'http://%s/v3', username: admin, project_name: admin, "+
		"user_domain_name: Default, project_domain_name: Default, password: %s}}}\n", dead, p.text("Ironic password of clouds.yaml")))
	for name, ironic := range map[string]string{
		"basic": fmt.Sprintf("{endpoint: 'http://%s', auth: http_basic, username: admin, password_file: %s/basic.pw}", dead, a.Dir()), "cloud": "{cloud: lab}"} {
		file := a.write(name+".yml", strings.Split(spread(name, "x", 2), "ironic: {endpoint")[0]+
			fmt.Sprintf("bmc: {password_file: %s/bmc.pw, key_file: %s/bmc.key}\nironic: %s\n", a.Dir(), a.Dir(), ironic))
		out, err := a.try("env", "OS_CLIENT_CONFIG_FILE="+a.Dir()+"/clouds.yaml", filepath.Join(bin, "tenks"), "apply", "-f", file, "--wait=3s")
		if err == nil {
			t.Errorf("apply of %s with an Ironic that is dead: %s", name, out)
		}
		p.look("apply", []byte(out))
	}
	a.fail(p, hosts[1])
	for _, h := range hosts {
		h.outputs(p)
		h.looks(p)
	}
	p.processes()
	for name := range p.forms {
		if !p.held[name] && name != "secret of a token" { // of that one only a hash is kept
			t.Errorf("the %s was found nowhere: the test looks for the wrong thing", name)
		}
	}
	refusesStrangers(t, hosts)
}

// pid is the agent's process ID in the host.
func (h *host) pid() string {
	h.t.Helper()
	b, err := os.ReadFile(h.Path(dataDir + "/agent.lock"))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// newPair is a mesh of two hosts: one votes, the other stands by.
func newPair(t *testing.T) (hosts []*host) {
	t.Helper()
	l, dir := newLab(t)
	for i := range 2 {
		lh, err := l.AddHost(t.Context(), fmt.Sprintf("hv%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		if err := lh.StartLibvirtd(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := &host{Host: lh, t: t, api: client.New(lh.Path(dataDir + "/api.sock")), log: filepath.Join(dir, lh.Name()+".log")}
		t.Cleanup(h.tellLog)
		h.enter(hosts, i+1)
		hosts = append(hosts, h)
	}
	return hosts
}

// spawnDebugging starts the agent so that it logs all it can.
func (h *host) spawnDebugging() {
	h.t.Helper()
	log, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	c := h.Command(context.WithoutCancel(h.t.Context()), filepath.Join(bin, "tenks"), "agent", "--config", dataDir+"/agent.yml", "--log-level", "debug")
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

// plantKeys takes the keys that the mesh has made.
func (h *host) plantKeys(p *planted) {
	h.t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(h.Path(dataDir + "/mesh/" + name))
		if err != nil {
			h.t.Fatal(err)
		}
		return b
	}
	p.pem("TLS key of a peer", read("peer.key"))
	log := read("raft/raft.db")
	begin := bytes.Index(log, []byte("-----BEGIN PRIVATE KEY-----"))
	if begin < 0 {
		h.t.Fatal("no key of an authority is in the log")
	}
	p.pem("key of the authority", log[begin:begin+400])
	var files struct{ Gossip [][]byte }
	if err := json.Unmarshal(read("mesh.json"), &files); err != nil || len(files.Gossip) == 0 {
		h.t.Fatalf("gossip keys: %v", err)
	}
	p.bytes("gossip key", files.Gossip[0])
	text := strings.Split(h.tenks("token", "create"), "\n")[0]
	token, err := pki.ParseToken(text)
	if err != nil {
		h.t.Fatal(err)
	}
	p.bytes("secret of a token", token.Secret[:])
	p.forms["secret of a token"] = append(p.forms["secret of a token"], []byte(text))
}

// fail does what goes wrong, with secrets in hand.
func (h *host) fail(p *planted, other *host) {
	h.t.Helper()
	text := string(p.forms["secret of a token"][len(p.forms["secret of a token"])-1])
	for _, c := range [][]string{
		{"join", text}, {"join", text[:len(text)-3]}, {"join", text + "x"},
		{"apply", "-f", h.write("bad.yml", "cluster: bad\nbmc: {password: x, password_file: "+h.Dir()+"/bmc.pw}\n")},
		{"apply", "-f", h.write("worse.yml", "ironic: {password: ["+string(p.forms["Ironic password of http_basic"][0])+"]}\n")},
	} {
		out, err := other.try(filepath.Join(bin, "tenks"), c...)
		if c[0] == "join" { // in a mesh already: it may be repeated
			p.look("tenks join", []byte(out))
		} else if err == nil {
			h.t.Errorf("tenks %s: %s", c[0], out)
		}
	}
	for _, n := range h.nodes() {
		if n.BMC.Password != string(p.forms["BMC password"][0]) {
			h.t.Errorf("node %s has another BMC password than the file says", n.Name)
		}
		_, _ = h.tryTenks("node", "power", "on", n.Name)
		_, _ = h.try("ipmitool", "-I", "lanplus", "-H", n.BMC.Address, "-p", fmt.Sprint(n.BMC.Port), "-U", n.BMC.Username, "-P", "wrong", "power", "status")
		_, _ = h.try("env", "IPMI_PASSWORD="+n.BMC.Password, "ipmitool", "-I", "lanplus", "-H", n.BMC.Address, "-p", fmt.Sprint(n.BMC.Port),
			"-U", n.BMC.Username, "-E", "power", "status")
	}
}

// outputs looks at what the program prints that was not asked for secrets.
func (h *host) outputs(p *planted) {
	h.t.Helper()
	commands := [][]string{{"status", "-o", "json"}, {"node", "list", "-o", "json"}, {"node", "show", "basic0", "-o", "json"},
		{"node", "show", "cloud0", "-o", "yaml"}, {"events"}, {"events", "-o", "json"}, {"peer", "list", "-o", "json"}, {"token", "list", "-o", "json"},
		{"cluster", "list", "-o", "json"}, {"cluster", "show", "basic", "-o", "json"}, {"cluster", "export", "basic"}, {"cluster", "export", "cloud"}, {"doctor"}}
	if help, err := h.tryTenks("debug", "--help"); err == nil && strings.Contains(help, "bundle") {
		commands = append(commands, []string{"debug", "bundle"})
	}
	for _, c := range commands {
		out, err := h.tryTenks(c...)
		if err != nil && c[0] != "doctor" {
			h.t.Errorf("tenks %s: %v\n%s", strings.Join(c, " "), err, out)
		}
		p.look("tenks "+strings.Join(c, " "), []byte(out))
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.Path(dataDir+"/api.sock"))
	}}}
	for _, path := range []string{"/metrics", "/v1/nodes", "/v1/events", "/v1/clusters", "/v1/peers", "/v1/tokens"} {
		req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://tenks"+path, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			h.t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || len(b) == 0 {
			h.t.Errorf("GET %s: %s, %v", path, resp.Status, err)
		}
		p.look("GET "+path, b)
	}
	for name := range h.domains() {
		p.look("the XML of domain "+name, []byte(h.run("virsh", "dumpxml", "--security-info", name)))
		p.look("the XML of domain "+name, []byte(h.run("virsh", "dumpxml", "--security-info", "--inactive", name)))
	}
}

// looks reads every file that others than root could, and the logs whatever their mode.
func (h *host) looks(p *planted) {
	h.t.Helper()
	for _, log := range []string{h.log, h.Path(dataDir + "/agent.log")} {
		b, err := os.ReadFile(log)
		if err != nil {
			h.t.Errorf("log: %v", err)
		}
		p.look(log, b)
		h.t.Logf("%s: %d bytes of log", log, len(b))
	}
	open := 0
	for _, root := range []string{dataDir, "/var/lib/libvirt", "/var/log", "/etc/libvirt", "/run"} {
		top := h.Path(root)
		hidden := map[string]bool{}
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // it is gone meanwhile, or not there
			}
			info, err := e.Info()
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			if e.IsDir() {
				hidden[path] = hidden[filepath.Dir(path)] || info.Mode().Perm()&0o011 == 0
				return nil
			}
			if !info.Mode().IsRegular() || info.Size() > maxScan {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			if hidden[filepath.Dir(path)] || info.Mode().Perm()&0o044 == 0 {
				for _, name := range p.in(b) {
					p.held[name] = true
				}
				return nil
			}
			open++
			p.look(fmt.Sprintf("%s (%s)", path, info.Mode()), b)
			return nil
		})
		if err != nil {
			h.t.Error(err)
		}
	}
	h.t.Logf("%s: %d files that others can read", h.Name(), open)
}

// processes reads the command lines and environments of all that runs.
func (p *planted) processes() {
	p.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/*")
	if err != nil {
		p.t.Fatal(err)
	}
	seen := 0
	for _, path := range files {
		if name := filepath.Base(path); name == "cmdline" || name == "environ" {
			if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
				p.look(path, b)
				seen += bytes.Count(b, []byte("qemu-system")) + bytes.Count(b, []byte("tenks-libvirt"))
			}
		}
	}
	if seen == 0 {
		p.t.Error("neither QEMU nor a driver runs: the test looks in the wrong place")
	}
}

// refusesStrangers checks that one host does not let another in without a certificate,
// and says from where that came.
func refusesStrangers(t *testing.T, hosts []*host) {
	t.Helper()
	for _, protocol := range []string{transport.Raft, transport.RPC, transport.Feed} {
		err := hosts[1].InNetns(func() error {
			d := tls.Dialer{Config: &tls.Config{NextProtos: []string{protocol}, InsecureSkipVerify: true}} //nolint:gosec // it is the attacker
			c, err := d.DialContext(t.Context(), "tcp", hosts[0].Address()+":7740")
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				return err
			}
			_, err = c.Read(make([]byte, 1))
			return err
		})
		t.Logf("%s without a certificate: %v", protocol, err)
		if err == nil || !strings.Contains(err.Error(), "remote error") {
			t.Errorf("%s without a certificate: %v", protocol, err)
		}
	}
	log, err := os.ReadFile(hosts[0].log)
	if err != nil || !strings.Contains(string(log), "refused a connection\" remote="+hosts[1].Address()+":") {
		t.Errorf("the log of %s does not say that %s was refused, %v", hosts[0].Name(), hosts[1].Address(), err)
	}
}
