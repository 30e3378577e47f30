//go:build cgo && libvirt_dlopen

package libvirt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// special is a node with most of what a type can say.
func special(i int) driver.Spec {
	s := node(i, 1)
	s.Machine.VCPUs = 4
	s.Machine.Volumes = []state.Volume{{CapacityBytes: 64 << 20, Serial: "disk-0"}, {CapacityBytes: 32 << 20, Format: "qcow2", Cache: "none", Discard: "ignore"},
		{CapacityBytes: 16 << 20, Bus: "scsi", WWN: "5000c50015ea71aa"}, {CapacityBytes: 16 << 20, Bus: "sata"}}
	s.Machine.Hardware = state.Hardware{CPUMode: "custom", CPUModel: "qemu64", Topology: state.Topology{Sockets: 1, Cores: 2, Threads: 2},
		ClockOffset: "localtime", DiskCache: "unsafe", NICModel: "e1000", NewConsoleLog: true, VNC: true, GuestAgent: true, VolumePrefix: "disk",
		SMBIOS:     state.SMBIOS{Manufacturer: "ACME", Product: "R1", Serial: "SN-{name}", SKU: "42", Family: "Racks", Asset: "A-{name}"},
		XMLOverlay: "<domain><memoryBacking><nosharepages/></memoryBacking><devices><disk><target dev='vda'/><driver queues='2'/></disk><watchdog model='i6300esb' action='reset'/></devices></domain>"}
	if fileExists("/sys/bus/usb/devices") { // libvirt looks there for those that are there
		s.Machine.Hardware.USBDevices = []state.USBDevice{{Vendor: "dead", Product: "beef"}}
	}
	return s
}

