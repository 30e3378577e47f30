package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
)

// installed is where the line puts tenks on a lab host: a directory of its own.
const installed = "/etc/tenks/tenks"

func TestIntegrationAHostWithOnlyCurlJoinsByOneLine(t *testing.T) {
	besideOthers(t)
	l, hosts := newMesh(t, 1)
	lh, err := l.AddHost(t.Context(), "hv2")
	if err != nil {
		t.Fatal(err)
	}
	if err := lh.StartLibvirtd(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := &host{Host: lh, t: t, api: client.New(lh.Path(dataDir + "/api.sock")), log: filepath.Join(l.Dir(), "hv2.log")}
	for _, path := range []string{installed, dataDir + "/mesh"} {
		if _, err := os.Stat(h.Path(path)); err == nil {
			t.Fatalf("%s is there already", path)
		}
	}
	var token api.Token
	if err := json.Unmarshal([]byte(hosts[0].tenks("token", "create", "-o", "json")), &token); err != nil {
		t.Fatal(err)
	}
	line := token.Bootstrap + " --advertise " + h.Address() + " --zone z2\n"

	// Another peer's key, as somebody in between would show one.
	wrong := regexp.MustCompile(`sha256//[^']{8}`).ReplaceAllString(line, "sha256//AAAAAAAA")
	if out, err := h.try("env", "TENKS_BIN="+installed, "sh", h.write("wrong.sh", wrong)); err == nil || !strings.Contains(out, "curl: (90)") {
		t.Errorf("another key: %v: %s", err, out)
	}
	if _, err := os.Stat(h.Path(installed)); err == nil {
		t.Error("another key: a program was installed")
	}

	seen := watchArguments(t, token.Token)
	out := h.run("env", "TENKS_BIN="+installed, "sh", h.write("line.sh", line))
	t.Logf("the line printed:\n%s", out)
	if where := seen(); where != "" {
		t.Errorf("the token was an argument of %q", where)
	}
	own, err := os.ReadFile(filepath.Join(bin, "tenks"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(h.Path(installed)); err != nil || string(got) != string(own) {
		t.Errorf("another program was installed: %d bytes, %v", len(got), err)
	}
	h.wait(30*time.Second, "two peers", func() bool {
		peers, err := h.api.Peers(t.Context())
		return err == nil && len(peers) == 2
	})
	if env, err := os.ReadFile(filepath.Join("/proc", h.agentPID(), "environ")); err != nil || strings.Contains(string(env), token.Token) {
		t.Errorf("the agent has the token in its environment, %v", err)
	}
	// The token is used up: nobody is told anything any more.
	if out, err := h.try("sh", h.write("again.sh", line)); err == nil || !strings.Contains(out, "404") {
		t.Errorf("a second time: %v: %s", err, out)
	}

	before := gossipKeys(t, h)
	for _, what := range []string{"gossip-key", "ca"} {
		out, err := h.try(installed, what, "rotate", "--wait", "90s")
		t.Logf("tenks %s rotate:\n%s", what, out)
		if err != nil || !strings.Contains(out, "is in use, and no other is accepted") {
			t.Errorf("%s rotate: %v", what, err)
		}
		t.Logf("tenks %s list:\n%s", what, h.run(installed, what, "list"))
	}
	after := gossipKeys(t, h)
	if len(after) != 1 || after[0] == before[0] {
		t.Errorf("%d gossip keys are written down, and the first is the old one: %v", len(after), after[0] == before[0])
	}
	for _, key := range append(before, after...) {
		if strings.Contains(h.logTail()+hosts[0].logTail(), key) {
			t.Error("a gossip key is in a log")
		}
	}
	t.Logf("leave:\n%s", h.run(installed, "leave"))
}

// gossipKeys are those that a peer has written down, in base64.
func gossipKeys(t *testing.T, h *host) []string {
	t.Helper()
	b, err := os.ReadFile(h.Path(dataDir + "/mesh/mesh.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Gossip []string `json:"gossip"`
	}
	if err := json.Unmarshal(b, &m); err != nil || len(m.Gossip) == 0 {
		t.Fatalf("mesh.json: %v, %d gossip keys", err, len(m.Gossip))
	}
	return m.Gossip
}

func (h *host) agentPID() string {
	h.t.Helper()
	pid, err := os.ReadFile(h.Path(dataDir + "/agent.lock"))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(pid))
}

// watchArguments looks at the arguments of all processes until the function that it
// returns is called, which says where it saw a text.
func watchArguments(t *testing.T, text string) (stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	found := make(chan string, 1)
	go func() { // ends with stop, or with the test
		where := ""
		for ctx.Err() == nil {
			lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range lines {
				b, err := os.ReadFile(file)
				if err == nil && strings.Contains(string(b), text) {
					where = strings.ReplaceAll(string(b), "\x00", " ")
				}
			}
			pause(ctx, 5*time.Millisecond)
		}
		found <- where
	}()
	return func() string {
		cancel()
		return <-found
	}
}
