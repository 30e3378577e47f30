package ironic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/gophercloud/gophercloud/v2"

	"tenks/raftfsm/state"
)

// longestError bounds what goes from Ironic's answers into the log, in bytes.
const longestError = 400

// blame says what a failed call means for the rest of a pass.
type blame int

const (
	// blameNode: this node's request was refused; others may do.
	blameNode blame = iota
	// blameBusy: Ironic holds the node just now; nothing is wrong.
	blameBusy
	// blameSite: Ironic cannot be reached or does not let us in.
	blameSite
)

func blameFor(err error) blame {
	code, said := answer(err)
	switch {
	case code == 0, code == http.StatusUnauthorized, code == http.StatusTooManyRequests,
		code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return blameSite
	case code == http.StatusConflict && (strings.Contains(said, "is locked by host") ||
		strings.Contains(said, "state transition is in progress")):
		return blameBusy
	}
	return blameNode
}

// answer returns the HTTP status of a refusal and what Ironic said; 0 if there was
// no answer.
func answer(err error) (code int, said string) {
	var e gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &e) {
		return 0, ""
	}
	return e.Actual, faultString(e.Body)
}

// faultString finds the message in an error body: Ironic wraps it in JSON, in some
// releases twice, Keystone otherwise.
func faultString(body []byte) string {
	var outer struct {
		Message json.RawMessage `json:"error_message"`
		Error   struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return strings.TrimSpace(string(body))
	}
	if outer.Message == nil {
		return outer.Error.Message
	}
	inner := outer.Message
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

// describe is an error in words that stay the same while its cause does: without
// port numbers or request IDs, so that a repeated failure is no news.
func describe(err error) string {
	var (
		errno   syscall.Errno
		dns     *net.DNSError
		timeout net.Error
	)
	code, said := answer(err)
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

// secretsOf are the secrets that an error about a node may have in it.
func secretsOf(n *state.Node) []state.Secret {
	return []state.Secret{n.BMC.Password, n.BMC.Key, state.NewSecret(n.BMC.KeyHex())}
}

// scrub removes secrets from a text and bounds its length.
func scrub(text string, secrets ...state.Secret) string {
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
