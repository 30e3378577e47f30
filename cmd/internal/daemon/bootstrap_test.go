package daemon

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tenks/cluster/pki"
	"tenks/cmd/internal/api"
)

// stranger is an HTTP client without a certificate that names HTTP/1.1, as curl does.
func stranger(t *testing.T) *http.Client {
	t.Helper()
	trip := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}}
		return d.DialContext(ctx, network, address)
	}}
	return &http.Client{Transport: trip, Timeout: 30 * time.Second}
}

func fetch(t *testing.T, url string) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := stranger(t).Do(req)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestAHostWithoutACertificateGetsOnlyScriptAndProgram(t *testing.T) {
	r := start(t, newMesh(t))
	token, err := r.CreateToken(t.Context(), api.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := r.CreateToken(t.Context(), api.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.RevokeToken(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	host := "https://" + addressOf(t, token.Token)
	own, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(own)
	status, script := fetch(t, host+"/bootstrap/"+token.ID)
	if status != http.StatusOK || !strings.Contains(string(script), "sum='"+hex.EncodeToString(sum[:])+"'") {
		t.Errorf("script: %d %s", status, script)
	}
	status, program := fetch(t, host+"/bootstrap/"+token.ID+"/tenks")
	if status != http.StatusOK || sha256.Sum256(program) != sum {
		t.Errorf("program: %d, %d bytes", status, len(program))
	}
	for status, paths := range map[int][]string{
		http.StatusNotFound:  {"/bootstrap/" + revoked.ID, "/bootstrap/" + revoked.ID + "/tenks", "/bootstrap/0102030405060708"},
		http.StatusForbidden: {"/bootstrap/", "/v1/status", "/v1/nodes?secrets=true", "/healthz", "/join", "/propose"},
	} {
		for _, path := range paths {
			if got, body := fetch(t, host+path); got != status {
				t.Errorf("%s: %d %.100s, want %d", path, got, body, status)
			}
		}
	}
	secret := strings.Split(token.Token, ".")[1]
	if strings.Contains(string(script), secret) {
		t.Error("the token is in the script")
	}
	if used := strings.Index(token.Bootstrap, secret); used < strings.Index(token.Bootstrap, "TENKS_TOKEN=") {
		t.Errorf("the token is not in the environment: %s", token.Bootstrap)
	}
}

func addressOf(t *testing.T, text string) string {
	t.Helper()
	token, err := pki.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	return token.Addresses[0]
}

// TestTheBootstrapLine runs the line as a shell does, with programs of its own for what
// would change this host. That it makes a peer is tested on hosts of a lab.
func TestTheBootstrapLine(t *testing.T) {
	for _, name := range []string{"curl", "sha256sum", "sh"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	r := start(t, newMesh(t))
	token, err := r.CreateToken(t.Context(), api.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	pin := regexp.MustCompile(`sha256//[^']+`)
	other := base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	// A program with another sum than the script names is what a tampered one looks like.
	inProgram := func(line string) string {
		return strings.Replace(line, `sh -c "$s"`, `sh -c "$(printf '%s\n' "$s" | sed "s/^sum='../sum='zz/")"`, 1)
	}
	tests := map[string]struct {
		change func(line string) string
		want   string
		runs   bool
	}{
		"as it was printed": {func(line string) string { return line + " --zone z7" }, "", true},
		"of another peer":   {func(line string) string { return pin.ReplaceAllString(line, "sha256//"+other) }, "curl: (90)", false},
		"of another script": {func(line string) string {
			return regexp.MustCompile(`= [0-9a-f]{8}`).ReplaceAllString(line, "= 00000000")
		}, "not the one that was promised", false},
		"of another program":      {inProgram, "not the one that was promised: nothing was installed", false},
		"of a token that is gone": {func(line string) string { return strings.ReplaceAll(line, token.ID, "0102030405060708") }, "404", false},
		"without a token": {func(line string) string {
			return regexp.MustCompile(`TENKS_TOKEN='[^']*'`).ReplaceAllString(line, "TENKS_TOKEN=")
		}, "no join token", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			to := filepath.Join(dir, "bin", "tenks")
			// The program that is installed is this test's: it must not run its tests.
			ran := filepath.Join(dir, "ran")
			cmd := exec.CommandContext(t.Context(), "sh", "-c", tt.change(token.Bootstrap))
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "TENKS_BIN="+to, pretendVariable+"="+ran)
			out, err := cmd.CombinedOutput()
			if tt.want != "" && !strings.Contains(string(out), tt.want) {
				t.Errorf("printed %q, want %q", out, tt.want)
			}
			if (err == nil) != tt.runs {
				t.Errorf("ended with %v: %s", err, out)
			}
			got, _ := os.ReadFile(ran)
			if want := fmt.Sprintf("host check\njoin --zone z7\ntoken %s\n", token.Token); tt.runs && string(got) != want {
				t.Errorf("ran %q, want %q", got, want)
			}
			if !tt.runs && len(got) > 0 {
				t.Errorf("ran %q", got)
			}
			left, err := filepath.Glob(to + "*")
			if err != nil || (len(left) > 0) != tt.runs {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

// pretendVariable names a file: this program then notes there how it is called as tenks,
// and does nothing.
const pretendVariable = "TENKS_TEST_PRETEND"

// pretend reports whether it did so.
func pretend() bool {
	file := os.Getenv(pretendVariable)
	if file == "" {
		return false
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, strings.Join(os.Args[1:], " "))
	if token := os.Getenv("TENKS_TOKEN"); token != "" {
		fmt.Fprintln(f, "token", token)
	}
	return true
}
