package redfish

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// keyResets are the values of ResetKeysType.
var keyResets = map[string]bmc.KeySet{"ResetAllKeysToDefault": bmc.KeysDefault, "DeleteAllKeys": bmc.KeysNone, "DeletePK": bmc.KeysNoPK}

// databases are the key databases (UEFI 2.10 §32.4), in the order of what signs what.
var databases = []string{"PK", "KEK", "db", "dbx"}

// secureBootTable has Secure Boot, where the firmware is UEFI's. What a chassis does not do
// cannot be turned on, and has no keys.
func secureBootTable() []Resource {
	base := systemsPath + "/{system}/SecureBoot"
	able := func(r *Request) bool { _, ok := bmc.As[bmc.SecureBooter](r.Chassis()); return ok }
	known := func(r *Request) bool { return slices.Contains(databases, r.Var("database")) }
	uefi := func(r *Request) bool { return r.Chassis().Hardware().BootMode == state.BootUEFI }
	store := certificateStore{all: databaseCertificates}
	rows := []Resource{
		{Path: base, Type: "#SecureBoot.v1_1_1.SecureBoot", Link: "SecureBoot", Get: getSecureBoot, Present: uefi,
			Writable: Rules{"SecureBootEnable": {Kind: Bool}}, Patch: patchSecureBoot,
			Actions: []Action{{Name: "SecureBoot.ResetKeys", Do: resetKeys, Present: able,
				Parameters: Rules{"ResetKeysType": {Kind: String, Values: []string{"ResetAllKeysToDefault", "DeleteAllKeys", "DeletePK"}, Required: true}}}}},
		{Path: base + "/SecureBootDatabases", Type: "#SecureBootDatabaseCollection.SecureBootDatabaseCollection", Link: "SecureBootDatabases",
			Name: "Secure Boot Databases", Members: func(*Request) ([]string, error) { return databases, nil }},
		{Path: base + "/SecureBootDatabases/{database}", Type: "#SecureBootDatabase.v1_0_2.SecureBootDatabase", Present: known,
			Get: func(r *Request) (Object, error) {
				id := r.Var("database")
				return Object{{"Id", id}, {"Name", "Secure Boot Database " + id}, {"DatabaseId", id}}, nil
			}},
	}
	rows = append(rows, certificateRows(base+"/SecureBootDatabases/{database}/Certificates", "", store)...)
	rows = append(rows, signatureRows(base+"/SecureBootDatabases/{database}/Signatures")...)
	for i := range rows[1:] {
		inner := rows[i+1].Present
		rows[i+1].Present = func(r *Request) bool {
			return uefi(r) && able(r) && (r.Var("database") == "" || known(r)) && (inner == nil || inner(r))
		}
	}
	return rows
}

// secureBoot is how a chassis has it set: not at all, where it cannot do it.
func secureBoot(c bmc.Chassis) bmc.SecureBoot {
	if able, ok := bmc.As[bmc.SecureBooter](c); ok {
		return able.SecureBoot()
	}
	return bmc.SecureBoot{Keys: bmc.KeysNone, Enrolled: bmc.KeysNone}
}

func getSecureBoot(r *Request) (Object, error) {
	is := secureBoot(r.Chassis())
	current, mode := "Disabled", "SetupMode"
	if is.Enforced {
		current = "Enabled"
	}
	if is.Enrolled == bmc.KeysDefault || is.Enrolled == bmc.KeysCustom {
		mode = "UserMode"
	}
	return Object{{"Id", "SecureBoot"}, {"Name", "UEFI Secure Boot"}, {"SecureBootEnable", is.Enabled}, {"SecureBootCurrentBoot", current}, {"SecureBootMode", mode}}, nil
}

func patchSecureBoot(r *Request, v Values) error {
	enable, _ := v.Bool("SecureBootEnable")
	if enable == secureBoot(r.Chassis()).Enabled {
		return nil
	}
	able, ok := bmc.As[bmc.SecureBooter](r.Chassis())
	if !ok {
		return fail(http.StatusBadRequest, msg("PropertyValueIncorrect", "SecureBootEnable", "true").about("SecureBootEnable"))
	}
	err := able.SetSecureBoot(r.Context(), enable)
	if errors.Is(err, state.ErrWrongState) {
		return fail(http.StatusBadRequest, msg("PropertyValueConflict", "SecureBootEnable", "SecureBootMode").about("SecureBootEnable", "SecureBootMode"))
	}
	if err == nil {
		r.Service.Happened(r.System, r.Path, "ResourceEvent.1.3.ResourceChanged")
	}
	return err
}

func resetKeys(r *Request, v Values) (*Result, error) {
	able, ok := bmc.As[bmc.SecureBooter](r.Chassis())
	if !ok {
		return nil, notFound(r.Path)
	}
	kind, _ := v.String("ResetKeysType")
	if err := able.ResetKeys(r.Context(), keyResets[kind]); err != nil {
		return nil, err
	}
	r.Service.Happened(r.System, r.Path, "ResourceEvent.1.3.ResourceChanged")
	return nil, nil //nolint:nilnil // a nil Result is 204
}

// signatureRows are the digests of images in a database. Certificates are in a collection
// of their own.
func signatureRows(path string) []Resource {
	hashes := func(r *Request) []string { return secureBoot(r.Chassis()).Hashes[r.Var("database")] }
	find := func(r *Request) (hash string, found bool) {
		list := hashes(r)
		if i := nth("", r.Var("signature"), len(list)); i >= 0 {
			return list[i], true
		}
		return "", false
	}
	return []Resource{
		{Path: path, Type: "#SignatureCollection.SignatureCollection", Link: "Signatures", Name: "Signatures",
			Members: func(r *Request) ([]string, error) { return counted("", len(hashes(r))), nil }},
		{Path: path + "/{signature}", Type: "#Signature.v1_0_2.Signature", Present: func(r *Request) bool { _, found := find(r); return found },
			Get: func(r *Request) (Object, error) {
				hash, found := find(r)
				if !found {
					return nil, notFound(r.Path)
				}
				return Object{{"Id", r.Var("signature")}, {"Name", "Signature " + r.Var("signature")}, {"SignatureTypeRegistry", "UEFI"},
					{"SignatureType", "EFI_CERT_SHA256_GUID"}, {"SignatureString", strings.ToUpper(hash)}}, nil
			}},
	}
}

// databaseCertificates are those of a database, as the chassis has them.
func databaseCertificates(r *Request) []keptCertificate {
	var out []keptCertificate
	for i, text := range secureBoot(r.Chassis()).Certificates[r.Var("database")] {
		out = append(out, keptCertificate{ID: strconv.Itoa(i + 1), PEM: text})
	}
	return out
}
