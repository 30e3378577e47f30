package pdu

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIntegers(t *testing.T) {
	for n, want := range map[int64]string{0: "0201 00", 127: "0201 7f", 128: "0202 0080", 255: "0202 00ff", 256: "0202 0100", -1: "0201 ff",
		-128: "0201 80", -129: "0202 ff7f", 1<<31 - 1: "0204 7fffffff", -1 << 31: "0204 80000000"} {
		b := appendInteger(nil, tagInteger, n)
		in := &input{rest: b}
		if got := in.integer(); !bytes.Equal(b, unhex(t, want)) || int64(got) != n || !in.end() {
			t.Errorf("%d is %x, want %s, and read as %d", n, b, want, got)
		}
	}
	if b := appendInteger(nil, tagCounter32, 1<<32-1); !bytes.Equal(b, unhex(t, "4105 00ffffffff")) {
		t.Errorf("a counter's last value is %x", b)
	}
}

func TestObjectIdentifiers(t *testing.T) {
	for s, o := range map[string]oid{"2b": {1, 3}, "2b0601040182 3e": {1, 3, 6, 1, 4, 1, 318}, "00": {0, 0}, "50": {2, 0}, "8837": {2, 999},
		"2b8fffffff7f": {1, 3, 1<<32 - 1}} {
		got, ok := parseOID(unhex(t, s))
		if !ok || !slices.Equal(got, o) || !bytes.Equal(appendOID(nil, o)[2:], unhex(t, s)) {
			t.Errorf("%s is read as %v, %t; %v is written as %x", s, got, ok, o, appendOID(nil, o))
		}
	}
	for _, s := range []string{"", "80", "2b80", "2b8001", "2b9080808000", "2bffffffffffff7f", strings.Repeat("01", maxOID)} {
		if got, ok := parseOID(unhex(t, s)); ok {
			t.Errorf("%s is read as %v", s, got)
		}
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	good := community{version2c, "one", get(1, rackPDU)}.bytes()
	for name, b := range map[string][]byte{
		"one byte less":        good[:len(good)-1],
		"one byte more":        append(slices.Clone(good), 0),
		"another tag":          append([]byte{0x31}, good[1:]...),
		"an indefinite length": append([]byte{0x30, 0x80}, good[2:]...),
		"a length of 5 bytes":  append([]byte{0x30, 0x85, 0, 0, 0, 0}, good[1:]...),
		"a length beyond all":  append([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, good[2:]...),
		"a long tag":           append([]byte{0x1f, 0x30}, good[1:]...),
		"version 2":            community{2, "one", get(1, rackPDU)}.bytes(),
		"a response":           community{version2c, "one", operation{tag: tagResponse}}.bytes(),
		"a GetBulk in v1":      community{version1, "one", operation{tag: tagGetBulk}}.bytes(),
		"too many variables":   community{version2c, "one", get(1, slices.Repeat([]oid{{1, 3}}, maxBinds+1)...)}.bytes(),
	} {
		_, e := newTestEngine(t)
		if answer := e.exchange(t, begin, b); answer != nil {
			t.Errorf("%s: %x", name, answer)
		}
	}
	long := slices.Concat([]byte{0x30, 0x82, 0, byte(len(good) - 2)}, good[2:])
	_, e := newTestEngine(t)
	if e.exchange(t, begin, long) == nil {
		t.Error("a length that is longer than needed is refused")
	}
}

// The keys of RFC 3414 §A.3.2 and RFC 7860's predecessor of it: SHA-1 of "maplesyrup".
func TestKeysOfPasswords(t *testing.T) {
	engine := string(unhex(t, "000000000000000000000002"))
	if got := authentications[0].key("maplesyrup", engine); fmt.Sprintf("%x", got) != "6695febc9288e36282235fc7151f128497b38f3f" {
		t.Errorf("SHA-1: %x", got)
	}
	if got := authentications[1].key("maplesyrup", engine); fmt.Sprintf("%x", got) != "8982e0e549e866db361a6b625d84cccc11162d453ee8ce3a6445c2d6776f0f8b" {
		t.Errorf("SHA-256: %x", got)
	}
}

// FuzzDatagram has an engine take any datagram.
func FuzzDatagram(f *testing.F) {
	_, e := newTestEngine(f)
	set := get(1, slices.Concat(apc, oid{12, 3, 3, 1, 1, 4, 1}))
	set.tag, set.binds[0].value = tagSet, integer(2)
	for _, op := range []operation{get(1, rackPDU), set, {tag: tagGetNext, binds: get(1, apc).binds}, {tag: tagGetBulk, status: 1, index: 99, binds: get(1, apc, apc).binds}} {
		for _, version := range []int{version1, version2c} {
			f.Add(community{version, "one", op}.bytes())
		}
		f.Add(e.sealed(op))
		f.Add(e.sealed(op, func(m *secured) { m.flags |= flagPriv }))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, e := newTestEngine(t)
		if answer := e.exchange(t, begin.Add(time.Second), b); len(answer) > maxMessage {
			t.Errorf("an answer of %d bytes", len(answer))
		}
	})
}

// FuzzOperation has what an authenticated client sends be carried out: whatever is read is
// written the same.
func FuzzOperation(f *testing.F) {
	f.Add(scopedPDU{engine: "e", op: get(1, rackPDU)}.bytes(), uint8(0))
	f.Add(scopedPDU{engine: "e", op: operation{tag: tagGetBulk, index: 1 << 20, binds: get(1, apc).binds}}.bytes(), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, version uint8) {
		s, err := parseScoped(b)
		if err != nil {
			return
		}
		again, err := parseScoped(s.bytes())
		if err != nil || !bytes.Equal(again.bytes(), s.bytes()) {
			t.Fatalf("%x is written as %x, %v", b, s.bytes(), err)
		}
		_, e := newTestEngine(t)
		if !requests(s.op, int(version)) {
			return
		}
		answer := e.cfg.serve(t.Context(), e.view(begin, &units()[0]), s.op)
		if len(answer.binds) > max(len(s.op.binds), maxRows) {
			t.Errorf("%d variables for %d", len(answer.binds), len(s.op.binds))
		}
		downgrade(answer, s.op)
	})
}
