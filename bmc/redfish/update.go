package redfish

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

const (
	updatePath    = rootPath + "/UpdateService"
	firmwarePath  = updatePath + "/FirmwareInventory"
	softwarePath  = updatePath + "/SoftwareInventory"
	multipartPath = updatePath + "/FirmwareUpdate"
	// firmwareKey is where the versions of a system's firmware are kept.
	firmwareKey = "redfish/firmware"
	// maxVersion bounds a version's text.
	maxVersion = 64
)

// keptFirmware has the versions that updates made, by component; others are the service's.
type keptFirmware struct {
	Versions map[string]string `json:",omitempty"`
	// Pending are those of the next start.
	Pending map[string]string `json:",omitempty"`
}

// The components with firmware.
const (
	componentBIOS = "BIOS"
	componentBMC  = "BMC"
	componentNIC  = "NIC"
)

// components are what has firmware, in the order of the inventory; words are what the name
// of an image for one has in it.
var components = []struct {
	id, name string
	words    []string
}{
	{componentBIOS, "System BIOS", []string{"bios", "uefi", "ovmf", "edk2"}},
	{componentBMC, "BMC Firmware", []string{"bmc", "ilo", "idrac", "xcc"}},
	{componentNIC, "Network Adapter Firmware", []string{"nic", "network", "ethernet"}},
}

func updateTable() []Resource {
	system := func(r *Request) string {
		if id, _, found := splitFirmware(r.Var("software")); found {
			return id
		}
		return ""
	}
	return []Resource{
		{Path: updatePath, Type: "#UpdateService.v1_14_0.UpdateService", Link: "UpdateService", Get: getUpdateService,
			Actions: []Action{{Name: "UpdateService.SimpleUpdate", Do: simpleUpdate, Parameters: Rules{
				"ImageURI": {Kind: String, Max: 4096, Required: true}, "TransferProtocol": {Kind: String, Values: []string{"HTTP", "HTTPS"}},
				"Targets":  {Kind: List, Max: 64, Elements: &Rule{Kind: String}},
				"Username": {Kind: String, Max: 256}, "Password": {Kind: String, Secret: true}, "ForceUpdate": {Kind: Bool},
			}}}},
		{Path: firmwarePath, Type: "#SoftwareInventoryCollection.SoftwareInventoryCollection", Link: "FirmwareInventory", Name: "Firmware Inventory", Members: firmwareIDs},
		{Path: firmwarePath + "/{software}", Type: "#SoftwareInventory.v1_10_2.SoftwareInventory", Get: getFirmware, SystemOf: system,
			Present: func(r *Request) bool { _, _, found := splitFirmware(r.Var("software")); return found }},
		{Path: softwarePath, Type: "#SoftwareInventoryCollection.SoftwareInventoryCollection", Link: "SoftwareInventory", Name: "Software Inventory",
			Members: func(*Request) ([]string, error) { return []string{"Service"}, nil }},
		{Path: softwarePath + "/Service", Type: "#SoftwareInventory.v1_10_2.SoftwareInventory",
			Get: func(r *Request) (Object, error) {
				return Object{{"Id", "Service"}, {"Name", "Redfish Service"}, {"Manufacturer", manufacturer}, {"Version", r.Service.version()},
					{"Updateable", false}, {"Status", healthy()}}, nil
			}},
		// The URI is no resource: files are posted there.
		{Path: multipartPath, Raw: map[string]func(*Request, http.ResponseWriter) error{http.MethodPost: pushUpdate}},
	}
}

func getUpdateService(*Request) (Object, error) {
	return Object{{"Id", "UpdateService"}, {"Name", "Update Service"}, {"ServiceEnabled", true}, {"Status", healthy()},
		{"MultipartHttpPushUri", multipartPath}, {"MaxImageSizeBytes", maxUpdate}}, nil
}

// firmwareIDs are the members for the systems of the caller, also those at other peers.
func firmwareIDs(r *Request) ([]string, error) {
	out := make([]string, 0, len(components)*len(r.Caller.Systems()))
	for _, id := range r.Caller.Systems() {
		for _, c := range components {
			out = append(out, id+"-"+c.id)
		}
	}
	return out, nil
}

// splitFirmware takes the ID of a member apart.
func splitFirmware(id string) (system, component string, found bool) {
	system, component, _ = cutLast(id, "-")
	return system, component, isComponent(component)
}

