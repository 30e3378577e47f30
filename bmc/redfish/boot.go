package redfish

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// bootDevices are the boot devices by their BootSourceOverrideTarget. UefiHttp is not
// among them: it is the CD-ROM drive with an image from HttpBootUri, or the network.
var bootDevices = map[string]state.BootDevice{
	targetNone: state.BootNone, "Pxe": state.BootPXE, "Hdd": state.BootDisk, "Cd": state.BootCDROM, "Usb": state.BootUSB, "BiosSetup": state.BootSetup,
}

const (
	targetNone = "None"
	targetHTTP = "UefiHttp"
)

// The values of BootSourceOverrideEnabled.
const (
	overrideDisabled   = "Disabled"
	overrideOnce       = "Once"
	overrideContinuous = "Continuous"
)

func (r *Request) bootTargets(mode state.BootMode) []string {
	out := []string{targetNone, "Pxe", "Hdd", "Cd", "BiosSetup"}
	if r.hasUSB() {
		out = append(out, "Usb")
	}
	if mode == state.BootUEFI {
		out = append(out, targetHTTP)
	}
	return out
}

// hasUSB says whether a stick can be plugged in.
func (r *Request) hasUSB() bool { return bmc.DriveOf(r.Chassis(), state.BootUSB) != nil }

func bootMode(mode state.BootMode) string {
	if mode == state.BootUEFI {
		return "UEFI"
	}
	return "Legacy"
}

// bootModes are the firmwares that the system may have: what was declared, unless the
// chassis can change it.
func (r *Request) bootModes() []string {
	if _, able := bmc.As[bmc.BIOSer](r.Chassis()); able {
		return []string{"UEFI", "Legacy"}
	}
	return []string{bootMode(r.Chassis().Hardware().BootMode)}
}

// bestMode is the firmware that the system could have, as far as targets go: a request may
// change both.
func (r *Request) bestMode() state.BootMode {
	if len(r.bootModes()) > 1 {
		return state.BootUEFI
	}
	return r.Chassis().Hardware().BootMode
}

// setBootMode changes the firmware from the next start on; in the BIOS' words it is the
// attribute BootMode.
func (r *Request) setBootMode(mode string) error {
	if mode == bootMode(r.Chassis().Hardware().BootMode) {
		return nil
	}
	view := r.biosView()
	set := Values{bmc.AttributeBootMode: "Uefi"}
	if mode == "Legacy" {
		set[bmc.AttributeBootMode] = mode
	}
	return r.reviseBios(func(k *keptBios) { k.Pending = without(k, set, view) })
}

var overrides = []string{overrideDisabled, overrideOnce, overrideContinuous}

func bootRules() Rules {
	return Rules{
		"BootSourceOverrideTarget":  {Kind: String, ValuesFor: func(r *Request) []string { return r.bootTargets(r.bestMode()) }},
		"BootSourceOverrideEnabled": {Kind: String, Values: overrides},
		"BootSourceOverrideMode":    {Kind: String, ValuesFor: func(r *Request) []string { return r.bootModes() }},
		"BootOrder":                 {Kind: List, Max: 256, Elements: &Rule{Kind: String, ValuesFor: (*Request).optionNames}},
		"HttpBootUri":               {Kind: String, Null: true, Check: isBootURI},
	}
}

