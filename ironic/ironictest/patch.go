package ironictest

import (
	"encoding/json"
	"net/http"
	"strings"
)

func operations(body any) []map[string]any {
	var out []map[string]any
	list, _ := body.([]any)
	for _, op := range list {
		if m, ok := op.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// cloneDoc copies a document deeply.
func cloneDoc(doc map[string]any) map[string]any {
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err) // a document came from JSON
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

// applyPatch is one operation of RFC 6902, as strict as Ironic's library.
func applyPatch(doc map[string]any, op map[string]any) *refusal {
	path, _ := op["path"].(string)
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[i])
	}
	target := doc
	for _, part := range parts[:len(parts)-1] {
		next, ok := target[part].(map[string]any)
		if !ok {
			return refuse(http.StatusBadRequest, "Couldn't apply patch: member %q not found", part)
		}
		target = next
	}
	key := parts[len(parts)-1]
	_, exists := target[key]
	switch op["op"] {
	case "add":
	case "replace":
		if !exists {
			return refuse(http.StatusBadRequest, "Couldn't apply patch: can't replace non-existent object %q", key)
		}
	case "remove":
		if !exists {
			return refuse(http.StatusBadRequest, "Couldn't apply patch: can't remove non-existent object %q", key)
		}
		if len(parts) == 1 {
			target[key] = nil
		} else {
			delete(target, key)
		}
		return nil
	default:
		return refuse(http.StatusBadRequest, "unknown operation %v", op["op"])
	}
	value, sent := op["value"]
	if !sent {
		return refuse(http.StatusBadRequest, "'add' and 'replace' operations need a value")
	}
	target[key] = value
	return nil
}
