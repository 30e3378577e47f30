package varstore

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// blank makes an empty image as edk2 does: a store of 8 KiB, an event log, the working and
// spare areas.
func blank(t testing.TB) []byte {
	t.Helper()
	const store, total = 2 * page, 6 * page
	b := bytes.Repeat([]byte{erased}, total)
	h := b[:72]
	clear(h)
	copy(h[16:], volumeGUID[:])
	binary.LittleEndian.PutUint64(h[32:], total)
	copy(h[40:], volumeSignature)
	binary.LittleEndian.PutUint16(h[48:], 72)
	binary.LittleEndian.PutUint32(h[56:], total/page)
	binary.LittleEndian.PutUint32(h[60:], page)
	binary.LittleEndian.PutUint16(h[50:], -sum16(h))
	s := b[72:]
	copy(s, authGUID[:])
	binary.LittleEndian.PutUint32(s[16:], store-72)
	s[20], s[21] = storeFormatted, storeHealthy
	clear(s[22:28])
	w := b[store+page:]
	copy(w, workingGUID[:])
	binary.LittleEndian.PutUint64(w[24:], page-workHeader)
	return b
}

func parse(t testing.TB, image []byte) *Store {
	t.Helper()
	s, err := Parse(image)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func written(t testing.TB, s *Store) *Store {
	t.Helper()
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != len(s.image) {
		t.Fatalf("%d bytes, and %d before", len(b), len(s.image))
	}
	return parse(t, b)
}

func boot(name string, data ...byte) Variable {
	return Variable{Name: name, Vendor: Global, Attributes: NonVolatile | BootAccess | RuntimeAccess, Data: data}
}

func TestStoreKeepsWhatWasSet(t *testing.T) {
	t.Parallel()
	s := parse(t, blank(t))
	if n := len(s.Variables()); n != 0 {
		t.Fatalf("a blank store has %d variables", n)
	}
	db := Variable{Name: "db", Vendor: ImageSecurity, Attributes: 0x27, Time: [16]byte{0xe9, 7, 3}, Count: 4, PubKeyIndex: 5, Data: []byte{1, 2, 3}}
	s.Set(boot("BootOrder", 0, 0))
	s.Set(db)
	s.Set(boot("Boot0000", 1, 2, 3, 4, 5))
	s.Set(boot("BootOrder", 1, 0))
	s.Set(boot("Gone", 9))
	s.Delete("Gone", Global)
	s.Delete("Never", Global)
	want := []Variable{boot("BootOrder", 1, 0), db, boot("Boot0000", 1, 2, 3, 4, 5)}
	if diff := cmp.Diff(want, written(t, s).Variables()); diff != "" {
		t.Error(diff)
	}
	if _, ok := s.Get("db", Global); ok {
		t.Error("a variable is found under another vendor")
	}
	s.Set(boot("Large", make([]byte, 2*page)...))
	if _, err := s.Bytes(); !errors.Is(err, ErrFull) {
		t.Errorf("what does not fit: %v", err)
	}
}

// TestStoreStates has variables as the firmware leaves them: it changes one by adding
// another and deleting the first.
func TestStoreStates(t *testing.T) {
	t.Parallel()
	s := parse(t, blank(t))
	for i := range byte(7) {
		s.Set(boot("V"+string(rune('0'+i)), i))
	}
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	step := align(variableHeader + 6 + 1)
	at := func(i int) []byte { return b[align(s.begin)+i*step:] }
	rename := func(i int, digit byte) { at(i)[variableHeader+2] = digit }
	at(0)[2] = 0x3c // deleted
	at(1)[2] = 0x7f // its data were never whole
	at(2)[2] = stateTransition
	at(3)[2] = stateTransition // V3 → another V4, about to go
	rename(3, '4')
	at(5)[2] = stateTransition // V5 → V4, about to go as well, and behind the one that counts
	rename(5, '4')
	got := map[string]byte{}
	for _, v := range parse(t, b).Variables() {
		got[v.Name] = v.Data[0]
	}
	if diff := cmp.Diff(map[string]byte{"V2": 2, "V4": 4, "V6": 6}, got); diff != "" {
		t.Error(diff)
	}
	// A header that was cut short has no length.
	fill(at(6)[2:variableHeader])
	if got := len(parse(t, b).Variables()); got != 2 {
		t.Errorf("%d variables before a header that was cut short", got)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(b []byte) []byte{
		"nothing":         func([]byte) []byte { return nil },
		"no volume":       func(b []byte) []byte { b[16]++; return b },
		"no signature":    func(b []byte) []byte { b[40]++; return b },
		"wrong checksum":  func(b []byte) []byte { b[60]++; return b },
		"cut short":       func(b []byte) []byte { return b[:page] },
		"another format":  func(b []byte) []byte { copy(b[72:], plainGUID[:]); return b },
		"unknown format":  func(b []byte) []byte { b[72]++; return b },
		"store too large": func(b []byte) []byte { b[72+18] = 1; return b },
		"not formatted":   func(b []byte) []byte { b[72+20] = 0; return b },
		"variable too long": func(b []byte) []byte {
			binary.LittleEndian.PutUint16(b[100:], variableStart)
			clear(b[102:160])
			b[102], b[100+42] = stateAdded, 1
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse(spoil(blank(t))); !errors.Is(err, ErrFormat) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestParseFinishesAWrite has an image as it is when QEMU is killed after the firmware wrote
// the spare area, and before the store.
func TestParseFinishesAWrite(t *testing.T) {
	t.Parallel()
	s := parse(t, blank(t))
	s.Set(boot("New", 1))
	fresh, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b := blank(t)
	copy(b[4*page:], fresh[:2*page])
	q := b[3*page+workHeader:]
	q[0] = erased &^ 3 // allocated, and so are its writes
	binary.LittleEndian.PutUint64(q[24:], 1)
	binary.LittleEndian.PutUint64(q[32:], 0)
	r := q[ftwHeader:]
	clear(r[8:ftwRecord])
	binary.LittleEndian.PutUint64(r[24:], 2*page)
	binary.LittleEndian.PutUint64(r[32:], 0xffffffffffffffff-4*page+1)
	r[0] = erased
	if n := len(parse(t, b).Variables()); n != 0 {
		t.Fatalf("a spare area that is not whole was taken: %d variables", n)
	}
	r[0] = erased &^ spareComplete
	got := parse(t, b)
	if n := len(got.Variables()); n != 1 {
		t.Fatalf("the write was not finished: %d variables", n)
	}
	got.Delete("New", Global)
	if n := len(written(t, got).Variables()); n != 0 {
		t.Error("the write is finished a second time, over a later one")
	}
	r[0] &^= destComplete
	if n := len(parse(t, b).Variables()); n != 0 {
		t.Error("a write that is done was done again")
	}
}

// template reads a real image.
func template(t *testing.T, name string) *Store {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/usr/share/OVMF", name))
	if err != nil {
		t.Skipf("the package ovmf is not installed: %v", err)
	}
	return parse(t, b)
}

func TestRealImages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		keys      Keys
		kek, db   int
		subject   string // of a certificate in db
		variables int
	}{
		{name: "OVMF_VARS_4M.fd", keys: KeysNone},
		{name: "OVMF_VARS.fd", keys: KeysNone},
		{name: "OVMF_VARS_4M.ms.fd", keys: KeysTaken, kek: 2, db: 2, subject: "Microsoft Corporation UEFI CA 2011", variables: 20},
		{name: "OVMF_VARS.ms.fd", keys: KeysTaken, kek: 2, db: 2, subject: "Microsoft Corporation UEFI CA 2011", variables: 20},
		{name: "OVMF_VARS_4M.snakeoil.fd", keys: KeysTaken, kek: 1, db: 1, subject: "SnakeOil", variables: 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := template(t, c.name)
			again := written(t, s)
			if diff := cmp.Diff(s.Variables(), again.Variables()); diff != "" {
				t.Fatalf("written and read again: %s", diff)
			}
			if got := len(s.Variables()); got < c.variables || s.Keys() != c.keys || s.Enforces() != (c.keys == KeysTaken) {
				t.Errorf("%d variables, keys %s, enforces %v", got, s.Keys(), s.Enforces())
			}
			count := func(name string) int { return len(entries(t, s, name)) }
			if c.keys != KeysTaken {
				return
			}
			if count("PK") != 1 || count("KEK") < c.kek || count("db") < c.db || count("dbx") != 1 {
				t.Errorf("PK %d, KEK %d, db %d, dbx %d", count("PK"), count("KEK"), count("db"), count("dbx"))
			}
			if hash := entries(t, s, "dbx")[0]; hash.Type != CertSHA256 || len(hash.Data) != 32 || hash.PEM() != "" {
				t.Errorf("dbx: %v of %d bytes", hash.Type, len(hash.Data))
			}
			if names := subjects(t, s, "db"); !strings.Contains(strings.Join(names, "\n"), c.subject) {
				t.Errorf("db has %q", names)
			}
		})
	}
}

func entries(t *testing.T, s *Store, name string) []Signature {
	t.Helper()
	all, err := s.Database(name)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func subjects(t *testing.T, s *Store, name string) []string {
	t.Helper()
	var out []string
	for _, g := range entries(t, s, name) {
		block, _ := pem.Decode([]byte(g.PEM()))
		if block == nil {
			t.Fatalf("%s: no certificate: %s", name, g.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.Subject.String())
	}
	return out
}

func TestEnrolKeepsBootEntries(t *testing.T) {
	t.Parallel()
	from := template(t, "OVMF_VARS_4M.ms.fd")
	s := template(t, "OVMF_VARS_4M.fd")
	s.Set(boot("Boot0007", 7))
	s.Set(boot("BootOrder", 7, 0))
	own := slices.Clone(s.Variables())
	if err := s.Enrol(s); err == nil {
		t.Error("keys of a store without any were taken")
	}
	if err := s.Enrol(from); err != nil {
		t.Fatal(err)
	}
	s = written(t, s)
	if !s.Enforces() || !s.SameKeys(from) || cmp.Diff(from.mustData("db"), s.mustData("db")) != "" {
		t.Error("not the keys of the template")
	}
	if diff := cmp.Diff(own, s.Variables()[:len(own)]); diff != "" {
		t.Error(diff)
	}
	if _, ok := s.Get("Boot0001", Global); ok {
		t.Error("boot entries of the template came along")
	}
	s.Enable(false)
	if s.Enforces() {
		t.Error("it is turned off in the setup and enforced")
	}
	s.DeletePK()
	s = written(t, s)
	s.Enable(true)
	if s.Keys() != KeysNoPK || s.Enforces() || len(entries(t, s, "KEK")) == 0 {
		t.Errorf("without the platform key: %s", s.Keys())
	}
	s.ClearKeys()
	if diff := cmp.Diff(own, written(t, s).Variables()); diff != "" || s.Keys() != KeysNone {
		t.Errorf("cleared: %s %s", s.Keys(), diff)
	}
}

func (s *Store) mustData(name string) []byte {
	v, _ := s.Get(name, ImageSecurity)
	return v.Data
}

func TestSignaturesRefuse(t *testing.T) {
	t.Parallel()
	list := func(size, header, each uint32, body int) []byte {
		b := make([]byte, listHeader+body)
		binary.LittleEndian.PutUint32(b[16:], size)
		binary.LittleEndian.PutUint32(b[20:], header)
		binary.LittleEndian.PutUint32(b[24:], each)
		return b
	}
	if got, err := Signatures(append(list(28+4+40, 4, 20, 44), list(28+48, 0, 48, 48)...)); err != nil || len(got) != 3 || len(got[2].Data) != 32 {
		t.Errorf("two lists: %d signatures, %v", len(got), err)
	}
	for name, b := range map[string][]byte{
		"left over": make([]byte, 20), "no size": make([]byte, listHeader), "too long": list(100, 0, 20, 20),
		"header too long": list(48, 0xffffffff, 20, 20), "no signature size": list(48, 0, 0, 20), "not a multiple": list(48, 0, 19, 20),
	} {
		if _, err := Signatures(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestGUID(t *testing.T) {
	t.Parallel()
	if got := Global.String(); got != "8be4df61-93ca-11d2-aa0d-00e098032b8c" || Global[0] != 0x61 {
		t.Errorf("%s, % x", got, Global[:4])
	}
	for _, text := range []string{"", "8be4df61", "8be4df61-93ca-11d2-aa0d-00e098032bzz", "8be4df61-93ca-11d2-aa0d00-e098032b8c"} {
		if _, err := ParseGUID(text); err == nil {
			t.Errorf("%q is a GUID", text)
		}
	}
}

// FuzzParse reads what a guest, or another host, made of an image, and writes it again.
func FuzzParse(f *testing.F) {
	f.Add(blank(f))
	s := parse(f, blank(f))
	s.Set(boot("BootOrder", 1, 0))
	s.Set(Variable{Name: "db", Vendor: ImageSecurity, Attributes: 0x27, Data: make([]byte, listHeader)})
	full, err := s.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Fuzz(func(t *testing.T, image []byte) {
		s, err := Parse(image)
		if err != nil {
			return
		}
		for _, name := range Databases() {
			_, _ = s.Database(name)
		}
		b, err := s.Bytes()
		if err != nil {
			return
		}
		again := parse(t, b)
		if diff := cmp.Diff(s.Variables(), again.Variables()); diff != "" && !lossy(s) {
			t.Error(diff)
		}
	})
}

// lossy reports whether names are not the ones that were read: bad UTF-16 is not
// kept.
func lossy(s *Store) bool {
	return slices.ContainsFunc(s.Variables(), func(v Variable) bool { return strings.ContainsRune(v.Name, '\uFFFD') })
}
