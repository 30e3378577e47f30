package redfish

import (
	"slices"
	"testing"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

const secure = sys1 + "/SecureBoot"

// wrapped is a chassis as endpoints hand it out.
type wrapped struct{ bmc.Chassis }

func (w wrapped) Unwrap() bmc.Chassis { return w.Chassis }

// replaceChassis gives the first system another chassis.
func (f *fixture) replaceChassis(c bmc.Chassis) {
	systems, _ := f.fleet.All()
	systems = slices.Clone(systems)
	systems[0].Chassis = c
	f.fleet.set(systems)
}

func TestSecureBoot(t *testing.T) {
	f := newFixture(t)
	c := bmctest.NewSecureChassis()
	c.SetCertificates("db", certificate(t, "an issuer of loaders"))
	c.SetHashes("dbx", "80b4d96931bf0d02fd91a61e19d14f1da452e66db2408ca8604d411f92659f0a")
	f.replaceChassis(wrapped{c})
	start, resetKeys := sys1+"/Actions/ComputerSystem.Reset", secure+"/Actions/SecureBoot.ResetKeys"
	// First of all: after a start the service keeps what happened, by itself.
	c.FailNext(state.ErrBusy)
	f.want(503, patch, secure, `{"SecureBootEnable":true}`)
	run(t, f, []exchange{
		{name: "off", method: get, path: secure, status: 200, has: map[string]any{"SecureBootEnable": false, "SecureBootCurrentBoot": "Disabled", "SecureBootMode": "UserMode"}},
		{name: "turn on", method: patch, path: secure, body: `{"SecureBootEnable":true}`, status: 200, has: map[string]any{"SecureBootEnable": true, "SecureBootCurrentBoot": "Disabled"}},
		{name: "in the BIOS", method: get, path: bios, status: 200, has: map[string]any{"Attributes/SecureBoot": "Enabled"}},
		{name: "start", method: post, path: start, body: `{"ResetType":"On"}`, status: 204},
		{name: "in force", method: get, path: secure, status: 200, has: map[string]any{"SecureBootEnable": true, "SecureBootCurrentBoot": "Enabled"}},
		{name: "no type", method: post, path: resetKeys, body: `{}`, status: 400, message: "ActionParameterMissing"},
		{name: "delete keys", method: post, path: resetKeys, body: `{"ResetKeysType":"DeleteAllKeys"}`, status: 204},
		{name: "not yet", method: get, path: secure, status: 200, has: map[string]any{"SecureBootEnable": false, "SecureBootCurrentBoot": "Enabled", "SecureBootMode": "UserMode"}},
		{name: "without keys", method: patch, path: secure, body: `{"SecureBootEnable":true}`, status: 400, message: "PropertyValueConflict"},
		{name: "restart", method: post, path: start, body: `{"ResetType":"ForceRestart"}`, status: 204},
		{name: "without", method: get, path: secure, status: 200, has: map[string]any{"SecureBootEnable": false, "SecureBootCurrentBoot": "Disabled", "SecureBootMode": "SetupMode"}},
		{name: "no platform key", method: post, path: resetKeys, body: `{"ResetKeysType":"DeletePK"}`, status: 204},
		{name: "defaults", method: post, path: resetKeys, body: `{"ResetKeysType":"ResetAllKeysToDefault"}`, status: 204},
		{name: "on again", method: patch, path: secure, body: `{"SecureBootEnable":true}`, status: 200, has: map[string]any{"SecureBootEnable": true}},
		{name: "databases", method: get, path: secure + "/SecureBootDatabases", status: 200, has: map[string]any{"Members@odata.count": 4.0}},
		{name: "a database", method: get, path: secure + "/SecureBootDatabases/db", status: 200, has: map[string]any{"DatabaseId": "db", "Certificates/@odata.id": secure + "/SecureBootDatabases/db/Certificates"}},
		{name: "another", method: get, path: secure + "/SecureBootDatabases/dbz", status: 404},
		{name: "its certificate", method: get, path: secure + "/SecureBootDatabases/db/Certificates/1", status: 200, has: map[string]any{"Subject/CommonName": "an issuer of loaders"}},
		{name: "read-only", method: remove, path: secure + "/SecureBootDatabases/db/Certificates/1", status: 405},
		{name: "what is not loaded", method: get, path: secure + "/SecureBootDatabases/dbx", status: 200, has: map[string]any{"Signatures/@odata.id": secure + "/SecureBootDatabases/dbx/Signatures"}},
		{name: "by its digest", method: get, path: secure + "/SecureBootDatabases/dbx/Signatures/1", status: 200, has: map[string]any{"SignatureType": "EFI_CERT_SHA256_GUID",
			"SignatureTypeRegistry": "UEFI", "SignatureString": "80B4D96931BF0D02FD91A61E19D14F1DA452E66DB2408CA8604D411F92659F0A"}},
		{name: "no second", method: get, path: secure + "/SecureBootDatabases/dbx/Signatures/2", status: 404},
		{name: "no digests", method: get, path: secure + "/SecureBootDatabases/db/Signatures", status: 200, has: map[string]any{"Members@odata.count": 0.0}},
		{name: "none", method: get, path: secure + "/SecureBootDatabases/PK/Certificates", status: 200, has: map[string]any{"Members@odata.count": 0.0}},
	})
}

// TestNoSecureBoot has a chassis that cannot do it, and one that has no UEFI.
func TestNoSecureBoot(t *testing.T) {
	f := newFixture(t)
	run(t, f, []exchange{
		{name: "off", method: get, path: secure, status: 200, has: map[string]any{"SecureBootEnable": false, "SecureBootCurrentBoot": "Disabled", "SecureBootMode": "SetupMode", "Actions": nil}},
		{name: "off as it is", method: patch, path: secure, body: `{"SecureBootEnable":false}`, status: 200},
		{name: "on", method: patch, path: secure, body: `{"SecureBootEnable":true}`, status: 400, message: "PropertyValueIncorrect"},
		{name: "keys", method: post, path: secure + "/Actions/SecureBoot.ResetKeys", body: `{"ResetKeysType":"DeletePK"}`, status: 404},
		{name: "databases", method: get, path: secure + "/SecureBootDatabases", status: 404},
	})
	h := f.chassis[first].Hardware()
	h.BootMode = state.BootBIOS
	f.chassis[first].SetHardware(h)
	f.want(404, get, secure, nil)
	if got := f.want(200, get, sys1, nil).at("SecureBoot"); got != nil {
		t.Errorf("a system without UEFI refers to %v", got)
	}
}
