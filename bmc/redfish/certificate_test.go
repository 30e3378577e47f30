package redfish

import (
	"encoding/pem"
	"testing"
)

func TestListenerCertificates(t *testing.T) {
	leaf, authority := certificate(t, "hv1"), certificate(t, "the mesh's authority")
	der := func(text string) []byte { b, _ := pem.Decode([]byte(text)); return b.Bytes }
	f := newFixture(t, func(c *Config) {
		c.Chain = func(system string) [][]byte {
			if system != first {
				return [][]byte{der(leaf)}
			}
			return [][]byte{der(leaf), der(authority)}
		}
	})
	https := managersPath + "/" + first + "/NetworkProtocol/HTTPS/Certificates"
	locations := certificateServicePath + "/CertificateLocations"
	systems, _ := f.fleet.All()
	run(t, f, []exchange{
		{name: "where", method: get, path: managersPath + "/" + first + "/NetworkProtocol", status: 200, has: map[string]any{"HTTPS/Certificates/@odata.id": https}},
		{name: "the chain", method: get, path: https, status: 200, has: map[string]any{"Members@odata.count": 2.0}},
		{name: "the leaf", method: get, path: https + "/1", status: 200, has: map[string]any{"Subject/CommonName": "hv1", "CertificateString": leaf, "CertificateUsageTypes/0": "Web"}},
		{name: "the authority", method: get, path: https + "/2", status: 200, has: map[string]any{"Subject/CommonName": "the mesh's authority"}},
		{name: "no more", method: get, path: https + "/3", status: 404},
		{name: "read-only", method: post, path: https, body: `{}`, status: 405},
		{name: "a certificate of a client", method: post, path: cd + "/Certificates", status: 201, body: map[string]any{"CertificateString": certificate(t, "images"), "CertificateType": "PEM"}},
		{name: "all", method: get, path: locations, status: 200, has: map[string]any{"Links/Certificates@odata.count": 4.0, "Links/Certificates/0/@odata.id": https + "/1",
			"Links/Certificates/1/@odata.id": https + "/2", "Links/Certificates/2/@odata.id": cd + "/Certificates/1"}},
		{name: "replace", method: post, path: certificateServicePath + "/Actions/CertificateService.ReplaceCertificate", body: `{}`, status: 400, message: "ActionNotSupported"},
		{name: "why not", method: post, path: certificateServicePath + "/Actions/CertificateService.GenerateCSR", body: `{}`, status: 400, has: map[string]any{"error/@Message.ExtendedInfo/0/Resolution": "Certificates of the service are signed by the mesh's authority, or named by bmc.tls_cert and bmc.tls_key in a host's agent.yml: change them there."}},
		{name: "not offered", method: get, path: certificateServicePath, status: 200, has: map[string]any{"Actions": nil}},
	})
	systems[0].Chassis = nil // at another peer
	f.fleet.set(systems)
	run(t, f, []exchange{{name: "elsewhere", method: get, path: locations, status: 200, has: map[string]any{"Links/Certificates@odata.count": 2.0, "Links/Certificates/0/@odata.id": https + "/1"}}})
}

func TestNoListenerCertificate(t *testing.T) {
	f := newFixture(t)
	f.want(200, get, managersPath+"/"+first+"/NetworkProtocol/HTTPS/Certificates", nil)
	if got := f.want(200, get, certificateServicePath+"/CertificateLocations", nil).at("Links/Certificates@odata.count"); got != 0.0 {
		t.Errorf("%v certificates, want none", got)
	}
}
