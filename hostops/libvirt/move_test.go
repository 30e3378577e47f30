//go:build cgo && libvirt_dlopen

package libvirt

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// seen is what of a domain's XML a guest's operating system has seen.
func (b *bench) seen(s driver.Spec) []string {
	b.t.Helper()
	return regexp.MustCompile(`<address type='pci'[^>]*>|machine='[^']*'|<mac [^>]*>|<uuid>[^<]*`).FindAllString(b.xml(s), -1)
}

func TestIntegrationLibvirtNodeMovesToAnotherLibvirtd(t *testing.T) {
	from, to := newBench(t), newBench(t)
	plug(t, 1, 0)
	image := filepath.Join(from.srv.Dir, "base.img")
	if err := os.WriteFile(image, make([]byte, 8<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	s := node(1, 1)
	s.Machine.BootMode = state.BootUEFI
	// One volume is in a pool of the operator's on another file system.
	far := elsewhere(t)
	for _, b := range []*bench{from, to} {
		dir := filepath.Join(far, filepath.Base(b.srv.Dir))
		b.srv.Virsh(t, "pool-create-as", "far", "dir", "--target", dir, "--build")
	}
	s.Machine.Volumes = []state.Volume{{CapacityBytes: 64 << 20, Image: image}, {CapacityBytes: 32 << 20}, {CapacityBytes: 16 << 20, Pool: "far"}}
	from.ensure(s)
	from.power(s, state.ActionOn, state.BootNone)
	if _, err := from.Luggage(t.Context(), s.UUID); err == nil {
		t.Error("luggage of a node that is on")
	}
	from.power(s, state.ActionOff, state.BootNone)

	l, err := from.Luggage(t.Context(), s.UUID)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	contents := map[string]string{}
	for _, f := range l.Files {
		names = append(names, f.Name)
		contents[f.Name] = whole(t, f.Path)
	}
	if !slices.Equal(names, []string{"vol0", "vol1", "vol2", "nvram"}) || l.Files[0].Image != image || l.Files[1].Image != "" {
		t.Fatalf("files %+v", l.Files)
	}
	contents["vol2"] = strings.Replace(contents["vol2"], "\x00\x00\x00\x00\x00", "other", 1)
	contents["vol1"] = strings.Replace(contents["vol1"], "\x00\x00\x00\x00\x00", "guest", 1)

	missing := s
	missing.Machine.Volumes = []state.Volume{{CapacityBytes: 64 << 20, Image: image + ".not"}}
	if _, err := to.Stage(t.Context(), missing); err == nil || !strings.Contains(err.Error(), "does not exist on this host") {
		t.Errorf("stage without the image: %v", err)
	}
	if left := to.instance(s); left.UUID != "" {
		t.Errorf("a refused stage left %+v", left)
	}
	dir, err := to.Stage(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// It ends where a crash could end it: with the files in their places, and no domain.
	if err := to.Import(t.Context(), s, driver.Luggage{Files: l.Files, Notes: []byte("<domain>")}); err == nil {
		t.Fatal("imported with notes that cannot be read")
	}
	again := to.open(to.cfg)
	if err := again.Import(t.Context(), s, l); err != nil {
		t.Fatal(err)
	}
	to.Driver = again
	to.want(s, state.PowerOff, s.Digest())
	s.Epoch = 9
	to.ensure(s)
	to.want(s, state.PowerOff, s.Digest())
	pool := to.cfg.Options["pool_path"]
	for name, path := range map[string]string{"vol0": filepath.Join(pool, "tk1vol0"), "vol1": filepath.Join(pool, "tk1vol1"),
		"vol2": filepath.Join(far, filepath.Base(to.srv.Dir), "tk1vol2"), "nvram": filepath.Join(pool, "tk1_VARS.fd")} {
		if whole(t, path) != contents[name] {
			t.Errorf("%s is not what it was", name)
		}
	}
	if backing, err := backingOf(filepath.Join(pool, "tk1vol0")); err != nil || backing != image {
		t.Errorf("backed by %q, %v", backing, err)
	}
	if diff := cmp.Diff(from.seen(s), to.seen(s)); diff != "" || len(to.seen(s)) < 5 {
		t.Errorf("what its guest sees: -before +after\n%s", diff)
	}
	from.remove(s)
	to.power(s, state.ActionOn, state.BootNone)
	to.want(s, state.PowerOn, s.Digest())
	to.remove(s)
	if left, _ := filepath.Glob(filepath.Join(far, "*", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	for _, b := range []*bench{from, to} {
		if left := b.leftovers(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}
