package ironic

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// patch is one operation of a JSON patch (RFC 6902).
type patch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// diffFields returns the smallest patch that makes a node's fields as wanted. The mark is not part of it.
func diffFields(w want, r *record) []patch {
	var out []patch
	for _, path := range slices.Sorted(maps.Keys(w.Fields)) {
		if path == pathCapabilities {
			continue
		}
		if value, differs := diffField(w, r, path); differs {
			out = append(out, patch{Op: opFor(path, r), Path: path, Value: value})
		}
	}
	out = append(out, diffCapabilities(w, r)...)
	for _, path := range w.stale(r) {
		if path == "/conductor_group" {
			out = append(out, patch{Op: "replace", Path: path, Value: ""})
			continue
		}
		if path == "/automated_clean" {
			// Ironic looks for the value of any patch of it, and answers 500 without one.
			out = append(out, patch{Op: "replace", Path: path})
			continue
		}
		out = append(out, patch{Op: "remove", Path: path})
	}
	return out
}

// masked is what Ironic shows in place of a secret.
const masked = "******"

func diffField(w want, r *record, path string) (value any, differs bool) {
	value = w.Fields[path]
	have, exists := r.Fields[path]
	switch path {
	case pathIPMIPassword, pathRedfishPassword:
		return value, !exists || r.Mark == nil || r.Mark.Check != w.Mark.Check
	case pathSNMPAuthKey, pathSNMPPrivKey, pathSNMPCommunity:
		// Whether these are shown is up to Ironic's version.
		if text(have) == masked {
			return value, r.Mark == nil || r.Mark.Check != w.Mark.Check
		}
	}
	if raw, ok := value.(json.RawMessage); ok {
		return value, !exists || !sameJSON(raw, have)
	}
	return value, text(have) != text(value)
}

// opFor: a field of a node exists always, an entry of a map perhaps.
func opFor(path string, r *record) string {
	if _, exists := r.Fields[path]; !exists && strings.Count(path, "/") > 1 {
		return "add"
	}
	return "replace"
}

// stale lists the fields that have a value and must have none: those unset, and
// those that an earlier declaration set and this one does not.
func (w want) stale(r *record) []string {
	candidates := slices.Clone(w.Unset)
	if r.Mark != nil {
		candidates = append(candidates, r.Mark.Managed...)
	}
	slices.Sort(candidates)
	return slices.DeleteFunc(slices.Compact(candidates), func(path string) bool {
		// An interface that is unset has the default as its value, which must not be
		// taken away again: so it is done while the mark names it, and only then.
		_, wanted := w.Fields[path]
		have, exists := r.Fields[path]
		return wanted || path == pathCapabilities || !exists || text(have) == "" && !strings.HasPrefix(path, "/extra/")
	})
}

// sameJSON compares a value that is JSON with one that came from JSON.
func sameJSON(want json.RawMessage, have any) bool {
	var value any
	return json.Unmarshal(want, &value) == nil && canonical(value) == canonical(have)
}

func canonical(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("ironic: marshal: %v", err)) // came from JSON
	}
	return string(b)
}

// diffPort returns the patch for a port; connectivity reports whether it holds
// what Ironic changes in few states only.
func diffPort(w wantPort, r portRecord) (patches []patch, connectivity bool) {
	// First: Ironic looks for the group in the first operation only (its is_path_updated), and
	// otherwise leaves the port where it is, without a word.
	patches = diffMember(w, r)
	if w.Physnet != r.Physnet {
		patches = append(patches, patch{"replace", "/physical_network", w.Physnet})
	}
	if w.Link != nil && text(w.Link) != text(r.Link) {
		patches = append(patches, patch{"replace", "/local_link_connection", w.Link})
	}
	patches = append(patches, diffPXE(w, r)...)
	connectivity = len(patches) > 0
	if !w.Mark.equal(r.Mark) {
		patches = append(patches, patch{"add", pointer("extra", markKey), w.Mark})
	}
	return patches, connectivity
}

// diffPXE goes back to Ironic's default where it was declared and is no longer.
func diffPXE(w wantPort, r portRecord) []patch {
	switch {
	case w.PXE != nil && *w.PXE != r.PXE:
		return []patch{{"replace", pathPXE, *w.PXE}}
	case w.PXE == nil && r.managed(pathPXE) && !r.PXE:
		return []patch{{"replace", pathPXE, true}}
	}
	return nil
}

// diffMember puts a port into a group, or takes it out of one that we put it into.
func diffMember(w wantPort, r portRecord) []patch {
	switch {
	case w.Group != "" && w.Group != r.Group:
		return []patch{{"replace", pathGroup, w.Group}}
	case w.Group == "" && r.managed(pathGroup) && r.Group != "":
		return []patch{{Op: "remove", Path: pathGroup}}
	}
	return nil
}

func (r portRecord) managed(path string) bool {
	return r.Mark != nil && slices.Contains(r.Mark.Managed, path)
}

// diffGroup returns the patch for a port group of ours.
func diffGroup(w wantGroup, r groupRecord) []patch {
	var patches []patch
	set := func(differs bool, path string, value any) {
		if differs {
			patches = append(patches, patch{"replace", path, value})
		}
	}
	set(w.Name != r.Name, "/name", w.Name)
	set(w.Mode != r.Mode, "/mode", w.Mode)
	set(w.Standalone != r.Standalone, pathStandalone, w.Standalone)
	set(!sameJSON(w.Properties, orEmpty(r.Properties)), "/properties", w.Properties)
	set(w.Address != "" && w.Address != r.Address, "/address", w.Address)
	if w.Address == "" && r.Address != "" {
		patches = append(patches, patch{Op: "remove", Path: "/address"})
	}
	if !w.Mark.equal(r.Mark) {
		patches = append(patches, patch{"add", pointer("extra", markKey), w.Mark})
	}
	return patches
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// text makes values comparable: JSON numbers and the strings that other clients
// write for them are the same.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case map[string]any:
		b, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("ironic: marshal: %v", err)) // came from JSON or is made of strings
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// pathOwner is set after the node was created: only an account of the whole system may create
// one of another project's (ironic.api.controllers.v1.node, post).
const pathOwner = "/owner"

// createBody is the body of a request that creates the node.
func createBody(w want) map[string]any {
	body := map[string]any{"uuid": w.UUID, "name": w.Name, "extra": map[string]any{markKey: w.Mark}}
	for path, value := range w.Fields {
		if path == pathOwner {
			continue
		}
		parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
		for i := range parts {
			parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[i])
		}
		if len(parts) == 1 {
			body[parts[0]] = value
			continue
		}
		group, ok := body[parts[0]].(map[string]any)
		if !ok {
			group = map[string]any{}
			body[parts[0]] = group
		}
		group[parts[1]] = value
	}
	return body
}
