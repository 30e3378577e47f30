package varstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
)

// ErrFormat is what an image is that is none of ours; ErrFull is a store that has no room
// for what was put into it.
var (
	ErrFormat = errors.New("not a UEFI variable store")
	ErrFull   = errors.New("the variable store is full")
)

// Attributes of variables (UEFI 2.10 §8.2).
const (
	NonVolatile       = 0x01
	BootAccess        = 0x02
	RuntimeAccess     = 0x04
	TimeAuthenticated = 0x20
)

// Variable is a UEFI variable.
type Variable struct {
	Name       string
	Vendor     GUID
	Attributes uint32
	// Time is the EFI_TIME of the last authenticated write, Count its monotonic count,
	// PubKeyIndex the key of an old kind of authentication. All are kept as they were.
	Time        [16]byte
	Count       uint64
	PubKeyIndex uint32
	Data        []byte
}

// Store is a variable store. It is not safe for concurrent use.
type Store struct {
	image []byte
	// begin and end are where variables are in image; work is the working area of fault
	// tolerant writes, empty where there is none.
	begin, end int
	work       span
	vars       []Variable
}

type span struct{ begin, end int }

const (
	volumeHeader   = 56 // before the block map
	storeHeader    = 28
	variableHeader = 60
	maxImage       = 16 << 20

	stateAdded      = 0x3f
	stateTransition = 0x3e // about to be deleted: valid unless there is an added one

	variableStart   = 0x55aa
	storeFormatted  = 0x5a
	storeHealthy    = 0xfe
	erased          = 0xff
	unwritten       = 0xffffffff
	volumeSignature = "_FVH"
)

// Parse reads an image. The result has a copy of it.
func Parse(image []byte) (*Store, error) {
	if len(image) > maxImage {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(image))
	}
	s := &Store{image: bytes.Clone(image)}
	if err := s.locate(); err != nil {
		return nil, err
	}
	s.findWork()
	if s.restart() {
		if err := s.locate(); err != nil {
			return nil, err
		}
	}
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// locate reads the headers of the firmware volume (PI 1.8 volume 3 §3.2.1) and of the store.
func (s *Store) locate() error {
	b := s.image
	if len(b) < volumeHeader || GUID(b[16:32]) != volumeGUID || string(b[40:44]) != volumeSignature {
		return fmt.Errorf("%w: no firmware volume with variables", ErrFormat)
	}
	header := int(binary.LittleEndian.Uint16(b[48:]))
	length := binary.LittleEndian.Uint64(b[32:])
	if header < volumeHeader || header%2 != 0 || header+storeHeader > len(b) || length > uint64(len(b)) {
		return fmt.Errorf("%w: firmware volume: header of %d bytes, volume of %d, image of %d", ErrFormat, header, length, len(b))
	}
	if sum16(b[:header]) != 0 {
		return fmt.Errorf("%w: firmware volume: wrong checksum", ErrFormat)
	}
	h := b[header:]
	switch GUID(h[:16]) {
	case authGUID:
	case plainGUID:
		return fmt.Errorf("%w: its variables are not of the authenticated format: the firmware cannot do Secure Boot", ErrFormat)
	default:
		return fmt.Errorf("%w: store %s", ErrFormat, GUID(h[:16]))
	}
	size := binary.LittleEndian.Uint32(h[16:])
	if size < storeHeader || uint64(header)+uint64(size) > length || h[20] != storeFormatted || h[21] != storeHealthy {
		return fmt.Errorf("%w: store of %d bytes, format %#x, state %#x", ErrFormat, size, h[20], h[21])
	}
	s.begin, s.end = header+storeHeader, header+int(size)
	return nil
}

func sum16(b []byte) uint16 {
	var sum uint16
	for i := 0; i+1 < len(b); i += 2 {
		sum += binary.LittleEndian.Uint16(b[i:])
	}
	return sum
}

// align returns where a variable may begin that is not before n.
func align(n int) int { return (n + 3) &^ 3 }

// read reads the variables that count.
func (s *Store) read() error {
	index := map[string]int{}
	added := map[string]bool{}
	for at := align(s.begin); at+variableHeader <= s.end; {
		h := s.image[at:s.end]
		if binary.LittleEndian.Uint16(h) != variableStart {
			break // the free space begins
		}
		v, state, size, err := parseVariable(h)
		if err != nil {
			return fmt.Errorf("%w: at byte %d: %w", ErrFormat, at, err)
		}
		at = align(at + size)
		if state != stateAdded && state != stateTransition {
			continue
		}
		key := v.Vendor.String() + v.Name
		i, known := index[key]
		switch {
		case !known:
			index[key] = len(s.vars)
			s.vars = append(s.vars, v)
		case state == stateAdded || !added[key]:
			s.vars[i] = v
		}
		added[key] = added[key] || state == stateAdded
	}
	return nil
}

