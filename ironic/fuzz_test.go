package ironic

import (
	"encoding/json"
	"testing"
)

// FuzzIronicAnswers is what an Ironic says, or who answers in its place.
func FuzzIronicAnswers(f *testing.F) {
	for _, s := range []string{`{"error_message": "{\"faultstring\": \"no\"}"}`, `{"error": {"message": "no"}}`, `<html>`, `{"error_message": null}`,
		`{"uuid": "x", "extra": {"tenks": {"mesh": "m"}}, "driver_info": {"a/b~": 1}, "properties": {}, "traits": ["B", "A"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record
		if json.Unmarshal(b, &r) == nil && r.Fields == nil && string(b) != "null" {
			t.Error("no fields")
		}
		var p apiPort
		_ = json.Unmarshal(b, &p)
	})
}
