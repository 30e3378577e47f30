package pdu

import (
	"encoding/binary"
	"errors"
	"math"
)

// Tags of BER (X.690) that SNMP uses: universal ones, those of RFC 2578 §7.1, the
// exceptions of RFC 3416 §3, and the operations of RFC 3416 §3 and RFC 1157 §4.1.
const (
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagSequence    = 0x30

	tagIPAddress = 0x40
	tagCounter32 = 0x41
	tagGauge32   = 0x42
	tagTimeTicks = 0x43
	tagOpaque    = 0x44
	tagCounter64 = 0x46

	tagNoSuchObject   = 0x80
	tagNoSuchInstance = 0x81
	tagEndOfMibView   = 0x82

	tagGet      = 0xa0
	tagGetNext  = 0xa1
	tagResponse = 0xa2
	tagSet      = 0xa3
	tagGetBulk  = 0xa5
	tagReport   = 0xa8
)

// errSyntax says that a message is none of SNMP.
var errSyntax = errors.New("not well-formed")

// input is what is left of BER to read. A fault stays: what follows reads nothing.
type input struct {
	rest []byte
	bad  bool
}

func (in *input) fail() { in.rest, in.bad = nil, true }

// next reads one element, of whatever tag. Lengths are definite (RFC 3417 §8), but may be
// longer than needed, as those of net-snmp are.
func (in *input) next() (tag byte, content []byte) {
	if len(in.rest) < 2 || in.rest[0]&0x1f == 0x1f {
		in.fail()
		return 0, nil
	}
	tag = in.rest[0]
	length, rest := int(in.rest[1]), in.rest[2:]
	if length >= 0x80 {
		bytes := length & 0x7f
		if bytes == 0 || bytes > 4 || bytes > len(rest) {
			in.fail()
			return 0, nil
		}
		length = 0
		for _, b := range rest[:bytes] {
			length = length<<8 | int(b)
		}
		rest = rest[bytes:]
	}
	if length > len(rest) {
		in.fail()
		return 0, nil
	}
	in.rest = rest[length:]
	return tag, rest[:length]
}

// want reads one element of a certain tag.
func (in *input) want(tag byte) []byte {
	got, content := in.next()
	if got != tag {
		in.fail()
		return nil
	}
	return content
}

// within reads an element that consists of others.
func (in *input) within(tag byte) *input {
	content := in.want(tag)
	return &input{rest: content, bad: in.bad}
}

// integer reads an INTEGER of 32 bits (RFC 2578 §7.1.1).
func (in *input) integer() int {
	v, ok := parseInteger(in.want(tagInteger))
	if !ok {
		in.fail()
	}
	return v
}

func parseInteger(content []byte) (int, bool) {
	if len(content) == 0 || len(content) > 4 {
		return 0, false
	}
	v := int(int8(content[0])) // the first bit is the sign
	for _, b := range content[1:] {
		v = v<<8 | int(b)
	}
	return v, true
}

// end reports whether all was read and well-formed.
func (in *input) end() bool { return !in.bad && len(in.rest) == 0 }

// oid is an object identifier, of at most maxOID parts (RFC 2578 §3.5).
type oid []uint32

const maxOID = 128

func parseOID(content []byte) (oid, bool) {
	var out oid
	var v uint64
	begun := false
	for _, b := range content {
		if !begun && b == 0x80 { // X.690 §8.19.2: no leading zeros
			return nil, false
		}
		v, begun = v<<7|uint64(b&0x7f), true
		if v > math.MaxUint32 {
			return nil, false
		}
		if b&0x80 != 0 {
			continue
		}
		if out == nil {
			first := min(v/40, 2)
			out = append(out, uint32(first), uint32(v-40*first)) //nolint:gosec // both are within v
		} else {
			out = append(out, uint32(v))
		}
		v, begun = 0, false
		if len(out) > maxOID {
			return nil, false
		}
	}
	return out, !begun && out != nil
}

// appendTLV appends one element.
func appendTLV(b []byte, tag byte, content ...[]byte) []byte {
	length := 0
	for _, c := range content {
		length += len(c)
	}
	b = append(b, tag)
	switch {
	case length < 0x80:
		b = append(b, byte(length))
	case length <= 0xff:
		b = append(b, 0x81, byte(length))
	case length <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x82), uint16(length))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0x84), uint32(length)) //nolint:gosec // no message is as long
	}
	for _, c := range content {
		b = append(b, c...)
	}
	return b
}

// appendInteger appends an integer in as few bytes as hold it and its sign. Those of
// unsigned types have a byte more where the first bit is set.
func appendInteger(b []byte, tag byte, v int64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(v)) //nolint:gosec // two's complement is what is meant
	s := raw[:]
	for len(s) > 1 && (s[0] == 0 && s[1] < 0x80 || s[0] == 0xff && s[1] >= 0x80) {
		s = s[1:]
	}
	return appendTLV(b, tag, s)
}

func appendString(b []byte, s string) []byte { return appendTLV(b, tagOctetString, []byte(s)) }

// appendOID appends an identifier of at least two parts.
func appendOID(b []byte, o oid) []byte {
	content := appendBase128(nil, uint64(o[0])*40+uint64(o[1]))
	for _, part := range o[2:] {
		content = appendBase128(content, uint64(part))
	}
	return appendTLV(b, tagOID, content)
}

func appendBase128(b []byte, v uint64) []byte {
	shift := 0
	for v>>(shift+7) != 0 {
		shift += 7
	}
	for ; shift > 0; shift -= 7 {
		b = append(b, 0x80|byte(v>>shift&0x7f))
	}
	return append(b, byte(v&0x7f))
}
