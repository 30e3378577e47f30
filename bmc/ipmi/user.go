package ipmi

import (
	"context"
	"crypto/subtle"
	"strings"

	"github.com/bougou/go-ipmi/pkg/types"
)

// userCommands are IPMI v2.0 §22.26–§22.30. User 1 is the null user, who is disabled
// for good. User 2 is the account of the node's declaration: what would change it is
// refused, because Ironic logs in with it, and a change that only this BMC knows of would
// last until the next one of the declaration.
var userCommands = []command{
	{is: types.CommandSetUserAccess, privilege: types.PrivilegeLevelAdministrator, min: 3, max: 4, handle: setUserAccess, changes: true},
	{is: types.CommandGetUserAccess, privilege: types.PrivilegeLevelOperator, min: 2, max: 2, handle: getUserAccess},
	{is: types.CommandSetUsername, privilege: types.PrivilegeLevelAdministrator, min: 17, max: 17, handle: setUserName, changes: true},
	{is: types.CommandGetUsername, privilege: types.PrivilegeLevelOperator, min: 1, max: 1, handle: getUserName},
	{is: types.CommandSetUserPassword, privilege: types.PrivilegeLevelAdministrator, min: 2, max: 2 + maxPasswordLen, handle: setUserPassword, changes: true},
}

const (
	userIDMask = 0x3f
	// Bits of Get User Access.
	userEnabled, userDisabled = 1 << 6, 2 << 6

	// declared is the answer to a change of what the node's declaration says: "command has
	// been disabled or is unavailable".
	declared = refused(types.CodeSubFnDisabled)
)

func checkUser(id byte) (byte, error) {
	if id &= userIDMask; id < nullUserID || id > maxUserID {
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
	raw := c.chassis.Recall(accountsKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.accounts.of(raw)
	u := c.user(a, id)
	count := c.enabled(a)
	switch {
	case u.Enabled:
		count |= userEnabled
	case u.Disabled:
		count |= userDisabled
	}
	return []byte{maxUserID, count, fixedNames, u.Access}, nil
}

const changeAccess = 0x80

// setUserAccess is IPMI v2.0 §22.26. The limit of sessions per user, which is optional,
// is not supported: it must be 0.
func setUserAccess(ctx context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	id, err := checkUser(c.data[1])
	if err != nil {
		return nil, err
	}
	limit := c.data[2] & accessLimit
	if limit == 0 || limit > byte(types.PrivilegeLevelOEM) && limit != noAccess || len(c.data) == 4 && c.data[3]&accessLimit != 0 {
		return nil, badField
	}
	return nil, c.changeUser(ctx, id, func(u *account) {
		bits := u.Access &^ accessLimit
		if c.data[0]&changeAccess != 0 {
			bits = c.data[0] & (accessCallbackOnly | accessLinkAuth | accessMessaging)
		}
		u.Access = bits | limit
	})
}

// getUserName is IPMI v2.0 §22.29.
func getUserName(_ context.Context, c *call) ([]byte, error) {
	id, err := checkUser(c.data[0])
	if err != nil {
		return nil, err
	}
	raw := c.chassis.Recall(accountsKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	name := make([]byte, maxNameLen)
	copy(name, c.user(c.accounts.of(raw), id).Name)
	return name, nil
}

// setUserName is IPMI v2.0 §22.28. A name stands for one user: the specification would
// allow more, told apart by privilege, which no client can make use of.
func setUserName(ctx context.Context, c *call) ([]byte, error) {
	id, err := checkUser(c.data[0])
	if err != nil {
		return nil, err
	}
	name := trim(c.data[1:])
	if strings.ContainsRune(string(name), 0) {
		return nil, badField
	}
	raw := c.chassis.Recall(accountsKey)
	c.mu.Lock()
	taken := false
	for other := byte(accountID); other <= maxUserID; other++ {
		u := c.user(c.accounts.of(raw), other)
		taken = taken || other != id && len(name) > 0 && string(u.Name) == string(name)
	}
	c.mu.Unlock()
	if taken {
		return nil, badField
	}
	return nil, c.changeUser(ctx, id, func(u *account) { u.Name = name })
}

// Operations of Set User Password.
const (
	passwordDisable = iota
	passwordEnable
	passwordSet
	passwordTest
)

const (
	longPassword = 0x80

	wrongPassword = refused(0x80)
	wrongSize     = refused(0x81)
)

// setUserPassword is IPMI v2.0 §22.30.
func setUserPassword(ctx context.Context, c *call) ([]byte, error) {
	id, err := checkUser(c.data[0])
	if err != nil {
		return nil, err
	}
	long, size := c.data[0]&longPassword != 0, shortPassword
	if long {
		size = maxPasswordLen
	}
	operation, password := c.data[1]&3, c.data[2:]
	// Without use for it, the password may be left out (IPMI v2.0 Table 22-37).
	optional := len(password) == 0 && (operation == passwordDisable || operation == passwordEnable)
	if len(password) != size && !optional {
		return nil, refused(types.CodeRequestDataLengthInvalid)
	}
	switch operation {
	case passwordTest:
		return nil, c.testPassword(id, long, trim(password))
	case passwordDisable:
		return nil, c.changeUser(ctx, id, func(u *account) { u.Enabled, u.Disabled = false, true })
	case passwordEnable:
		return nil, c.changeUser(ctx, id, func(u *account) { u.Enabled, u.Disabled = true, false })
	}
	return nil, c.changeUser(ctx, id, func(u *account) { u.Password, u.Long = trim(password), long })
}

// testPassword compares; the declared account's password has no size of its own, as far
// as it fits.
func (c *call) testPassword(id byte, long bool, password []byte) error {
	raw := c.chassis.Recall(accountsKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.user(c.accounts.of(raw), id)
	switch {
	case u.Long != long && (id != accountID || u.Long):
		return wrongSize
	case len(u.Password) == 0 || subtle.ConstantTimeCompare(u.Password, password) != 1:
		return wrongPassword
	}
	return nil
}

// changeUser edits a user and ends the sessions of one that may not log in any longer,
// or not as it did. What leaves the fixed users as they are is no change.
func (c *call) changeUser(ctx context.Context, id byte, edit func(*account)) error {
	if id == nullUserID || id == accountID {
		u := c.user(nil, id)
		before := u
		edit(&u)
		// Without a modem these bits mean nothing, and a size says nothing of the password.
		u.Access &^= accessCallbackOnly | accessLinkAuth
		u.Long = before.Long
		if !before.same(u) {
			return declared
		}
		return nil
	}
	var before, after account
	err := change(ctx, c.engine, accountsKey, func(a *accounts) error {
		before = c.user(a, id)
		after = before
		edit(&after)
		a.set(id, after)
		return nil
	})
	if err != nil {
		return err
	}
	c.log.InfoContext(ctx, "bmc: user changed", "node", c.uuid, "id", id, "user", string(after.Name), "by", c.session.user, "source", c.from)
	if before.limit() != 0 && (after.limit() < before.limit() || string(before.Name) != string(after.Name) || string(before.Password) != string(after.Password)) {
		c.endSessionsOf(id)
	}
	return nil
}

func (u account) same(o account) bool {
	return string(u.Name) == string(o.Name) && subtle.ConstantTimeCompare(u.Password, o.Password) == 1 && u.Long == o.Long &&
		u.Enabled == o.Enabled && u.Disabled == o.Disabled && u.Access == o.Access
}

func (e *engine) endSessionsOf(user byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sessions.byID {
		if s.stage == stageActive && s.userID == user {
			e.sessions.remove(s)
		}
	}
}
