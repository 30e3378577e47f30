package redfish

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

const (
	cd     = sys1 + "/VirtualMedia/Cd"
	insert = cd + "/Actions/VirtualMedia.InsertMedia"
	eject  = cd + "/Actions/VirtualMedia.EjectMedia"
)

func TestVirtualMedia(t *testing.T) {
	f := newFixture(t)
	old := managersPath + "/" + first + "/VirtualMedia/Cd"
	empty := map[string]any{"Inserted": false, "Image": nil, "ImageName": nil, "ConnectedVia": "NotConnected", "UserName": nil}
	run(t, f, []exchange{
		{name: "nothing", method: get, path: cd, status: 200, has: empty},
		{name: "eject nothing", method: post, path: eject, status: 204},
		{name: "insert", method: post, path: insert, body: `{"Image":"http://192.0.2.9/boot/a.iso","UserName":"u","Password":"hidden pw"}`, status: 204},
		{name: "inserted", method: get, path: cd, status: 200, has: map[string]any{"Inserted": true, "Image": "http://192.0.2.9/boot/a.iso", "ImageName": "a.iso",
			"ConnectedVia": "URI", "UserName": "u", "Password": nil, "WriteProtected": true, "TransferProtocolType": "HTTP", "TransferMethod": "Upload"}},
		{name: "under the manager", method: get, path: old, status: 200, has: map[string]any{"Inserted": true, "ImageName": "a.iso", "Certificates/@odata.id": cd + "/Certificates"}},
		{name: "another", method: post, path: old + "/Actions/VirtualMedia.InsertMedia", status: 204,
			body: `{"Image":"https://u:p@192.0.2.9/b.iso","Inserted":true,"WriteProtected":true,"TransferMethod":"Stream","TransferProtocolType":"HTTPS"}`},
		{name: "without password", method: get, path: cd, status: 200, has: map[string]any{"Image": "https://192.0.2.9/b.iso", "UserName": nil, "TransferProtocolType": "HTTPS"}},
		{name: "eject", method: post, path: eject, body: `{}`, status: 204},
		{name: "empty again", method: get, path: cd, status: 200, has: empty},
		{name: "protocol apart", method: post, path: insert, body: `{"Image":"192.0.2.9/c.iso","TransferProtocolType":"HTTP"}`, status: 204},
		{name: "with scheme", method: get, path: cd, status: 200, has: map[string]any{"Image": "http://192.0.2.9/c.iso"}},
		{name: "no image", method: post, path: insert, body: `{}`, status: 400, message: "ActionParameterMissing"},
		{name: "no URL", method: post, path: insert, body: `{"Image":"c.iso"}`, status: 400, message: "ActionParameterValueError"},
		{name: "a file", method: post, path: insert, body: `{"Image":"file:///etc/passwd"}`, status: 400, message: "ActionParameterValueError"},
		{name: "another protocol", method: post, path: insert, body: `{"Image":"http://h/a","TransferProtocolType":"NFS"}`, status: 400, message: "ActionParameterValueNotInList"},
		{name: "not its protocol", method: post, path: insert, body: `{"Image":"http://h/a","TransferProtocolType":"HTTPS"}`, status: 400, message: "ActionParameterValueConflict"},
		{name: "to be written", method: post, path: insert, body: `{"Image":"http://h/a","WriteProtected":false}`, status: 400, message: "ActionParameterValueConflict"},
		{name: "action info", method: get, path: cd + "/InsertMediaActionInfo", status: 200, has: map[string]any{"Parameters/0/Name": "Image", "Parameters/0/Required": true}},
	})
	list := f.chassis[first].Inserted()
	if len(list) != 3 || list[0].Username != "u" || list[0].Password.Reveal() != "hidden pw" || list[0].VerifyCertificate || list[1].URL != "https://u:p@192.0.2.9/b.iso" {
		t.Errorf("inserted %+v", list)
	}
	if kept := string(f.chassis[first].Recall(slotCD.key)); strings.Contains(kept, "hidden") {
		t.Errorf("kept the password: %s", kept)
	}
}

func TestPatchVirtualMedia(t *testing.T) {
	f := newFixture(t)
	url := "http://192.0.2.9/a.iso"
	run(t, f, []exchange{
		{name: "insert", method: patch, path: cd, body: `{"Image":"` + url + `","Inserted":true,"WriteProtected":true,"UserName":"u","Password":"p"}`, status: 200,
			has: map[string]any{"Inserted": true, "Image": url, "UserName": "u"}},
		{name: "as it is", method: patch, path: cd, body: `{"Inserted":true}`, status: 200, has: map[string]any{"Inserted": true}},
		{name: "take out", method: patch, path: cd, body: `{"Inserted":false}`, status: 200, has: map[string]any{"Inserted": false, "Image": url, "ConnectedVia": "NotConnected"}},
		{name: "put back", method: patch, path: cd, body: `{"Inserted":true}`, status: 200, has: map[string]any{"Inserted": true, "Image": url}},
		{name: "as sushy ejects", method: patch, path: cd, body: `{"Image":null,"Inserted":false}`, status: 200, has: map[string]any{"Inserted": false, "Image": nil, "UserName": nil}},
		{name: "nothing to put in", method: patch, path: cd, body: `{"Inserted":true}`, status: 400, message: "PropertyMissing"},
		{name: "not yet", method: patch, path: cd, body: `{"Image":"` + url + `","Inserted":false}`, status: 200, has: map[string]any{"Inserted": false, "Image": url}},
		{name: "the same by action", method: post, path: insert, body: `{"Image":"http://h/b","Inserted":false}`, status: 204},
		{name: "remembered", method: get, path: cd, status: 200, has: map[string]any{"Inserted": false, "Image": "http://h/b", "ImageName": "b"}},
		{name: "no URL", method: patch, path: cd, body: `{"Image":"x"}`, status: 400, message: "PropertyValueError"},
		{name: "to be written", method: patch, path: cd, body: `{"WriteProtected":false}`, status: 400, message: "PropertyValueIncorrect"},
		{name: "verify", method: patch, path: cd, body: `{"VerifyCertificate":true}`, status: 200, has: map[string]any{"VerifyCertificate": true}},
		{name: "insert with it", method: post, path: insert, body: `{"Image":"https://h/a"}`, status: 204},
	})
	list := f.chassis[first].Inserted()
	if len(list) == 0 || !list[len(list)-1].VerifyCertificate {
		t.Errorf("inserted %+v", list)
	}
}