func isBootURI(v any) bool {
	s, _ := v.(string)
	u, err := url.Parse(s)
	return s == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// override is the boot override in Redfish's words.
type override struct{ target, enabled string }

// overrideOf says what is in force. A one-shot override that was used is Disabled.
func overrideOf(boot state.Boot, set settings) override {
	if boot.Device == state.BootNone {
		o := override{targetNone, overrideDisabled}
		if set.PendingTarget != "" {
			o.target = set.PendingTarget
		}
		return o
	}
	o := override{targetNone, overrideOnce}
	if boot.Persistent {
		o.enabled = overrideContinuous
	}
	for target, device := range bootDevices {
		if device == boot.Device {
			o.target = target
		}
	}
	if set.HTTPBoot && (boot.Device == state.BootCDROM || boot.Device == state.BootPXE) {
		o.target = targetHTTP
	}
	return o
}

func bootObject(r *Request, hardware bmc.Hardware, status bmc.Status, set settings) Object {
	o := overrideOf(status.Boot, set)
	var uri any
	if set.BootURI != "" {
		uri = set.BootURI
	}
	return Object{
		{"BootSourceOverrideTarget", o.target}, {"BootSourceOverrideTarget@Redfish.AllowableValues", r.bootTargets(hardware.BootMode)},
		{"BootSourceOverrideEnabled", o.enabled}, {"BootSourceOverrideEnabled@Redfish.AllowableValues", overrides},
		{"BootSourceOverrideMode", bootMode(hardware.BootMode)}, {"BootSourceOverrideMode@Redfish.AllowableValues", r.bootModes()},
		{"HttpBootUri", uri}, {"BootOrder", r.bootOrder()},
		{"BootOptions", link(r.systemPath() + "/BootOptions")},
	}
}

// patchBoot sets the firmware, the order and the override. What is not given stays as it
// is.
func patchBoot(r *Request, v Values) error {
	if mode, given := v.String("BootSourceOverrideMode"); given {
		if err := r.setBootMode(mode); err != nil {
			return err
		}
	}
	if order, given := v.Get("BootOrder"); given {
		list, _ := order.([]any)
		if err := r.setBootOrder(list); err != nil {
			return err
		}
	}
	for _, name := range []string{"BootSourceOverrideTarget", "BootSourceOverrideEnabled", "HttpBootUri"} {
		if _, given := v[name]; given {
			return patchOverride(r, v)
		}
	}
	return nil
}

func patchOverride(r *Request, v Values) error {
	set := recall[settings](r.System, settingsKey)
	o := overrideOf(r.Chassis().Status().Boot, set)
	target, targetGiven := v.String("BootSourceOverrideTarget")
	if targetGiven {
		o.target = target
	}
	if enabled, given := v.String("BootSourceOverrideEnabled"); given {
		o.enabled = enabled
	}
	if uri, given := v["HttpBootUri"]; given {
		set.BootURI, _ = uri.(string)
	}
	set.PendingTarget, set.HTTPBoot = "", false
	boot := state.Boot{Persistent: o.enabled == overrideContinuous, EFI: r.Chassis().Hardware().BootMode == state.BootUEFI}
	switch {
	case targetGiven && target == targetHTTP && !boot.EFI:
		const at, mode = "Boot/BootSourceOverrideTarget", "Boot/BootSourceOverrideMode"
		return fail(http.StatusBadRequest, msg("PropertyValueConflict", at, mode).about(at, mode))
	case o.enabled == overrideDisabled:
		boot, set.PendingTarget = state.Boot{}, target
	case o.target == targetNone:
		boot = state.Boot{}
	case o.target == targetHTTP:
		set.HTTPBoot = true
		boot.Device = state.BootPXE // the firmware asks DHCP for the URI
		if set.BootURI != "" {
			boot.Device = state.BootCDROM
			if err := insertBootImage(r, set.BootURI); err != nil {
				return err
			}
		}
	default:
		boot.Device = bootDevices[o.target]
	}
	if err := r.Chassis().SetBoot(r.Context(), boot); err != nil {
		return err
	}
	return alter(r, func(s *settings) {
		s.PendingTarget, s.HTTPBoot, s.BootURI = set.PendingTarget, set.HTTPBoot, set.BootURI
	})
}

// insertBootImage puts the image into the drive. One that takes longer than an answer goes
// on afterwards, and the start waits for it.
func insertBootImage(r *Request, uri string) error {
	u, err := url.Parse(uri)
	if err != nil || strings.EqualFold(path.Ext(u.Path), ".efi") {
		// UEFI loads such a program by itself; a drive has nothing to start it with.
		return fail(http.StatusBadRequest, msg("PropertyValueIncorrect", "Boot/HttpBootUri", brief(uri)).about("Boot/HttpBootUri"))
	}
	want := wanted{Media: bmc.Media{URL: uri}}
	u.User, u.Fragment = nil, ""
	want.shown = u.String()
	in, err := r.Service.beginInsert(r.System, slotCD, want)
	if err != nil {
		return err
	}
	wait := time.NewTimer(mediaWait)
	defer wait.Stop()
	select {
	case <-in.done:
	case <-r.Context().Done():
		return unavailable(busyRetry)
	case <-wait.C:
		return nil
	}
	switch err := r.Service.insertions.told(in); {
	case err == nil, errors.Is(err, state.ErrBusy), errors.Is(err, state.ErrUnsupported):
		return err
	case errors.Is(err, state.ErrRefused):
		return fail(http.StatusBadRequest, msg("PropertyValueError", "Boot/HttpBootUri").about("Boot/HttpBootUri"))
	default:
		return &Error{Status: http.StatusInternalServerError, Messages: []Message{msg("CouldNotEstablishConnection", brief(want.shown)).about("Boot/HttpBootUri")}, Cause: err}
	}
}

// bootOption is a device that the firmware can start from. Its word is that of
// bmc.BootOrderer.
type bootOption struct{ name, alias, word string }

// bootOptions are disks, the drive, interfaces, and the USB stick, which has the last place,
// plugged in or not. Their places are their names.
func (r *Request) bootOptions() []bootOption {
	var out []bootOption
	for i := range r.guestDisks() {
		out = append(out, bootOption{"Hard Disk " + strconv.Itoa(i+1), "Hdd", "disk" + strconv.Itoa(i)})
	}
	out = append(out, bootOption{"CD-ROM Drive", "Cd", "cdrom"})
	for i, nic := range r.Chassis().Hardware().NICs {
		out = append(out, bootOption{"Network " + nic.MAC, "Pxe", "nic" + strconv.Itoa(i)})
	}
	if r.hasUSB() {
		out = append(out, bootOption{"USB Stick", "Usb", "usb"})
	}
	return out
}

// optionNames are the names of the boot options, in their places.
func (r *Request) optionNames() []string {
	out := make([]string, len(r.bootOptions()))
	for i := range out {
		const hex = "0123456789ABCDEF"
		out[i] = "Boot00" + string(hex[i>>4&15]) + string(hex[i&15])
	}
	return out
}

// bootOrder are the names of the boot options in the order of a start without an override.
func (r *Request) bootOrder() []string {
	var words []string
	if chassis, able := bmc.As[bmc.BootOrderer](r.Chassis()); able {
		words = chassis.BootOrder()
	}
	options, names := r.bootOptions(), r.optionNames()
	place := func(name string) int {
		o := options[slices.Index(names, name)]
		if i := slices.Index(words, o.word); i >= 0 {
			return i
		}
		return len(words) + slices.Index([]string{"Hdd", "Pxe", "Cd", "Usb"}, o.alias)
	}
	return slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return place(a) - place(b) })
}