// parseVariable reads the first variable of h and says how long it is.
func parseVariable(h []byte) (v Variable, state byte, size int, err error) {
	state = h[2]
	v.Attributes = binary.LittleEndian.Uint32(h[4:])
	v.Count = binary.LittleEndian.Uint64(h[8:])
	v.Time = [16]byte(h[16:32])
	v.PubKeyIndex = binary.LittleEndian.Uint32(h[32:])
	name, data := binary.LittleEndian.Uint32(h[36:]), binary.LittleEndian.Uint32(h[40:])
	v.Vendor = GUID(h[44:60])
	if state == erased || name == unwritten || data == unwritten || v.Attributes == unwritten {
		return v, erased, variableHeader, nil // its header was cut short: the firmware goes on behind it
	}
	if uint64(variableHeader)+uint64(name)+uint64(data) > uint64(len(h)) || name%2 != 0 {
		return v, state, 0, fmt.Errorf("a variable with a name of %d bytes and %d bytes of data", name, data)
	}
	body := h[variableHeader:]
	v.Name = decodeName(body[:name])
	v.Data = bytes.Clone(body[name : name+data])
	return v, state, variableHeader + int(name) + int(data), nil
}

func decodeName(b []byte) string {
	var u []uint16
	for i := 0; i+1 < len(b); i += 2 {
		c := binary.LittleEndian.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

func encodeName(name string) []byte {
	var b []byte
	for _, c := range append(utf16.Encode([]rune(name)), 0) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

// Variables returns all variables, in the order of the store.
func (s *Store) Variables() []Variable {
	out := slices.Clone(s.vars)
	for i := range out {
		out[i].Data = bytes.Clone(out[i].Data)
	}
	return out
}

func (s *Store) find(name string, vendor GUID) int {
	return slices.IndexFunc(s.vars, func(v Variable) bool { return v.Name == name && v.Vendor == vendor })
}

// Get returns a variable.
func (s *Store) Get(name string, vendor GUID) (Variable, bool) {
	i := s.find(name, vendor)
	if i < 0 {
		return Variable{}, false
	}
	v := s.vars[i]
	v.Data = bytes.Clone(v.Data)
	return v, true
}

// Set adds a variable, or puts it in place of the one of its name and vendor.
func (s *Store) Set(v Variable) {
	v.Data = bytes.Clone(v.Data)
	if i := s.find(v.Name, v.Vendor); i >= 0 {
		s.vars[i] = v
		return
	}
	s.vars = append(s.vars, v)
}

// Delete removes a variable; an absent one is no error.
func (s *Store) Delete(name string, vendor GUID) {
	if i := s.find(name, vendor); i >= 0 {
		s.vars = slices.Delete(s.vars, i, i+1)
	}
}

// Bytes returns the image with the variables, compacted: what was deleted takes no space.
func (s *Store) Bytes() ([]byte, error) {
	out := bytes.Clone(s.image)
	fill(out[s.begin:s.end])
	at := align(s.begin)
	for _, v := range s.vars {
		name := encodeName(v.Name)
		size := variableHeader + len(name) + len(v.Data)
		if at+size > s.end {
			return nil, fmt.Errorf("%w: %s does not fit into %d bytes", ErrFull, v.Name, s.end-s.begin)
		}
		h := out[at:]
		binary.LittleEndian.PutUint16(h, variableStart)
		h[2], h[3] = stateAdded, 0
		binary.LittleEndian.PutUint32(h[4:], v.Attributes)
		binary.LittleEndian.PutUint64(h[8:], v.Count)
		copy(h[16:32], v.Time[:])
		binary.LittleEndian.PutUint32(h[32:], v.PubKeyIndex)
		binary.LittleEndian.PutUint32(h[36:], uint32(len(name)))   //nolint:gosec // fits into the image
		binary.LittleEndian.PutUint32(h[40:], uint32(len(v.Data))) //nolint:gosec // as above
		copy(h[44:60], v.Vendor[:])
		copy(h[variableHeader:], name)
		copy(h[variableHeader+len(name):], v.Data)
		at = align(at + size)
	}
	if s.work.end > 0 { // no write is under way that would overwrite this one
		fill(out[s.work.begin+workHeader : s.work.end])
	}
	return out, nil
}

// fill makes flash erased.
func fill(b []byte) {
	for i := range b {
		b[i] = erased
	}
}
