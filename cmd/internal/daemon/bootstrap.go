package daemon

import (
	"context"
	"crypto/sha256"
	_ "embed" // bootstrap.sh
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"tenks/cluster"
	"tenks/cluster/transport"
)

//go:embed bootstrap.sh
var bootstrapScript string

const (
	// bootstraps bounds the downloads at a time: the program has tens of megabytes, and
	// whoever asks has shown nothing but the ID of a token.
	bootstraps = 8
	// bootstrapTime bounds one.
	bootstrapTime = 10 * time.Minute
)

// program is this agent's own program, also when another has been installed in its place.
const program = "/proc/self/exe"

// machines are what uname -m calls a GOARCH.
var machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}

// bootstrap is how hosts that have no Tenks get it from this peer. Its zero value is
// ready; it is safe for concurrent use.
type bootstrap struct {
	once sync.Once
	// sum is the program's SHA-256 in hexadecimal, once once is done.
	sum string
	err error
}

// programSum reads the program once: it takes a second.
func (b *bootstrap) programSum() (string, error) {
	b.once.Do(func() {
		f, err := os.Open(program)
		if err != nil {
			b.err = err
			return
		}
		defer f.Close()
		h := sha256.New()
		_, b.err = io.Copy(h, f)
		b.sum = hex.EncodeToString(h.Sum(nil))
	})
	return b.sum, b.err
}

// script is what a host runs that joins by a token. It is the same as often as it is
// asked for.
func (b *bootstrap) script(m *cluster.Mesh, token string) (string, error) {
	sum, err := b.programSum()
	if err != nil {
		return "", fmt.Errorf("own program: %w", err)
	}
	machine, known := machines[runtime.GOARCH]
	if !known {
		return "", fmt.Errorf("own program: is for %s, of which it is not known what hosts call it", runtime.GOARCH)
	}
	pin, ok := m.Pin()
	if !ok {
		return "", errNoPeers
	}
	return strings.NewReplacer("@URL@", bootstrapURL(m, token), "@PIN@", base64.StdEncoding.EncodeToString(pin[:]),
		"@SUM@", sum, "@MACHINE@", machine, "@ARCH@", machine).Replace(bootstrapScript), nil
}

func bootstrapURL(m *cluster.Mesh, token string) string {
	return "https://" + m.Address() + "/bootstrap/" + token
}

// line is what is pasted into a root shell of a host that has nothing but curl. The
// script never touches a disk, where somebody else could change it after it was checked,
// and the token is in the environment only: not in an argument, which others see in the
// list of processes.
func (b *bootstrap) line(m *cluster.Mesh, id, token string) (string, error) {
	script, err := b.script(m, id)
	if err != nil {
		return "", err
	}
	pin, ok := m.Pin()
	if !ok {
		return "", errNoPeers
	}
	sum := sha256.Sum256([]byte(script))
	return fmt.Sprintf(`s=$(curl -fsSk --tlsv1.3 --http1.1 --pinnedpubkey 'sha256//%s' '%s') && `+
		`{ [ "$(printf '%%s\n' "$s" | sha256sum | cut -c1-64)" = %x ] || { echo 'tenks: the script is not the one that was promised' >&2; false; }; } && `+
		`TENKS_TOKEN='%s' sh -c "$s" tenks-join`,
		base64.StdEncoding.EncodeToString(pin[:]), bootstrapURL(m, id), sum, token), nil
}

// serveBootstrap gives the script and the program to hosts that know the ID of a token
// which can still be used, until ctx ends.
func (a *agent) serveBootstrap(ctx context.Context) error {
	t := a.mesh.Transport()
	if t == nil {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{Handler: a.bootstrapHandler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: bootstrapTime, MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx }}
	server.SetKeepAlivesEnabled(false) // the next one also takes its turn with the handshakes
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := closed(server.Serve(cluster.Callers(t.Listener(transport.Bootstrap)))); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("bootstrap: %w", err)
	}
	<-ctx.Done()
	return nil
}

func (a *agent) bootstrapHandler() http.Handler {
	turn := make(chan struct{}, bootstraps) // a value for each download
	mux := http.NewServeMux()
	serve := func(path string, answer func(w http.ResponseWriter, r *http.Request, token string)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			token := r.PathValue("token")
			err := a.mesh.Knock(r, token, func() error { return a.admits(token) })
			if errors.Is(err, cluster.ErrTooMany) {
				http.Error(w, err.Error(), http.StatusTooManyRequests)
				return
			}
			if err != nil {
				http.NotFound(w, r)
				return
			}
			select {
			case turn <- struct{}{}:
				defer func() { <-turn }()
				answer(w, r, token)
			default:
				w.Header().Set("Retry-After", "5")
				http.Error(w, "too many hosts ask at once", http.StatusServiceUnavailable)
			}
		})
	}
	serve("/bootstrap/{token}", func(w http.ResponseWriter, r *http.Request, token string) {
		script, err := a.bootstrap.script(a.mesh, token)
		if err != nil {
			http.Error(w, "there is no script", http.StatusInternalServerError)
			a.log.WarnContext(r.Context(), "no script for a host without Tenks", "err", err)
			return
		}
		a.log.InfoContext(r.Context(), "a host without Tenks asks for it", "source", r.RemoteAddr, "token", token)
		w.Header().Set("Content-Type", "text/x-shellscript")
		_, _ = io.WriteString(w, script) // a host that has gone asks again
	})
	serve("/bootstrap/{token}/tenks", func(w http.ResponseWriter, r *http.Request, _ string) {
		f, err := os.Open(program)
		if err != nil {
			http.Error(w, "there is no program", http.StatusInternalServerError)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, f)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_ = a.mesh.Knock(r, "", func() error { return errors.New("a certificate is needed") })
		http.Error(w, "a certificate of a peer is needed", http.StatusForbidden)
	})
	return mux
}

// admits says why nobody new can come by a token.
func (a *agent) admits(token string) error {
	snap, _ := a.source.Snapshot()
	k, ok := snap.Token(token)
	if !ok {
		return errors.New("this mesh has no such token")
	}
	if why := k.Usable(time.Now().UnixMilli()); why != "" {
		return errors.New(why)
	}
	return nil
}
