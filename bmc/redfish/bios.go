package redfish

import (
	"context"
	"crypto/hmac"
	"maps"
	"net/http"
	"slices"
	"time"

	"tenks/bmc"
)

// biosKey is where the BIOS settings of a system are kept.
const biosKey = "redfish/bios"

// keptBios is what is kept of the BIOS. Values are the settings that are in force, Pending
// those of the next start; what is in neither has its default.
type keptBios struct {
	Values  map[string]any `json:",omitempty"`
	Pending map[string]any `json:",omitempty"`
	// Reset says that the next start begins with the defaults.
	Reset bool `json:",omitempty"`
	// Applied is when a start has last made something pending present; Settings is what.
	Applied   time.Time
	Passwords map[string]*keptPassword `json:",omitempty"`
}

// keptPassword is a password of the setup.
type keptPassword struct{ Salt, Hash []byte }

// isPending says whether the next start changes something.
func (k keptBios) isPending() bool { return k.Reset || len(k.Pending) > 0 }

// next are the settings of the next start.
func (k keptBios) next() map[string]any {
	out := map[string]any{}
	if !k.Reset {
		maps.Copy(out, k.Values)
	}
	maps.Copy(out, k.Pending)
	return out
}

// The passwords of the setup.
const (
	adminPassword = "AdministratorPassword"
	userPassword  = "UserPassword"
)

func biosTable() []Resource {
	base := systemsPath + "/{system}/Bios"
	return []Resource{
		{Path: base, Type: "#Bios.v1_2_1.Bios", Link: "Bios", Get: getBios, Volatile: []string{settingsTerm},
			Actions: []Action{
				{Name: "Bios.ResetBios", Do: resetBios},
				{Name: "Bios.ChangePassword", Do: changeBiosPassword, Parameters: Rules{
					"PasswordName": {Kind: String, Values: []string{adminPassword, userPassword}, Required: true},
					"OldPassword":  {Kind: String, Max: 64, Secret: true, Required: true}, "NewPassword": {Kind: String, Max: 64, Secret: true, Required: true},
				}},
			}},
		{Path: base + "/Settings", Type: "#Bios.v1_2_1.Bios", Get: getBiosSettings, Patch: patchBios,
			Writable: Rules{"Attributes": {Kind: Any}, settingsApplyTime: {Kind: Any}}},
		registryFile(attributeRegistry, "BIOS Attribute Registry", attributeRegistry),
		{Path: registriesPath + "/" + attributeRegistry + "/" + attributeRegistry, Type: "#AttributeRegistry.v1_3_8.AttributeRegistry",
			Get: func(*Request) (Object, error) { return attributeRegistryObject(), nil }},
	}
}

// settingsTerm is the annotation that says where pending settings are (DSP0266 §9.10).
const settingsTerm = "@Redfish.Settings"

// settingsApplyTime is the annotation of a PATCH that says when it is to apply.
const settingsApplyTime = "@Redfish.SettingsApplyTime"

// checkApplyTime refuses a request with an apply time that is none of the supported ones:
// what is applied at another time than was asked for may do harm.
func checkApplyTime(r *Request, v Values, annotation string, supported ...string) error {
	body, given := v[annotation]
	if !given {
		return nil
	}
	object, isObject := body.(map[string]any)
	if !isObject {
		return fail(http.StatusBadRequest, msg("PropertyValueTypeError", "(no object)", annotation).about(annotation))
	}
	c := checker{req: r}
	c.check(Rules{"ApplyTime": {Kind: String, Values: supported, Required: true}}, object, nil, annotation+"/")
	if len(c.rejected) > 0 {
		return fail(http.StatusBadRequest, c.rejected...)
	}
	return nil
}

// settingsAnnotation adds settingsTerm. o is the resource without it, from which its ETag
// follows.
func settingsAnnotation(r *Request, o Object, applied time.Time) (Object, error) {
	rt, _ := r.Service.match(r.Path)
	plain := *rt
	plain.Get = func(*Request) (Object, error) { return slices.Clone(o), nil }
	doc, err := r.Service.build(r, &plain)
	if err != nil {
		return nil, err
	}
	when, messages := any(Omit), []Object{}
	if !applied.IsZero() {
		when, messages = applied.UTC().Format(time.RFC3339), infos([]Message{msg("Success")})
	}
	return append(o, Property{settingsTerm, Object{{"@odata.type", "#Settings.v1_3_5.Settings"}, {"SettingsObject", link(r.Path + "/Settings")},
		{"SupportedApplyTimes", []string{"OnReset"}}, {"ETag", doc.etag}, {"Time", when}, {"Messages", messages}}}), nil
}

func (r *Request) biosView() biosView {
	_, able := bmc.As[bmc.BIOSer](r.Chassis())
	return biosView{r.Chassis().Hardware(), pendingOf[keptBios](r, biosKey), r.firmware(componentBIOS), secureBoot(r.Chassis()).Enabled, able}
}

