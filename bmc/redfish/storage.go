package redfish

import (
	"net/http"
	"slices"
	"strconv"
)

const (
	// storageKey is where volumes and indicators are kept.
	storageKey = "redfish/storage"
	// diskName begins the IDs of drives.
	diskName = "Disk"
	// blockSize is that of all disks, in bytes.
	blockSize = 512
)

// keptStorage is what clients made of the disks.
type keptStorage struct {
	// Set says that Volumes are what a client made; until then each disk is a volume.
	Set     bool         `json:",omitempty"`
	Volumes []keptVolume `json:",omitempty"`
	Last    int          `json:",omitempty"`
	// Pending is for the next start.
	Pending []pendingVolume `json:",omitempty"`
	// Lit are the drives with a lit indicator.
	Lit []string `json:",omitempty"`
}

// storageTable has the disks of the node behind one RAID controller.
func storageTable() []Resource {
	base := systemsPath + "/{system}/Storage"
	one := base + "/1"
	disks := func(r *Request) []string { return counted(diskName, len(r.Chassis().Hardware().Disks)) }
	led := Rules{"IndicatorLED": {Kind: String, Values: indicators}, "LocationIndicatorActive": {Kind: Bool}}
	return []Resource{
		{Path: base, Type: "#StorageCollection.StorageCollection", Link: "Storage", Name: "Storage Collection",
			Members: func(*Request) ([]string, error) { return []string{"1"}, nil }},
		{Path: one, Type: "#Storage.v1_17_1.Storage", Get: getStorage},
		{Path: one + "/Controllers", Type: "#StorageControllerCollection.StorageControllerCollection", Link: "Controllers", Name: "Storage Controllers",
			Members: func(*Request) ([]string, error) { return []string{"1"}, nil }},
		{Path: one + "/Controllers/1", Type: "#StorageController.v1_8_0.StorageController",
			Get: func(r *Request) (Object, error) {
				return append(Object{{"Id", "1"}, {"Name", "Storage Controller"}}, controller(r)...), nil
			}},
		{Path: one + "/Drives/{drive}", Type: "#Drive.v1_19_0.Drive", Get: getDrive, Writable: led, Patch: patchDrive,
			Present: func(r *Request) bool { return slices.Contains(disks(r), r.Var("drive")) }},
		{Path: one + "/Volumes", Type: "#VolumeCollection.VolumeCollection", Link: "Volumes",
			Get: func(r *Request) (Object, error) {
				return Object{{"Name", "Volumes"}, {operationSupport, applyTimes(r)}}, nil
			},
			Members: func(r *Request) ([]string, error) {
				ids := []string{}
				for _, v := range r.volumes() {
					ids = append(ids, v.ID)
				}
				return ids, nil
			},
			Creatable: volumeRules(), Post: createVolume},
		{Path: one + "/Volumes/{volume}", Type: "#Volume.v1_10_0.Volume", Get: getVolume, Delete: deleteVolume,
			Present:  func(r *Request) bool { _, found := r.volume(); return found },
			Writable: Rules{"DisplayName": {Kind: String, Max: 64, Check: isName}}, Patch: patchVolume,
			Actions: []Action{{Name: "Volume.Initialize", Do: initializeVolume, Parameters: Rules{
				"InitializeType":   {Kind: String, Values: []string{"Fast", "Slow"}},
				"InitializeMethod": {Kind: String, Values: []string{"Skip", "Foreground", "Background"}},
				operationTime:      {Kind: Any},
			}}}},
	}
}

func (r *Request) storagePath() string { return r.systemPath() + "/Storage/1" }

func isName(v any) bool { s, _ := v.(string); return s != "" }

func getStorage(r *Request) (Object, error) {
	hardware := r.Chassis().Hardware()
	var drives []string
	for _, id := range counted(diskName, len(hardware.Disks)) {
		drives = append(drives, r.storagePath()+"/Drives/"+id)
	}
	old := append(member(r, "StorageControllers", 0, "Storage Controller"), controller(r)...)
	return Object{{"Id", "1"}, {"Name", "RAID Storage"}, {"Status", healthy()}, {"Drives", links(drives...)}, {"Drives@odata.count", len(drives)},
		{"StorageControllers", []Object{old}}, {"StorageControllers@odata.count", 1}, {"Links", Object{{"Enclosures", links(r.chassisPath())}, {"Enclosures@odata.count", 1}}}}, nil
}

