package hostops

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenks/raftfsm/state"
)

// images is a server of images and of what else servers do.
func images(t *testing.T) *http.ServeMux {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/a.iso", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write(pattern(5000))
	})
	mux.HandleFunc("/stream.iso", func(w http.ResponseWriter, _ *http.Request) {
		for range 5 {
			_, _ = w.Write(pattern(1000))
			_ = http.NewResponseController(w).Flush() // no length is told
		}
	})
	mux.HandleFunc("/secret.iso", func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "u" || password != "p" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(pattern(5000))
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("url"), http.StatusFound) //nolint:gosec // this is what is tested
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/empty.iso", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/short.iso", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5500")
		_, _ = w.Write(pattern(5000))
	})
	mux.HandleFunc("/stall.iso", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(pattern(5000))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	return mux
}

func pattern(n int) []byte { return bytes.Repeat([]byte("tenks\n"), n/6+1)[:n] }

func serve(t *testing.T, secure bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(images(t))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of handshakes that are to fail
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// fetch returns what was fetched.
func fetch(ctx context.Context, t *testing.T, f fetcher, m Media) ([]byte, error) {
	t.Helper()
	to, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	var count atomic.Uint64
	if err := f.fetch(ctx, m, to, &count); err != nil {
		return nil, err
	}
	got, err := os.ReadFile(to.Name())
	if err != nil {
		t.Fatal(err)
	}
	if count.Load() == 0 || count.Load() > uint64(len(got)) {
		t.Errorf("counted %d bytes of %d", count.Load(), len(got))
	}
	return got, nil
}

func plenty(string) (uint64, error) { return 1 << 40, nil }

func TestFetch(t *testing.T) {
	plain, secure := serve(t, false), serve(t, true)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	withUser := strings.Replace(plain.URL, "http://", "http://u:p@", 1)
	to := func(from *httptest.Server, url string) string { return from.URL + "/to?url=" + url }
	base := fetcher{limit: 6000, local: true, stall: 20 * time.Millisecond, room: plenty}
	remote, full := base, base
	remote.local = false
	full.room = func(string) (uint64, error) { return 4999, nil }
	for _, test := range []struct {
		name string
		f    fetcher
		m    Media
		// want is a part of the error; empty: none. refused says that it is one which asking
		// again does not help with.
		want    string
		refused bool
	}{
		{name: "an image", f: base, m: Media{URL: plain.URL + "/a.iso"}},
		{name: "with a scheme in capitals", f: base, m: Media{URL: strings.Replace(plain.URL, "http", "HTTP", 1) + "/a.iso#part"}},
		{name: "an image of unknown length", f: base, m: Media{URL: plain.URL + "/stream.iso"}},
		{name: "over TLS, unverified", f: base, m: Media{URL: secure.URL + "/a.iso"}},
		{name: "over TLS, verified", f: base, m: Media{URL: secure.URL + "/a.iso", VerifyCertificate: true, CACert: ca}},
		{name: "over TLS, of an unknown authority", f: base, m: Media{URL: secure.URL + "/a.iso", VerifyCertificate: true}, want: "certificate"},
		{name: "a CA that is none", f: base, m: Media{URL: secure.URL + "/a.iso", VerifyCertificate: true, CACert: []byte("x")}, want: "no PEM", refused: true},
		{name: "with user and password", f: base, m: Media{URL: plain.URL + "/secret.iso", Username: "u", Password: state.NewSecret("p")}},
		{name: "with those in the URL", f: base, m: Media{URL: withUser + "/secret.iso"}},
		{name: "with others than in the URL", f: base, m: Media{URL: withUser + "/secret.iso", Username: "x"}, want: "401"},
		{name: "without", f: base, m: Media{URL: plain.URL + "/secret.iso"}, want: "401"},
		{name: "what is not there", f: base, m: Media{URL: plain.URL + "/none.iso"}, want: "404"},
		{name: "a redirect", f: base, m: Media{URL: to(plain, "/a.iso")}},
		{name: "a redirect to TLS", f: base, m: Media{URL: to(plain, secure.URL+"/a.iso")}},
		{name: "a redirect away from TLS", f: base, m: Media{URL: to(secure, plain.URL+"/a.iso")}, want: "from https to http", refused: true},
		{name: "a redirect to a file", f: base, m: Media{URL: to(plain, "file:///etc/passwd")}, want: `scheme "file"`, refused: true},
		{name: "redirects without an end", f: base, m: Media{URL: plain.URL + "/loop"}, want: "redirects"},
		{name: "a file", f: base, m: Media{URL: "file:///etc/passwd"}, want: `scheme "file"`, refused: true},
		{name: "no URL", f: base, m: Media{URL: "http://[::1"}, want: "cannot be read", refused: true},
		{name: "no host", f: base, m: Media{URL: "http:///a.iso"}, want: "without a host", refused: true},
		{name: "loopback", f: remote, m: Media{URL: plain.URL + "/a.iso"}, want: "media_local", refused: true},
		{name: "loopback by name", f: remote, m: Media{URL: strings.Replace(plain.URL, "127.0.0.1", "localhost", 1) + "/a.iso"}, want: "media_local", refused: true},
		{name: "a link's address", f: remote, m: Media{URL: "http://169.254.169.254/latest"}, want: "media_local", refused: true},
		{name: "mapped loopback", f: remote, m: Media{URL: "http://[::ffff:127.0.0.1]:1/"}, want: "media_local", refused: true},
		{name: "no address", f: base, m: Media{URL: "http://0.0.0.0:1/"}, want: "media_local", refused: true},
		{name: "nobody there", f: base, m: Media{URL: "http://127.0.0.1:1/a.iso"}, want: "refused"},
		{name: "too large", f: fetcher{limit: 4999, local: true, stall: time.Second, room: plenty}, m: Media{URL: plain.URL + "/a.iso"}, want: "larger than 4999", refused: true},
		{name: "too large, unknown before", f: fetcher{limit: 4999, local: true, stall: time.Second, room: plenty}, m: Media{URL: plain.URL + "/stream.iso"}, want: "larger than 4999", refused: true},
		{name: "just as large as may be", f: fetcher{limit: 5000, local: true, stall: time.Second, room: plenty}, m: Media{URL: plain.URL + "/stream.iso"}},
		{name: "no room", f: full, m: Media{URL: plain.URL + "/a.iso"}, want: "no room"},
		{name: "empty", f: base, m: Media{URL: plain.URL + "/empty.iso"}, want: "empty", refused: true},
		{name: "less than was promised", f: base, m: Media{URL: plain.URL + "/short.iso"}, want: "EOF"},
		{name: "a server that stalls", f: base, m: Media{URL: plain.URL + "/stall.iso"}, want: "sent nothing for 20ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := fetch(t.Context(), t, test.f, test.m)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v", err)
			case test.want == "":
				if want := append(pattern(5000), make([]byte, 6144-5000)...); !bytes.Equal(got, want) && !strings.Contains(test.m.URL, "stream") || len(got) != len(want) {
					t.Errorf("got %d bytes, want the image, filled to whole sectors", len(got))
				}
			case err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, state.ErrRefused) != test.refused:
				t.Errorf("got %v, want one with %q, refused: %t", err, test.want, test.refused)
			}
			if err != nil && strings.Contains(err.Error(), "u:p") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestAPasswordIsNotSentToWhereARedirectLeads(t *testing.T) {
	var seen atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization") + r.Header.Get("Referer"))
		_, _ = w.Write(pattern(10))
	}))
	defer other.Close()
	first := serve(t, false)
	_, port, err := net.SplitHostPort(other.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m := Media{URL: fmt.Sprintf("%s/to?url=http://localhost:%s/", first.URL, port), Username: "u", Password: state.NewSecret("hunter2")}
	f := fetcher{limit: 6000, local: true, stall: time.Second, room: plenty}
	if _, err := fetch(t.Context(), t, f, m); err != nil {
		t.Fatal(err)
	}
	if got := seen.Load().(string); strings.Contains(got, "Basic") || strings.Contains(got, "hunter2") {
		t.Errorf("the other host was told %q", got)
	}
}

