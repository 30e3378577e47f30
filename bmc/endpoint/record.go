package endpoint

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tenks/bmc/fault"
	"tenks/bmc/ipmi"
	"tenks/bmc/record"
	"tenks/raftfsm/state"
)

// about is what is noted of a node's requests.
type about struct {
	name  string
	audit bool
}

// describe notes whose requests are audited.
func (m *Manager) describe(nodes []*state.Node) {
	all := make(map[string]about, len(nodes))
	for _, n := range nodes {
		all[n.UUID] = about{n.Name, n.Audit}
	}
	m.about.Store(&all)
}

// record notes a request to a node's BMC.
func (m *Manager) record(uuid string, c record.Call) {
	if m.cfg.Record == nil {
		return
	}
	var node about
	if all := m.about.Load(); all != nil {
		node = (*all)[uuid]
	}
	c.UUID, c.Node, c.Audit = uuid, node.name, node.audit
	m.cfg.Record(c)
}

// Note notes what was done to a node here by none of its BMC's protocols.
func (m *Manager) Note(uuid string, c record.Call) { m.record(uuid, c) }

// rmcpWrongPassword is the RMCP+ status of a login that failed (IPMI v2.0 Table 13-15).
const rmcpWrongPassword = 0x0f

// observe returns what notes a node's IPMI requests.
func (m *Manager) observe(uuid string, account state.Account) func(ipmi.Call) {
	return func(c ipmi.Call) {
		out := record.Call{At: time.Now(), Took: c.Took, Protocol: fault.IPMI, Method: cmp.Or(c.Name, "unknown"), Result: record.OK,
			Client: c.Source, User: c.User}
		switch login := c.Name == ipmi.LoginName; {
		case c.Code == 0:
		case login && c.Code == rmcpWrongPassword:
			out.Result = "wrong password"
		default:
			out.Result = fmt.Sprintf("0x%02x", c.Code)
		}
		// A name that was refused may be a password.
		if c.Name == ipmi.LoginName && c.Code != 0 && c.User != account.Username {
			out.User = record.Unknown
		}
		m.record(uuid, out)
	}
}

// Around puts faults before, and a record around, a Redfish service of the nodes here.
// Requests to none of them are subject to the faults of this host. known says that a name
// is a user's, where the service does not say so by record.SetUser.
func (m *Manager) Around(known func(user string) bool, next http.Handler) http.Handler {
	observe := func(r *http.Request, c record.Call) { m.record(m.nodeOf(r), c) }
	return record.Middleware(observe, known, fault.Middleware(m.nodeOf, m.faults.ask, next))
}

// nodeOf returns the node here that a request is for, or whose UUID is in its path, or
// nothing.
func (m *Manager) nodeOf(r *http.Request) string {
	all := m.about.Load()
	if all == nil {
		return ""
	}
	if uuid, ok := r.Context().Value(nodeKey).(string); ok {
		return uuid
	}
	for segment := range strings.SplitSeq(strings.ToLower(r.URL.Path), "/") {
		if _, ok := (*all)[segment]; ok {
			return segment
		}
	}
	return ""
}
