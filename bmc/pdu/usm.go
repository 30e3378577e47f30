package pdu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // HMAC-SHA-1-96 is what SNMPv3 began with (RFC 3414)
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
)

// authentication is a protocol of HMACs.
type authentication struct {
	hash func() hash.Hash
	// size is how much of the HMAC is sent, in bytes.
	size int
}

// authentications are told apart by how long their HMACs are: usmHMACSHAAuthProtocol (RFC
// 3414 §7) and usmHMAC192SHA256AuthProtocol (RFC 7860 §4). A user has the same password for
// both, and no key of MD5.
var authentications = []authentication{{sha1.New, 12}, {sha256.New, 24}}

func authenticationOf(size int) (authentication, bool) {
	i := slices.IndexFunc(authentications, func(a authentication) bool { return a.size == size })
	if i < 0 {
		return authentication{}, false
	}
	return authentications[i], true
}

// key makes a user's key of a password for one engine (RFC 3414 §A.2, RFC 7860 §9.3). It
// takes milliseconds.
func (a authentication) key(password, engine string) []byte {
	h := a.hash()
	const megabyte = 1 << 20
	block := make([]byte, 0, 4096+len(password))
	for len(block) < 4096 {
		block = append(block, password...)
	}
	// Whole passwords, again and again, until a megabyte has gone through.
	for left := megabyte; left > 0; left -= len(block) {
		h.Write(block[:min(left, len(block))])
	}
	digest := h.Sum(nil)
	h.Reset()
	h.Write(digest)
	h.Write([]byte(engine))
	h.Write(digest)
	return h.Sum(nil)
}

// sign writes the HMAC of a datagram into it (RFC 3414 §6.3.1).
func (a authentication) sign(key, datagram []byte, at int) {
	into := datagram[at : at+a.size]
	clear(into)
	mac := hmac.New(a.hash, key)
	mac.Write(datagram)
	copy(into, mac.Sum(nil))
}

// verify reports whether a datagram's HMAC is right (RFC 3414 §6.3.2).
func (a authentication) verify(key, datagram []byte, at int) bool {
	mac := hmac.New(a.hash, key)
	mac.Write(datagram[:at])
	mac.Write(make([]byte, a.size))
	mac.Write(datagram[at+a.size:])
	return hmac.Equal(mac.Sum(nil)[:a.size], datagram[at:at+a.size])
}

const saltSize = 8

// crypt encrypts or decrypts a scoped PDU in place by AES-128 in CFB mode (RFC 3826 §3.1).
// The key is that of authentication, cut; salt has saltSize bytes.
func crypt(key []byte, boots, time int, salt, b []byte, decrypt bool) {
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		panic(err) // 16 bytes are a key
	}
	iv := make([]byte, 0, aes.BlockSize)
	iv = binary.BigEndian.AppendUint32(iv, uint32(boots)) //nolint:gosec // 31 bits, both
	iv = binary.BigEndian.AppendUint32(iv, uint32(time))  //nolint:gosec // see above
	iv = append(iv, salt...)
	if decrypt {
		cipher.NewCFBDecrypter(block, iv).XORKeyStream(b, b) //nolint:staticcheck // the mode that RFC 3826 has
		return
	}
	cipher.NewCFBEncrypter(block, iv).XORKeyStream(b, b) //nolint:staticcheck // see above
}
