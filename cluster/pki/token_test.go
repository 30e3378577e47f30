package pki

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// sample is a token, the same every time.
func sample() Token {
	t := Token{Mesh: mesh, Pins: []Pin{{}}, ID: "0123456789abcdef", Addresses: []string{"192.0.2.11:7740"},
		Expires: time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)}
	for i := range t.Pins[0] {
		t.Pins[0][i] = byte(i)
	}
	copy(t.Secret[:], "sixteen letters!")
	return t
}

// golden is sample as it was first encoded. Tokens are pasted into a host that may be
// of another version: this must parse for ever.
const golden = "tnk1.pgFQbV5_OpKrTB2OLwobLD1OXwKBWCAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHwNIASNFZ4mrze8EUHNpeHRlZW4gbGV0dGVycyEFgW8xOTIuMC4yLjExOjc3NDAGGmsIAyA.9101522c"

// plain is a token to compare: a Token hides what it holds.
type plain struct {
	Mesh, ID  string
	Pins      []Pin
	Secret    [16]byte
	Addresses []string
	Expires   time.Time
}

func bare(t Token) plain { return plain{t.Mesh, t.ID, t.Pins, t.Secret, t.Addresses, t.Expires} }

func encode(t testing.TB, token Token) string {
	t.Helper()
	text, err := token.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokenReturnsFromItsText(t *testing.T) {
	full := sample()
	full.Pins = append(full.Pins, Pin{1})
	full.Addresses = []string{"[2001:db8::1]:7740", "hv1.example.org:1", "[fe80::1]:65535", "192.0.2.11:7740", "hv-2_x.:7740"}
	nowhere := sample()
	nowhere.Addresses = nil
	for _, want := range []Token{sample(), full, nowhere} {
		text := encode(t, want)
		for _, pasted := range []string{text, " \t" + text + "\r\n", text[:40] + "\n  " + text[40:]} {
			got, err := ParseToken(pasted)
			if err != nil {
				t.Fatalf("%q: %v", pasted, err)
			}
			if diff := cmp.Diff(bare(want), bare(got)); diff != "" {
				t.Errorf("%q: want -, got +:\n%s", pasted, diff)
			}
		}
	}
}

func TestTokenTextNeverChanges(t *testing.T) {
	if got := encode(t, sample()); got != golden {
		t.Errorf("got %s, want %s", got, golden)
	}
	if len(golden) > 175 {
		t.Errorf("%d characters are much to paste", len(golden))
	}
}

func TestTokenKeepsWholeSeconds(t *testing.T) {
	want := sample()
	want.Expires = want.Expires.Add(999 * time.Millisecond).In(time.FixedZone("", 3600))
	got, err := ParseToken(encode(t, want))
	if err != nil || got.Expires != sample().Expires {
		t.Errorf("got %v, %v", got.Expires, err)
	}
}

func TestTokenWithKeysOfALaterVersionParses(t *testing.T) {
	data, err := unseal(golden)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[int]any
	if err := decoder.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	fields[99] = []string{"news"}
	data, err = encoder.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseToken(seal(data))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bare(sample()), bare(got)); diff != "" {
		t.Error(diff)
	}
}

func TestParseTokenSaysWhatIsWrong(t *testing.T) {
	body := golden[:strings.LastIndexByte(golden, '.')]
	loose := strings.TrimSuffix(body, body[len(body)-1:]) + "_"
	tests := []struct {
		name, text string
		want       error
	}{
		{"nothing", "", ErrNotToken},
		{"white space", " \n", ErrNotToken},
		{"another text", "hunter2", ErrNotToken},
		{"a Swarm token", "SWMTKN-1-abc", ErrNotToken},
		{"capitals", strings.ToUpper(golden), ErrNotToken},
		{"version 0", "tnk0." + golden[5:], ErrNotToken},
		{"no version", "tnk." + golden[5:], ErrNotToken},
		{"a command line", "tenks join " + golden, ErrNotToken},
		{"version 2", "tnk2." + golden[5:], ErrNewer},
		{"version 2 in another form", "tnk2.whatever", ErrNewer},
		{"version 12", "tnk12." + golden[5:], ErrNewer},
		{"the prefix alone", "tnk1", ErrDamaged},
		{"the prefix with its dot", "tnk1.", ErrDamaged},
		{"no payload", "tnk1..00000000", ErrDamaged},
		{"no checksum", body, ErrDamaged},
		{"an empty checksum", body + ".", ErrDamaged},
		{"a checksum in capitals", body + "." + strings.ToUpper(golden[len(body)+1:]), ErrDamaged},
		{"two tokens", golden + golden, ErrDamaged},
		{"something behind it", golden + " please", ErrDamaged},
		{"far too much", golden + strings.Repeat("A", maxToken), ErrDamaged},
		{"padding", body + "=." + checksum(body+"="), ErrDamaged},
		{"bits after the end", loose + "." + checksum(loose), ErrDamaged},
		{"not CBOR", seal([]byte("hunter2")), ErrDamaged},
		{"more than one value", seal(append(cborOf(t, map[int]any{}), 0)), ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseToken(tt.text)
			wantError(t, err, tt.want)
			if diff := cmp.Diff(plain{}, bare(got)); diff != "" {
				t.Errorf("and yet returns a token: %s", diff)
			}
		})
	}
}

