package redfish

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strconv"
)

const (
	certificateServicePath = rootPath + "/CertificateService"
	listenerCertificates   = managersPath + "/{system}/NetworkProtocol/HTTPS/Certificates"
)

// certificateTable has the CertificateService. The certificate of the listener is the one
// of the peer that a node is at: the mesh's authority signs it, or its file is named in
// agent.yml. It is shown, and not replaced: a key that one client gave one peer would be
// gone with the next certificate of the mesh.
func certificateTable() []Resource {
	rows := []Resource{
		{Path: certificateServicePath, Type: "#CertificateService.v1_0_5.CertificateService", Link: "CertificateService",
			Get: func(*Request) (Object, error) {
				return Object{{"Id", "CertificateService"}, {"Name", "Certificate Service"}}, nil
			}},
		{Path: certificateServicePath + "/CertificateLocations", Type: "#CertificateLocations.v1_0_3.CertificateLocations", Link: "CertificateLocations", Get: getCertificateLocations},
	}
	// They are no actions of the resource: who asks all the same is told why.
	for _, action := range []string{"GenerateCSR", "ReplaceCertificate"} {
		rows = append(rows, Resource{Path: certificateServicePath + "/Actions/CertificateService." + action, Change: ConfigureManager,
			Raw: map[string]func(*Request, http.ResponseWriter) error{http.MethodPost: func(*Request, http.ResponseWriter) error {
				m := msg("ActionNotSupported", "CertificateService."+action)
				m.Resolution = "Certificates of the service are signed by the mesh's authority, or named by bmc.tls_cert and bmc.tls_key in a host's agent.yml: change them there."
				return fail(http.StatusBadRequest, m)
			}}})
	}
	listener := certificateRows(listenerCertificates, "", certificateStore{usage: []string{"Web"}, all: func(r *Request) []keptCertificate { return r.Service.listenerChain(r.System.ID) }})
	listener[0].Link = "" // the parent is a part of NetworkProtocol
	return append(rows, listener...)
}

// listenerChain is what the listener of a system at this peer shows, the leaf first, with
// IDs from 1.
func (s *Service) listenerChain(system string) []keptCertificate {
	if s.cfg.Chain == nil {
		return nil
	}
	var out []keptCertificate
	for i, raw := range s.cfg.Chain(system) {
		if _, err := x509.ParseCertificate(raw); err != nil {
			break
		}
		out = append(out, keptCertificate{ID: strconv.Itoa(i + 1), PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))})
	}
	return out
}

// getCertificateLocations has the certificates of the caller's systems: of their listener,
// and those that clients have added for virtual media. Of a system at another peer that is
// the leaf, which every listener has.
func getCertificateLocations(r *Request) (Object, error) {
	all := []Object{}
	for _, id := range r.Caller.Systems() {
		sys, found := r.Find(id)
		if !found {
			continue
		}
		here := managersPath + "/" + id + "/NetworkProtocol/HTTPS/Certificates/"
		if sys.Chassis == nil {
			all = append(all, link(here+"1"))
			continue
		}
		for _, c := range r.Service.listenerChain(id) {
			all = append(all, link(here+c.ID))
		}
		for _, s := range slotsOf(sys.Chassis) {
			for _, c := range s.settings(sys).Certificates {
				all = append(all, link(systemsPath+"/"+id+"/VirtualMedia/"+s.id+"/Certificates/"+c.ID))
			}
		}
	}
	return Object{{"Id", "CertificateLocations"}, {"Name", "Certificate Locations"}, {"Links", Object{{"Certificates", all}, {"Certificates@odata.count", len(all)}}}}, nil
}
