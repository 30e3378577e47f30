package redfish

import (
	"context"
	"testing"
	"testing/synctest"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

const (
	usb  = sys1 + "/VirtualMedia/USB"
	plug = usb + "/Actions/VirtualMedia.InsertMedia"
)

func TestUSBStick(t *testing.T) {
	f := newFixture(t)
	c := f.chassis[first]
	old := managersPath + "/" + first + "/VirtualMedia"
	run(t, f, []exchange{
		{name: "both drives", method: get, path: old, status: 200, has: map[string]any{"Members@odata.count": 2.0, "Members/1/@odata.id": old + "/USB"}},
		{name: "no stick", method: get, path: usb, status: 200, has: map[string]any{"Id": "USB", "MediaTypes/0": "USBStick", "Inserted": false, "Image": nil}},
		{name: "plug in", method: post, path: plug, body: `{"Image":"http://192.0.2.9/config.img","UserName":"u","Password":"p"}`, status: 204},
		{name: "plugged in", method: get, path: old + "/USB", status: 200, has: map[string]any{"Inserted": true, "ImageName": "config.img", "UserName": "u",
			"Certificates/@odata.id": usb + "/Certificates"}},
		{name: "the drive is empty", method: get, path: cd, status: 200, has: map[string]any{"Inserted": false, "Image": nil, "UserName": nil}},
		{name: "a CD beside it", method: post, path: insert, body: `{"Image":"http://192.0.2.9/a.iso"}`, status: 204},
		{name: "the stick is what it was", method: get, path: usb, status: 200, has: map[string]any{"Image": "http://192.0.2.9/config.img"}},
		{name: "take the CD out", method: post, path: eject, status: 204},
		{name: "the stick stays", method: get, path: usb, status: 200, has: map[string]any{"Inserted": true}},
		{name: "as sushy ejects", method: patch, path: usb, body: `{"Image":null,"Inserted":false}`, status: 200, has: map[string]any{"Inserted": false, "Image": nil}},
		{name: "nothing to plug in", method: patch, path: usb, body: `{"Inserted":true}`, status: 400, message: "PropertyMissing"},
		{name: "insert by PATCH", method: patch, path: usb, body: `{"Image":"http://192.0.2.9/b.img"}`, status: 200, has: map[string]any{"Inserted": true}},
		{name: "eject", method: post, path: usb + "/Actions/VirtualMedia.EjectMedia", status: 204},
		{name: "to be written", method: post, path: plug, body: `{"Image":"http://h/a","WriteProtected":false}`, status: 400, message: "ActionParameterValueConflict"},
		{name: "a certificate", method: post, path: usb + "/Certificates", status: 201, header: map[string]string{"Location": usb + "/Certificates/1"},
			body: map[string]any{"CertificateString": certificate(t, "image server"), "CertificateType": "PEM"}},
		{name: "of the stick alone", method: get, path: cd + "/Certificates", status: 200, has: map[string]any{"Members@odata.count": 0.0}},
		{name: "start from it", method: patch, path: sys1, status: 200, has: map[string]any{"Boot/BootSourceOverrideTarget": "Usb", "Boot/BootOrder/3": "Boot0001", "Boot/BootOrder/4": "Boot0004"},
			body: `{"Boot":{"BootSourceOverrideTarget":"Usb","BootSourceOverrideEnabled":"Once"}}`},
		{name: "its boot option", method: get, path: sys1 + "/BootOptions/Boot0004", status: 200, has: map[string]any{"Alias": "Usb", "Name": "USB Stick"}},
	})
	if got := c.Status().Boot; got != (state.Boot{Device: state.BootUSB, EFI: true}) {
		t.Errorf("boot %+v", got)
	}
	if got := c.Plugged(); len(got) != 2 || got[0].Password.Reveal() != "p" || len(c.Inserted()) != 1 {
		t.Errorf("plugged in %+v, inserted %+v", got, c.Inserted())
	}
}

func TestAChassisWithoutAUSBPort(t *testing.T) {
	f := newFixture(t)
	f.replaceChassis(struct{ bmc.Chassis }{f.chassis[first]})
	run(t, f, []exchange{
		{name: "one drive", method: get, path: sys1 + "/VirtualMedia", status: 200, has: map[string]any{"Members@odata.count": 1.0}},
		{name: "no stick", method: get, path: usb, status: 404},
		{name: "no certificates", method: get, path: usb + "/Certificates", status: 404},
		{name: "not to be plugged in", method: post, path: plug, body: `{"Image":"http://192.0.2.9/a.img"}`, status: 404},
		{name: "not to start from", method: patch, path: sys1, body: `{"Boot":{"BootSourceOverrideTarget":"Usb"}}`, status: 400, message: "PropertyValueNotInList"},
	})
}

// portOf is a chassis with another USB port.
type portOf struct {
	bmc.Chassis
	port bmc.Drive
}

func (p portOf) USB() bmc.Drive { return p.port }

// slowPort waits for what a stick is to return first.
type slowPort struct {
	bmc.Drive
	release chan error
}

func (p *slowPort) InsertMedia(ctx context.Context, m bmc.Media) error {
	if err := <-p.release; err != nil {
		return err
	}
	return p.Drive.InsertMedia(ctx, m)
}

func TestStartsFromTheStickWaitForItsImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		release := make(chan error)
		f.replaceChassis(portOf{f.chassis[first], &slowPort{f.chassis[first].USB(), release}})
		const power, on = sys1 + "/Actions/ComputerSystem.Reset", `{"ResetType":"On"}`
		f.want(202, post, plug, `{"Image":"http://192.0.2.9/a.img"}`, "Prefer: respond-async")
		f.want(200, patch, sys1, `{"Boot":{"BootSourceOverrideTarget":"Usb","BootSourceOverrideEnabled":"Once"}}`)
		started := f.inBackground(post, power, on)
		waits(t, "start from the stick", started)
		release <- nil
		if got := <-started; got != 204 || !f.chassis[first].USB().Media().Inserted {
			t.Errorf("start answered %d", got)
		}
		f.want(204, post, power, `{"ResetType":"ForceOff"}`)
		f.want(202, post, plug, `{"Image":"http://192.0.2.9/b.img"}`, "Prefer: respond-async")
		f.want(200, patch, sys1, `{"Boot":{"BootSourceOverrideTarget":"Cd","BootSourceOverrideEnabled":"Once"}}`)
		f.want(204, post, power, on) // the drive's image is not waited for
		release <- nil
	})
}