// setBootOrder puts the named options first.
func (r *Request) setBootOrder(list []any) error {
	chassis, able := bmc.As[bmc.BootOrderer](r.Chassis())
	if !able {
		return fail(http.StatusBadRequest, msg("PropertyNotWritable", "Boot/BootOrder").about("Boot/BootOrder"))
	}
	options, names := r.bootOptions(), r.optionNames()
	words := make([]string, 0, len(list))
	for i, item := range list {
		name, _ := item.(string)
		word := options[slices.Index(names, name)].word // it is one of them
		if slices.Contains(words, word) {
			at := "Boot/BootOrder/" + strconv.Itoa(i)
			return fail(http.StatusBadRequest, msg("PropertyValueConflict", at, "Boot/BootOrder").about(at))
		}
		words = append(words, word)
	}
	return chassis.SetBootOrder(r.Context(), words)
}

func bootTable() []Resource {
	index := func(r *Request) int { return slices.Index(r.optionNames(), r.Var("option")) }
	return []Resource{
		{Path: systemsPath + "/{system}/BootOptions", Type: "#BootOptionCollection.BootOptionCollection", Name: "Boot Options",
			Members: func(r *Request) ([]string, error) { return r.optionNames(), nil }},
		{Path: systemsPath + "/{system}/BootOptions/{option}", Type: "#BootOption.v1_0_6.BootOption",
			Present: func(r *Request) bool { return index(r) >= 0 },
			Get: func(r *Request) (Object, error) {
				option := r.bootOptions()[index(r)]
				return Object{{"Id", r.Var("option")}, {"Name", option.name}, {"DisplayName", option.name}, {"BootOptionReference", r.Var("option")},
					{"BootOptionEnabled", true}, {"Alias", option.alias}}, nil
			}},
	}
}
