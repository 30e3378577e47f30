package redfish

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// onlyKey is that of the one system that a request can see.
const onlyKey contextKey = 1

// Only has next serve requests as if there were no other system: at the address of its
// own, a node's BMC is about that node. Who may not use it is nobody there. The service,
// its sessions among it, is the same everywhere.
func Only(system string, next http.Handler) http.Handler {
	system = strings.ToLower(system)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), onlyKey, system)))
	})
}

// narrow leaves of an account what a request can see of its systems; nil: nothing.
func narrow(ctx context.Context, acct *account) *account {
	system, only := ctx.Value(onlyKey).(string)
	if acct == nil || !only {
		return acct
	}
	if !slices.Contains(acct.systems, system) {
		return nil
	}
	out := *acct
	out.systems = []string{system}
	return &out
}
