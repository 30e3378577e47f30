//go:build cgo && libvirt_dlopen

package libvirt

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/hostops/libvirt/varstore"
	"tenks/raftfsm/state"
)

const hello = "HELLO FROM A PROGRAM"

// efiNode is a node whose disk has a program.
func (b *bench) efiNode(program []byte) driver.Spec {
	b.t.Helper()
	if _, err := findFirmware(state.BootUEFI, true); err != nil {
		b.t.Skip(err)
	}
	s := node(1, 0)
	s.Machine.BootMode, s.Machine.MemoryMB = state.BootUEFI, 256
	s.Machine.Volumes[0].CapacityBytes = 2 << 20
	b.ensure(s)
	b.putProgram(s, program)
	return s
}

func (b *bench) putProgram(s driver.Spec, program []byte) {
	b.t.Helper()
	f, err := os.OpenFile(filepath.Join(b.cfg.Options["pool_path"], s.Name+"vol0"), os.O_WRONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = f.Write(efiDisk(program))
	if err := f.Close(); err != nil {
		b.t.Fatal(err)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// start starts a node and waits for a text of its firmware, which it returns with what else
// there was. One of others ends the wait as well.
func (b *bench) start(s driver.Spec, want string, others ...string) {
	b.t.Helper()
	log := consoleLog(b.cfg.ConsoleDir, s.Name)
	if err := os.Truncate(log, 0); err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	began := time.Now()
	b.power(s, state.ActionOn, state.BootDisk)
	var text []byte
	eventually(b.t, "the firmware says "+want, func() bool {
		text, _ = os.ReadFile(log)
		return slices.ContainsFunc(append(others, want), func(w string) bool { return bytes.Contains(text, []byte(w)) })
	})
	if !bytes.Contains(text, []byte(want)) {
		b.t.Fatalf("instead of %q: %q", want, text)
	}
	b.t.Logf("%q after %v", want, time.Since(began).Round(100*time.Millisecond))
}

func (b *bench) facts(s driver.Spec, secureBoot, keys string) {
	b.t.Helper()
	f := b.instance(s).Firmware
	if f[driver.FirmwareSecureBoot] != secureBoot || f[driver.FirmwareKeys] != keys {
		b.t.Errorf("secure boot %s with keys %s, want %s with %s", f[driver.FirmwareSecureBoot], f[driver.FirmwareKeys], secureBoot, keys)
	}
}

func (b *bench) nvram(s driver.Spec) *varstore.Store {
	b.t.Helper()
	rec, _ := b.records.get(s.UUID)
	store, err := readVars(nvramPath(rec))
	if err != nil {
		b.t.Fatal(err)
	}
	return store
}

const denied = "Access Denied"

func TestIntegrationLibvirtSecureBootIsEnforced(t *testing.T) {
	b := newBench(t)
	program := efiProgram("\r\n" + hello + "\r\n")
	s := b.efiNode(program)
	b.facts(s, driver.SecureBootOff, keysDefault)
	b.start(s, hello, denied)
	b.facts(s, driver.SecureBootOff, keysDefault)
	if f := b.instance(s).Firmware; !strings.HasPrefix(f[driver.FirmwareCertificates+"db"], "-----BEGIN CERTIFICATE-----") {
		t.Errorf("db: %q", f[driver.FirmwareCertificates+"db"])
	}

	s.Setup = driver.Setup{SecureBoot: true, Keys: keysDefault, KeysAt: 1}
	b.ensure(s) // it runs
	if got := b.instance(s).Pending; !slices.Equal(got, []string{"secure boot off → on", "secure boot keys → default"}) {
		t.Errorf("pending %q", got)
	}
	b.facts(s, driver.SecureBootOff, keysDefault)
	b.power(s, state.ActionOff, "")
	entry, ok := b.nvram(s).Get("Boot0001", varstore.Global)
	if !ok {
		t.Error("the firmware has written no boot entry")
	}
	b.start(s, denied, hello)
	b.facts(s, driver.SecureBootEnforced, keysDefault)
	b.want(s, state.PowerOn, s.Digest())
	if got := b.instance(s).Pending; len(got) > 0 {
		t.Errorf("pending %q", got)
	}
	if again, _ := b.nvram(s).Get("Boot0001", varstore.Global); !bytes.Equal(entry.Data, again.Data) {
		t.Error("its boot entry is gone")
	}
	b.power(s, state.ActionOff, "")
	b.facts(s, driver.SecureBootOff, keysDefault)

	signed := b.ownKeys(s, program)
	b.facts(s, driver.SecureBootOff, keysCustom)
	b.putProgram(s, signed)
	b.start(s, hello, denied)
	b.facts(s, driver.SecureBootEnforced, keysCustom)
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestIntegrationLibvirtSecureBootOfAChassis has what clients of a BMC call.
func TestIntegrationLibvirtSecureBootOfAChassis(t *testing.T) {
	b := newBench(t)
	if _, err := findFirmware(state.BootUEFI, true); err != nil {
		t.Skip(err)
	}
	s := node(1, 0)
	s.Machine.BootMode, s.Machine.MemoryMB = state.BootUEFI, 128
	_, c := withChassis(t, b, s)
	eventually(t, "the chassis knows its firmware", func() bool { _, ok := c.SecureBoot(); return ok })
	power := func(action state.PowerAction) {
		t.Helper()
		eventually(t, "power "+string(action), func() bool { return c.Power(t.Context(), action) == nil })
	}
	if err := c.SetSecureBoot(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	power(state.ActionOn)
	eventually(t, "it is enforced", func() bool { is, _ := c.SecureBoot(); return is.Enforced && is.Enrolled == keysDefault })
	if is, _ := c.SecureBoot(); len(is.Certificates["db"]) < 2 || len(is.Certificates["PK"]) != 1 || len(is.Hashes["dbx"]) == 0 {
		t.Errorf("%d certificates in db, %d in PK, %d hashes in dbx", len(is.Certificates["db"]), len(is.Certificates["PK"]), len(is.Hashes["dbx"]))
	}
	if err := c.ResetKeys(t.Context(), keysNone); err != nil {
		t.Fatal(err)
	}
	if err := c.SetSecureBoot(t.Context(), true); !errors.Is(err, state.ErrWrongState) {
		t.Errorf("without keys: %v", err)
	}
	power(state.ActionReset) // a cycle, since it changed
	eventually(t, "the keys are gone", func() bool { is, _ := c.SecureBoot(); return !is.Enforced && is.Enrolled == keysNone })
}

// TestIntegrationLibvirtSecureBootKeys changes keys of a node that is off.
func TestIntegrationLibvirtSecureBootKeys(t *testing.T) {
	b := newBench(t)
	s := b.efiNode(efiProgram(hello))
	rec, _ := b.records.get(s.UUID)
	if fileExists(nvramPath(rec)) {
		t.Error("a node that nobody changed has its variables before its first start")
	}
	for i, c := range []struct {
		setup driver.Setup
		seen  string
		want  varstore.Keys
	}{
		{driver.Setup{SecureBoot: true}, keysDefault, varstore.KeysTaken},
		{driver.Setup{Keys: keysNoPK, KeysAt: 1}, keysNoPK, varstore.KeysNoPK},
		{driver.Setup{Keys: keysNoPK, KeysAt: 2}, keysNoPK, varstore.KeysNoPK},
		{driver.Setup{Keys: keysNone, KeysAt: 3}, keysNone, varstore.KeysNone},
		{driver.Setup{Keys: keysDefault, KeysAt: 4}, keysDefault, varstore.KeysTaken},
		{driver.Setup{Keys: keysDefault, KeysAt: 4, SecureBoot: true}, keysDefault, varstore.KeysTaken},
		{driver.Setup{Keys: keysDefault, KeysAt: 4}, keysDefault, varstore.KeysTaken},
		{driver.Setup{}, keysDefault, varstore.KeysTaken},
	} {
		s.Setup = c.setup
		b.ensure(s)
		b.want(s, state.PowerOff, s.Digest())
		b.facts(s, driver.SecureBootOff, c.seen)
		if got := b.nvram(s).Keys(); got != c.want {
			t.Errorf("step %d: %s", i, got)
		}
		if got := b.nvram(s).Enforces(); got != c.setup.SecureBoot {
			t.Errorf("step %d: the firmware would enforce: %v", i, got)
		}
		if secure := strings.Contains(b.xml(s), "secure='yes'"); secure != c.setup.SecureBoot {
			t.Errorf("step %d: loader secure: %v", i, secure)
		}
		before := b.xml(s)
		if b.ensure(s); b.xml(s) != before {
			t.Errorf("step %d: repeating Ensure changed the domain", i)
		}
	}
	// What the firmware, or the guest, did to them stays until they are set again.
	b.ownKeys(s, nil)
	b.ensure(s)
	b.facts(s, driver.SecureBootOff, keysCustom)
	// Without Secure Boot a guest could have written any: none of those is enforced.
	s.Setup = driver.Setup{SecureBoot: true, Keys: keysDefault}
	b.ensure(s)
	b.facts(s, driver.SecureBootOff, keysDefault)
	l, err := b.Luggage(t.Context(), s.UUID)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := noted(l.Notes); err != nil || f.mark.Vars != (vars{Secure: true, Keys: keysDefault}) {
		t.Errorf("what goes along: %+v, %v", f.mark.Vars, err)
	}
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// ownKeys gives a node other keys, and returns a program that is signed with them.
func (b *bench) ownKeys(s driver.Spec, program []byte) []byte {
	b.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own"}, NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.t.Fatal(err)
	}
	list := slices.Concat(varstore.CertX509[:], make([]byte, 12+16), der)
	binary.LittleEndian.PutUint32(list[16:], uint32(len(list)))    //nolint:gosec // small
	binary.LittleEndian.PutUint32(list[24:], uint32(len(list)-28)) //nolint:gosec // small
	store := b.nvram(s)
	for _, name := range []string{"PK", "KEK", "db"} {
		vendor := varstore.Global
		if name == "db" {
			vendor = varstore.ImageSecurity
		}
		store.Set(varstore.Variable{Name: name, Vendor: vendor, Attributes: 0x27, Time: [16]byte{0xe9, 7, 1, 1}, Data: list})
	}
	image, err := store.Bytes()
	if err != nil {
		b.t.Fatal(err)
	}
	rec, _ := b.records.get(s.UUID)
	if err := replaceFile(nvramPath(rec), image); err != nil {
		b.t.Fatal(err)
	}
	if program == nil {
		return nil
	}
	if _, err := exec.LookPath("sbsign"); err != nil {
		b.t.Skip("sbsign (sbsigntool) is not installed: no signed program is started")
	}
	dir := b.t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string][]byte{
		"key":     pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"cert":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"program": program,
	} {
		if err := os.WriteFile(path(name), text, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(b.t.Context(), "sbsign", "--key", path("key"), "--cert", path("cert"), "--output", path("signed"), path("program")).CombinedOutput(); err != nil {
		b.t.Fatalf("sbsign: %v: %s", err, out)
	}
	signed, err := os.ReadFile(path("signed"))
	if err != nil {
		b.t.Fatal(err)
	}
	return signed
}

func TestIntegrationLibvirtTPM(t *testing.T) {
	b := newBench(t)
	if err := checkTPM(state.TPM2); err != nil {
		t.Skip(err)
	}
	b.tpms = filepath.Join(b.srv.Dir, "lib", "swtpm")
	s := node(1, 0)
	s.Machine.TPM = state.TPM2
	b.ensure(s)
	b.want(s, state.PowerOff, s.Digest())
	before := b.xml(s)
	if b.ensure(s); b.xml(s) != before {
		t.Error("repeating Ensure changed the domain")
	}
	b.power(s, state.ActionOn, "")
	if live := b.srv.Virsh(t, "dumpxml", s.Name); !strings.Contains(live, "<tpm model='tpm-crb'>") {
		t.Errorf("the guest has no TPM: %s", live)
	}
	b.power(s, state.ActionOff, "")
	kept, err := os.ReadFile(b.tpmState(s.UUID))
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.Luggage(t.Context(), s.UUID)
	if err != nil || l.Files[len(l.Files)-1].Name != tpmName {
		t.Fatalf("luggage %+v, %v", l.Files, err)
	}
	b.remove(s)
	if fileExists(b.tpmHome(s.UUID)) {
		t.Error("the TPM's state is left")
	}

	// It comes back, as to another host.
	stage, err := b.Stage(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stage, tpmName), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Import(t.Context(), s, driver.Luggage{Notes: l.Notes, Files: []driver.File{{Name: tpmName}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(b.tpmState(s.UUID)); err != nil || !bytes.Equal(got, kept) {
		t.Fatalf("its state: %v", err)
	}
	b.power(s, state.ActionOn, "")
	if log := b.tpmLog(s); strings.Count(log, "Starting vTPM manufacturing") != 1 {
		t.Errorf("it was made anew: %s", log)
	}
	b.remove(s)
	if left := b.leftovers(); len(left) > 0 || fileExists(b.tpmHome(s.UUID)) {
		t.Errorf("left: %v", left)
	}
}

func (b *bench) tpmLog(s driver.Spec) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.srv.Dir, "log", "swtpm", "libvirt", "qemu", s.Name+"-swtpm.log"))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}
