package hostops

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tenks/raftfsm/state"
)

// Timing and bounds of a fetch.
const (
	fetchDial   = 10 * time.Second
	fetchHeader = 30 * time.Second
	// fetchStall is how long the server may send nothing.
	fetchStall = 30 * time.Second
	// fetchTime bounds all of it.
	fetchTime = 2 * time.Hour
	// fetchRedirects is how many redirects are followed.
	fetchRedirects = 5
	// defaultMediaLimit is how large an image may be, in bytes.
	defaultMediaLimit = 16 << 30
	// keptFree is what a fetch leaves free on the file system, in bytes: guests' disks grow there.
	keptFree = 1 << 30
	// roomEvery is after how many bytes the room is looked at again.
	roomEvery = 64 << 20
	// sector is the size of a CD-ROM's, in bytes; a last one that is cut short is not read.
	sector = 2048
)

// Media is an image to put into a drive.
type Media struct {
	// URL is of http or https.
	URL string
	// Username and Password are for basic authentication; both empty: none, or what is in the
	// URL.
	Username string
	Password state.Secret
	// VerifyCertificate checks an https server's certificate, against CACert (PEM) if that is
	// not empty, otherwise against the host's certificate authorities.
	VerifyCertificate bool
	CACert            []byte
}

// location returns where to fetch from, and that without user and password, to be shown.
// Errors: state.ErrRefused.
func (m *Media) location() (u *url.URL, shown string, err error) {
	u, err = url.Parse(m.URL)
	if err != nil {
		// The error has the URL, which may have a password.
		return nil, "", fmt.Errorf("%w: the image's URL cannot be read", state.ErrRefused)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if err := fetchable(u); err != nil {
		return nil, "", err
	}
	if u.User != nil && m.Username == "" && m.Password.IsZero() {
		password, _ := u.User.Password()
		m.Username, m.Password = u.User.Username(), state.NewSecret(password)
	}
	u.User, u.Fragment = nil, ""
	shown = u.String()
	return u, shown, nil
}

// fetchable says why a URL is not fetched from.
func fetchable(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%w: image URL of scheme %q: use http or https", state.ErrRefused, u.Scheme)
	case u.Hostname() == "":
		return fmt.Errorf("%w: image URL without a host", state.ErrRefused)
	}
	return nil
}

// fetcher brings images here. It is safe for concurrent use.
type fetcher struct {
	// limit is how large an image may be, in bytes.
	limit uint64
	// local allows addresses of the host itself and of its links only.
	local bool
	// stall is how long a server may send nothing.
	stall time.Duration
	// room returns how many bytes may still be written to a directory.
	room func(dir string) (uint64, error)
}

// fetch writes the image to a file, whole and on disk when it returns, and counts its
// bytes meanwhile. Errors: state.ErrRefused, and what the server said.
func (f fetcher) fetch(ctx context.Context, m Media, to *os.File, count *atomic.Uint64) error {
	u, shown, err := m.location()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	ctx, stall := context.WithCancelCause(ctx)
	defer stall(nil)
	client, err := f.client(m)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("image %s: %w", shown, err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if m.Username != "" || !m.Password.IsZero() {
		req.SetBasicAuth(m.Username, m.Password.Reveal())
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("image %s: %w", shown, plainError(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("image %s: the server says %s", shown, resp.Status)
	}
	body := &countedBody{body: resp.Body, count: count, patience: f.stall,
		stall: time.AfterFunc(f.stall, func() { stall(fmt.Errorf("the server sent nothing for %s", f.stall)) })}
	defer body.stall.Stop()
	err = f.store(body, resp.ContentLength, to)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // of what the read says
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", shown, err)
	}
	return nil
}

// plainError is an error of a client without the URL, which it has in front.
func plainError(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func (f fetcher) client(m Media) (*http.Client, error) {
	dialer := &net.Dialer{Timeout: fetchDial, Control: f.mayDial}
	t := &http.Transport{
		// No proxy: it would reach what is refused here.
		DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchDial, ResponseHeaderTimeout: fetchHeader,
		DisableCompression: true, ForceAttemptHTTP2: true,
		// VerifyCertificate is the client's to say (Redfish DSP0266, VirtualMedia).
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !m.VerifyCertificate}, //nolint:gosec // see above
	}
	if len(m.CACert) > 0 {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(m.CACert) {
			return nil, fmt.Errorf("%w: the image server's CA certificate is no PEM", state.ErrRefused)
		}
	}
	return &http.Client{Transport: t, CheckRedirect: mayRedirect}, nil
}

// mayDial refuses the host itself and neighbours by link, such as a cloud's metadata
// service: whoever may insert media need not be allowed to reach them. It sees the address
// that a name was resolved to.
func (f fetcher) mayDial(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap().WithZone("")
	never := a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if never || !f.local && (a.IsLoopback() || a.IsLinkLocalUnicast()) {
		return fmt.Errorf("%w: address %s is this host's own or a link's: set bmc.media_local in agent.yml to allow it", state.ErrRefused, a)
	}
	return nil
}

func mayRedirect(req *http.Request, via []*http.Request) error {
	if err := fetchable(req.URL); err != nil {
		return err
	}
	switch last := via[len(via)-1]; {
	case len(via) > fetchRedirects:
		return fmt.Errorf("more than %d redirects", fetchRedirects)
	case last.URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("%w: a redirect from https to %s", state.ErrRefused, req.URL.Scheme)
	}
	return nil
}

// store copies an answer of size bytes, negative if that is not known, to a file.
func (f fetcher) store(body io.Reader, size int64, to *os.File) error {
	if size > 0 {
		if uint64(size) > f.limit {
			return f.tooLarge()
		}
		if err := f.checkRoom(to, uint64(size)); err != nil {
			return err
		}
	}
	var total uint64
	for {
		n, err := io.CopyN(to, body, int64(min(roomEvery, f.limit-total+1))) //nolint:gosec // it is small
		total += uint64(n)                                                   //nolint:gosec // not negative
		switch {
		case total > f.limit:
			return f.tooLarge()
		case errors.Is(err, io.EOF):
			return finish(to, total)
		case err != nil:
			return err
		}
		if err := f.checkRoom(to, roomEvery); err != nil {
			return err
		}
	}
}

func (f fetcher) tooLarge() error {
	return fmt.Errorf("%w: it is larger than %d bytes (bmc.media_size in agent.yml)", state.ErrRefused, f.limit)
}

func (f fetcher) checkRoom(to *os.File, need uint64) error {
	room, err := f.room(path.Dir(to.Name()))
	if err != nil {
		return err
	}
	if room < need {
		return fmt.Errorf("no room on this host for %d bytes more in %s: %w", need, path.Dir(to.Name()), unix.ENOSPC)
	}
	return nil
}

// finish fills the last sector and writes all to disk.
func finish(to *os.File, size uint64) error {
	if size == 0 {
		return fmt.Errorf("%w: it is empty", state.ErrRefused)
	}
	if size > math.MaxInt64-sector {
		return errors.New("it is too large")
	}
	if err := to.Truncate(int64((size + sector - 1) / sector * sector)); err != nil {
		return err
	}
	return to.Sync()
}

// countedBody counts what comes, and notices a server that sends nothing any longer.
type countedBody struct {
	body     io.Reader
	count    *atomic.Uint64
	stall    *time.Timer
	patience time.Duration
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.stall.Reset(b.patience)
		b.count.Add(uint64(n))
	}
	return n, err
}

// roomIn returns how many bytes may be written below a directory.
func roomIn(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	free := s.Bavail * uint64(max(s.Bsize, 0))
	return free - min(free, keptFree), nil
}
