package redfish

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxCertificates bounds those of one collection, and maxCertificate the text of one.
const (
	maxCertificates = 8
	maxCertificate  = 16 << 10
)

// keptCertificate is a certificate, with its ID in the collection.
type keptCertificate struct{ ID, PEM string }

// bundle is all certificates as one PEM text.
func bundle(list []keptCertificate) []byte {
	var b bytes.Buffer
	for _, c := range list {
		b.WriteString(strings.TrimRight(c.PEM, "\n") + "\n")
	}
	return b.Bytes()
}

// certificateStore is where the certificates of a collection are. revise gets those and the
// last number that was given, and returns what is to be kept; nil: clients change nothing.
type certificateStore struct {
	all    func(r *Request) []keptCertificate
	revise func(r *Request, change func(list []keptCertificate, last int) ([]keptCertificate, int, error)) error
	// usage is what they are for (CertificateUsageTypes); nil: nothing is said.
	usage []string
}

func (store certificateStore) find(r *Request) (keptCertificate, bool) {
	list := store.all(r)
	i := slices.IndexFunc(list, func(c keptCertificate) bool { return c.ID == r.Var("certificate") })
	if i < 0 {
		return keptCertificate{}, false
	}
	return list[i], true
}

// certificateRows are a collection of certificates.
func certificateRows(path string, change Privilege, store certificateStore) []Resource {
	rules := Rules{"CertificateString": {Kind: String, Max: maxCertificate, Required: true}, "CertificateType": {Kind: String, Values: []string{"PEM"}, Required: true}}
	rows := []Resource{
		{Path: path, Type: "#CertificateCollection.CertificateCollection", Link: "Certificates", Name: "Certificates", Change: change,
			Members: func(r *Request) ([]string, error) {
				ids := []string{}
				for _, c := range store.all(r) {
					ids = append(ids, c.ID)
				}
				return ids, nil
			}},
		{Path: path + "/{certificate}", Type: "#Certificate.v1_8_3.Certificate", Change: change,
			Present: func(r *Request) bool { _, found := store.find(r); return found },
			Get: func(r *Request) (Object, error) {
				c, found := store.find(r)
				if !found {
					return nil, notFound(r.Path)
				}
				out := certificateObject(c)
				if store.usage != nil {
					out = append(out, Property{"CertificateUsageTypes", store.usage})
				}
				return out, nil
			}},
	}
	if store.revise == nil {
		return rows
	}
	rows[0].Creatable, rows[0].Post = rules, store.add
	rows[1].Delete = func(r *Request) error {
		return store.revise(r, func(list []keptCertificate, last int) ([]keptCertificate, int, error) {
			return slices.DeleteFunc(list, func(c keptCertificate) bool { return c.ID == r.Var("certificate") }), last, nil
		})
	}
	return rows
}

func (store certificateStore) add(r *Request, v Values) (*Result, error) {
	text, _ := v.String("CertificateString")
	parsed := parseCertificate(text)
	if parsed == nil {
		return nil, fail(http.StatusBadRequest, msg("PropertyValueFormatError", brief(text), "CertificateString").about("CertificateString"))
	}
	text = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: parsed.Raw})) // without a private key beside it
	id := ""
	err := store.revise(r, func(list []keptCertificate, last int) ([]keptCertificate, int, error) {
		switch {
		case slices.ContainsFunc(list, func(c keptCertificate) bool { return c.PEM == text }):
			return nil, 0, fail(http.StatusConflict, msg("ResourceAlreadyExists", "Certificate", "CertificateString", "(the certificate)"))
		case len(list) >= maxCertificates:
			return nil, 0, fail(http.StatusBadRequest, msg("CreateLimitReachedForResource"))
		}
		id = strconv.Itoa(last + 1)
		return append(list, keptCertificate{ID: id, PEM: text}), last + 1, nil
	})
	if err != nil {
		return nil, err
	}
	return &Result{Location: r.Path + "/" + id}, nil
}

// parseCertificate returns the first certificate of a PEM text, or nil.
func parseCertificate(text string) *x509.Certificate {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil
		}
		if block.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil
			}
			return c
		}
	}
}

func certificateObject(c keptCertificate) Object {
	out := Object{{"Id", c.ID}, {"Name", "Certificate " + c.ID}, {"CertificateString", c.PEM}, {"CertificateType", "PEM"}}
	parsed := parseCertificate(c.PEM)
	if parsed == nil {
		return out
	}
	sum := sha256.Sum256(parsed.Raw)
	return append(out, Object{{"Subject", identifier(parsed.Subject)}, {"Issuer", identifier(parsed.Issuer)},
		{"ValidNotBefore", parsed.NotBefore.UTC().Format(time.RFC3339)}, {"ValidNotAfter", parsed.NotAfter.UTC().Format(time.RFC3339)},
		{"SerialNumber", optional(colons(parsed.SerialNumber.Bytes()))}, {"Fingerprint", colons(sum[:])}, {"FingerprintHashAlgorithm", "TPM_ALG_SHA256"},
		{"SignatureAlgorithm", optional(signatureAlgorithms[parsed.SignatureAlgorithm])}}...)
}

// signatureAlgorithms are the names that Certificate.SignatureAlgorithm has for them (RFC
// 5912 and later).
var signatureAlgorithms = map[x509.SignatureAlgorithm]string{
	x509.SHA1WithRSA: "sha1WithRSAEncryption", x509.SHA256WithRSA: "sha256WithRSAEncryption", x509.SHA384WithRSA: "sha384WithRSAEncryption",
	x509.SHA512WithRSA: "sha512WithRSAEncryption", x509.ECDSAWithSHA256: "ecdsa-with-SHA256", x509.ECDSAWithSHA384: "ecdsa-with-SHA384",
	x509.ECDSAWithSHA512: "ecdsa-with-SHA512", x509.PureEd25519: "id-Ed25519",
}

func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = strings.ToUpper(hex.EncodeToString(b[i : i+1]))
	}
	return strings.Join(parts, ":")
}

func identifier(n pkix.Name) Object {
	one := func(list []string) any {
		if len(list) == 0 {
			return Omit
		}
		return optional(list[0])
	}
	return Object{{"CommonName", optional(n.CommonName)}, {"Organization", one(n.Organization)}, {"OrganizationalUnit", one(n.OrganizationalUnit)},
		{"City", one(n.Locality)}, {"State", one(n.Province)}, {"Country", one(n.Country)}}
}
