package redfish

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	for name, want := range map[string]struct{ version, component string }{
		"bios-2.19.1.bin":               {"2.19.1", "BIOS"},
		"BIOS_1.4.exe":                  {"1.4", "BIOS"},
		"ovmf-x86_64-4.5.fd":            {"4.5", "BIOS"},
		"idrac_7.00.00.171_A00.d9":      {"7.00.00.171", "BMC"},
		"bmc-7.tar.gz":                  {"7", "BMC"},
		"Network_Firmware_22.5.7.EXE":   {"22.5.7", "NIC"},
		"firmware.img":                  {"firmware", "BIOS"},
		".bin":                          {"unknown", "BIOS"},
		strings.Repeat("9", 100):        {strings.Repeat("9", maxVersion), "BIOS"},
		"uefi-2026.02-rc1-g12345.fwpkg": {"2026.02", "BIOS"},
	} {
		if v, c := versionOf(name), componentOf(name); v != want.version || c != want.component {
			t.Errorf("%s: %s %s, want %s %s", name, c, v, want.component, want.version)
		}
	}
}

func TestUpdate(t *testing.T) {
	f := newFixture(t)
	action := updatePath + "/Actions/UpdateService.SimpleUpdate"
	item := firmwarePath + "/" + first + "-"
	target := func(uri ...string) string { return `"Targets":["` + strings.Join(uri, `","`) + `"]` }
	run(t, f, []exchange{
		{name: "service", method: get, path: updatePath, status: 200, has: map[string]any{"MultipartHttpPushUri": multipartPath, "ServiceEnabled": true, "FirmwareInventory/@odata.id": firmwarePath}},
		{name: "inventory", method: get, path: firmwarePath, status: 200, has: map[string]any{"Members@odata.count": 6.0, "Members/0/@odata.id": item + "BIOS"}},
		{name: "a component", method: get, path: item + "NIC", status: 200, has: map[string]any{"Version": "1.2.3", "Updateable": true}},
		{name: "no component", method: get, path: item + "GPU", status: 404},
		{name: "another's", method: get, path: firmwarePath + "/" + other + "-BIOS", status: 404},
		{name: "expanded", method: get, path: firmwarePath + "?$expand=*", status: 200, has: map[string]any{"Members/1/Version": "1.2.3"}},
		{name: "no image", method: post, path: action, body: `{}`, status: 400, message: "ActionParameterMissing"},
		{name: "no URI", method: post, path: action, body: `{"ImageURI":"x",` + target(sys1) + `}`, status: 400, message: "ActionParameterValueError"},
		{name: "a protocol apart", method: post, path: action, body: `{"ImageURI":"h/nic-9.1.bin","TransferProtocol":"HTTPS",` + target(sys1) + `}`, status: 202},
		{name: "which system", method: post, path: action, body: `{"ImageURI":"http://h/x.bin"}`, status: 400, message: "ActionParameterMissing"},
		{name: "how to say which", method: post, path: action, body: `{"ImageURI":"http://h/x.bin"}`, status: 400,
			has: map[string]any{"error/@Message.ExtendedInfo/0/Resolution": "This account has 2 systems, and the image's URI has the UUID of none: " +
				"name one in Targets, such as /redfish/v1/Systems/{UUID}, or give each node an account of its own."}},
		{name: "both", method: post, path: action, body: `{"ImageURI":"http://h/` + first + "/" + second + `/x.bin"}`, status: 400, message: "ActionParameterMissing"},
		{name: "another's folder", method: post, path: action, body: `{"ImageURI":"http://h/` + other + `/x.bin"}`, status: 400, message: "ActionParameterMissing"},
		{name: "as Ironic has staged it", method: post, path: action, body: `{"ImageURI":"http://h/firmware/` + strings.ToUpper(second) + `/bios-7.bin","TransferProtocol":"HTTP"}`, status: 202},
		{name: "of that one", method: post, path: systemsPath + "/" + second + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`, status: 204},
		{name: "which has it", method: get, path: firmwarePath + "/" + second + "-BIOS", status: 200, has: map[string]any{"Version": "7"}},
		{name: "another's system", method: post, path: action, body: `{"ImageURI":"http://h/x.bin",` + target(systemsPath+"/"+other) + `}`, status: 400, message: "ActionParameterValueNotInList"},
		{name: "no target", method: post, path: action, body: `{"ImageURI":"http://h/x.bin",` + target(sys1+"/Memory") + `}`, status: 400, message: "ActionParameterValueNotInList"},
		{name: "two systems", method: post, path: action, body: `{"ImageURI":"http://h/x.bin",` + target(sys1, systemsPath+"/"+second) + `}`, status: 400, message: "ActionParameterValueConflict"},
		{name: "not yet", method: get, path: item + "NIC", status: 200, has: map[string]any{"Version": "1.2.3"}},
		{name: "start", method: post, path: sys1 + "/Actions/ComputerSystem.Reset", body: `{"ResetType":"On"}`, status: 204},
		{name: "updated", method: get, path: item + "NIC", status: 200, has: map[string]any{"Version": "9.1"}},
		{name: "the other is not", method: get, path: item + "BIOS", status: 200, has: map[string]any{"Version": "1.2.3"}},
	})
	f.password = "another one" // an account with one system need not say which
	f.want(202, post, action, `{"ImageURI":"http://h/bios-3.0.bin"}`)
}

// pushed is a multipart body, and its content type.
func pushed(t testing.TB, parameters, name, content string) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	if err := m.WriteField("UpdateParameters", parameters); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteField("OemParameters", `{}`); err != nil {
		t.Fatal(err)
	}
	if name != "" {
		w, err := m.CreateFormFile("UpdateFile", name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), m.FormDataContentType()
}

func TestPushUpdate(t *testing.T) {
	f := newFixture(t)
	manager := `{"Targets":["` + managersPath + "/" + first + `"]}`
	for name, c := range map[string]struct {
		parameters, file, content string
		status                    int
		message, version          string
	}{
		"by its name":      {manager, `C:\fw\bmc-8.1.bin`, "image", 202, "", "8.1"},
		"by its manifest":  {manager, "x.json", `{"Version":"8.2-beta"}`, 202, "", "8.2-beta"},
		"for another part": {manager, "x.json", `{"Component":"BIOS","Version":"8.2"}`, 400, "PropertyValueConflict", ""},
		"any part":         {`{"Targets":["` + sys1 + `"]}`, "x.json", `{"Component":"BMC","Version":"8.3"}`, 202, "", "8.3"},
		"empty":            {manager, "bmc-1.bin", "", 400, "PropertyValueError", ""},
		"no file":          {manager, "", "", 400, "PropertyMissing", ""},
		"no target":        {`{}`, "bmc-1.bin", "x", 400, "ActionParameterMissing", ""},
		"no JSON":          {`{`, "bmc-1.bin", "x", 400, "MalformedJSON", ""},
		"unknown":          {`{"X":1}`, "bmc-1.bin", "x", 400, "PropertyUnknown", ""},
	} {
		body, kind := pushed(t, c.parameters, c.file, c.content)
		a := f.do(post, multipartPath, body, "Content-Type: "+kind)
		if a.Code != c.status || a.message() != c.message {
			t.Errorf("%s: got %d %s: %s", name, a.Code, a.message(), a.Body)
		}
		if c.version != "" {
			monitor := a.Header().Get("Location")
			eventually(t, "it is done", func() bool { return f.do(get, monitor, nil).Code == 200 })
			if got := f.want(200, get, managersPath+"/"+first, nil).at("FirmwareVersion"); got != c.version {
				t.Errorf("%s: version %v, want %s", name, got, c.version)
			}
		}
	}
	f.want(415, post, multipartPath, `{}`)
	f.want(400, post, multipartPath, "nonsense", "Content-Type: multipart/form-data; boundary=x")
	f.want(405, get, multipartPath, nil)
	f.user = ""
	f.want(401, post, multipartPath, "x", "Content-Type: multipart/form-data; boundary=x")
}

// TestUpdateElsewhere has a system live at another peer, which gets whole requests.
func TestUpdateElsewhere(t *testing.T) {
	there := newFixture(t)
	f := newFixture(t, func(c *Config) {
		c.Forward = func(w http.ResponseWriter, r *http.Request, sys System, c *Caller) {
			there.ServeHTTP(w, r.WithContext(AsCaller(r.Context(), c.UserName, c.Role, sys.ID)))
		}
	})
	systems, _ := f.fleet.All()
	systems = slices.Clone(systems)
	systems[0].Chassis = nil
	f.fleet.set(systems)
	manager := managersPath + "/" + first
	push, kind := pushed(t, `{"Targets":["`+manager+`"]}`, "bmc-2.5.bin", strings.Repeat("image", 100000))
	for _, x := range []struct{ path, body, kind, version string }{
		{updatePath + "/Actions/UpdateService.SimpleUpdate", `{"ImageURI":"http://h/bmc-2.4.bin","Targets":["` + manager + `"]}`, "application/json", "2.4"},
		{multipartPath, push, kind, "2.5"},
	} {
		monitor := f.want(202, post, x.path, x.body, "Content-Type: "+x.kind).Header().Get("Location")
		eventually(t, "it is done, and seen from here", func() bool { return f.do(get, monitor, nil).Code == 200 })
		if got := f.want(200, get, firmwarePath+"/"+first+"-BMC", nil).at("Version"); got != x.version {
			t.Errorf("%s: version %v", x.path, got)
		}
		if got := there.want(200, get, manager, nil).at("FirmwareVersion"); got != x.version {
			t.Errorf("%s: version %v at the other peer", x.path, got)
		}
		f.want(204, remove, monitor, nil)
		there.want(404, get, monitor, nil)
	}
}
