package ipmi

import (
	"crypto/sha1"
	"crypto/sha256"
	"hash"

	"github.com/bougou/go-ipmi/pkg/rmcpplus"
	"github.com/bougou/go-ipmi/pkg/types"
)

// suite is a cipher suite (IPMI v2.0 §22.15.2).
type suite struct {
	id        types.CipherSuiteID
	auth      types.AuthAlg
	integrity types.IntegrityAlg
	crypt     types.CryptAlg
	newHash   func() hash.Hash
	// authLen is the length of RAKP 3's code, codeLen of a packet's integrity code.
	authLen, codeLen int
}

// suites holds what is offered, the best first. Suites without a password, without
// integrity or without encryption (0, 1, 2, 15, 16) are never offered, nor are MD5
// and RC4.
var suites = []suite{
	{types.CipherSuiteID17, types.AuthAlg_HMAC_SHA256, types.IntegrityAlg_HMAC_SHA256_128, types.CryptAlg_AES_CBC_128, sha256.New, 32, 16},
	{types.CipherSuiteID3, types.AuthAlg_HMAC_SHA1, types.IntegrityAlg_HMAC_SHA1_96, types.CryptAlg_AES_CBC_128, sha1.New, 20, 12},
}

// chooseSuite returns the best suite that has what the console asks for. A record
// of length 0 leaves the choice to us (IPMI v2.0 §13.17).
func chooseSuite(q *rmcpplus.OpenSessionRequest) (*suite, bool) {
	for i := range suites {
		s := &suites[i]
		if (q.AuthenticationPayload.PayloadLength == 0 || q.AuthAlg == uint8(s.auth)) &&
			(q.IntegrityPayload.PayloadLength == 0 || q.IntegrityAlg == uint8(s.integrity)) &&
			(q.ConfidentialityPayload.PayloadLength == 0 || q.CryptAlg == uint8(s.crypt)) {
			return s, true
		}
	}
	return nil, false
}

// suiteRecords is the list of Get Channel Cipher Suites, by suite
// (IPMI v2.0 §22.15.1), in ascending order.
func suiteRecords() []byte {
	var b []byte
	for i := len(suites) - 1; i >= 0; i-- {
		s := suites[i]
		b = append(b, types.StandardCipherSuite, byte(s.id), byte(s.auth),
			types.CipherAlgTagBitIntegrityMask|byte(s.integrity), types.CipherAlgTagBitEncryptionMask|byte(s.crypt))
	}
	return b
}

// suiteAlgorithms is the same list by algorithm, each once.
func suiteAlgorithms() []byte {
	var b []byte
	add := func(tagged byte) {
		for _, have := range b {
			if have == tagged {
				return
			}
		}
		b = append(b, tagged)
	}
	for i := len(suites) - 1; i >= 0; i-- {
		add(byte(suites[i].auth))
	}
	for i := len(suites) - 1; i >= 0; i-- {
		add(types.CipherAlgTagBitIntegrityMask | byte(suites[i].integrity))
	}
	for i := len(suites) - 1; i >= 0; i-- {
		add(types.CipherAlgTagBitEncryptionMask | byte(suites[i].crypt))
	}
	return b
}