func isComponent(id string) bool {
	for _, c := range components {
		if c.id == id {
			return true
		}
	}
	return false
}

// firmware is the version of a component of the request's system.
func (r *Request) firmware(component string) string {
	if v := pendingOf[keptFirmware](r, firmwareKey).Versions[component]; v != "" {
		return v
	}
	return r.Service.version()
}

func getFirmware(r *Request) (Object, error) {
	_, component, _ := splitFirmware(r.Var("software"))
	related := map[string]string{componentBIOS: r.systemPath() + "/Bios", componentBMC: r.managerPath(), componentNIC: r.systemPath() + "/EthernetInterfaces"}[component]
	name := ""
	for _, c := range components {
		if c.id == component {
			name = c.name
		}
	}
	return Object{{"Id", r.System.ID + "-" + component}, {"Name", name}, {"Description", name + " of " + r.System.Name}, {"Manufacturer", manufacturer}, {"Version", r.firmware(component)},
		{"Updateable", true}, {"SoftwareId", strings.ToLower(manufacturer + "-" + component)}, {"Status", healthy()},
		{"RelatedItem", links(related)}, {"RelatedItem@odata.count", 1}}, nil
}

// applyFirmware makes the versions of updates present.
func applyFirmware(ctx context.Context, s *Service, sys System) error {
	if len(recall[keptFirmware](sys, firmwareKey).Pending) == 0 {
		return nil
	}
	err := revise(ctx, s, sys, firmwareKey, func(k *keptFirmware) error {
		if k.Versions == nil {
			k.Versions = map[string]string{}
		}
		maps.Copy(k.Versions, k.Pending)
		k.Pending = nil
		return nil
	})
	if err == nil {
		s.Happened(sys, systemsPath+"/"+sys.ID, "ResourceEvent.1.3.ResourceChanged")
	}
	return err
}

// An update is an image for components of one system.
type update struct {
	system System
	// components is empty where the image says which one it is for.
	components []string
	version    string
}

func simpleUpdate(r *Request, v Values) (*Result, error) {
	image, _ := v.String("ImageURI")
	if protocol, given := v.String("TransferProtocol"); given && !strings.Contains(image, "://") {
		image = strings.ToLower(protocol) + "://" + strings.TrimPrefix(image, "//")
	}
	u, err := url.Parse(image)
	if err != nil || !isBootURI(image) || image == "" || path.Base(u.Path) == "/" || path.Base(u.Path) == "." {
		return nil, fail(http.StatusBadRequest, msg("ActionParameterValueError", "ImageURI", "SimpleUpdate").about("ImageURI"))
	}
	targets, _ := v.Strings("Targets")
	if only, named := systemNamedBy(u, r.Caller.Systems()); len(targets) == 0 && named {
		targets = []string{systemsPath + "/" + only}
	}
	up, err := targeted(r, targets)
	if err != nil {
		return nil, err
	}
	if up.system.Chassis == nil {
		return &Result{Peer: &up.system}, nil
	}
	return r.startUpdate(up.of(path.Base(u.Path)))
}

// systemNamedBy returns the only one of the systems whose UUID is in an image's URI.
// Ironic calls SimpleUpdate without Targets, with images that it has staged in a folder of
// the node's.
func systemNamedBy(u *url.URL, systems []string) (id string, named bool) {
	where := strings.ToLower(u.Path + "?" + u.RawQuery)
	for _, system := range systems {
		if !strings.Contains(where, system) {
			continue
		}
		if named {
			return "", false
		}
		id, named = system, true
	}
	return id, named
}

// targeted says which system an update is for: the one that the targets are of, or the only
// one that the caller has. An image for all systems of an account would be a misfortune.
func targeted(r *Request, targets []string) (update, error) {
	var up update
	id := ""
	if systems := r.Caller.Systems(); len(targets) == 0 && len(systems) == 1 {
		id = systems[0]
	}
	if len(targets) == 0 && id == "" {
		missing := msg("ActionParameterMissing", "SimpleUpdate", "Targets").about("Targets")
		missing.Resolution = fmt.Sprintf("This account has %d systems, and the image's URI has the UUID of none: name one in Targets, such as %s, or give each node an account of its own.",
			len(r.Caller.Systems()), systemsPath+"/{UUID}")
		return up, fail(http.StatusBadRequest, missing)
	}
	for i, target := range targets {
		system, component, found := targetOf(strings.TrimSuffix(target, "/"))
		about := fmt.Sprintf("Targets/%d", i)
		if !found || !r.Caller.has(system) {
			return up, fail(http.StatusBadRequest, msg("ActionParameterValueNotInList", brief(target), about, "SimpleUpdate").about(about))
		}
		if id != "" && id != system {
			return up, fail(http.StatusBadRequest, msg("ActionParameterValueConflict", about, brief(target)).about(about))
		}
		if id = system; component != "" && !slices.Contains(up.components, component) {
			up.components = append(up.components, component)
		}
	}
	sys, found := r.Find(id)
	if !found {
		return up, notFound(systemsPath + "/" + id)
	}
	up.system = sys
	return up, nil
}