// controller is what the controller says in either place.
func controller(r *Request) Object {
	return Object{{"Manufacturer", manufacturer}, {"Model", "Virtual RAID Controller"}, {"SerialNumber", serial(r, "S", 1)}, {"FirmwareVersion", r.Service.version()},
		{"SupportedControllerProtocols", []string{"PCIe"}}, {"SupportedDeviceProtocols", []string{"SAS"}},
		{"SupportedRAIDTypes", raidTypes(len(r.Chassis().Hardware().Disks))}, {"Status", healthy()}}
}

func getDrive(r *Request) (Object, error) {
	id, hardware := r.Var("drive"), r.Chassis().Hardware()
	i := nth(diskName, id, len(hardware.Disks))
	if i < 0 {
		return nil, notFound(r.Path)
	}
	var volumes []string
	for _, v := range r.volumes() {
		if slices.Contains(v.Disks, i) {
			volumes = append(volumes, r.storagePath()+"/Volumes/"+v.ID)
		}
	}
	lit := slices.Contains(recall[keptStorage](r.System, storageKey).Lit, id)
	return Object{{"Id", id}, {"Name", "Disk " + strconv.Itoa(i+1)}, {"CapacityBytes", hardware.Disks[i].CapacityBytes}, {"BlockSizeBytes", blockSize},
		{"MediaType", "SSD"}, {"Protocol", "SAS"}, {"Manufacturer", manufacturer}, {"Model", "Virtual Disk"}, {"Revision", "1"},
		{"SerialNumber", serial(r, "D", i+1)}, {"FailurePredicted", false},
		{"LocationIndicatorActive", lit}, {"IndicatorLED", indicator(lit)}, {"Status", healthy()},
		{"Links", Object{{"Volumes", links(volumes...)}, {"Volumes@odata.count", len(volumes)}, {"Chassis", link(r.chassisPath())}}}}, nil
}

func patchDrive(r *Request, v Values) error {
	lit, given := v.Bool("LocationIndicatorActive")
	if led, old := v.String("IndicatorLED"); old {
		lit, given = led != "Off", true
	}
	id := r.Var("drive")
	if !given || lit == slices.Contains(recall[keptStorage](r.System, storageKey).Lit, id) {
		return nil
	}
	return revise(r.Context(), r.Service, r.System, storageKey, func(k *keptStorage) error {
		k.Lit = slices.DeleteFunc(k.Lit, func(s string) bool { return s == id })
		if lit {
			k.Lit = append(k.Lit, id)
		}
		return nil
	})
}

// getVolume has no VolumeType, which RAIDType replaces.
func getVolume(r *Request) (Object, error) {
	v, found := r.volume()
	if !found {
		return nil, notFound(r.Path)
	}
	var drives []string
	for _, i := range v.Disks {
		drives = append(drives, r.storagePath()+"/Drives/"+counted(diskName, i+1)[i])
	}
	return Object{{"Id", v.ID}, {"Name", v.Name}, {"DisplayName", v.shownName()}, {"CapacityBytes", v.Capacity}, {"BlockSizeBytes", blockSize}, {"RAIDType", v.Type},
		{"Encrypted", false}, {"Status", healthy()}, {operationSupport, applyTimes(r)},
		{"Identifiers", []Object{{{"DurableName", volumeUUID(r.System.ID, v)}, {"DurableNameFormat", "UUID"}}}},
		{"Links", Object{{"Drives", links(drives...)}, {"Drives@odata.count", len(drives)}}}}, nil
}

func patchVolume(r *Request, v Values) error {
	name, _ := v.String("DisplayName")
	return r.reviseVolumes(func(k *keptStorage) error {
		for i := range k.Volumes {
			if k.Volumes[i].ID == r.Var("volume") {
				k.Volumes[i].Display = name
				return nil
			}
		}
		return fail(http.StatusNotFound, msg("ResourceMissingAtURI", r.Path))
	})
}
