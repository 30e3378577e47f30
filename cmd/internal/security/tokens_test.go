package security

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tenks/cluster/pki"
	"tenks/cluster/transport"
	"tenks/cmd/internal/api"
)

func TestSecurityTokensThatAreNotGoodAreRefused(t *testing.T) {
	t.Parallel()
	m, other := newMesh(t), newMesh(t)
	first := m.token(api.TokenRequest{})
	if err := join(t, first, agentConfig(t, "hv2"), freshAddress()); err != nil {
		t.Fatal(err)
	}
	change := func(change func(*pki.Token)) pki.Token {
		token := m.token(api.TokenRequest{})
		change(&token)
		text, err := token.Encode() // with a checksum that fits
		if err != nil {
			t.Fatal(err)
		}
		if token, err = pki.ParseToken(text); err != nil {
			t.Fatal(err)
		}
		return token
	}
	revoked, expired := m.token(api.TokenRequest{}), m.token(api.TokenRequest{TTLSeconds: 1})
	if err := m.RevokeToken(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	for time.Until(expired.Expires) > -1100*time.Millisecond {
		<-time.After(20 * time.Millisecond)
	}
	expired.Expires = time.Now().Add(time.Hour) // as if it were good for longer
	named := m.token(api.TokenRequest{Name: "hv9"})
	foreign := other.token(api.TokenRequest{})
	foreign.Addresses, foreign.Mesh, foreign.Pins = first.Addresses, first.Mesh, first.Pins
	for _, c := range []struct {
		name  string
		token pki.Token
		want  string
	}{
		{"a used-up token again", first, "already used by hv2"},
		{"a guessed secret", change(func(k *pki.Token) { _, _ = rand.Read(k.Secret[:]) }), "wrong secret"},
		{"a guessed ID", change(func(k *pki.Token) { k.ID = "0123456789abcdef" }), "no such token"},
		{"a revoked token", revoked, "revoked"},
		{"an expired token, made to last", expired, "expired"},
		{"a token for somebody else", named, "hv9 only"},
		{"a token of another mesh", foreign, "no such token"},
	} {
		source := freshAddress()
		err := join(t, c.token, agentConfig(t, "guest"), source)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		lines := m.log.lines("join refused", "source="+source+":", c.want, "token="+c.token.ID)
		if len(lines) != 1 {
			t.Errorf("%s: the log has %d lines of it", c.name, len(lines))
			continue
		}
		t.Logf("%s: %s", c.name, lines[0])
	}
	// Who shows a token of one mesh to another is not even told anything.
	mixed := other.token(api.TokenRequest{})
	mixed.Addresses = first.Addresses
	if err := join(t, mixed, agentConfig(t, "guest"), freshAddress()); err == nil || !strings.Contains(err.Error(), "another authority") {
		t.Errorf("a token of another mesh: error %v", err)
	}
	peers, err := m.Peers(t.Context())
	if err != nil || len(peers) != 2 {
		t.Errorf("%d peers, %v; want 2", len(peers), err)
	}
	for _, text := range []string{hex.EncodeToString(first.Secret[:]), base64.StdEncoding.EncodeToString(first.Secret[:]), fmt.Sprint(first.Secret[:])} {
		if strings.Contains(m.log.String(), text) {
			t.Error("the log has a token's secret")
		}
	}
}

// guesses is how often somebody guesses who does not wait.
const guesses = 1000

func TestSecurityAThousandGuessesAreFewAndBriefInTheLog(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	known := m.token(api.TokenRequest{})
	key := newKey(t)
	csr, err := pki.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	before, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	source := freshAddress()
	client := &http.Client{Transport: m.knocking(source)}
	t.Cleanup(client.CloseIdleConnections)
	answers := map[int]int{}
	began := time.Now()
	for range guesses {
		secret := make([]byte, 16)
		_, _ = rand.Read(secret)
		body, err := json.Marshal(map[string]any{"token": known.ID, "secret": secret, "csr": csr,
			"peer": map[string]string{"name": strings.Repeat("guest\n", 5000)}})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Post("http://peer/join", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		answers[resp.StatusCode]++
	}
	took := time.Since(began)
	after, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines := m.log.lines("join refused", "source="+source+":")
	size := len(strings.Join(lines, ""))
	t.Logf("%d guesses in %s: answers %v, %d entries in the log of the mesh, %d lines (%d bytes) in that of the agent",
		guesses, took.Round(time.Millisecond), answers, after.Index-before.Index, len(lines), size)
	bound := 20 + int(took/(3*time.Second)) + 1
	if answers[http.StatusForbidden] > bound || answers[http.StatusTooManyRequests] < guesses-bound {
		t.Errorf("answers %v, want at most %d that looked at the secret", answers, bound)
	}
	if after.Index-before.Index > uint64(bound)+5 { // the agent itself has something to say
		t.Errorf("%d entries", after.Index-before.Index)
	}
	if len(lines) > bound+1 || size > 1000*len(lines) {
		t.Errorf("%d lines of %d bytes", len(lines), size)
	}
	t.Log(m.log.lines("too many refused")[0])
	if err := join(t, known, agentConfig(t, "hv2"), freshAddress()); err != nil {
		t.Errorf("a good token from elsewhere: %v", err)
	}
}

// knocking makes connections without a certificate, for joins.
func (m *mesh) knocking(source string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return m.dial(ctx, call{source: source, protocol: transport.Join})
	}}
}

func TestSecurityWhoKnocksWithoutEndIsCutOff(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	source := freshAddress()
	var conns []*tls.Conn
	for range 200 {
		conn, err := m.dial(t.Context(), call{source: source, protocol: transport.Join})
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns = append(conns, conn)
	}
	open := len(conns)
	eventually(t, "most of them are closed", func() bool {
		open = 0
		for _, c := range conns {
			if refused(c, time.Millisecond) == nil {
				open++
			}
		}
		return open <= 64
	})
	if open == 0 {
		t.Error("no connection of one source is open")
	}
	if err := join(t, m.token(api.TokenRequest{}), agentConfig(t, "hv2"), freshAddress()); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}
