package ipmi

import (
	"context"

	"github.com/bougou/go-ipmi/pkg/types"
)

// sessionCommands manage sessions (IPMI v2.0 §22.18–§22.20). Get Session Challenge
// and Activate Session belong to IPMI 1.5: see login15.go.
var sessionCommands = []command{
	{is: types.CommandSetSessionPrivilegeLevel, privilege: types.PrivilegeLevelCallback, min: 1, max: 1, handle: setSessionPrivilege},
	{is: types.CommandCloseSession, privilege: types.PrivilegeLevelCallback, min: 4, max: 5, handle: closeSession},
	{is: types.CommandGetSessionInfo, privilege: types.PrivilegeLevelUser, min: 1, max: 5, handle: getSessionInfo},
}

// Completion codes of these commands.
const (
	exceedsLimit     = refused(0x81)
	invalidSessionID = refused(0x87)
	invalidHandle    = refused(0x88)
)

// setSessionPrivilege is IPMI v2.0 §22.18; level 0 asks for the present one.
func setSessionPrivilege(_ context.Context, c *call) ([]byte, error) {
	level := types.PrivilegeLevel(c.data[0])
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case level == types.PrivilegeLevelUnspecified:
	case level == types.PrivilegeLevelCallback, level > types.PrivilegeLevelOEM:
		return nil, badField
	case level > c.session.limit:
		return nil, exceedsLimit
	default:
		c.session.privilege = level
	}
	return []byte{byte(c.session.privilege)}, nil
}

// closeSession is IPMI v2.0 §22.19. Anybody may close the own session, an
// administrator every one. Session ID 0 means that a handle follows.
func closeSession(_ context.Context, c *call) ([]byte, error) {
	id := c.uint32At(0)
	if (id == 0) != (len(c.data) == 5) {
		return nil, refused(types.CodeRequestDataLengthInvalid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions.find(func(s *session) bool {
		return id != 0 && s.id == id || id == 0 && s.handle == c.data[4]
	})
	switch {
	case !ok && id == 0:
		return nil, invalidHandle
	case !ok:
		return nil, invalidSessionID
	case s != c.session && c.privilege < types.PrivilegeLevelAdministrator:
		return nil, refused(types.CodeInsufficientPrivilege)
	}
	c.sessions.remove(s)
	return nil, nil
}

// Session indexes of Get Session Info.
const (
	bySelf   = 0x00
	byHandle = 0xfe
	byID     = 0xff
)

// getSessionInfo is IPMI v2.0 §22.20. A session that is not there is handle 0 and
// no more data.
func getSessionInfo(_ context.Context, c *call) ([]byte, error) {
	which := c.data[0]
	if want := map[byte]int{byHandle: 2, byID: 5}[which]; want != 0 && len(c.data) != want {
		return nil, refused(types.CodeRequestDataLengthInvalid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions.find(func(s *session) bool {
		switch which {
		case bySelf:
			return s == c.session
		case byHandle:
			return s.handle == c.data[1]
		case byID:
			return s.id == c.uint32At(1)
		}
		return c.sessions.rank(s) == int(which)
	})
	if !ok {
		return []byte{0, maxActive, byte(c.sessions.active)}, nil
	}
	a, protocol := s.addressBytes(), byte(1<<4) // RMCP+
	if s.v15 != nil {
		protocol = 0
	}
	b := []byte{s.handle, maxActive, byte(c.sessions.active), s.userID, byte(s.privilege), protocol | lanChannel}
	b = append(b, a[:]...)
	b = append(b, make([]byte, 6)...) // the console's MAC address is not known
	return append(b, byte(s.from.Port()), byte(s.from.Port()>>8)), nil
}
