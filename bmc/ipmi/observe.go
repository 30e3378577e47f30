package ipmi

import (
	"context"
	"net/netip"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	bmcguard "tenks/bmc/guard"
)

// Call is a command that was answered, or a login that ended.
type Call struct {
	// NetFn and Cmd number the command. A login has those of IPMI 1.5's Activate Session.
	NetFn, Cmd byte
	// Name is the command's in the words of the IPMI specification, empty for one that is not known;
	// LoginName for a login.
	Name string
	// Code is the completion code, 0 for success. For a login it is the RMCP+ status code
	// (IPMI v2.0 Table 13-15), InvalidIntegrityCheckValue also where the console gave up.
	Code   byte
	Source netip.AddrPort
	// User is the name that was logged in with, empty outside of sessions.
	User string
	// Took is the time from the request to its answer.
	Took time.Duration
}

// LoginName is the Name of a Call that is a login.
const LoginName = "Login"

// observe tells the observer of an answer. mu is not held.
func (e *engine) observe(c *call, code types.CompletionCode) {
	if e.observer == nil {
		return
	}
	seen := Call{NetFn: c.netFn, Cmd: c.cmd, Name: c.row.is.Name, Code: byte(code), Source: c.from, Took: e.took(c.now)}
	if c.session != nil {
		seen.User = c.session.user
	}
	e.observer(seen)
}

func (e *engine) took(began time.Time) time.Duration {
	if e.since == nil {
		return 0
	}
	return e.since(began)
}

// loginEnd is a login that succeeded or was refused.
type loginEnd struct {
	from   netip.AddrPort
	name   string
	status types.RmcpStatusCode
	// blocks says that it was one failure too many.
	blocks bool
}

// loginEnded logs and tells of a login's end. mu is not held.
func (e *engine) loginEnded(ctx context.Context, now time.Time, end *loginEnd) {
	source := end.from.Addr()
	if end.status == types.RmcpStatusCodeInvalidIntegrityCheckValue {
		e.log.InfoContext(ctx, "bmc: login refused", "node", e.uuid, "source", source, "user", end.name)
	}
	if end.blocks {
		e.log.WarnContext(ctx, "bmc: logins blocked after too many failures", "node", e.uuid, "source", source, "user", end.name, "for", bmcguard.BlockFor)
	}
	if e.observer == nil {
		return
	}
	login := types.CommandActivateSession
	e.observer(Call{NetFn: byte(login.NetFn), Cmd: login.ID, Name: LoginName, Code: byte(end.status), Source: end.from, User: end.name, Took: e.took(now)})
}