// targetOf is what a target's URI stands for: a member of the inventory, or a resource with
// firmware. A system is any of its components.
func targetOf(uri string) (system, component string, found bool) {
	if id, below := strings.CutPrefix(uri, firmwarePath+"/"); below {
		return splitFirmware(id)
	}
	if id, below := strings.CutPrefix(uri, managersPath+"/"); below && !strings.Contains(id, "/") {
		return id, componentBMC, true
	}
	if id, below := strings.CutPrefix(uri, systemsPath+"/"); below {
		id, rest, _ := strings.Cut(id, "/")
		switch rest {
		case "":
			return id, "", true
		case "Bios":
			return id, componentBIOS, true
		}
	}
	return "", "", false
}

// of says what an image with that name is.
func (up update) of(name string) update {
	up.version = versionOf(name)
	if len(up.components) == 0 {
		up.components = []string{componentOf(name)}
	}
	return up
}

// componentOf guesses what an image is for; BIOS where nothing says so.
func componentOf(name string) string {
	for _, c := range components {
		if slices.ContainsFunc(c.words, func(word string) bool { return strings.Contains(strings.ToLower(name), word) }) {
			return c.id
		}
	}
	return componentBIOS
}

var (
	suffixes = regexp.MustCompile(`(?i)(\.(bin|exe|cap|fd|rom|img|iso|zip|tar|t?gz|xz|fwpkg|uxz|d[0-9]+|scap|hpm|pac|json))+$`)
	versions = regexp.MustCompile(`[0-9]+(?:[._][0-9]+)+[A-Za-z0-9]*|[0-9]+`)
)

// versionOf is the version in an image's name: the longest of its numbers with dots, the
// longest of its numbers, or the name.
func versionOf(name string) string {
	name = suffixes.ReplaceAllString(name, "")
	best := ""
	for _, v := range versions.FindAllString(name, -1) {
		if dots, bestDots := strings.Contains(v, "."), strings.Contains(best, "."); dots && !bestDots || dots == bestDots && len(v) >= len(best) {
			best = v
		}
	}
	if best == "" {
		best = printable(name)
	}
	return best[:min(len(best), maxVersion)]
}

// printable is what may be in a version.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if c > ' ' && c < 0x7f {
			return c
		}
		return -1
	}, s)
	if s == "" {
		return "unknown"
	}
	return s
}

// startUpdate keeps the new versions, and starts the task that says so. The BMC has its own
// at once; the others have theirs from the next start, which may come before the task ends.
func (r *Request) startUpdate(up update) (*Result, error) {
	r.System = up.system
	r.settle()
	err := revise(r.Context(), r.Service, up.system, firmwareKey, func(k *keptFirmware) error {
		if k.Pending == nil {
			k.Pending = map[string]string{}
		}
		for _, c := range up.components {
			k.Pending[c] = up.version
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s, sys := r.Service, up.system
	return r.Start("Firmware Update", func(ctx context.Context, t *Task) error {
		if !slices.Contains(up.components, componentBMC) {
			t.Note(msg("ResetRequired", systemsPath+"/"+sys.ID+"/Actions/ComputerSystem.Reset", "ForceRestart"))
			return nil
		}
		err := revise(ctx, s, sys, firmwareKey, func(k *keptFirmware) error {
			if k.Versions == nil {
				k.Versions = map[string]string{}
			}
			if version, pending := k.Pending[componentBMC]; pending {
				k.Versions[componentBMC] = version
				delete(k.Pending, componentBMC)
			}
			return nil
		})
		if err == nil {
			s.Happened(sys, managersPath+"/"+sys.ID, "ResourceEvent.1.3.ResourceChanged")
		}
		return err
	})
}
