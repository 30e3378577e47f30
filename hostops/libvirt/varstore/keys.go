package varstore

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
)

// The types of signatures that are of use here (UEFI 2.10 §32.4.1).
var (
	CertX509   = must("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
	CertSHA256 = must("c1c41626-504c-4092-aca9-41f936934328")
)

// database is a variable with keys.
type database struct {
	Name   string
	Vendor GUID
}

// databases are those with keys, from what signs to what is signed.
var databases = []database{{"PK", Global}, {"KEK", Global}, {"db", ImageSecurity}, {"dbx", ImageSecurity}}

// Databases are the names of the variables with keys.
func Databases() []string {
	var out []string
	for _, d := range databases {
		out = append(out, d.Name)
	}
	return out
}

// flags are edk2's variables of one byte that go with the keys.
var flags = []database{{"SecureBootEnable", enableVendor}, {"CustomMode", customVendor}, {"VendorKeysNv", vendorKeys}}

// Keys says which keys a store has.
type Keys string

// What keys there are.
const (
	KeysNone  Keys = "none"  // neither platform key nor others
	KeysNoPK  Keys = "no-pk" // others, without a platform key: the firmware is in setup mode
	KeysTaken Keys = "taken" // a platform key: the firmware is in user mode
)

// Keys says which keys there are.
func (s *Store) Keys() Keys {
	if v, ok := s.Get("PK", Global); ok && len(v.Data) > 0 {
		return KeysTaken
	}
	for _, d := range databases {
		if v, ok := s.Get(d.Name, d.Vendor); ok && len(v.Data) > 0 && d.Name != "dbx" {
			return KeysNoPK
		}
	}
	return KeysNone
}

// Enforces reports whether firmware with Secure Boot enforces it with this store: there is
// a platform key, and nobody turned it off in the firmware's setup.
func (s *Store) Enforces() bool {
	v, ok := s.Get("SecureBootEnable", enableVendor)
	return s.Keys() == KeysTaken && (!ok || len(v.Data) == 1 && v.Data[0] == 1)
}

// SameKeys reports whether two stores have the same platform key.
func (s *Store) SameKeys(o *Store) bool {
	a, _ := s.Get("PK", Global)
	b, _ := o.Get("PK", Global)
	return len(a.Data) > 0 && bytes.Equal(a.Data, b.Data)
}

// Enrol gives the store the keys of another, in place of its own.
func (s *Store) Enrol(template *Store) error {
	if template.Keys() != KeysTaken {
		return errors.New("the variable store to take keys from has no platform key")
	}
	s.ClearKeys()
	for _, d := range append(append([]database{}, databases...), flags...) {
		if v, ok := template.Get(d.Name, d.Vendor); ok {
			s.Set(v)
		}
	}
	s.Enable(true)
	return nil
}

// Enable turns Secure Boot on or off, as the firmware's setup does; without a platform key it
// is off anyway.
func (s *Store) Enable(on bool) {
	if s.Keys() != KeysTaken {
		return
	}
	value := byte(0)
	if on {
		value = 1
	}
	s.Set(Variable{Name: "SecureBootEnable", Vendor: enableVendor, Attributes: NonVolatile | BootAccess, Data: []byte{value}})
}

// ClearKeys deletes all keys.
func (s *Store) ClearKeys() {
	for _, d := range append(append([]database{}, databases...), flags...) {
		s.Delete(d.Name, d.Vendor)
	}
}

// DeletePK deletes the platform key alone.
func (s *Store) DeletePK() {
	s.Delete("PK", Global)
	s.Delete("SecureBootEnable", enableVendor) // without one it is on as soon as there is a key
}

// Signature is an entry of a key database.
type Signature struct {
	Type, Owner GUID
	// Data is a certificate as DER for CertX509, a hash for CertSHA256.
	Data []byte
}

// PEM returns a certificate; empty: it is none.
func (g Signature) PEM() string {
	if g.Type != CertX509 {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Data}))
}

const listHeader = 28

// Signatures reads the EFI_SIGNATURE_LISTs that a key database consists of.
func Signatures(data []byte) ([]Signature, error) {
	var out []Signature
	for len(data) > 0 {
		if len(data) < listHeader {
			return nil, fmt.Errorf("signature list: %d bytes are left over", len(data))
		}
		size, header, each := binary.LittleEndian.Uint32(data[16:]), binary.LittleEndian.Uint32(data[20:]), binary.LittleEndian.Uint32(data[24:])
		if uint64(size) > uint64(len(data)) || uint64(listHeader)+uint64(header) > uint64(size) || each < 16 {
			return nil, fmt.Errorf("signature list: of %d bytes, with a header of %d and signatures of %d, in %d bytes", size, header, each, len(data))
		}
		body := data[listHeader+header : size]
		if len(body)%int(each) != 0 {
			return nil, fmt.Errorf("signature list: %d bytes of signatures of %d each", len(body), each)
		}
		for ; len(body) > 0; body = body[each:] {
			out = append(out, Signature{Type: GUID(data[:16]), Owner: GUID(body[:16]), Data: bytes.Clone(body[16:each])})
		}
		data = data[size:]
	}
	return out, nil
}

// Database returns the entries of a key database, "PK", "KEK", "db" or "dbx"; none if it is
// not there.
func (s *Store) Database(name string) ([]Signature, error) {
	for _, d := range databases {
		if d.Name != name {
			continue
		}
		v, ok := s.Get(d.Name, d.Vendor)
		if !ok {
			return nil, nil
		}
		out, err := Signatures(v.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s: not a key database", name)
}
