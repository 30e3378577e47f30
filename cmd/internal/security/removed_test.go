package security

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tenks/cluster/transport"
)

// atOnce is how long a removed peer's connections may stay open.
const atOnce = 2 * time.Second

// generation is how a peer names that of a mesh which was never recovered.
const generation = "1//0"

// frame is how a feed sends something.
func frame(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s //nolint:gosec // it is short
}

// used is what a peer does with a new connection of each protocol, so that it is in use
// when the peer is removed.
var used = map[string]string{
	transport.Raft: generation + "\n",
	transport.API:  "GET /v1/events?follow=true HTTP/1.1\r\nHost: peer\r\n\r\n",
	transport.Feed: frame(`{"in":"` + generation + `"}`),
	transport.RPC:  "GET /status HTTP/1.1\r\nHost: peer\r\nTenks-Generation: " + generation + "\r\n\r\n",
	transport.Join: "GET / HTTP/1.1\r\nHost: peer\r\n\r\n",
}

func TestSecurityARemovedPeersConnectionsEndAtOnce(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	leaver, good := m.member("hv2"), m.member("hv3")
	all := protocols(t)
	open, others := map[string]*tls.Conn{}, map[string]*tls.Conn{}
	for _, protocol := range all {
		open[protocol], others[protocol] = m.inUse(leaver, protocol), m.inUse(good, protocol)
	}
	asks := m.inUse(leaver, transport.RPC)
	m.removed(leaver)
	began := time.Now()
	if err := asks.SetDeadline(time.Now().Add(atOnce)); err != nil {
		t.Fatal(err)
	}
	// Before its connections are ended: what comes on them is refused already.
	status, body, err := ask(t.Context(), asks, http.MethodPost, "/lease", http.Header{"Tenks-Generation": {generation}}, nil)
	if err == nil && status != http.StatusForbidden || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a lease of a removed peer: %d %s", status, body)
	}
	t.Logf("a lease of a removed peer: %d %s, %v", status, strings.TrimSpace(body), err)
	// Now they end.
	for _, protocol := range all {
		if !ended(open[protocol], time.Until(began.Add(atOnce))) {
			t.Errorf("%s: a removed peer's connection is open after %s", protocol, atOnce)
		}
	}
	t.Logf("all connections of a removed peer had ended after %s", time.Since(began).Round(time.Millisecond))
	if ended(others[transport.API], 10*time.Millisecond) || ended(others[transport.Feed], 10*time.Millisecond) {
		t.Error("another peer's connections ended, too")
	}
	if !strings.Contains(m.log.String(), "dropped the connections of a peer") {
		t.Error("the log does not say that connections were dropped")
	}
	m.answers(t, good)
}

// inUse opens a connection and uses it; what is answered at once is read.
func (m *mesh) inUse(p *member, protocol string) *tls.Conn {
	m.t.Helper()
	conn, err := m.dial(m.t.Context(), p.as(protocol))
	if err != nil {
		m.t.Fatalf("%s: %v", protocol, err)
	}
	m.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, used[protocol]); err != nil {
		m.t.Fatalf("%s: %v", protocol, err)
	}
	if ended(conn, 100*time.Millisecond) {
		m.t.Fatalf("%s: a peer's connection ends", protocol)
	}
	return conn
}

// ended says whether the other end closes a connection within a time.
func ended(conn *tls.Conn, limit time.Duration) bool {
	if err := conn.SetReadDeadline(time.Now().Add(max(limit, time.Millisecond))); err != nil {
		return true
	}
	_, err := io.Copy(io.Discard, conn)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestSecurityARemovedPeerGetsNothingByRPC(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	leaver, good := m.member("hv2"), m.member("hv3")
	header := http.Header{"Tenks-Generation": {generation}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	status, body, err := m.request(ctx, good.as(transport.RPC), http.MethodGet, "/index", header, nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("a peer asks for the index: %d %s, %v", status, body, err)
	}
	m.removed(leaver)
	before, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct{ method, path string }{
		{http.MethodPost, "/propose"}, {http.MethodPost, "/lease"}, {http.MethodGet, "/index"}, {http.MethodGet, "/status"},
		{http.MethodGet, "/trust"}, {http.MethodGet, "/generation"}, {http.MethodGet, "/term"},
	} {
		status, body, err := m.request(ctx, leaver.as(transport.RPC), r.method, r.path, header, strings.NewReader("x"))
		if err == nil {
			t.Errorf("%s %s of a removed peer: %d %s", r.method, r.path, status, body)
		}
	}
	after, err := m.Status(t.Context())
	if err != nil || after.Index != before.Index {
		t.Errorf("the log went from %d to %d, %v", before.Index, after.Index, err)
	}
}
