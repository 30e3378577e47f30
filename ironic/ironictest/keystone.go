package ironictest

import (
	"encoding/json"
	"net/http"
	"time"
)

// token is all of Keystone that a client needs: a token and a catalogue for a user
// and a password (Identity API v3, "Password authentication with scoped
// authorization").
func (i *Ironic) token(w http.ResponseWriter, r *http.Request) {
	i.arrived(r)
	defer i.left()
	var body struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct{ Name, Password string }
				}
			}
		}
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	user := body.Auth.Identity.Password.User
	if err != nil || user.Name != i.opts.Username || user.Password != i.opts.Password {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": 401,
			"message": "The request you have made requires authentication."}})
		return
	}
	w.Header().Set("X-Subject-Token", i.opts.Token)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
		"methods":    []string{"password"},
		"expires_at": time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z"),
		"issued_at":  time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"),
		"user":       map[string]any{"id": "u", "name": user.Name, "domain": map[string]any{"id": "default", "name": "Default"}},
		"catalog": []any{map[string]any{"type": "baremetal", "name": "ironic", "id": "c", "endpoints": []any{
			map[string]any{"id": "e", "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": i.URL()},
		}}, map[string]any{"type": "image", "name": "glance", "id": "i", "endpoints": []any{
			map[string]any{"id": "f", "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": i.URL() + "/identity/image"},
		}}},
	}})
}
