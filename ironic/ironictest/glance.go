package ironictest

import (
	"maps"
	"net/http"
	"slices"
)

// imageVersions is the version document of Glance.
func (i *Ironic) imageVersions(w http.ResponseWriter, r *http.Request) {
	i.arrived(r)
	defer i.left()
	answer(w, http.StatusMultipleChoices, map[string]any{"versions": []any{map[string]any{"id": "v2.16", "status": "CURRENT",
		"links": []any{map[string]any{"rel": "self", "href": i.URL() + "/identity/image/v2/"}}}}}, nil)
}

// listImages and showImage are all of Glance that a client needs.
func (i *Ironic) listImages(r *http.Request, _ any) (int, any, *refusal) {
	out := []any{}
	for _, uuid := range slices.Sorted(maps.Keys(i.images)) {
		if name := i.images[uuid]; name == r.URL.Query().Get("name") {
			out = append(out, map[string]any{"id": uuid, "name": name, "status": "active"})
		}
	}
	return 200, map[string]any{"images": out}, nil
}

func (i *Ironic) showImage(r *http.Request, _ any) (int, any, *refusal) {
	id := r.PathValue("id")
	if _, ok := i.images[id]; !ok {
		return 0, nil, refuse(http.StatusNotFound, "No image found with ID %s", id)
	}
	return 200, map[string]any{"id": id, "name": i.images[id], "status": "active"}, nil
}
