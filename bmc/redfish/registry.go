package redfish

import (
	"maps"
	"slices"
	"strings"
)

const registriesPath = rootPath + "/Registries"

// eventMessages are the messages of events, by registry and name (DSP8011).
var eventMessages = map[string]baseEntry{
	"ResourceEvent.ResourceCreated":      {"The resource was created successfully.", ok, nil, "A resource was created.", "None."},
	"ResourceEvent.ResourceRemoved":      {"The resource was removed successfully.", ok, nil, "A resource was removed.", "None."},
	"ResourceEvent.ResourceChanged":      {"One or more resource properties have changed.", ok, nil, "Properties of a resource have changed.", "None."},
	"ResourceEvent.ResourcePoweredOn":    {"The resource '%1' has powered on.", ok, strs(1), "A resource has powered on.", "None."},
	"ResourceEvent.ResourcePoweredOff":   {"The resource '%1' has powered off.", ok, strs(1), "A resource has powered off.", "None."},
	"ResourceEvent.ResourceStateChanged": {"The state of resource '%1' has changed to %2.", ok, strs(2), "The state of a resource has changed.", "None."},
	"ResourceEvent.TestMessage":          {"Test message.", ok, nil, "A test message.", "None."},
	"TaskEvent.TaskStarted":              {"The task with Id '%1' has started.", ok, strs(1), "A task has started.", "None."},
	"TaskEvent.TaskCompletedOK":          {"The task with Id '%1' has completed.", ok, strs(1), "A task has completed.", "None."},
	"TaskEvent.TaskAborted":              {"The task with Id '%1' has completed with errors.", critical, strs(1), "A task has completed with errors.", "None."},
	"TaskEvent.TaskCancelled":            {"Work on the task with Id '%1' has been halted prior to completion due to an explicit request.", warning, strs(1), "A task was cancelled.", "None."},
}

// registries are the message registries that are served.
var registries = []struct{ prefix, version, name string }{
	{"Base", baseVersion, "Base Message Registry"},
	{"ResourceEvent", "1.3.0", "Resource Event Message Registry"},
	{"TaskEvent", "1.0.3", "Task Event Message Registry"},
}

// messagesOf returns the messages of a registry by name.
func messagesOf(prefix string) map[string]baseEntry {
	if prefix == "Base" {
		return baseMessages
	}
	out := map[string]baseEntry{}
	for id, entry := range eventMessages {
		if name, ours := strings.CutPrefix(id, prefix+"."); ours {
			out[name] = entry
		}
	}
	return out
}

// registryTable has the registries. A file that serves another kind of registry (such as
// an AttributeRegistry) adds it to more.
func registryTable() []Resource {
	out := []Resource{{
		Path: registriesPath, Type: "#MessageRegistryFileCollection.MessageRegistryFileCollection", Link: "Registries", Name: "Registries",
		Members: func(r *Request) ([]string, error) {
			var ids []string
			for _, rt := range r.Service.table {
				if id, below := strings.CutPrefix(rt.Path, registriesPath+"/"); below && !strings.Contains(id, "/") {
					ids = append(ids, id)
				}
			}
			return ids, nil
		},
	}}
	for _, reg := range registries {
		id := reg.prefix + "." + reg.version
		out = append(out, registryFile(id, reg.name, reg.prefix+strings.TrimSuffix("."+reg.version, reg.version[strings.LastIndexByte(reg.version, '.'):])),
			Resource{Path: registriesPath + "/" + id + "/" + id, Type: "#MessageRegistry.v1_6_0.MessageRegistry", Get: func(*Request) (Object, error) {
				return registryObject(id, reg.prefix, reg.version, reg.name), nil
			}})
	}
	return out
}

// registryFile is the row of a MessageRegistryFile with the ID. The registry itself is a
// row at {that path}/{ID}; registry is what its users call it.
func registryFile(id, name, registry string) Resource {
	path := registriesPath + "/" + id
	return Resource{Path: path, Type: "#MessageRegistryFile.v1_1_4.MessageRegistryFile", Get: func(*Request) (Object, error) {
		return Object{{"Id", id}, {"Name", name + " File"}, {"Registry", registry}, {"Languages", []string{"en"}},
			{"Location", []Object{{{"Language", "en"}, {"Uri", path + "/" + id}}}}}, nil
	}}
}

func registryObject(id, prefix, version, name string) Object {
	var messages Object
	list := messagesOf(prefix)
	for _, key := range slices.Sorted(maps.Keys(list)) {
		e := list[key]
		o := Object{{"Description", e.description}, {"Message", e.text}, {"MessageSeverity", e.severity}, {"Severity", e.severity}, {"NumberOfArgs", len(e.args)}}
		if len(e.args) > 0 {
			o = append(o, Property{"ParamTypes", e.args})
		}
		messages = append(messages, Property{key, append(o, Property{"Resolution", e.resolution})})
	}
	return Object{{"Id", id}, {"Name", name}, {"Description", "The messages of DMTF's registry that this service uses."}, {"Language", "en"},
		{"RegistryPrefix", prefix}, {"RegistryVersion", version}, {"OwningEntity", "DMTF"}, {"Messages", messages}}
}
