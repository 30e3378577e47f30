package pki

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"
)

// Errors of ParseToken.
var (
	// ErrNotToken says that a text does not even begin like a token.
	ErrNotToken = errors.New("not a join token (one begins with " + tokenPrefix + ")")
	// ErrDamaged says that characters of a token are missing or changed.
	ErrDamaged = errors.New("token is damaged or cut off")
	// ErrNewer says that a newer Tenks made the token.
	ErrNewer = errors.New("token is from a newer version of Tenks: upgrade this host first")
)

// The form of a token, and its bounds.
const (
	tokenPrefix  = "tnk1."
	maxAddresses = 5
	maxPins      = 2
	idSize       = 8 // bytes
	// maxToken is more than a token within the bounds has, in bytes.
	maxToken = 4096
	// endOfTime is the first second, since 1970, of a year with five digits.
	endOfTime = 253402300800
)

// Token lets a host join: where the mesh is, how to know it, and a secret that the
// mesh knows the hash of. Its fields may be read and printed; printed or marshalled
// as a whole it shows only its ID. Encode gives the secret away.
type Token struct {
	// Mesh is a UUID in lower case.
	Mesh string
	// Pins are the mesh's authorities: one, or two while it changes them.
	Pins []Pin
	// ID names the token in the log (8 bytes in lower-case hexadecimal).
	ID     string
	Secret Secret
	// Addresses are where peers answer, at most five: host:port, [IPv6]:port.
	Addresses []string
	// Expires is kept in whole seconds.
	Expires time.Time
}

// payload is a token on the wire. Its keys never change; new ones may be added, and
// are ignored by older versions.
type payload struct {
	Mesh      []byte   `cbor:"1,keyasint"`
	Pins      [][]byte `cbor:"2,keyasint"`
	ID        []byte   `cbor:"3,keyasint"`
	Secret    []byte   `cbor:"4,keyasint"`
	Addresses []string `cbor:"5,keyasint,omitempty"`
	Expires   uint64   `cbor:"6,keyasint"` // seconds since 1970
}

var encoder, decoder = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	e, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	d, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 4, MaxArrayElements: 16,
		MaxMapPairs: 64, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden}.DecMode()
	if err != nil {
		panic(err)
	}
	return e, d
}

// Encode returns the token as a person pastes it: tnk1.PAYLOAD.CRC, with CBOR in
// base64url and a CRC-32 in hexadecimal of all that precedes its dot. It refuses a
// token that ParseToken would not understand.
func (t Token) Encode() (string, error) {
	mesh, id, err := t.check()
	if err != nil {
		return "", fmt.Errorf("token %q: %w", t.ID, err)
	}
	p := payload{Mesh: mesh[:], ID: id, Secret: t.Secret[:], Addresses: t.Addresses, Expires: uint64(t.Expires.Unix())}
	for _, pin := range t.Pins {
		p.Pins = append(p.Pins, pin[:])
	}
	data, err := encoder.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("token %q: encode: %w", t.ID, err)
	}
	return seal(data), nil
}

// seal makes the text of a token.
func seal(data []byte) string {
	body := tokenPrefix + base64.RawURLEncoding.EncodeToString(data)
	return body + "." + checksum(body)
}

// checksum finds pastes that lost something; it protects from nobody.
func checksum(body string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) }

// ParseToken reads a token. White space around it, or inside where a mail or terminal
// broke it, does not matter. It does not look at Expires. Errors: ErrNotToken,
// ErrDamaged, ErrNewer; none shows what was in the text.
func ParseToken(text string) (Token, error) {
	data, err := unseal(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return Token{}, err
	}
	var p payload
	if err := decoder.Unmarshal(data, &p); err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	t, err := p.token()
	if err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return t, nil
}

// version matches how a token of any version begins.
var version = regexp.MustCompile(`^tnk([1-9][0-9]{0,3})(\.|$)`)

// unseal returns the payload in the text of a token.
func unseal(text string) ([]byte, error) {
	found := version.FindStringSubmatch(text)
	switch {
	case found == nil:
		return nil, ErrNotToken
	case found[1] != "1":
		return nil, ErrNewer
	case len(text) > maxToken:
		return nil, fmt.Errorf("%w: it has %d characters", ErrDamaged, len(text))
	}
	dot := strings.LastIndexByte(text, '.')
	if dot < len(tokenPrefix) || text[dot+1:] != checksum(text[:dot]) {
		return nil, ErrDamaged
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text[len(tokenPrefix):dot])
	if err != nil {
		return nil, ErrDamaged
	}
	return data, nil
}

// token checks what came over the wire. An error names no secret.
func (p payload) token() (Token, error) {
	mesh, err := uuid.FromBytes(p.Mesh)
	if err != nil {
		return Token{}, fmt.Errorf("mesh: %w", err)
	}
	t := Token{Mesh: mesh.String(), ID: hex.EncodeToString(p.ID), Addresses: p.Addresses}
	if len(p.Secret) != len(t.Secret) {
		return Token{}, fmt.Errorf("secret: has %d bytes", len(p.Secret))
	}
	copy(t.Secret[:], p.Secret)
	for _, pin := range p.Pins {
		if len(pin) != len(Pin{}) {
			return Token{}, fmt.Errorf("pin: has %d bytes", len(pin))
		}
		t.Pins = append(t.Pins, Pin(pin))
	}
	if p.Expires >= endOfTime {
		return Token{}, errors.New("expiry: out of range")
	}
	t.Expires = time.Unix(int64(p.Expires), 0).UTC()
	_, _, err = t.check()
	return t, err
}

// check says what is wrong with a token, and returns its mesh and ID as bytes.
func (t Token) check() (mesh uuid.UUID, id []byte, err error) {
	if mesh, err = parseMesh(t.Mesh); err != nil {
		return mesh, nil, err
	}
	id, err = hex.DecodeString(t.ID)
	seconds := t.Expires.Unix()
	switch {
	case err != nil || len(id) != idSize || hex.EncodeToString(id) != t.ID:
		return mesh, nil, fmt.Errorf("ID: want %d bytes in lower-case hexadecimal", idSize)
	case len(t.Pins) < 1 || len(t.Pins) > maxPins:
		return mesh, nil, fmt.Errorf("has %d pins, want 1 to %d", len(t.Pins), maxPins)
	case len(t.Addresses) > maxAddresses:
		return mesh, nil, fmt.Errorf("has %d addresses, want at most %d", len(t.Addresses), maxAddresses)
	case seconds <= 0 || seconds >= endOfTime:
		return mesh, nil, errors.New("expiry: out of range")
	}
	for _, address := range t.Addresses {
		if err := checkAddress(address); err != nil {
			return mesh, nil, fmt.Errorf("address %q: %w", address, err)
		}
	}
	return mesh, id, nil
}

// hostName matches names and IPv4 addresses.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?$`)

// checkAddress accepts what every host understands alike.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("want host:port, or [address]:port for IPv6")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("want a port from 1 to 65535")
	}
	if !strings.Contains(host, ":") {
		if !hostName.MatchString(host) {
			return errors.New("want a host name or an IP address")
		}
		return nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return errors.New("want an IPv6 address without a zone, which only its own host knows")
	}
	return nil
}

// Format prints the token's ID, and never its secret, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.redacted()) }

// MarshalText gives what Format prints, also in JSON and YAML.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.redacted()), nil }

func (t Token) redacted() string { return "token " + t.ID + " " + hidden }