func TestRoomLeavesSomeForGuests(t *testing.T) {
	dir := t.TempDir()
	room, err := roomIn(dir)
	var s unix.Statfs_t
	if e := errors.Join(err, unix.Statfs(dir, &s)); e != nil {
		t.Fatal(e)
	}
	free := s.Bavail * uint64(s.Bsize) //nolint:gosec // positive
	if free > keptFree+(1<<28) && (room < free-keptFree-(1<<28) || room > free-keptFree+(1<<28)) {
		t.Errorf("room for %d bytes of %d that are free", room, free)
	}
	if _, err := roomIn(filepath.Join(dir, "none")); err == nil {
		t.Error("room where there is no directory")
	}
}

// FuzzLocation checks what is shown of any URL: it has no password, and can be fetched.
func FuzzLocation(f *testing.F) {
	for _, url := range []string{"http://h/a.iso", "https://u:p@[::1]:8/b?c#d", "file:///x", "http://%zz", "HTTP://u@H", "//h", "http://u:p@/"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		m := Media{URL: url}
		u, shown, err := m.location()
		if err != nil {
			if !errors.Is(err, state.ErrRefused) {
				t.Errorf("%q: %v", url, err)
			}
			return
		}
		if u.User != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			t.Errorf("%q: goes to %q", url, u)
		}
		again := Media{URL: shown}
		if _, same, err := again.location(); err != nil || same != shown {
			t.Errorf("%q: shown as %q, which is %q, %v", url, shown, same, err)
		}
		_ = nameOf(shown)
	})
}