func TestIntegrationLibvirtMachineAsItsTypeSays(t *testing.T) {
	b := newBench(t)
	plug(t, 1, 0)
	s := special(1)
	b.ensure(s)
	b.want(s, state.PowerOff, s.Digest())
	before := b.xml(s)
	b.ensure(s)
	if after := b.xml(s); after != before {
		t.Errorf("a second Ensure changed it:\n%s\n%s", before, after)
	}
	b.power(s, state.ActionOn, "")
	b.want(s, state.PowerOn, s.Digest())
	if p := b.instance(s).Pending; len(p) > 0 {
		t.Errorf("pending: %q", p)
	}
	live := b.srv.Virsh(t, "dumpxml", s.Name)
	args := b.commandLine(live)
	for _, want := range []string{"sockets=1", "cores=2", "threads=2", "base=localtime", "virtio-scsi", "ide-hd", "e1000", "org.qemu.guest_agent.0", "manufacturer=ACME",
		"i6300esb", "disk-0", "qemu64", "mem-merge=off", "vnc 127.0.0.1:"} {
		if !strings.Contains(args, want) {
			t.Errorf("QEMU was not started with %s: %s", want, args)
		}
	}
	if !fileExists(filepath.Join(b.cfg.Options["pool_path"], "tk1disk0")) {
		t.Error("the file of the first volume is not named by vol_name_prefix")
	}
	b.wantCaches(s)
	b.wantVNC(b.instance(s).Display)
	b.wantSMBIOS(s)
	// What changes waits for the next start, and is said.
	s.Machine.Hardware.VNC, s.Machine.Hardware.DiskCache, s.Machine.Hardware.XMLOverlay = false, "writeback", "<domain><description>d</description></domain>"
	b.ensure(s)
	b.want(s, state.PowerOn, s.Digest())
	pending := strings.Join(b.instance(s).Pending, "\n")
	for _, want := range []string{"VNC is removed", "sdd raw sata cache unsafe → sdd raw sata cache writeback", "xml_overlay is another"} {
		if !strings.Contains(pending, want) {
			t.Errorf("pending has no %q: %s", want, pending)
		}
	}
	b.power(s, state.ActionCycle, "")
	if i := b.instance(s); len(i.Pending) > 0 || i.Display != "" || i.Digest != s.Digest() {
		t.Errorf("after the start: %+v", i)
	}
	// Another machine type has no place for what libvirt gave the old one.
	b.power(s, state.ActionOff, "")
	s.Machine.Hardware.MachineType, s.Machine.Hardware.DiskBus = "pc", "ide"
	s.Machine.Volumes[1].Bus = "virtio"
	b.ensure(s)
	b.want(s, state.PowerOff, s.Digest())
	b.power(s, state.ActionOn, "")
	if args := b.commandLine(b.srv.Virsh(t, "dumpxml", s.Name)); !strings.Contains(args, "pc-i440fx") {
		t.Errorf("QEMU was not started as pc: %s", args)
	}
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// wantCaches asks QEMU itself how disks are cached.
func (b *bench) wantCaches(s driver.Spec) {
	b.t.Helper()
	said := b.srv.Virsh(b.t, "qemu-monitor-command", s.Name, "--hmp", "info block")
	// The other half of the mode, writeback or writethrough, is up to the guest's firmware (virtio 1.2 §5.2.5).
	if !strings.Contains(said, ", ignore flushes") || !strings.Contains(said, ", direct") {
		b.t.Errorf("info block says no unsafe and no direct cache: %s", said)
	}
}

// wantVNC reads the banner of RFB (RFC 6143 §7.1.1).
func (b *bench) wantVNC(display string) {
	b.t.Helper()
	address, ok := strings.CutPrefix(display, "vnc://")
	if !ok {
		b.t.Fatalf("display %q, want a URL of vnc", display)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(b.t.Context(), "tcp", address)
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	banner := make([]byte, 12)
	if _, err := io.ReadFull(c, banner); err != nil || !bytes.HasPrefix(banner, []byte("RFB 003.")) {
		b.t.Errorf("%s says %q, %v, want RFB 003.…", display, banner, err)
	}
}

// wantSMBIOS reads the tables that the firmware made from the guest's memory (DSP0134 §5.2.1).
func (b *bench) wantSMBIOS(s driver.Spec) {
	b.t.Helper()
	read := func(address, size uint32) (out []byte) {
		said := b.srv.Virsh(b.t, "qemu-monitor-command", s.Name, "--hmp", fmt.Sprintf("xp /%dxw %#x", (size+3)/4, address))
		for _, word := range strings.Fields(said) {
			if hex, ok := strings.CutPrefix(word, "0x"); ok {
				n, err := strconv.ParseUint(hex, 16, 32)
				if err != nil {
					b.t.Fatalf("%q: %v", word, err)
				}
				out = binary.LittleEndian.AppendUint32(out, uint32(n))
			}
		}
		return out
	}
	var table []byte
	eventually(b.t, "the firmware's SMBIOS tables", func() bool {
		segment := read(0xf0000, 0x10000)
		i := bytes.Index(segment, []byte("_SM_"))
		if i < 0 || i+0x20 > len(segment) {
			return false
		}
		table = read(binary.LittleEndian.Uint32(segment[i+0x18:]), uint32(binary.LittleEndian.Uint16(segment[i+0x16:])))
		return true
	})
	for _, want := range []string{"ACME", "R1", "1.0", "SN-" + s.Name, "42", "Racks", "A-" + s.Name} {
		if !bytes.Contains(table, append([]byte(want), 0)) {
			b.t.Errorf("no %q in the guest's SMBIOS: %q", want, table)
		}
	}
}

func TestIntegrationLibvirtImagesAreCheckedCopiedAndFetched(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	image := filepath.Join(b.srv.Dir, "image.raw")
	content := bytes.Repeat([]byte("tenks"), 200_000)
	if err := os.WriteFile(image, content, 0o644); err != nil { //nolint:gosec // QEMU reads it
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	right, wrong := "sha256:"+hex.EncodeToString(sum[:]), "sha256:"+strings.Repeat("0", 64)
	var asked atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.ServeFile(w, r, image)
	}))
	defer web.Close()
	kept := filepath.Join(b.srv.Dir, "kept.raw")
	if err := os.WriteFile(kept, make([]byte, 1<<20), 0o666); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	s := node(11, 0)
	s.Machine.Volumes = []state.Volume{
		{CapacityBytes: 4 << 20, Image: image, Copy: true, Checksum: wrong, Format: "raw"},
		{CapacityBytes: 8 << 20, Image: web.URL + "/base.img", Checksum: right},
		{CapacityBytes: 1 << 20, Path: kept},
	}
	s.Machine.Hardware.CDROMs = []state.CDROM{{Image: image, Checksum: right}}
	err := b.Ensure(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "image "+image+": its checksum is "+right+", want "+wrong) {
		t.Fatalf("a wrong checksum: %v", err)
	}
	s.Machine.Volumes[0].Checksum = right
	b.ensure(s)
	b.want(s, state.PowerOff, s.Digest())
	pool := b.cfg.Options["pool_path"]
	copied, err := os.ReadFile(filepath.Join(pool, s.Name+"vol0")) //nolint:gosec // the test's
	if err != nil || len(copied) != 4<<20 || !bytes.HasPrefix(copied, content) {
		t.Errorf("the copy has %d bytes, %v", len(copied), err)
	}
	fetched := fetchedPath(pool, web.URL+"/base.img", right)
	out, err := exec.CommandContext(t.Context(), "qemu-img", "info", filepath.Join(pool, s.Name+"vol1")).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(fetched)) {
		t.Errorf("the second is no difference to %s: %v: %s", fetched, err, out)
	}
	other := node(12, 0)
	other.Machine.Volumes = []state.Volume{{CapacityBytes: 8 << 20, Image: web.URL + "/base.img", Checksum: right}}
	b.ensure(other)
	if n := asked.Load(); n != 1 {
		t.Errorf("the image was fetched %d times, want once", n)
	}
	b.power(s, state.ActionOn, "")
	b.want(s, state.PowerOn, s.Digest())
	if text := b.xml(s); !strings.Contains(text, "<target dev='sdc' bus='sata'/>") {
		t.Errorf("no second CD-ROM drive: %s", text)
	}
	b.power(s, state.ActionOff, "")
	// A disk that is there needs its image no longer where it is a copy, and goes on with the one that it
	// is a difference to, whatever checksum is declared now.
	if err := os.WriteFile(image, append([]byte("2"), content...), 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	s.Machine.Volumes[1].Checksum, s.Machine.Hardware.CDROMs = wrong, nil
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	b.want(s, state.PowerOn, s.Digest())
	third := node(13, 0)
	b.ensure(third)
	b.remove(third)
	if !fileExists(fetched) {
		t.Fatal("the image went that a disk is a difference to")
	}
	b.remove(s)
	if !fileExists(kept) || !fileExists(fetched) {
		t.Error("a file that is somebody's, or that another node needs, went with the node")
	}
	theirs := filepath.Join(b.srv.Dir, "theirs.qcow2")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-f", "qcow2", "-b", fetched, "-F", "raw", theirs).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	def := filepath.Join(b.srv.Dir, "theirs.xml")
	if err := os.WriteFile(def, []byte("<domain type='qemu'><name>theirs</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='"+theirs+"'/><target dev='vda' bus='virtio'/></disk></devices></domain>"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.srv.Virsh(t, "define", def)
	b.remove(other)
	if !fileExists(fetched) {
		t.Fatal("the image went that the disk of a domain of somebody's is a difference to, which is off")
	}
	// An image that is not what it was is told, and stays: disks are differences to it.
	if err := os.WriteFile(fetched, []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Ensure(t.Context(), other); err == nil || !strings.Contains(err.Error(), "its checksum is ") || !fileExists(fetched) {
		t.Errorf("a spoilt image: %v, and it is there: %t", err, fileExists(fetched))
	}
	b.srv.Virsh(t, "undefine", "theirs")
	b.remove(other)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What libvirt keeps of a node beyond its disks goes with it, while it runs.
func TestIntegrationLibvirtNothingIsLeftOfARunningMachine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tpms = filepath.Join(b.srv.Dir, "lib", "swtpm")
	s := node(41, 0)
	s.UUID = fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012x", rand.Uint64N(1<<48)) // processes are told by it, of other runs as well
	s.Machine.BootMode = state.BootUEFI
	s.Machine.Hardware = state.Hardware{VNC: true, ConsoleLogBytes: 100, ConsoleLogKeep: 3}
	if checkTPM(state.TPM2) == nil {
		s.Machine.TPM = state.TPM2
	}
	processes := func() (out []string) {
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range all {
			text, _ := os.ReadFile(file) //nolint:gosec // one that ends meanwhile is none
			if bytes.Contains(text, []byte(s.UUID)) {
				out = append(out, string(bytes.ReplaceAll(text[:min(100, len(text))], []byte{0}, []byte{' '})))
			}
		}
		return out
	}
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	log := consoleLog(b.cfg.ConsoleDir, s.Name)
	eventually(t, "an older log", func() bool {
		b.instance(s)
		return fileExists(log + ".0")
	})
	display, want := b.instance(s).Display, 1
	if s.Machine.TPM != "" {
		want = 2 // QEMU and swtpm
	}
	if running := processes(); len(running) < want || !strings.HasPrefix(display, "vnc://127.0.0.1:") {
		t.Errorf("it runs as %q, its screen is at %q", running, display)
	}
	b.remove(s)
	eventually(t, "its processes end", func() bool { return len(processes()) == 0 })
	if c, err := net.Dial("tcp", strings.TrimPrefix(display, "vnc://")); err == nil {
		_ = c.Close()
		t.Error("its screen is still shared")
	}
	for _, dir := range []string{"lib", "run", "etc", "pool", "console", "data"} {
		_ = filepath.WalkDir(filepath.Join(b.srv.Dir, dir), func(path string, _ os.DirEntry, err error) error {
			if err == nil && (strings.Contains(filepath.Base(path), s.Name) || strings.Contains(filepath.Base(path), s.UUID)) {
				t.Errorf("left: %s", path)
			}
			return nil
		})
	}
}

func TestIntegrationLibvirtARMShowsItsFirmware(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-aarch64"); err != nil {
		t.Skip("qemu-system-aarch64 is not installed: qemu-system-arm (Debian)")
	}
	if _, err := findARMFirmware(); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	b := newBench(t)
	info, err := b.Info(t.Context())
	if err != nil || info.Facts[driver.FactArchs] != "aarch64 x86_64" {
		t.Errorf("architectures %q, %v", info.Facts[driver.FactArchs], err)
	}
	s := node(21, 0)
	s.Machine.BootMode, s.Machine.MemoryMB, s.Machine.Hardware = state.BootUEFI, 256, state.Hardware{Arch: state.ArchARM, VNC: true}
	b.ensure(s)
	b.want(s, state.PowerOff, s.Digest())
	b.power(s, state.ActionOn, state.BootPXE)
	b.want(s, state.PowerOn, s.Digest())
	log := consoleLog(b.cfg.ConsoleDir, s.Name)
	eventually(t, "UEFI in "+log, func() bool {
		text, _ := os.ReadFile(log) //nolint:gosec // the test's
		return bytes.Contains(text, []byte("UEFI firmware"))
	})
	b.ensure(s)
	b.want(s, state.PowerOn, s.Digest())
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestIntegrationLibvirtConsoleLogIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := node(31, 0)
	s.Machine.Hardware.ConsoleLogBytes, s.Machine.Hardware.ConsoleLogKeep = 100, 1
	b.ensure(s)
	b.power(s, state.ActionOn, "")
	log := consoleLog(b.cfg.ConsoleDir, s.Name)
	eventually(t, "an older log", func() bool {
		b.instance(s)
		return fileExists(log + ".0")
	})
	b.power(s, state.ActionReset, "")
	eventually(t, "the log goes on", func() bool {
		i, err := os.Stat(log)
		return err == nil && i.Size() > 0
	})
	b.remove(s)
	silent := node(32, 0)
	silent.Machine.Hardware.NoConsoleLog = true
	b.ensure(silent)
	b.want(silent, state.PowerOff, silent.Digest())
	if strings.Contains(b.xml(silent), "<log") {
		t.Error("a console that is not to be logged is")
	}
	b.remove(silent)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
