package bmctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

func keepsMemory(t *testing.T, c bmc.Chassis) {
	t.Helper()
	keep := func(key string, value []byte) {
		t.Helper()
		if err := ask(t, "keep", func(ctx context.Context) error { return c.Keep(ctx, key, value) }); err != nil {
			t.Fatalf("keep %d bytes as %s: %v", len(value), key, err)
		}
	}
	if got := c.Recall("test/a"); got != nil {
		t.Errorf("recalled %q of a new chassis, want nil", got)
	}
	large := bytes.Repeat([]byte{0, 0xff}, 32<<10)
	keep("test/a", []byte("one"))
	keep("test/b", large)
	keep("test/a", []byte("two"))
	if got := c.Recall("test/a"); string(got) != "two" {
		t.Errorf("recalled %q, want what was kept last", got)
	}
	if got := c.Recall("test/b"); !bytes.Equal(got, large) {
		t.Errorf("recalled %d bytes, want the %d that were kept", len(got), len(large))
	}
	if err := ask(t, "keep", func(ctx context.Context) error { return c.Keep(ctx, "test/b", make([]byte, 64<<10+1)) }); err == nil {
		t.Error("kept a value of more than 64 KiB")
	}
	keep("test/a", nil)
	if got := c.Recall("test/a"); got != nil {
		t.Errorf("recalled %q of what was forgotten, want nil", got)
	}
	if got := c.Recall("test/b"); !bytes.Equal(got, large) {
		t.Errorf("recalled %d bytes, want what is under another key to stay", len(got))
	}
}

// log collects events.
type log struct {
	mu     sync.Mutex
	events []bmc.Event
}

func (l *log) add(e bmc.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *log) all() []bmc.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

func (l *log) kinds() (out []string) {
	for _, e := range l.all() {
		text := string(e.Kind)
		if e.ByCommand {
			text += " by command"
		}
		out = append(out, text)
	}
	return out
}

func tellsEvents(t *testing.T, c bmc.Chassis) {
	t.Helper()
	var first, second log
	cancel := c.Subscribe(first.add)
	defer c.Subscribe(second.add)()
	began := time.Now()
	for _, step := range []struct {
		action state.PowerAction
		want   []string
	}{
		{state.ActionOn, []string{"on by command"}},
		{state.ActionReset, []string{"reset by command"}},
		{state.ActionCycle, []string{"off by command", "on by command"}},
		{state.ActionOff, []string{"off by command"}},
	} {
		power(t, c, step.action)
		hears(t, &first, string(step.action), step.want)
	}
	cancel()
	for _, e := range second.all() {
		if e.At.Before(began.Add(-time.Second)) || e.At.After(time.Now().Add(time.Second)) {
			t.Errorf("event %+v: not the time at which it happened", e)
		}
	}
	power(t, c, state.ActionOn)
	eventually(t, c, "on", isOn)
	hears(t, &second, "all", []string{"on by command", "reset by command", "off by command", "on by command", "off by command", "on by command"})
	if got := first.kinds(); len(got) > 0 {
		t.Errorf("events %q after the subscription had ended", got)
	}
}

