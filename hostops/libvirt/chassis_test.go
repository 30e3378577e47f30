//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tenks/hostops"
	"tenks/hostops/driver"
	"tenks/hostops/link"
	"tenks/raftfsm/state"
)

// bare is a host without links.
type bare struct{}

func (bare) Observe(context.Context) (link.Have, error) { return link.Have{}, nil }

func (bare) Apply(context.Context, link.Step) error { return errors.New("no links in this test") }

func (bare) Watch(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}

// withChassis is the chassis of a real guest, on a host with nothing else.
func withChassis(t *testing.T, b *bench, s driver.Spec) (*hostops.Host, *hostops.Chassis) {
	t.Helper()
	store := state.New()
	n := state.Node{UUID: s.UUID, Name: s.Name, Cluster: "c", LinkName: s.Name, Machine: s.Machine}
	for i, command := range []state.Command{
		state.PutHypervisor{Hypervisor: state.Hypervisor{ID: "h", Name: "h"}},
		state.ApplyCluster{Cluster: state.Cluster{Name: "c"}, Create: []state.Node{n}},
		state.PlaceNodes{Placements: []state.NodePlacement{{UUID: s.UUID, Hypervisor: "h", BMC: state.Endpoint{Address: "127.0.0.1", Port: 6230}}}},
	} {
		if err := store.Apply(uint64(i+1), state.Envelope{Command: command}); err != nil { //nolint:gosec // a few
			t.Fatal(err)
		}
	}
	ready := make(chan struct{})
	var once sync.Once
	h, err := hostops.Open(hostops.Config{Hypervisor: "h", Mesh: b.cfg.Mesh, Source: store, Links: bare{}, DB: filepath.Join(b.srv.Dir, "host.db"), BootID: "boot",
		Report: func(_ context.Context, nodes []state.NodeHostReport) error {
			if nodes[0].Status.Phase == state.HostReady {
				once.Do(func() { close(ready) })
			}
			return nil
		},
		MediaDir: filepath.Join(b.srv.Dir, "media"), MediaLocal: true,
		Drivers: map[string]driver.Driver{Name: b.Driver}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1) // one result
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, h.Close()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the node is ready", func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	})
	c, _ := h.Chassis(s.UUID)
	return h, c
}

// bootableISO is an image (ECMA-119) with a boot sector (El Torito 1.0) that writes a text to the
// first serial port and halts.
func bootableISO(text string) []byte {
	const sector, catalog, boot = 2048, 19, 20
	iso := make([]byte, 64*sector)
	descriptor := func(at int, kind byte) []byte {
		d := iso[at*sector:][:sector]
		d[0], d[6] = kind, 1
		copy(d[1:], "CD001")
		return d
	}
	volume := descriptor(16, 1)
	copy(volume[40:], "TENKS")
	record := descriptor(17, 0)
	copy(record[7:], "EL TORITO SPECIFICATION")
	binary.LittleEndian.PutUint32(record[0x47:], catalog)
	descriptor(18, 255)
	entry := iso[catalog*sector:][:64]
	entry[0], entry[0x1e], entry[0x1f] = 1, 0x55, 0xaa
	binary.LittleEndian.PutUint16(entry[0x1c:], 0x55aa) // the words' sum is 0: 0x0001 + 0xaa55 + 0x55aa
	entry[32] = 0x88                                    // bootable, without emulation
	binary.LittleEndian.PutUint16(entry[38:], 4)
	binary.LittleEndian.PutUint32(entry[40:], boot)
	copy(iso[boot*sector:], bootSector(text))
	return iso
}

// bootSector writes a text to the first serial port and halts.
func bootSector(text string) []byte {
	code := []byte{0xba, 0xf8, 0x03} // mov dx, 0x3f8
	for i := range len(text) {
		code = append(code, 0xb0, text[i], 0xee) // mov al, …; out dx, al
	}
	return append(code, 0xf4, 0xeb, 0xfd) // hlt; jmp hlt
}

// screen reads a console into memory.
type screen struct {
	io.ReadWriteCloser
	mu   sync.Mutex
	text strings.Builder
	// ended is closed at the console's end.
	ended chan struct{}
}

func watch(t *testing.T, h *hostops.Host, uuid string) *screen {
	t.Helper()
	c, err := h.Console(t.Context(), uuid)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, c)
}

