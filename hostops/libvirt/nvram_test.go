package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenks/hostops/driver"
	"tenks/hostops/libvirt/varstore"
	"tenks/raftfsm/state"
)

func TestKeysThatAreDue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want, have vars
		due        string
	}{
		"nobody changed anything":       {},
		"turned on":                     {want: vars{Secure: true}, due: keysDefault},
		"it is on":                      {want: vars{Secure: true}, have: vars{Secure: true}},
		"turned off":                    {want: vars{Keys: keysDefault}, have: vars{Secure: true, Keys: keysDefault}},
		"on again":                      {want: vars{Secure: true, Keys: keysDefault, KeysAt: 1}, have: vars{Keys: keysDefault, KeysAt: 1}, due: keysDefault},
		"set":                           {want: vars{Keys: keysNone, KeysAt: 1}, due: keysNone},
		"set again":                     {want: vars{Keys: keysNone, KeysAt: 2}, have: vars{Keys: keysNone, KeysAt: 1}, due: keysNone},
		"set to what nobody knows of":   {want: vars{KeysAt: 2}, have: vars{KeysAt: 1}, due: keysDefault},
		"what was declared, explicitly": {want: vars{Secure: true, Keys: keysDefault}, have: vars{Secure: true}, due: keysDefault},
	} {
		if got := c.want.due(c.have); got != c.due {
			t.Errorf("%s: %q, want %q", name, got, c.due)
		}
	}
}

func TestSecureDomain(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Machine.BootMode, s.Machine.TPM, s.Setup.SecureBoot = state.BootUEFI, state.TPM2, true
	b := blueprintOf(s)
	b.Firmware.Secure = true
	d := build(t, b, nil)
	text, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`<smm state="on">`, `secure="yes"`, `<tpm model="tpm-crb">`, `<backend type="emulator" version="2.0">`} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s in %s", part, text)
		}
	}
	got := hardwareOf(d)
	if !got.Secure || got.TPM != state.TPM2 {
		t.Errorf("read back: %+v", got)
	}
	next := got
	next.Secure, next.TPM = false, ""
	if p := strings.Join(pending(got, next), "; "); p != "secure boot on → off; TPM 2.0 → none" {
		t.Errorf("pending: %s", p)
	}
}

func TestSpecsThatNoGuestCanBeMadeOf(t *testing.T) {
	t.Parallel()
	for part, change := range map[string]func(*driver.Spec){
		"needs boot mode uefi": func(s *driver.Spec) { s.Setup.SecureBoot = true },
		`TPM "1.2"`:            func(s *driver.Spec) { s.Machine.TPM = "1.2" },
	} {
		s := spec()
		change(&s)
		if err := checkSpec(s); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", part, err)
		}
	}
}

func TestSecureFirmwareThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	odd := filepath.Join(t.TempDir(), "vars.fd")
	if err := os.WriteFile(odd, []byte("laid out as nobody does"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := findSecure(odd); err == nil || !strings.Contains(err.Error(), "install ovmf (Debian)") {
		t.Errorf("got %v", err)
	}
}

// TestVariablesAreWrittenOnce has the records of a node that is off.
func TestVariablesAreWrittenOnce(t *testing.T) {
	t.Parallel()
	if _, err := findFirmware(state.BootUEFI, true); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	r, err := openRecords(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	rec := record{UUID: "u", Name: "n", Pool: dir}
	nvram := nvramPath(rec)
	rec.Files = []string{nvram}
	step := func(want vars, start bool) varstore.Keys {
		t.Helper()
		rec.Vars = want
		if err := r.settleVars(&rec, start); err != nil {
			t.Fatal(err)
		}
		if kept, _ := r.get("u"); rec.VarsNow != want || want != (vars{}) && kept.VarsNow != want {
			t.Fatalf("%+v is not noted: %+v", want, kept)
		}
		s, err := readVars(nvram)
		if err != nil {
			t.Fatal(err)
		}
		if s.Enforces() != want.Secure {
			t.Errorf("%+v: enforces %v", want, s.Enforces())
		}
		return s.Keys()
	}
	if err := r.settleVars(&rec, false); err != nil || fileExists(nvram) {
		t.Errorf("variables of a node that nobody changed, before its start: %v", err)
	}
	if got := step(vars{}, true); got != varstore.KeysTaken {
		t.Errorf("first start: %s", got)
	}
	if got := step(vars{Keys: keysNoPK, KeysAt: 1}, false); got != varstore.KeysNoPK {
		t.Errorf("without the platform key: %s", got)
	}
	if err := os.Chmod(nvram, 0o640); err != nil {
		t.Fatal(err)
	}
	if got := step(vars{Secure: true, Keys: keysDefault, KeysAt: 2}, false); got != varstore.KeysTaken {
		t.Errorf("turned on: %s", got)
	}
	i, err := os.Stat(nvram)
	if err != nil || i.Mode().Perm() != 0o640 {
		t.Errorf("its mode: %v, %v", i.Mode(), err)
	}
	step(vars{Secure: true, Keys: keysDefault, KeysAt: 2}, true)
	if j, err := os.Stat(nvram); err != nil || !j.ModTime().Equal(i.ModTime()) {
		t.Errorf("written again by a start: %v", err)
	}
	if err := os.WriteFile(nvram, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	rec.Vars = vars{Keys: keysNone, KeysAt: 3}
	if err := r.settleVars(&rec, false); err == nil || !strings.Contains(err.Error(), nvram) {
		t.Errorf("variables that are none: %v", err)
	}
}
