package cloud

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"tenks/raftfsm/state"
)

func TestFaultStringOfEveryForm(t *testing.T) {
	for name, body := range map[string]string{
		"wrapped twice": `{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"no\", \"debuginfo\": null}"}`,
		"wrapped once":  `{"error_message": {"faultcode": "Client", "faultstring": "no"}}`,
		"keystone":      `{"error": {"code": 401, "message": "no"}}`,
		"nova":          `{"conflictingRequest": {"code": 409, "message": "no"}}`,
		"placement":     `{"errors": [{"status": 404, "title": "Not Found", "detail": "no\n\n ", "request_id": "req-1"}]}`,
		"plain":         "no\n",
	} {
		if got := faultString([]byte(body)); got != "no" {
			t.Errorf("%s: %q, want no", name, got)
		}
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	for said, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "86400": mostRetryAfter, "99999999999": 0,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):     0,
		time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat): mostRetryAfter,
	} {
		err := fmt.Errorf("nodes: list: %w", gophercloud.ErrUnexpectedResponseCode{Actual: 429, ResponseHeader: http.Header{"Retry-After": {said}}})
		if got := RetryAfter(err); got != want {
			t.Errorf("Retry-After %q: %v, want %v", said, got, want)
		}
	}
	if got := RetryAfter(io.EOF); got != 0 {
		t.Errorf("no answer: %v", got)
	}
}

func TestScrubTakesSecretsOut(t *testing.T) {
	got := Scrub("it said\n planted-password, and "+strings.Repeat("x", longestError), state.NewSecret("planted-password"), state.Secret{})
	if strings.Contains(got, "planted") || !strings.HasPrefix(got, "it said (hidden), and xxx") || len(got) > longestError+4 {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// FuzzAnswers is what a service says, or who answers in its place.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{`{"error_message": "{\"faultstring\": \"no\"}"}`, `{"error": {"message": "no"}}`, `{"errors": []}`, `{"errors": [null]}`, `<html>`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if text := Scrub(faultString(b)); strings.ContainsAny(text, "\n\r") {
			t.Errorf("%q is not one line", text)
		}
	})
}
