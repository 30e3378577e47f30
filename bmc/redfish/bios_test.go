package redfish

import (
	"strings"
	"testing"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

const bios = sys1 + "/Bios"

func TestBios(t *testing.T) {
	f := newFixture(t)
	settings := bios + "/Settings"
	resetPath := sys1 + "/Actions/ComputerSystem.Reset"
	run(t, f, []exchange{
		{name: "as made", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootMode": "Uefi", "Attributes/BootTimeout": 0.0, "Attributes/NumLock": true,
			"Attributes/SystemMemorySizeMiB": 2048.0, "AttributeRegistry": attributeRegistry, "ResetBiosToDefaultsPending": false,
			"@Redfish.Settings/SettingsObject/@odata.id": settings, "@Redfish.Settings/SupportedApplyTimes/0": "OnReset", "@Redfish.Settings/Time": nil}},
		{name: "unknown", method: patch, path: settings, body: `{"Attributes":{"Nonsense":1}}`, status: 400, message: "PropertyUnknown",
			has: map[string]any{"error/@Message.ExtendedInfo/0/RelatedProperties/0": "/Attributes/Nonsense"}},
		{name: "not in the list", method: patch, path: settings, body: `{"Attributes":{"SystemProfile":"Loud"}}`, status: 400, message: "PropertyValueNotInList"},
		{name: "wrong type", method: patch, path: settings, body: `{"Attributes":{"NumLock":"on"}}`, status: 400, message: "PropertyValueTypeError"},
		{name: "no integer", method: patch, path: settings, body: `{"Attributes":{"BootTimeout":1.5}}`, status: 400, message: "PropertyValueTypeError"},
		{name: "out of range", method: patch, path: settings, body: `{"Attributes":{"BootTimeout":60}}`, status: 400, message: "PropertyValueOutOfRange"},
		{name: "too short", method: patch, path: settings, body: `{"Attributes":{"ServiceContact":""}}`, status: 400, message: "PropertyValueFormatError"},
		{name: "read-only", method: patch, path: settings, body: `{"Attributes":{"BootMode":"Legacy"}}`, status: 400, message: "PropertyNotWritable"},
		{name: "all or none", method: patch, path: settings, body: `{"Attributes":{"BootTimeout":7,"Nonsense":1}}`, status: 400, message: "PropertyUnknown"},
		{name: "no object", method: patch, path: settings, body: `{"Attributes":[]}`, status: 400, message: "PropertyValueTypeError"},
		{name: "at once", method: patch, path: settings, body: `{"Attributes":{"BootTimeout":7},"@Redfish.SettingsApplyTime":{"ApplyTime":"Immediate"}}`, status: 400,
			message: "PropertyValueNotInList"},
		{name: "of the BIOS itself", method: patch, path: bios, body: `{"Attributes":{"BootTimeout":7}}`, status: 405},
		{name: "some", method: patch, path: settings, body: `{"Attributes":{"BootTimeout":7,"NumLock":false,"SystemProfile":"Performance"},"@Redfish.SettingsApplyTime":{"ApplyTime":"OnReset"}}`,
			status: 200, has: map[string]any{"Attributes/BootTimeout": 7.0, "Attributes/NumLock": false}},
		{name: "more", method: patch, path: settings, body: `{"Attributes":{"NumLock":true,"ServiceContact":"a"}}`, status: 200, has: map[string]any{"Attributes/NumLock": true, "Attributes/BootTimeout": 7.0}},
		{name: "not yet", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootTimeout": 0.0, "Attributes/SystemProfile": "PerfPerWatt"}},
		{name: "start", method: post, path: resetPath, body: `{"ResetType":"On"}`, status: 204},
		{name: "applied", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootTimeout": 7.0, "Attributes/SystemProfile": "Performance", "Attributes/NumLock": true,
			"Attributes/ServiceContact": "a", "@Redfish.Settings/Time": "2026-03-01T12:00:00Z", "@Redfish.Settings/Messages/0/MessageId": basePrefix + "Success"}},
		{name: "defaults", method: post, path: bios + "/Actions/Bios.ResetBios", status: 204},
		{name: "one besides", method: patch, path: settings, body: `{"Attributes":{"NumLock":false}}`, status: 200, has: map[string]any{"Attributes/BootTimeout": 0.0, "Attributes/NumLock": false}},
		{name: "pending", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootTimeout": 7.0, "ResetBiosToDefaultsPending": true}},
		{name: "restart", method: post, path: resetPath, body: `{"ResetType":"ForceRestart"}`, status: 204},
		{name: "reset", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootTimeout": 0.0, "Attributes/NumLock": false, "ResetBiosToDefaultsPending": false}},
	})
	a := f.want(200, get, bios, nil)
	if etag := a.Header().Get("Etag"); a.at("@Redfish.Settings/ETag") != etag {
		t.Errorf("@Redfish.Settings has ETag %v, the resource %s", a.at("@Redfish.Settings/ETag"), etag)
	}
	f.chassis[first].SetPower(state.PowerOff)
	h := f.chassis[first].Hardware()
	h.BootMode = state.BootBIOS
	f.chassis[first].SetHardware(h)
	if got := f.want(200, get, bios, nil).at("Attributes/BootMode"); got != "Legacy" {
		t.Errorf("BootMode %v", got)
	}
}

// TestBiosSettled starts a node by itself, and has the service write what was pending
// behind its back, also where that fails at first.
func TestBiosSettled(t *testing.T) {
	f := newFixture(t)
	f.want(200, patch, bios+"/Settings", `{"Attributes":{"BootTimeout":7}}`)
	f.chassis[first].FailNext(state.ErrBusy)
	f.chassis[first].SetPower(state.PowerOn)
	f.starts.poke()
	eventually(t, "it is kept", func() bool {
		_ = f.starts.settle(t.Context(), System{ID: first, Chassis: f.chassis[first]})
		kept := string(f.chassis[first].Recall(biosKey))
		return strings.Contains(kept, `"Values":{"BootTimeout":7}`) && !strings.Contains(kept, "Pending")
	})
	if n := f.starts.count(first); n != 0 {
		t.Errorf("%d starts are still noted", n)
	}
}

func TestBiosPassword(t *testing.T) {
	f := newFixture(t)
	change := bios + "/Actions/Bios.ChangePassword"
	run(t, f, []exchange{
		{name: "none", method: get, path: bios, status: 200, has: map[string]any{"Attributes/AdminPasswordState": "NotSet"}},
		{name: "wrong", method: post, path: change, body: `{"PasswordName":"AdministratorPassword","OldPassword":"x","NewPassword":"first"}`, status: 400, message: "ActionParameterValueError"},
		{name: "set", method: post, path: change, body: `{"PasswordName":"AdministratorPassword","OldPassword":"","NewPassword":"first"}`, status: 204},
		{name: "is set", method: get, path: bios, status: 200, has: map[string]any{"Attributes/AdminPasswordState": "Set", "Attributes/UserPasswordState": "NotSet"}},
		{name: "still wrong", method: post, path: change, body: `{"PasswordName":"AdministratorPassword","OldPassword":"","NewPassword":"second"}`, status: 400},
		{name: "change", method: post, path: change, body: `{"PasswordName":"AdministratorPassword","OldPassword":"first","NewPassword":"second"}`, status: 204},
		{name: "another", method: post, path: change, body: `{"PasswordName":"Root","OldPassword":"","NewPassword":"second"}`, status: 400, message: "ActionParameterValueNotInList"},
		{name: "remove", method: post, path: change, body: `{"PasswordName":"AdministratorPassword","OldPassword":"second","NewPassword":""}`, status: 204},
		{name: "is gone", method: get, path: bios, status: 200, has: map[string]any{"Attributes/AdminPasswordState": "NotSet"}},
	})
	if strings.Contains(string(f.chassis[first].Recall(biosKey)), "second") {
		t.Error("the password is kept in clear")
	}
}

// TestAttributes holds the table against itself: defaults are allowed, names are unique.
func TestAttributes(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range attributes {
		if seen[a.name] || a.display == "" || a.help == "" || (a.of == nil) == (a.standard == nil) || a.kind == enumeration && len(a.values) < 2 {
			t.Errorf("%s: %+v", a.name, a)
		}
		seen[a.name] = true
		view := biosView{hardware: bmc.Hardware{}, version: "1"}
		if got := a.value(view, map[string]any{a.name: struct{}{}}); a.of == nil && got != a.standard {
			t.Errorf("%s: a value of another version is %v, want the default", a.name, got)
		}
	}
}