func TestEveryCutAndEveryChangedCharacterIsDamage(t *testing.T) {
	for n := len("tnk1"); n < len(golden); n++ {
		if _, err := ParseToken(golden[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut off after %d characters: %v", n, err)
		}
	}
	for n := len("tnk1."); n < len(golden); n++ {
		for _, c := range "Aa0-." {
			if text := golden[:n] + string(c) + golden[n+1:]; text != golden {
				if _, err := ParseToken(text); !errors.Is(err, ErrDamaged) {
					t.Errorf("character %d changed to %c: %v", n, c, err)
				}
			}
		}
	}
}

func cborOf(t testing.TB, v any) []byte {
	t.Helper()
	data, err := encoder.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A payload may be whole and yet make no sense.
func TestParseTokenChecksEveryField(t *testing.T) {
	good := map[int]any{1: make([]byte, 16), 2: [][]byte{make([]byte, 32)}, 3: make([]byte, 8), 4: make([]byte, 16),
		5: []string{"hv1:7740"}, 6: uint64(1)}
	if _, err := ParseToken(seal(cborOf(t, good))); err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	tests := []struct {
		name  string
		key   int
		value any
	}{
		{"no mesh", 1, nil},
		{"a short mesh", 1, make([]byte, 15)},
		{"a mesh in letters", 1, mesh},
		{"no pins", 2, nil},
		{"three pins", 2, [][]byte{make([]byte, 32), make([]byte, 32), make([]byte, 32)}},
		{"a short pin", 2, [][]byte{make([]byte, 31)}},
		{"a long pin", 2, [][]byte{make([]byte, 33)}},
		{"no ID", 3, nil},
		{"a short ID", 3, make([]byte, 7)},
		{"no secret", 4, nil},
		{"a short secret", 4, make([]byte, 15)},
		{"a long secret", 4, make([]byte, 17)},
		{"six addresses", 5, []string{"a:1", "a:1", "a:1", "a:1", "a:1", "a:1"}},
		{"an address without a port", 5, []string{"hv1"}},
		{"no expiry", 6, nil},
		{"an expiry before 1970", 6, -1},
		{"an expiry of a year with five digits", 6, uint64(endOfTime)},
		{"an expiry beyond all", 6, uint64(math.MaxUint64)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fields := map[int]any{}
			for k, v := range good {
				if k != tt.key {
					fields[k] = v
				} else if tt.value != nil {
					fields[k] = tt.value
				}
			}
			_, err := ParseToken(seal(cborOf(t, fields)))
			wantError(t, err, ErrDamaged)
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Token)
		want   string
	}{
		{"no mesh", func(t *Token) { t.Mesh = "" }, "not a UUID"},
		{"a mesh in capitals", func(t *Token) { t.Mesh = strings.ToUpper(t.Mesh) }, "not a UUID"},
		{"no pins", func(t *Token) { t.Pins = nil }, "0 pins"},
		{"three pins", func(t *Token) { t.Pins = make([]Pin, 3) }, "3 pins"},
		{"no ID", func(t *Token) { t.ID = "" }, "ID"},
		{"a long ID", func(t *Token) { t.ID += "00" }, "ID"},
		{"an ID in capitals", func(t *Token) { t.ID = strings.ToUpper(t.ID) }, "ID"},
		{"an ID that is none", func(t *Token) { t.ID = "my first token!!" }, "ID"},
		{"six addresses", func(t *Token) { t.Addresses = make([]string, 6) }, "6 addresses"},
		{"no expiry", func(t *Token) { t.Expires = time.Time{} }, "expiry"},
		{"an expiry in the year 10000", func(t *Token) { t.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "expiry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := sample()
			tt.change(&token)
			text, err := token.Encode()
			wantError(t, err, nil, "token", tt.want)
			if text != "" {
				t.Errorf("and yet returns %q", text)
			}
		})
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	for _, address := range []string{"", "hv1", ":7740", "hv1:", "hv1:0", "hv1:65536", "hv1:+1", "hv1:ssh", "2001:db8::1:7740", "[2001:db8::1]",
		"[fe80::1%eth0]:7740", "[::g]:1", "[hv1:x]:1", "hv 1:7740", "hv1\n:7740", "-x:7740", "$(id):7740", "hv1/x:7740", "ü:7740",
		strings.Repeat("a", 254) + ":7740"} {
		token := sample()
		token.Addresses = []string{address}
		if _, err := token.Encode(); err == nil {
			t.Errorf("%q passes", address)
		}
	}
}

func TestTokenNeverShowsItsSecret(t *testing.T) {
	token := sample()
	secret := string(token.Secret[:])
	leaks := []string{secret, hex.EncodeToString(token.Secret[:]), base64.StdEncoding.EncodeToString(token.Secret[:]),
		strings.ToUpper(hex.EncodeToString(token.Secret[:])), strings.Trim(fmt.Sprint([]byte(secret)), "[]"), "peHRlZW4gbGV0dGV"}
	var seen []string
	values := []any{token, &token, []Token{token}, map[string]Token{"a": token}, struct{ T Token }{token}, token.Secret, &token.Secret,
		struct{ S Secret }{token.Secret}}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%t"} {
			seen = append(seen, fmt.Sprintf(verb, v))
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		y, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("made", "token", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("made", "token", v)
		seen = append(seen, string(j), string(y), log.String())
	}
	for _, text := range seen {
		for _, leak := range leaks {
			if strings.Contains(text, leak) {
				t.Errorf("%q shows %q", text, leak)
			}
		}
		if !strings.Contains(text, "(hidden)") {
			t.Errorf("%q does not say that something is hidden", text)
		}
	}
	if got := fmt.Sprintf("%+v", token); got != "token 0123456789abcdef (hidden)" {
		t.Errorf("prints %q", got)
	}
}

func TestErrorsOfATokenDoNotShowItsSecret(t *testing.T) {
	token := sample()
	for n := 0; n < len(golden); n++ {
		_, err := ParseToken(golden[:n])
		if err != nil && (strings.Contains(err.Error(), string(token.Secret[:])) || n > 20 && strings.Contains(err.Error(), golden[5:n])) {
			t.Errorf("error shows it: %v", err)
		}
	}
}

func TestNewSecretDraws(t *testing.T) {
	id, secret, err := NewSecret(strings.NewReader("12345678sixteen letters!rest"))
	if err != nil || id != "3132333435363738" || string(secret[:]) != "sixteen letters!" {
		t.Errorf("got %s, %q, %v", id, secret[:], err)
	}
	seen := map[Secret]bool{}
	for range 10 {
		id, secret, err := NewSecret(rand.Reader)
		if err != nil || seen[secret] {
			t.Fatalf("%s: %v", id, err)
		}
		seen[secret] = true
		token := sample()
		token.ID, token.Secret = id, secret
		encode(t, token)
	}
}

func TestNewSecretFailsWithoutRandomness(t *testing.T) {
	dry := errors.New("dry")
	for _, r := range []io.Reader{strings.NewReader("1234567"), strings.NewReader("12345678sixteen letters"), iotest.ErrReader(dry)} {
		id, secret, err := NewSecret(r)
		if err == nil || id != "" || secret != (Secret{}) {
			t.Errorf("got %q, %x, %v", id, secret[:], err)
		}
	}
}

func TestHashOfASecretNeverChanges(t *testing.T) {
	got := HashSecret(sample().Secret)
	if want := "cee5fd533c7696b35e4457aac9bb23e5b1ada56b22e9e0c9eb4586f4edf98344"; hex.EncodeToString(got[:]) != want {
		t.Errorf("got %x, want %s", got, want)
	}
	if got == HashSecret(Secret{}) {
		t.Error("another secret has the same hash")
	}
}

func TestSameHash(t *testing.T) {
	a, b := HashSecret(Secret{1}), HashSecret(Secret{2})
	tests := []struct {
		name string
		a, b []byte
		want bool
	}{
		{"a hash and itself", a[:], bytes.Clone(a[:]), true},
		{"another hash", a[:], b[:], false},
		{"a hash that is cut off", a[:], a[:31], false},
		{"two that are cut off", a[:31], a[:31], false},
		{"nothing and a hash", nil, a[:], false},
		{"nothing and nothing", nil, nil, false},
	}
	for _, tt := range tests {
		if got := SameHash(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

// The checksum stops most of what is made up: so what is inside is fuzzed, too.
func FuzzParseToken(f *testing.F) {
	f.Add(golden, []byte(nil))
	f.Add("tnk2.x", []byte("x"))
	f.Add(golden[:60], []byte{0xa0})
	data, err := unseal(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", data)
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		for _, text := range []string{text, seal(data)} {
			got, err := ParseToken(text)
			if err != nil {
				if !errors.Is(err, ErrNotToken) && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
					t.Fatalf("%q: error %v of no kind", text, err)
				}
				continue
			}
			again, err := ParseToken(encode(t, got))
			if err != nil {
				t.Fatalf("%q: not after encoding: %v", text, err)
			}
			if diff := cmp.Diff(bare(got), bare(again), cmpEmpty); diff != "" {
				t.Fatalf("%q: %s", text, diff)
			}
		}
	})
}

// cmpEmpty takes a list of nothing and no list for the same.
var cmpEmpty = cmp.Transformer("list", func(list []string) string { return strings.Join(list, " ") })
