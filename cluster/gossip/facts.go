package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of what is encoded and decoded.
const (
	// maxMeta bounds a peer's metadata, in bytes: memberlist panics above.
	maxMeta = 512
	// maxRecord bounds the facts of one peer in an exchange of states, in bytes.
	maxRecord = 16 << 10
	// maxState bounds what one exchange carries of ours, in bytes and peers.
	maxState, maxRecords = 1 << 20, 4096
	// format is the first byte of both; other formats are not read.
	format = 1
)

// Facts of a peer. They are meant to change seldom: the whole mesh has room for a few
// changes each second.
type Facts struct {
	Name, Zone, Role, Version string
	// APIAddress is the host:port of the port for everything that is mTLS.
	APIAddress string
	// Drivers and Physnets may be missing for some time in a peer's facts; Truncated says
	// so, and that names may be cut.
	Drivers, Physnets []string
	VCPUs             int
	MemoryMB, DiskGB  uint64
	// FreeEighths is how much memory is free, in eighths. It is spread with a delay.
	FreeEighths uint8
	// Boot is a short form of the boot's ID.
	Boot string
	// Generation is the mesh's. Peers of different generations do not hear each other; 0
	// is unknown, and heard by all.
	Generation uint64
	// Level is the newest format of the replicated state that the peer knows; 0: the first.
	Level int
	// Truncated is set for what others say of themselves; what is given is ignored.
	Truncated bool
}

// wireFacts are Facts as they travel: their keys never change. New ones may come,
// and are ignored by older versions.
type wireFacts struct {
	Name        string   `cbor:"1,keyasint,omitempty"`
	Zone        string   `cbor:"2,keyasint,omitempty"`
	Role        string   `cbor:"3,keyasint,omitempty"`
	Version     string   `cbor:"4,keyasint,omitempty"`
	APIAddress  string   `cbor:"5,keyasint,omitempty"`
	Drivers     []string `cbor:"6,keyasint,omitempty"`
	Physnets    []string `cbor:"7,keyasint,omitempty"`
	VCPUs       int      `cbor:"8,keyasint,omitempty"`
	MemoryMB    uint64   `cbor:"9,keyasint,omitempty"`
	DiskGB      uint64   `cbor:"10,keyasint,omitempty"`
	FreeEighths uint8    `cbor:"11,keyasint,omitempty"`
	Boot        string   `cbor:"12,keyasint,omitempty"`
	Generation  uint64   `cbor:"13,keyasint,omitempty"`
	Level       int      `cbor:"15,keyasint,omitempty"`
	Truncated   bool     `cbor:"14,keyasint,omitempty"`
}

// edition is what a peer said of itself at some time. The higher revision is newer.
type edition struct {
	Revision uint64    `cbor:"1,keyasint"`
	Facts    wireFacts `cbor:"2,keyasint"`
	// Leaving is the last thing that a peer says.
	Leaving bool `cbor:"3,keyasint,omitempty"`
}

// record is an edition of some peer, in an exchange of states.
type record struct {
	ID      string  `cbor:"1,keyasint"`
	Edition edition `cbor:"2,keyasint"`
}

var encoder, decoder = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	// Equal facts give equal bytes, by which they are compared.
	e, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	d, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, MaxArrayElements: maxRecords,
		MaxMapPairs: 64, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden}.DecMode()
	if err != nil {
		panic(err)
	}
	return e, d
}

// encode cannot fail: our types hold nothing that CBOR does not.
func encode(v any) []byte {
	b, err := encoder.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("gossip: encode %T: %v", v, err))
	}
	return b
}

// clone copies f in a form that travels: valid UTF-8, never truncated.
func (f Facts) clone() Facts {
	for _, s := range []*string{&f.Name, &f.Zone, &f.Role, &f.Version, &f.APIAddress, &f.Boot} {
		*s = strings.ToValidUTF8(*s, "\uFFFD")
	}
	f.Drivers, f.Physnets = validUTF8(f.Drivers), validUTF8(f.Physnets)
	f.Truncated = false
	return f
}

func validUTF8(list []string) []string {
	list = slices.Clone(list)
	for i, s := range list {
		list[i] = strings.ToValidUTF8(s, "\uFFFD")
	}
	return list
}

// same says whether two facts are, leaving aside what is spread with a delay.
func (f Facts) same(other Facts) bool {
	f.FreeEighths, other.FreeEighths = 0, 0
	return bytes.Equal(encode(wireFacts(f)), encode(wireFacts(other)))
}

// fit returns e in at most limit bytes, which are maxMeta or more: first without the
// lists, then with names cut.
func (e edition) fit(limit int) edition {
	if len(encode(e)) <= limit {
		return e
	}
	e.Facts.Drivers, e.Facts.Physnets, e.Facts.Truncated = nil, nil, true
	if len(encode(e)) <= limit {
		return e
	}
	f := &e.Facts
	for s, size := range map[*string]int{&f.Name: 64, &f.Zone: 48, &f.Role: 16, &f.Version: 32, &f.Boot: 16} {
		*s = cut(*s, size)
	}
	if len(f.APIAddress) > 128 {
		f.APIAddress = "" // half an address leads to another place
	}
	return e
}

// cut returns at most size bytes of s, and no half character.
func cut(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size]
}

// encodeMeta returns e as metadata of at most maxMeta bytes.
func encodeMeta(e edition) []byte {
	return append([]byte{format}, encode(e.fit(maxMeta-1))...)
}

var errFormat = errors.New("a format that this version does not read")

// decodeMeta reads what encodeMeta wrote, here or in another version.
func decodeMeta(b []byte) (edition, error) {
	var e edition
	if len(b) == 0 || len(b) > maxMeta || b[0] != format {
		return edition{}, errFormat
	}
	if err := decoder.Unmarshal(b[1:], &e); err != nil {
		return edition{}, fmt.Errorf("metadata: %w", err)
	}
	return e, nil
}

// encodeState returns as many records as one exchange carries, the first ones.
func encodeState(records []record) []byte {
	var parts []cbor.RawMessage
	size := 16 // the format, and the head of the array
	for _, r := range records[:min(len(records), maxRecords)] {
		r.Edition = r.Edition.fit(maxRecord - maxMeta) // an ID is far shorter
		part := encode(r)
		if size+len(part) > maxState {
			break
		}
		size += len(part)
		parts = append(parts, part)
	}
	return append([]byte{format}, encode(parts)...)
}

// decodeState reads what encodeState wrote. Records that make no sense are left out.
func decodeState(b []byte) ([]record, error) {
	if len(b) == 0 || len(b) > maxState || b[0] != format {
		return nil, errFormat
	}
	var parts []cbor.RawMessage
	if err := decoder.Unmarshal(b[1:], &parts); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	var out []record
	for _, part := range parts {
		var r record
		if len(part) > maxRecord || decoder.Unmarshal(part, &r) != nil || r.ID == "" || len(r.ID) > maxID {
			continue
		}
		out = append(out, r)
	}
	return out, nil
}