func read(t *testing.T, c io.ReadWriteCloser) *screen {
	t.Helper()
	s := &screen{ReadWriteCloser: c, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("console: %v", err)
				}
				return
			}
		}
	}()
	return s
}

func (s *screen) shows(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

func (s *screen) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func TestIntegrationLibvirtGuestBootsFromMediaAndManySeeIt(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	h, c := withChassis(t, b, s)
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(bootableISO("BOOTED " + filepath.Base(r.URL.Path) + "\r\n"))
	}))
	defer images.Close()
	var mu sync.Mutex
	var said []string
	defer h.Subscribe(s.UUID, func(e hostops.ChassisEvent) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, string(e.Kind))
	})()
	insert := func(name string) {
		t.Helper()
		if err := c.InsertMedia(t.Context(), hostops.Media{URL: images.URL + "/" + name}); err != nil {
			t.Fatal(err)
		}
	}
	power := func(a state.PowerAction) {
		t.Helper()
		if err := c.SetBoot(t.Context(), state.Boot{Device: state.BootCDROM}); err != nil {
			t.Fatal(err)
		}
		eventually(t, string(a), func() bool { return !errors.Is(c.Power(t.Context(), a), state.ErrBusy) })
	}
	insert("one.iso")
	power(state.ActionOn)
	eventually(t, "on", func() bool { return c.Status().Power == state.PowerOn })
	first := watch(t, h, s.UUID)
	eventually(t, "the guest boots from the first image", func() bool { return first.shows("BOOTED one.iso") })
	second := watch(t, h, s.UUID)
	eventually(t, "a second client sees what was", func() bool { return second.shows("BOOTED one.iso") })

	id := b.srv.Virsh(t, "domid", s.Name)
	insert("two.iso")
	file := b.instance(s).Media
	for _, args := range [][]string{{"domblklist", s.Name}, {"domblklist", s.Name, "--inactive"}} {
		if got := b.srv.Virsh(t, args...); file == "" || !strings.Contains(got, file) {
			t.Errorf("%q: no %q in\n%s", args, file, got)
		}
	}
	if now := b.srv.Virsh(t, "domid", s.Name); now != id {
		t.Errorf("an insert made a new guest: %s, was %s", now, id)
	}
	power(state.ActionReset) // of the same process
	for i, one := range []*screen{first, second} {
		eventually(t, "the guest boots from the second image", func() bool { return one.shows("BOOTED two.iso") })
		if one.over() {
			t.Errorf("console %d ended with a reset", i)
		}
	}
	if now := b.srv.Virsh(t, "domid", s.Name); now != id {
		t.Errorf("a reset made a new guest: %s, was %s", now, id)
	}
	if err := c.EjectMedia(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.srv.Virsh(t, "domblklist", s.Name); strings.Contains(got, ".iso") {
		t.Errorf("after the eject:\n%s", got)
	}
	if files, err := os.ReadDir(filepath.Join(b.srv.Dir, "media")); err != nil || len(files) > 0 {
		t.Errorf("images left: %v, %v", files, err)
	}

	power(state.ActionCycle)
	eventually(t, "consoles end with the guest", func() bool { return first.over() && second.over() })
	var again io.ReadWriteCloser
	eventually(t, "a console of the guest that is on again", func() bool {
		var err error
		again, err = h.Console(t.Context(), s.UUID)
		return err == nil
	})
	third := read(t, again)
	eventually(t, "it shows what was before", func() bool { return third.shows("BOOTED two.iso") })
	_ = third.Close()
	eventually(t, "its load is known", func() bool { l, ok := c.Load(); return ok && l.CPU >= 0 && l.CPU <= 1 })
	l, _ := c.Load()
	t.Logf("load %+v", l)
	eventually(t, "off", func() bool { return !errors.Is(c.Power(t.Context(), state.ActionOff), state.ErrBusy) })
	want := "insert on insert reset eject off on off"
	eventually(t, "events "+want, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(said, " ") == want
	})
}