func TestVirtualMediaFailures(t *testing.T) {
	body := `{"Image":"http://user:secret@192.0.2.9/a.iso"}`
	for name, c := range map[string]struct {
		err     error
		status  int
		message string
	}{
		"busy":          {state.ErrBusy, 503, "ServiceTemporarilyUnavailable"},
		"refused":       {state.ErrRefused, 400, "ActionParameterValueError"},
		"not supported": {state.ErrUnsupported, 400, "OperationNotAllowed"},
		"their server":  {errors.New("404"), 500, "CouldNotEstablishConnection"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.chassis[first].FailNext(c.err)
			a := f.want(c.status, post, insert, body)
			if a.message() != c.message || strings.Contains(a.Body.String(), "secret") {
				t.Errorf("got %s: %s", a.message(), a.Body)
			}
		})
	}
}

// drive is a chassis whose InsertMedia waits for what it is to return.
type drive struct {
	bmc.Chassis
	release chan error
	// cancelled gets a value for each that was.
	cancelled chan struct{}
}

func (d *drive) InsertMedia(ctx context.Context, _ bmc.Media) error {
	select {
	case err := <-d.release:
		return err
	case <-ctx.Done():
		d.cancelled <- struct{}{}
		return ctx.Err()
	}
}

func TestVirtualMediaTask(t *testing.T) {
	f := newFixture(t)
	d := &drive{Chassis: f.chassis[first], release: make(chan error), cancelled: make(chan struct{}, 1)}
	f.replaceChassis(d)
	a := f.want(202, post, insert, `{"Image":"http://192.0.2.9/a.iso"}`, "Prefer: respond-async")
	monitor := a.Header().Get("Location")
	if a.Body.Len() > 0 || monitor == "" {
		t.Fatalf("202 with %q, Location %q", a.Body, monitor)
	}
	f.want(202, get, monitor, nil)
	f.want(204, remove, monitor, nil) // which ends the fetch
	f.want(404, get, monitor, nil)
	<-d.cancelled

	monitor = f.want(202, patch, cd, `{"Image":"http://192.0.2.9/a.iso"}`, "Prefer: respond-async, return=minimal").Header().Get("Location")
	d.release <- state.ErrRefused
	eventually(t, "the task has failed", func() bool { return f.do(get, monitor, nil).at("TaskState") == "Exception" })
	if got := f.want(200, get, monitor, nil).at("Messages/0/MessageId"); got != basePrefix+"PropertyValueError" {
		t.Errorf("message %v", got)
	}
	for prefer, want := range map[string]time.Duration{"": mediaWait, "wait=2": 2 * time.Second, "respond-async; x, wait=5": 5 * time.Second, "wait=9999": mediaWait, "wait=x": mediaWait} {
		r := &http.Request{Header: http.Header{"Prefer": {prefer}}}
		if got := asyncAfter(r); got != want {
			t.Errorf("%q: waits %s, want %s", prefer, got, want)
		}
	}
}

// certificate makes one that signs itself.
func certificate(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0x1234), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(1900000000, 0)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
}

func TestMediaCertificates(t *testing.T) {
	f := newFixture(t)
	base := cd + "/Certificates"
	text := certificate(t, "image server")
	body := map[string]any{"CertificateString": text, "CertificateType": "PEM"}
	run(t, f, []exchange{
		{name: "none", method: get, path: base, status: 200, has: map[string]any{"Members@odata.count": 0.0}},
		{name: "add", method: post, path: base, body: body, status: 201, header: map[string]string{"Location": base + "/1"},
			has: map[string]any{"Subject/CommonName": "image server", "Subject/Organization": "Example", "CertificateString": text, "SerialNumber": "12:34",
				"ValidNotAfter": "2030-03-17T17:46:40Z", "SignatureAlgorithm": "ecdsa-with-SHA256"}},
		{name: "twice", method: post, path: base, body: body, status: 409, message: "ResourceAlreadyExists"},
		{name: "no certificate", method: post, path: base, body: `{"CertificateString":"x","CertificateType":"PEM"}`, status: 400, message: "PropertyValueFormatError"},
		{name: "without type", method: post, path: base, body: `{"CertificateString":"x"}`, status: 400, message: "CreateFailedMissingReqProperties"},
		{name: "insert", method: patch, path: cd, body: `{"Image":"https://192.0.2.9/a.iso","VerifyCertificate":true}`, status: 200},
		{name: "delete", method: remove, path: base + "/1", status: 204},
		{name: "gone", method: get, path: base + "/1", status: 404},
		{name: "another number", method: post, path: base, body: body, status: 201, header: map[string]string{"Location": base + "/2"}},
	})
	inserted := f.chassis[first].Inserted()
	if len(inserted) != 1 || string(inserted[0].CACert) != text {
		t.Errorf("inserted %+v", inserted)
	}
}
