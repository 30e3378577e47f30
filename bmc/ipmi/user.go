package ipmi

import (
	"context"

	"github.com/bougou/go-ipmi/pkg/types"
)

// userCommands read the users (IPMI v2.0 §22.27, §22.29). User 1 is the null user,
// which is disabled; user 2 is the account. Neither can be changed here: the
// account belongs to the node's declaration.
var userCommands = []command{
	{is: types.CommandGetUserAccess, privilege: types.PrivilegeLevelOperator, min: 2, max: 2, handle: getUserAccess},
	{is: types.CommandGetUsername, privilege: types.PrivilegeLevelOperator, min: 1, max: 1, handle: getUserName},
}

const (
	nullUserID = 1
	userID     = 2
	maxUserID  = 2
	fixedNames = 2
	// Bits of Get User Access.
	userEnabled, userDisabled = 1 << 6, 2 << 6
	enabledUsers              = 1
	messaging                 = 0x10
	noAccess                  = 0x0f
)

func checkUser(id byte) (byte, error) {
	if id &= 0x3f; id < nullUserID || id > maxUserID {
		return 0, refused(types.CodeParameterOutOfRange)
	}
	return id, nil
}

// getUserAccess is IPMI v2.0 §22.27.
func getUserAccess(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	id, err := checkUser(c.data[1])
	if err != nil {
		return nil, err
	}
	if id == nullUserID {
		return []byte{maxUserID, userDisabled | enabledUsers, fixedNames, noAccess}, nil
	}
	return []byte{maxUserID, userEnabled | enabledUsers, fixedNames, messaging | byte(userLimit)}, nil
}

// getUserName is IPMI v2.0 §22.29.
func getUserName(_ context.Context, c *call) ([]byte, error) {
	id, err := checkUser(c.data[0])
	if err != nil {
		return nil, err
	}
	name := make([]byte, maxNameLen)
	if id == userID {
		copy(name, c.username)
	}
	return name, nil
}
