package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// maxSilence is how long a request that is not answered is held: longer than clients
	// wait, and not for ever.
	maxSilence = 5 * time.Minute
	// maxDropped bounds what is read of a dropped request's body, in bytes.
	maxDropped = 1 << 20
	// retryAfter is what who is told "busy" should wait, in seconds.
	retryAfter = "5"
)

// HTTPCall returns what a Redfish request is to faults.
func HTTPCall(node string, r *http.Request) Call {
	path := strings.TrimSuffix(r.URL.Path, "/")
	_, _, basic := r.BasicAuth()
	post := r.Method == http.MethodPost
	login := basic || post && (strings.HasSuffix(path, "/SessionService/Sessions") || strings.HasSuffix(path, "/SessionService/Sessions/Members"))
	return Call{Protocol: Redfish, Node: node, Command: r.Method + " " + path, Login: login, Password: login,
		Power: post && strings.HasSuffix(path, "/Actions/ComputerSystem.Reset")}
}

// Middleware puts faults before the handler of a Redfish service. node says which node's
// BMC a request is to, by UUID; empty: none's in particular. ask is told of each request
// and says what becomes of it.
func Middleware(node func(*http.Request) string, ask func(Call) Effect, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := ask(HTTPCall(node(r), r))
		if e.Drop {
			silence(r)
		}
		if !wait(r.Context(), e.Delay) {
			panic(http.ErrAbortHandler) // nobody waits for an answer
		}
		switch {
		case e.WrongPassword:
			w.Header().Set("WWW-Authenticate", `Basic realm="Redfish"`)
			answer(w, http.StatusUnauthorized, "Base.1.8.ResourceAtUriUnauthorized", "While accessing the resource, the service was denied access.")
		case e.Code == http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", retryAfter)
			answer(w, e.Code, "Base.1.8.ServiceTemporarilyUnavailable", "The service is temporarily unavailable.  Retry in "+retryAfter+" seconds.")
		case e.Code != 0:
			answer(w, e.Code, "Base.1.8.GeneralError", "A general error has occurred.  See Resolution for information on how to resolve the error.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// silence holds a request without an answer until its client gives up, and ends its
// connection.
func silence(r *http.Request) {
	// net/http notices that a client has gone only once all of its body was read.
	_, _ = io.CopyN(io.Discard, r.Body, maxDropped)
	wait(r.Context(), maxSilence)
	panic(http.ErrAbortHandler)
}

// wait waits and reports whether ctx lasted.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// answer writes a Redfish error (DSP0266 §8.6).
func answer(w http.ResponseWriter, status int, id, text string) {
	type message struct {
		ID         string `json:"MessageId"`
		Message    string
		Severity   string
		Resolution string
	}
	var body struct {
		Error struct {
			Code     string    `json:"code"`
			Message  string    `json:"message"`
			Extended []message `json:"@Message.ExtendedInfo"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = id, text
	body.Error.Extended = []message{{id, text, "Critical", "Try again once the fault that was declared has ended."}}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("OData-Version", "4.0")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
}

// String says what happens, for logs.
func (e Effect) String() string {
	var out []string
	add := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(e.Drop, "drop")
	add(e.Delay > 0, "delay %v", e.Delay)
	add(e.Code != 0, "code %#x", e.Code)
	add(e.WrongPassword, "wrong password")
	add(e.Stuck, "stuck")
	add(e.Slow > 0, "slow %v", e.Slow)
	return strings.Join(out, ", ")
}
