package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"go.yaml.in/yaml/v3"

	"tenks/raftfsm/state"
)

// longestError bounds what goes from a service's answers into the log, in bytes.
const longestError = 400

// Answer returns the HTTP status of a refusal and what the service said; 0 if there was
// no answer.
func Answer(err error) (code int, said string) {
	var e gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &e) {
		return 0, ""
	}
	return e.Actual, faultString(e.Body)
}

// mostRetryAfter bounds what a service, or who answers in its place, can ask for.
const mostRetryAfter = 10 * time.Minute

// RetryAfter is how long a refusal asks to be left alone (RFC 9110 §10.2.3: seconds, or a
// date); 0: it does not say.
func RetryAfter(err error) time.Duration {
	var e gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &e) {
		return 0
	}
	said := strings.TrimSpace(e.ResponseHeader.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(said, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, mostRetryAfter)
	}
	date, err := http.ParseTime(said)
	if err != nil {
		return 0
	}
	return max(0, min(time.Until(date), mostRetryAfter))
}

// faultString finds the message in an error body. Ironic wraps it in JSON, in some releases
// twice; Keystone, Nova and Placement (API-SIG "Errors") each otherwise.
func faultString(body []byte) string {
	var outer map[string]json.RawMessage
	if json.Unmarshal(body, &outer) != nil {
		return strings.TrimSpace(string(body))
	}
	if said, ok := outer["error_message"]; ok {
		return ironicFault(said)
	}
	var several []struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(outer["errors"], &several) == nil && len(several) > 0 {
		return strings.TrimSpace(several[0].Detail)
	}
	if len(outer) != 1 {
		return ""
	}
	for _, one := range outer { // its key is "error", "conflictingRequest", "forbidden", …
		var fault struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(one, &fault) == nil {
			return fault.Message
		}
	}
	return ""
}

func ironicFault(inner json.RawMessage) string {
	var asText string
	if json.Unmarshal(inner, &asText) == nil {
		inner = json.RawMessage(asText)
	}
	var fault struct {
		Text string `json:"faultstring"`
	}
	if json.Unmarshal(inner, &fault) == nil && fault.Text != "" {
		return fault.Text
	}
	return string(inner)
}

// Describe is an error in words that stay the same while its cause does: without
// port numbers or request IDs, so that a repeated failure is no news.
func Describe(err error) string {
	var (
		errno   syscall.Errno
		dns     *net.DNSError
		timeout net.Error
	)
	code, said := Answer(err)
	switch {
	case code != 0 && said != "":
		return fmt.Sprintf("%s (HTTP %d)", strings.TrimSuffix(said, "."), code)
	case code != 0:
		return fmt.Sprintf("%s (HTTP %d)", strings.ToLower(http.StatusText(code)), code)
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns):
		return "host " + dns.Name + ": no such host"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// SecretsOf are the secrets that an error of a cloud's services may have in it.
func SecretsOf(a state.IronicAccess) []state.Secret {
	out := []state.Secret{a.Password}
	var doc struct {
		Clouds map[string]struct {
			Auth struct {
				Password   string `yaml:"password"`
				Credential string `yaml:"application_credential_secret"`
				Token      string `yaml:"token"`
			} `yaml:"auth"`
		} `yaml:"clouds"`
	}
	if yaml.Unmarshal([]byte(a.CloudYAML.Reveal()), &doc) != nil {
		return out
	}
	auth := doc.Clouds[a.Cloud].Auth
	return append(out, state.NewSecret(auth.Password), state.NewSecret(auth.Credential), state.NewSecret(auth.Token))
}

// Scrub removes secrets from a text and bounds its length.
func Scrub(text string, secrets ...state.Secret) string {
	for _, s := range secrets {
		if len(s.Reveal()) > 2 {
			text = strings.ReplaceAll(text, s.Reveal(), s.String())
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longestError {
		text = strings.ToValidUTF8(text[:longestError], "") + "…"
	}
	return text
}
