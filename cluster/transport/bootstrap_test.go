package transport_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"tenks/cluster/transport"
)

func TestACallerWithoutACertificateReachesOnlyBootstrap(t *testing.T) {
	m := newMesh(t)
	tests := map[string]struct {
		protocols []string
		listen    []string
		cert      bool
		want      string // the protocol that it is accepted for; empty: none
	}{
		"HTTP":                             {[]string{transport.API}, []string{transport.API, transport.Bootstrap}, false, transport.Bootstrap},
		"HTTP/2 or 1.1":                    {[]string{"h2", transport.API}, []string{transport.API, transport.Bootstrap}, false, transport.Bootstrap},
		"HTTP with a peer's certificate":   {[]string{transport.API}, []string{transport.API, transport.Bootstrap}, true, transport.API},
		"HTTP where nobody bootstraps":     {[]string{transport.API}, []string{transport.API}, false, ""},
		"HTTP where nobody serves the API": {[]string{transport.API}, []string{transport.Bootstrap}, false, ""},
		"by its name":                      {[]string{transport.Bootstrap}, []string{transport.API, transport.Bootstrap}, false, ""},
		"by its name, with a certificate":  {[]string{transport.Bootstrap}, []string{transport.API, transport.Bootstrap}, true, ""},
		"Raft":                             {[]string{transport.Raft}, []string{transport.API, transport.Raft, transport.Bootstrap}, false, ""},
		"Raft before HTTP":                 {[]string{transport.Raft, transport.API}, []string{transport.API, transport.Raft, transport.Bootstrap}, false, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := m.start(t, "b")
			for _, p := range tt.listen {
				echo(t, b, p)
			}
			var cert *tls.Certificate
			if tt.cert {
				cert = m.ca.issue(t, "a", time.Hour)
			}
			if tt.want != "" {
				config := &tls.Config{InsecureSkipVerify: true, NextProtos: tt.protocols}
				if cert != nil {
					config.Certificates = []tls.Certificate{*cert}
				}
				d := tls.Dialer{Config: config}
				c, err := d.DialContext(t.Context(), "tcp", b.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				eventually(t, "accepted", func() bool { return b.Stats().Accepted[tt.want] == 1 && len(b.Stats().Accepted) == 1 })
				return
			}
			if err := callAsStranger(t, b.Addr(), tt.protocols, cert, 0); err == nil || errors.Is(err, t.Context().Err()) {
				t.Errorf("not refused: %v", err)
			}
			if got := b.Stats().Accepted; len(got) > 0 {
				t.Errorf("accepted: %v", got)
			}
		})
	}
}
