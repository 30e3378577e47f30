//go:build cgo && libvirt_dlopen

package libvirt

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// anothers makes a domain as another tool would, with a disk in qcow2 where that keeps its
// disks, and returns it as a node that is to be taken over.
func (b *bench) anothers(s driver.Spec) driver.Spec {
	b.t.Helper()
	s.Origin = driver.Origin{Volumes: []state.OriginVolume{{Path: filepath.Join(b.srv.Dir, "old-"+s.Name+".qcow2"), Format: formatQcow}}}
	b.qemuImg("create", "-q", "-f", "qcow2", s.Origin.Volumes[0].Path, "16M")
	file := filepath.Join(b.srv.Dir, s.Name+".xml")
	text := fmt.Sprintf(`<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='vda' bus='virtio'/></disk></devices></domain>`, s.Name, s.UUID, s.Origin.Volumes[0].Path)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.srv.Virsh(b.t, "define", file)
	return s
}

func (b *bench) qemuImg(args ...string) string {
	b.t.Helper()
	out, err := exec.CommandContext(b.t.Context(), "qemu-img", args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("qemu-img %v: %s", args, out)
	}
	return string(out)
}

// What was taken over moves as other nodes do, and its disk is on the other host in the
// format that it has, which is not the one that the node's type would give it.
func TestIntegrationLibvirtWhatWasTakenOverMoves(t *testing.T) {
	from, to := newBench(t), newBench(t)
	s := from.anothers(node(1, 0))
	from.ensure(s)
	l, err := from.Luggage(t.Context(), s.UUID)
	if err != nil || len(l.Files) != 1 || l.Files[0].Path != s.Origin.Volumes[0].Path {
		t.Fatalf("luggage %+v, %v", l.Files, err)
	}
	disk := whole(t, l.Files[0].Path)

	there := s
	there.Origin = driver.Origin{}
	dir, err := to.Stage(t.Context(), there)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vol0"), []byte(disk), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := to.Import(t.Context(), there, l); err != nil {
		t.Fatal(err)
	}
	there.Epoch = 9
	to.ensure(there)
	to.power(there, state.ActionOn, state.BootNone)
	to.want(there, state.PowerOn, there.Digest())
	if xml := to.xml(there); !strings.Contains(xml, "<driver name='qemu' type='qcow2'") {
		t.Errorf("its disk is not read as what it is:\n%s", xml)
	}
	to.remove(there)
	from.remove(s)
	for _, b := range []*bench{from, to} {
		if left := b.leftovers(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	if _, err := os.Stat(s.Origin.Volumes[0].Path); err == nil {
		t.Error("the disk that it had is left")
	}
}

func TestIntegrationLibvirtADifferenceToAnothersImageDoesNotMove(t *testing.T) {
	b := newBench(t)
	s := b.anothers(node(1, 0))
	path := s.Origin.Volumes[0].Path
	base := filepath.Join(b.srv.Dir, "base.qcow2")
	b.qemuImg("create", "-q", "-f", "qcow2", base, "16M")
	b.qemuImg("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, path)
	b.ensure(s)
	if _, err := b.Luggage(t.Context(), s.UUID); err == nil || !strings.Contains(err.Error(), "is a difference to "+base+", which is not the mesh's") {
		t.Errorf("error %v", err)
	}
	b.remove(s)
	if _, err := os.Stat(base); err != nil {
		t.Errorf("the image went with it: %v", err)
	}
}
