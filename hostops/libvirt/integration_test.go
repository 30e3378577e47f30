//go:build cgo && libvirt_dlopen

package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/hostops/driver"
	"tenks/hostops/libvirt/libvirttest"
	"tenks/raftfsm/state"
)

func TestMain(m *testing.M) { os.Exit(libvirttest.Main(m)) }

// bench is a driver with a libvirtd of its own.
type bench struct {
	*Driver
	t   testing.TB
	srv *libvirttest.Server
	cfg driver.Config
}

func newBench(t testing.TB) *bench {
	t.Helper()
	srv := libvirttest.Start(t)
	cfg := driver.Config{Mesh: "mesh-one-0123", DataDir: filepath.Join(srv.Dir, "data"), ConsoleDir: filepath.Join(srv.Dir, "console"),
		Options: map[string]string{"uri": srv.URI, "domain_type": "qemu", "pool_path": filepath.Join(srv.Dir, "pool")}}
	b := &bench{t: t, srv: srv, cfg: cfg}
	b.Driver = b.open(cfg)
	return b
}

func (b *bench) open(cfg driver.Config) *Driver {
	b.t.Helper()
	d, err := open(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(d.Close)
	return d
}

// node is a spec of a small node.
func node(i, nics int) driver.Spec {
	s := driver.Spec{UUID: fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012x", i), Name: fmt.Sprintf("tk%d", i), Epoch: 5,
		Machine: state.Machine{Driver: Name, MemoryMB: 64, VCPUs: 1, BootMode: state.BootBIOS, Volumes: []state.Volume{{CapacityBytes: 1 << 30}}}}
	for n := range nics {
		s.Ports = append(s.Ports, driver.Port{MAC: fmt.Sprintf("52:54:00:00:%02x:%02x", i, n), Physnet: "p", Link: tapOf(i, n)})
	}
	return s
}

func tapOf(i, n int) string { return fmt.Sprintf("tk%d-%d-tap", i, n) }

func plug(t testing.TB, i, n int) {
	t.Helper()
	libvirttest.Veth(t, tapOf(i, n), fmt.Sprintf("tk%d-%d-br", i, n))
}

func (b *bench) ensure(s driver.Spec) {
	b.t.Helper()
	if err := b.Ensure(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) power(s driver.Spec, a state.PowerAction, dev state.BootDevice) {
	b.t.Helper()
	if err := b.Power(b.t.Context(), s.UUID, driver.PowerRequest{Action: a, Boot: state.Boot{Device: dev}}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) remove(s driver.Spec) {
	b.t.Helper()
	if err := b.Remove(b.t.Context(), s.UUID); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) instance(s driver.Spec) driver.Instance {
	b.t.Helper()
	all, err := b.Instances(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, i := range all {
		if i.UUID == s.UUID {
			return i
		}
	}
	return driver.Instance{}
}

// want compares what a node is.
func (b *bench) want(s driver.Spec, power state.Power, digest string) {
	b.t.Helper()
	i := b.instance(s)
	if i.UUID != s.UUID || i.Name != s.Name || i.Epoch != s.Epoch || i.Power != power || i.Digest != digest {
		b.t.Errorf("instance %+v, want power %s, digest %q, epoch %d", i, power, digest, s.Epoch)
	}
}

// eventually polls.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(60 * time.Second); !ok(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// xml is the persistent definition.
func (b *bench) xml(s driver.Spec) string {
	b.t.Helper()
	return b.srv.Virsh(b.t, "dumpxml", "--inactive", s.Name)
}

// leftovers are the files of nodes.
func (b *bench) leftovers() []string {
	var out []string
	for _, dir := range []string{b.cfg.Options["pool_path"], b.cfg.DataDir, b.cfg.ConsoleDir} {
		_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				out = append(out, path)
			}
			return nil
		})
	}
	return out
}

func TestIntegrationLibvirtNodeIsMadeOnceAndLeavesNothing(t *testing.T) {
	b := newBench(t)
	info, err := b.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != Name || info.Facts["domain_type"] != "qemu" || info.Capacity.VCPUs < 1 || info.Capacity.MemoryMB < 1 || info.Capacity.DiskGB < 1 {
		t.Errorf("info %+v", info)
	}
	t.Logf("info: %+v", info)
	bios, uefi := node(1, 1), node(2, 1)
	uefi.Machine.BootMode = state.BootUEFI
	for _, s := range []driver.Spec{bios, uefi} {
		b.ensure(s)
		b.want(s, state.PowerOff, s.Digest())
		before := b.xml(s)
		b.ensure(s)
		if b.xml(s) != before {
			t.Error("repeating Ensure changed the domain")
		}
	}
	if got := b.srv.Virsh(t, "pool-list", "--name"); got != poolName {
		t.Errorf("pools %q", got)
	}
	if i, err := os.Stat(b.cfg.Options["pool_path"]); err != nil || i.Mode().Perm() != 0o711 {
		t.Errorf("pool directory: %v, %v", i, err)
	}
	eventually(t, "libvirt lists the volumes", func() bool {
		return strings.Contains(b.srv.Virsh(t, "vol-list", poolName), "tk1vol0")
	})
	b.remove(bios)
	b.remove(uefi)
	b.remove(uefi)
	if all, err := b.Instances(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	if got := b.srv.Virsh(t, "list", "--all", "--name") + b.srv.Virsh(t, "pool-list", "--all", "--name"); got != "" {
		t.Errorf("left: %s", got)
	}
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(b.cfg.Options["pool_path"]); !os.IsNotExist(err) {
		t.Errorf("pool directory: %v", err)
	}
}

func TestIntegrationLibvirtPower(t *testing.T) {
	b := newBench(t)
	s := node(1, 1)
	plug(t, 1, 0)
	b.ensure(s)
	ctx := t.Context()
	for _, a := range []state.PowerAction{state.ActionSoft, state.ActionCycle, state.ActionReset, state.ActionDiag} {
		if err := b.Power(ctx, s.UUID, driver.PowerRequest{Action: a}); !errors.Is(err, state.ErrWrongState) {
			t.Errorf("%s while off: %v", a, err)
		}
	}
	if _, err := b.Console(ctx, s.UUID); !errors.Is(err, state.ErrWrongState) {
		t.Errorf("console while off: %v", err)
	}
	b.power(s, state.ActionOff, "")
	b.power(s, state.ActionOn, "")
	b.want(s, state.PowerOn, s.Digest())
	id := b.srv.Virsh(t, "domid", s.Name)
	b.power(s, state.ActionOn, "")
	b.power(s, state.ActionReset, "")
	b.power(s, state.ActionDiag, "")
	b.power(s, state.ActionSoft, "")
	if now := b.srv.Virsh(t, "domid", s.Name); now != id {
		t.Errorf("on, reset, diag or soft made a new guest: %s, was %s", now, id)
	}
	b.power(s, state.ActionReset, state.BootPXE)
	if now := b.srv.Virsh(t, "domid", s.Name); now == id {
		t.Error("a reset with another boot order kept the old one")
	}
	id = b.srv.Virsh(t, "domid", s.Name)
	b.power(s, state.ActionCycle, state.BootPXE)
	if now := b.srv.Virsh(t, "domid", s.Name); now == id {
		t.Error("cycle did not switch it off")
	}
	b.power(s, state.ActionOff, "")
	b.want(s, state.PowerOff, s.Digest())
	if err := b.Power(ctx, node(9, 0).UUID, driver.PowerRequest{Action: state.ActionOn}); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("unknown node: %v", err)
	}
	b.power(s, state.ActionOn, "")
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestIntegrationLibvirtBootOrderIsThatOfTheLastStart(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	b.ensure(s)
	for _, dev := range []state.BootDevice{state.BootCDROM, state.BootNone, state.BootSetup} {
		b.power(s, state.ActionOn, dev)
		v, err := viewOf(b.srv.Virsh(t, "dumpxml", s.Name))
		if err != nil {
			t.Fatal(err)
		}
		first := "vda"
		if dev == state.BootCDROM {
			first = "sda"
		}
		if v.order.Devices[0] != first || v.order.Menu != (dev == state.BootSetup) {
			t.Errorf("boot %q: order %+v", dev, v.order)
		}
		b.want(s, state.PowerOn, s.Digest())
		b.power(s, state.ActionOff, "")
	}
	// What a start needs once does not stay for a start that nobody asked for.
	b.ensure(s)
	if v, err := viewOf(b.xml(s)); err != nil || v.order.Menu {
		t.Errorf("%+v, %v", v.order, err)
	}
}

func TestIntegrationLibvirtConsoleShowsFirmware(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		mode state.BootMode
		want string
		i    int
	}{{state.BootBIOS, "SeaBIOS", 1}, {state.BootUEFI, "BdsDxe", 2}} {
		t.Run(string(c.mode), func(t *testing.T) {
			s := node(c.i, 0)
			s.Machine.BootMode, s.Machine.MemoryMB = c.mode, 256
			b.ensure(s)
			b.power(s, state.ActionOn, state.BootPXE)
			con, err := b.Console(t.Context(), s.UUID)
			if err != nil {
				t.Fatal(err)
			}
			var seen bytes.Buffer
			var mu sync.Mutex
			var reading errgroup.Group
			reading.Go(func() error {
				buf := make([]byte, 4096)
				for {
					n, err := con.Read(buf)
					mu.Lock()
					seen.Write(buf[:n])
					mu.Unlock()
					if errors.Is(err, io.EOF) {
						return nil
					}
					if err != nil {
						return err
					}
				}
			})
			if _, err := con.Write([]byte("\r")); err != nil {
				t.Error(err)
			}
			log := consoleLog(b.cfg.ConsoleDir, s.Name)
			eventually(t, c.want+" in "+log, func() bool {
				text, _ := os.ReadFile(log) //nolint:gosec // the test's
				return bytes.Contains(text, []byte(c.want))
			})
			eventually(t, "the console has something", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return seen.Len() > 0
			})
			if c.mode == state.BootUEFI && !fileExists(filepath.Join(b.cfg.Options["pool_path"], s.Name+"_VARS.fd")) {
				t.Error("no file of firmware variables")
			}
			if err := errors.Join(con.Close(), reading.Wait(), con.Close()); err != nil {
				t.Error(err)
			}
			b.remove(s)
		})
	}
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestIntegrationLibvirtConsoleEndsWithTheGuest(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	con, err := b.Console(t.Context(), s.UUID)
	if err != nil {
		t.Fatal(err)
	}
	b.power(s, state.ActionOff, "")
	buf := make([]byte, 4096)
	for err == nil {
		_, err = con.Read(buf)
	}
	if err := con.Close(); err != nil {
		t.Error(err)
	}
}

func TestIntegrationLibvirtVolumesFromAnImage(t *testing.T) {
	b := newBench(t)
	for i, format := range []string{"raw", "qcow2"} {
		s := node(i, 0)
		image := filepath.Join(b.srv.Dir, "image."+format)
		s.Machine.Volumes = []state.Volume{{CapacityBytes: 64 << 20, Image: image}, {CapacityBytes: 32 << 20}}
		if err := b.Ensure(t.Context(), s); err == nil || !strings.Contains(err.Error(), "image "+image+": does not exist") {
			t.Errorf("missing image: %v", err)
		}
		// It is there, half-made, so that it can be removed.
		b.want(s, state.PowerOff, "")
		if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", format, image, "48M").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b.ensure(s)
		b.want(s, state.PowerOff, s.Digest())
		out, err := exec.CommandContext(t.Context(), "qemu-img", "info", filepath.Join(b.cfg.Options["pool_path"], s.Name+"vol0")).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("backing file format: "+format)) || !bytes.Contains(out, []byte("64 MiB")) {
			t.Errorf("%v: %s", err, out)
		}
		b.power(s, state.ActionOn, "")
		b.power(s, state.ActionOff, "")
		// Growing, also the overlay; then fewer volumes; then none too small.
		s.Machine.Volumes[0].CapacityBytes = 128 << 20
		b.ensure(s)
		if size, err := volumeSize(volume{Path: filepath.Join(b.cfg.Options["pool_path"], s.Name+"vol0"), Image: image}); err != nil || size != 128<<20 {
			t.Errorf("size %d, %v", size, err)
		}
		s.Machine.Volumes = s.Machine.Volumes[:1]
		b.ensure(s)
		if fileExists(filepath.Join(b.cfg.Options["pool_path"], s.Name+"vol1")) {
			t.Error("a volume too many stays")
		}
		small := s
		small.Machine.Volumes = []state.Volume{{CapacityBytes: 96 << 20, Image: image}}
		if err := b.Ensure(t.Context(), small); err == nil || !strings.Contains(err.Error(), "cannot shrink") {
			t.Errorf("shrink: %v", err)
		}
		b.want(s, state.PowerOff, s.Digest())
		b.remove(s)
	}
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestIntegrationLibvirtForeignDomainsAndFilesStayUntouched(t *testing.T) {
	b := newBench(t)
	other := b.cfg
	other.Mesh, other.DataDir = "mesh-two-0123", filepath.Join(b.srv.Dir, "data2")
	theirs := &bench{Driver: b.open(other), t: t, srv: b.srv, cfg: other}
	s := node(1, 0)
	theirs.ensure(s)
	before := b.xml(s)

	named := node(2, 0)
	named.Name = s.Name
	for _, c := range []driver.Spec{s, named} {
		if err := b.Ensure(t.Context(), c); err == nil || !strings.Contains(err.Error(), s.Name) || !errors.Is(err, errForeign) {
			t.Errorf("ensure: %v", err)
		}
		if err := b.Power(t.Context(), s.UUID, driver.PowerRequest{Action: state.ActionOn}); !errors.Is(err, errForeign) {
			t.Errorf("power: %v", err)
		}
		if err := b.Remove(t.Context(), c.UUID); err != nil {
			t.Errorf("remove of what is absent: %v", err)
		}
	}
	if all, err := b.Instances(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	if b.xml(s) != before {
		t.Error("a domain of another mesh was changed")
	}
	foreign := filepath.Join(b.cfg.Options["pool_path"], "tk3vol0")
	if err := os.WriteFile(foreign, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Ensure(t.Context(), node(3, 0)); err == nil || !strings.Contains(err.Error(), foreign) {
		t.Errorf("foreign file: %v", err)
	}
	mine := node(4, 0)
	b.ensure(mine)
	b.remove(mine)
	if text, err := os.ReadFile(foreign); err != nil || string(text) != "theirs" { //nolint:gosec // the test's
		t.Errorf("foreign file: %q, %v", text, err)
	}
	theirs.want(s, state.PowerOff, s.Digest())
}

func TestIntegrationLibvirtDriftIsSeenAndMended(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	vol := filepath.Join(b.cfg.Options["pool_path"], "tk1vol0")
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	id := b.srv.Virsh(t, "domid", s.Name)
	drift := map[string]func(){
		"undefined":        func() { b.srv.Virsh(t, "undefine", s.Name) },
		"volume deleted":   func() { _ = os.Remove(vol) },
		"memory edited":    func() { b.srv.Virsh(t, "setmaxmem", s.Name, "96M", "--config") },
		"epoch of another": func() { s.Epoch = 9 },
	}
	for name, do := range drift {
		epoch := s.Epoch
		do()
		if i := b.instance(s); i.Power != state.PowerOn || i.Digest != "" && s.Epoch == epoch {
			t.Errorf("%s: %+v", name, i)
		}
		b.ensure(s)
		b.want(s, state.PowerOn, s.Digest())
		if now := b.srv.Virsh(t, "domid", s.Name); now != id {
			t.Fatalf("%s: the guest was disturbed", name)
		}
	}
	if !fileExists(vol) {
		t.Error("the volume is missing")
	}
	// A guest that is undefined and switched off is still there.
	b.srv.Virsh(t, "undefine", s.Name)
	b.power(s, state.ActionCycle, "")
	b.want(s, state.PowerOn, s.Digest())
	// One that is off and undefined is to be made, or removed.
	b.power(s, state.ActionOff, "")
	b.srv.Virsh(t, "undefine", s.Name)
	b.want(s, state.PowerOff, "")
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestIntegrationLibvirtRunningGuestGetsChangesWithTheNextStart(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	id := b.srv.Virsh(t, "domid", s.Name)
	s.Machine.MemoryMB, s.Machine.VCPUs = 128, 2
	s.Machine.Volumes = []state.Volume{{CapacityBytes: 2 << 30}, {CapacityBytes: 1 << 20}}
	b.ensure(s)
	b.want(s, state.PowerOn, s.Digest())
	want := []string{"memory 64 MiB → 128 MiB", "vCPUs 1 → 2", "disk vdb is added", "disk vda: 1073741824 → 2147483648 bytes"}
	if got := b.instance(s).Pending; !slices.Equal(got, want) {
		t.Errorf("pending %q", got)
	}
	if now := b.srv.Virsh(t, "domid", s.Name); now != id {
		t.Error("the guest was disturbed")
	}
	b.power(s, state.ActionCycle, "")
	if i := b.instance(s); len(i.Pending) > 0 || i.Digest != s.Digest() {
		t.Errorf("after the start: %+v", i)
	}
}

func TestIntegrationLibvirtRecordsAreAdopted(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	s.Machine.BootMode = state.BootUEFI
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	b.Close()
	if err := os.RemoveAll(b.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	b.Driver = b.open(b.cfg)
	if i := b.instance(s); i.Power != state.PowerOn || i.Digest != "" {
		t.Errorf("%+v", i)
	}
	b.ensure(s)
	b.want(s, state.PowerOn, s.Digest())
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestIntegrationLibvirtWatch(t *testing.T) {
	b := newBench(t)
	events := make(chan driver.Event, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return b.Watch(ctx, func(e driver.Event) { events <- e }) })
	next := func(want driver.Event) {
		t.Helper()
		timeout := time.NewTimer(30 * time.Second)
		defer timeout.Stop()
		for {
			select {
			case e := <-events:
				if e == want {
					return
				}
				if want.Type == driver.EventPower && e.Type == want.Type {
					t.Fatalf("event %+v, want %+v", e, want)
				}
			case <-timeout.C:
				t.Fatalf("no event %+v", want)
			}
		}
	}
	next(driver.Event{Type: driver.EventReady})
	s := node(1, 0)
	b.ensure(s)
	next(driver.Event{Type: driver.EventChanged, UUID: s.UUID})
	on := driver.Event{Type: driver.EventPower, UUID: s.UUID, Power: state.PowerOn, Cause: driver.CauseRequest}
	off := driver.Event{Type: driver.EventPower, UUID: s.UUID, Power: state.PowerOff, Cause: driver.CauseRequest}
	b.power(s, state.ActionOn, "")
	next(on)
	b.power(s, state.ActionReset, "")
	next(driver.Event{Type: driver.EventReboot, UUID: s.UUID})
	b.power(s, state.ActionOff, "")
	next(off)
	off.Cause = driver.CauseHost
	for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
		b.power(s, state.ActionOn, "")
		next(on)
		p, err := os.FindProcess(b.srv.GuestPIDs()[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(signal); err != nil {
			t.Fatal(err)
		}
		next(off)
	}
	if err := b.srv.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err == nil {
		t.Error("the watch outlived its connection without an error")
	}
	if err := b.srv.Run(); err != nil {
		t.Fatal(err)
	}
	var again errgroup.Group
	again.Go(func() error { return b.Watch(ctx, func(e driver.Event) { events <- e }) })
	next(driver.Event{Type: driver.EventReady})
	cancel()
	if err := again.Wait(); err != nil {
		t.Error(err)
	}
}

func TestIntegrationLibvirtThatHangsOrRestarts(t *testing.T) {
	b := newBench(t)
	s := node(1, 0)
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	if err := b.srv.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var g errgroup.Group
	for range 2 * maxCalls {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if _, err := b.Instances(ctx); !errors.Is(err, state.ErrBusy) {
				return fmt.Errorf("a libvirtd that hangs: %w", err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("calls took %s", took)
	}
	if err := b.srv.Resume(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	eventually(t, "libvirtd answers again", func() bool { _, err := b.Instances(t.Context()); return err == nil })
	t.Logf("answers %s after SIGCONT", time.Since(began).Round(time.Millisecond))
	b.want(s, state.PowerOn, s.Digest())

	if err := b.srv.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Info(t.Context()); err == nil || !strings.Contains(err.Error(), "is libvirtd running?") {
		t.Errorf("info without libvirtd: %v", err)
	}
	if err := b.srv.Run(); err != nil {
		t.Fatal(err)
	}
	b.want(s, state.PowerOn, s.Digest())
	b.remove(s)
}

func TestIntegrationLibvirtOpensWithoutALibvirtd(t *testing.T) {
	dir := t.TempDir()
	d, err := open(driver.Config{Mesh: "m", DataDir: dir, ConsoleDir: dir, Options: map[string]string{"uri": "qemu+unix:///system?socket=" + dir + "/none"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Instances(t.Context()); !errors.Is(err, state.ErrBusy) || !strings.Contains(err.Error(), "is libvirtd running?") {
		t.Errorf("%v", err)
	}
}
