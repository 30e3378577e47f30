package redfish

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tenks/raftfsm/state"
)

// A Message is an entry of the Base registry with its arguments (DSP0266 §12.1).
type Message struct {
	ID   string
	Args []string
	// Related are the properties that it is about, as JSON pointers or paths with slashes.
	Related []string
	// Resolution says what to do; empty: what the registry says.
	Resolution string
}

// msg returns a message of the Base registry.
func msg(id string, args ...string) Message { return Message{ID: id, Args: args} }

// about says which properties the message is about.
func (m Message) about(properties ...string) Message {
	for _, p := range properties {
		m.Related = append(m.Related, "/"+strings.TrimPrefix(p, "/"))
	}
	return m
}

// text fills in the arguments.
func (m Message) text() string {
	return filled(baseMessages[m.ID].text, m.Args)
}

// info is the message as it is in @Message.ExtendedInfo (Message.v1_1_2).
func (m Message) info() Object {
	entry := baseMessages[m.ID]
	if m.Resolution != "" {
		entry.resolution = m.Resolution
	}
	out := Object{
		{"@odata.type", "#Message.v1_1_2.Message"}, {"MessageId", basePrefix + m.ID}, {"Message", m.text()},
	}
	if len(m.Args) > 0 {
		out = append(out, Property{"MessageArgs", m.Args})
	}
	if len(m.Related) > 0 {
		out = append(out, Property{"RelatedProperties", m.Related})
	}
	return append(out, Property{"MessageSeverity", entry.severity}, Property{"Severity", entry.severity},
		Property{"Resolution", entry.resolution})
}

// Error is a refusal: a status and messages for the client. It holds nothing secret.
type Error struct {
	Status   int
	Messages []Message
	Header   http.Header
	// Cause is for the log only.
	Cause error
}

// Error implements error.
func (e *Error) Error() string {
	var list []string
	for _, m := range e.Messages {
		list = append(list, m.text())
	}
	text := fmt.Sprintf("%d: %s", e.Status, strings.Join(list, " "))
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// fail returns an *Error; without messages it has the general one.
func fail(status int, messages ...Message) error {
	return &Error{Status: status, Messages: messages}
}

// notFound says that there is no such resource.
func notFound(path string) error {
	return fail(http.StatusNotFound, msg("ResourceMissingAtURI", path))
}

// body is the error as the client gets it (DSP0266 §12.1).
func (e *Error) body() Object {
	code, text := basePrefix+"GeneralError", baseMessages["GeneralError"].text
	if len(e.Messages) == 1 {
		code, text = basePrefix+e.Messages[0].ID, e.Messages[0].text()
	}
	return Object{{"error", Object{{"code", code}, {"message", text}, {"@Message.ExtendedInfo", infos(e.Messages)}}}}
}

func infos(list []Message) []Object {
	if len(list) == 0 {
		list = []Message{msg("GeneralError")}
	}
	out := make([]Object, len(list))
	for i, m := range list {
		out[i] = m.info()
	}
	return out
}

// busyRetry is the Retry-After of a busy chassis, in seconds.
const busyRetry = "2"

// unavailable says that the service cannot answer now.
func unavailable(seconds string) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Messages: []Message{msg("ServiceTemporarilyUnavailable", seconds)},
		Header: http.Header{"Retry-After": {seconds}}}
}

// refusal translates an error of a handler: an *Error as it is, one of the chassis into
// what clients know. What it does not know is an internal error, without its text.
func refusal(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Status: http.StatusInternalServerError, Messages: []Message{msg("InternalError")}}
	switch {
	case errors.Is(err, state.ErrBusy):
		return unavailable(busyRetry)
	case errors.Is(err, state.ErrWrongState):
		// Ironic repeats a power request that got this one.
		e.Status, e.Messages = http.StatusConflict, []Message{msg("ResourceInUse")}
	case errors.Is(err, state.ErrUnsupported):
		e.Status, e.Messages = http.StatusBadRequest, []Message{msg("OperationNotAllowed")}
	}
	return e
}
