package ironic

import (
	"net/http"
	"strings"

	"tenks/ironic/internal/cloud"
	"tenks/raftfsm/state"
)

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
	code, said := cloud.Answer(err)
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

// secretsOf are the secrets that an error about a node may have in it.
func secretsOf(n *state.Node) []state.Secret {
	out := []state.Secret{n.BMC.Password, n.BMC.Key, state.NewSecret(n.BMC.KeyHex())}
	if n.Outlet != nil {
		out = append(out, n.Outlet.PDU.Community, n.Outlet.PDU.Password)
	}
	return out
}