// hears polls until want was told, and forgets it.
func hears(t *testing.T, l *log, what string, want []string) {
	t.Helper()
	for deadline := time.Now().Add(settle); !slices.Equal(l.kinds(), want); {
		if time.Now().After(deadline) {
			t.Fatalf("events of %s: got %q, want %q", what, l.kinds(), want)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = nil
}

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	macForm  = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`)
)

func saysHardware(t *testing.T, c bmc.Chassis) {
	t.Helper()
	h := c.Hardware()
	if !uuidForm.MatchString(h.UUID) || h.Name == "" || h.MemoryMB == 0 || h.VCPUs < 1 || h.Arch == "" || h.BootMode != state.BootBIOS && h.BootMode != state.BootUEFI {
		t.Errorf("hardware %+v: want UUID, name, memory, vCPUs, architecture and boot mode", h)
	}
	for _, n := range h.NICs {
		if !macForm.MatchString(n.MAC) {
			t.Errorf("NIC %+v: want a MAC in lower case with colons", n)
		}
	}
	for _, d := range h.Disks {
		if d.CapacityBytes == 0 {
			t.Errorf("disk %+v: want a capacity", d)
		}
	}
	if l, ok := c.Load(); ok {
		t.Errorf("load %+v of a node that is off", l)
	}
}

func attachesConsoles(t *testing.T, c bmc.Chassis) {
	t.Helper()
	err := ask(t, "console", func(ctx context.Context) error {
		_, err := c.Console(ctx)
		return err
	})
	if !errors.Is(err, state.ErrWrongState) {
		t.Errorf("console of a node that is off: got %v, want %v", err, state.ErrWrongState)
	}
	power(t, c, state.ActionOn)
	eventually(t, c, "on", isOn)
	var ended sync.WaitGroup
	for i := range 2 {
		var rw io.ReadWriteCloser
		err := ask(t, "console", func(ctx context.Context) (err error) {
			rw, err = c.Console(context.WithoutCancel(ctx))
			return err
		})
		if err != nil {
			t.Fatalf("console %d: %v", i, err)
		}
		ended.Go(func() {
			defer rw.Close()
			if _, err := io.Copy(io.Discard, rw); err != nil {
				t.Errorf("console %d: got %v, want its end once the node is off", i, err)
			}
		})
	}
	power(t, c, state.ActionOff)
	done := make(chan struct{})
	go func() { ended.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(settle):
		t.Fatalf("consoles of a node that is off have not ended after %v", settle)
	}
}

func hasDrive(t *testing.T, c bmc.Chassis, device state.BootDevice) {
	t.Helper()
	d := bmc.DriveOf(c, device)
	if d == nil {
		t.Skip("this chassis has no such drive")
	}
	url := serveImages(t)
	insert := func(url string) error { return insertInto(t, d, url) }
	if got := d.Media(); got.Inserted {
		t.Errorf("media %+v in a new chassis", got)
	}
	err := insert(url + "/boot/a.iso")
	if errors.Is(err, state.ErrUnsupported) {
		t.Skip("this chassis has no drive: ", err)
	}
	if err != nil {
		t.Fatalf("insert media: %v", err)
	}
	want := bmc.MediaStatus{Inserted: true, URL: url + "/boot/a.iso", Name: "a.iso"}
	if got := d.Media(); got != want {
		t.Errorf("media: got %+v, want %+v", got, want)
	}
	power(t, c, state.ActionOn)
	eventually(t, c, "on", isOn)
	if err := insert(strings.Replace(url, "http://", "http://u:p@", 1) + "/b.iso"); err != nil {
		t.Fatalf("insert other media while it is on: %v", err)
	}
	want.URL, want.Name = url+"/b.iso", "b.iso"
	if got := d.Media(); got != want {
		t.Errorf("media: got %+v, want %+v", got, want)
	}
	for _, url := range []string{"file:///etc/passwd", "ftp://host/a.iso", "a.iso", "", "http://"} {
		if err := insert(url); !errors.Is(err, state.ErrRefused) {
			t.Errorf("insert %q: got %v, want %v", url, err, state.ErrRefused)
		}
	}
	if got := d.Media(); got != want {
		t.Errorf("media after what was refused: got %+v, want %+v", got, want)
	}
	for range 2 {
		if err := ask(t, "eject media", d.EjectMedia); err != nil {
			t.Fatalf("eject media: %v", err)
		}
		if got := d.Media(); got != (bmc.MediaStatus{}) {
			t.Errorf("media after the eject: got %+v, want none", got)
		}
	}
	if err := insert(fmt.Sprint(url, "/boot/a.iso")); err != nil {
		t.Errorf("insert media again: %v", err)
	}
}

// serveImages returns the URL of a server that has every image.
func serveImages(t *testing.T) string {
	t.Helper()
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".iso") {
			_, _ = w.Write(make([]byte, 64<<10)) // the client sees what is missing
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(images.Close)
	return images.URL
}

func insertInto(t *testing.T, d bmc.Drive, url string) error {
	t.Helper()
	return ask(t, "insert media", func(ctx context.Context) error { return d.InsertMedia(ctx, bmc.Media{URL: url}) })
}

// hasTwoDrives checks that what is done to one drive leaves the other alone.
func hasTwoDrives(t *testing.T, c bmc.Chassis) {
	t.Helper()
	cd, usb := bmc.DriveOf(c, state.BootCDROM), bmc.DriveOf(c, state.BootUSB)
	if usb == nil {
		t.Skip("this chassis has no USB port")
	}
	url := serveImages(t)
	for d, file := range map[bmc.Drive]string{cd: "/cd.iso", usb: "/usb.iso"} {
		err := insertInto(t, d, url+file)
		if errors.Is(err, state.ErrUnsupported) {
			t.Skip("this chassis takes no media: ", err)
		}
		if err != nil {
			t.Fatalf("insert %s: %v", file, err)
		}
	}
	if a, b := cd.Media().Name, usb.Media().Name; a != "cd.iso" || b != "usb.iso" {
		t.Errorf("in the drives are %q and %q", a, b)
	}
	if err := ask(t, "eject media", cd.EjectMedia); err != nil {
		t.Fatal(err)
	}
	if cd.Media().Inserted || !usb.Media().Inserted {
		t.Errorf("after one was emptied: %+v and %+v", cd.Media(), usb.Media())
	}
}