// reviseBios changes what is kept. A chassis that makes attributes real is told at once what
// they are from the next start on.
func (r *Request) reviseBios(change func(*keptBios)) error {
	view := r.biosView()
	return revise(r.Context(), r.Service, r.System, biosKey, func(k *keptBios) error {
		was := realAttributes(k.next())
		change(k)
		chassis, able := bmc.As[bmc.BIOSer](r.Chassis())
		if !able {
			return nil
		}
		if _, mode := k.Pending[bmc.AttributeBootMode]; mode && k.Values[bmc.AttributeBootMode] == nil {
			// The chassis forgets what the guest that runs was started with.
			k.Values = maps.Clone(k.Values)
			if k.Values == nil {
				k.Values = map[string]any{}
			}
			k.Values[bmc.AttributeBootMode] = attributes[0].of(view)
		}
		if now := realAttributes(k.next()); !maps.Equal(now, was) {
			return chassis.SetAttributes(r.Context(), now)
		}
		return nil
	})
}

func getBios(r *Request) (Object, error) {
	view := r.biosView()
	return settingsAnnotation(r, Object{{"Id", "Bios"}, {"Name", "BIOS Configuration"}, {"AttributeRegistry", attributeRegistry},
		{"Attributes", attributeValues(view, view.kept.Values)}, {"ResetBiosToDefaultsPending", view.kept.Reset}}, view.kept.Applied)
}

// getBiosSettings has the settings as they are after the next start.
func getBiosSettings(r *Request) (Object, error) {
	view := r.biosView()
	return Object{{"Id", "Settings"}, {"Name", "BIOS Configuration Pending Settings"}, {"AttributeRegistry", attributeRegistry},
		{"Attributes", attributeValues(view, view.kept.next())},
		{settingsApplyTime, Object{{"@odata.type", "#Settings.v1_3_5.PreferredApplyTime"}, {"ApplyTime", "OnReset"},
			{"ApplyTime@Redfish.AllowableValues", []string{"OnReset"}}}}}, nil
}

// patchBios makes settings pending, all or none: half a configuration is no use to anybody.
func patchBios(r *Request, v Values) error {
	if err := checkApplyTime(r, v, settingsApplyTime, "OnReset"); err != nil {
		return err
	}
	raw, given := v["Attributes"]
	if !given {
		return nil // the apply time alone
	}
	body, isObject := raw.(map[string]any)
	if !isObject {
		return fail(http.StatusBadRequest, msg("PropertyValueTypeError", "(no object)", "Attributes").about("Attributes"))
	}
	view := r.biosView()
	c := checker{req: r}
	set := c.check(attributeRules(view.able), body, attributeValues(view, nil), "Attributes/")
	if len(c.rejected) > 0 {
		for i, m := range c.rejected {
			c.rejected[i] = outOfRange(m)
		}
		return fail(http.StatusBadRequest, c.rejected...)
	}
	if err := r.reviseBios(func(k *keptBios) { k.Pending = without(k, set, view) }); err != nil {
		return err
	}
	r.Service.Happened(r.System, r.Path, "ResourceEvent.1.3.ResourceChanged")
	return nil
}

// outOfRange says of a number that it is out of range rather than of a wrong format.
func outOfRange(m Message) Message {
	if len(m.Args) == 2 && m.ID == "PropertyValueFormatError" && slices.ContainsFunc(attributes, func(a attribute) bool {
		return a.kind == integer && m.Args[1] == "Attributes/"+a.name
	}) {
		m.ID = "PropertyValueOutOfRange"
	}
	return m
}

// without returns what is pending with more set, less what the next start has anyway.
func without(k *keptBios, set Values, view biosView) map[string]any {
	base := keptBios{Values: k.Values, Reset: k.Reset}.next()
	pending := map[string]any{}
	maps.Copy(pending, k.Pending)
	maps.Copy(pending, set)
	for _, a := range attributes {
		if _, given := pending[a.name]; given && a.value(view, pending) == a.value(view, base) {
			delete(pending, a.name)
		}
	}
	return pending
}

func resetBios(r *Request, _ Values) (*Result, error) {
	return nil, r.reviseBios(func(k *keptBios) { k.Reset, k.Pending = true, nil })
}

// changeBiosPassword sets a password of the setup, which nobody is asked for. An empty new
// one removes it.
func changeBiosPassword(r *Request, v Values) (*Result, error) {
	name, _ := v.String("PasswordName")
	old, _ := v.String("OldPassword")
	next, _ := v.String("NewPassword")
	return nil, revise(r.Context(), r.Service, r.System, biosKey, func(k *keptBios) error {
		have := k.Passwords[name]
		right := have == nil && old == ""
		if have != nil {
			right = hmac.Equal(hashPassword(old, have.Salt), have.Hash)
		}
		if !right {
			return fail(http.StatusBadRequest, msg("ActionParameterValueError", "OldPassword", "ChangePassword").about("OldPassword"))
		}
		if next == "" {
			delete(k.Passwords, name)
			return nil
		}
		if k.Passwords == nil {
			k.Passwords = map[string]*keptPassword{}
		}
		salt, hash := newPassword(next)
		k.Passwords[name] = &keptPassword{salt, hash}
		return nil
	})
}

// applyBios makes pending settings present.
func applyBios(ctx context.Context, s *Service, sys System) error {
	if !recall[keptBios](sys, biosKey).isPending() {
		return nil
	}
	err := revise(ctx, s, sys, biosKey, func(k *keptBios) error {
		k.Values, k.Pending, k.Reset, k.Applied = k.next(), nil, false, s.cfg.Clock()
		return nil
	})
	if err == nil {
		s.Happened(sys, systemsPath+"/"+sys.ID+"/Bios", "ResourceEvent.1.3.ResourceChanged")
	}
	return err
}
