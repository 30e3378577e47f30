package ipmi

import (
	"bytes"
	"maps"
	"slices"

	"github.com/bougou/go-ipmi/pkg/crypto"
	"github.com/bougou/go-ipmi/pkg/types"
)

const (
	// nullUserID is the user without a name, who never may log in; accountID is the
	// account of the node's declaration.
	nullUserID = 1
	accountID  = 2
	// maxUserID is how many users there can be. Clients ask for each of them: more makes
	// "user list" slow.
	maxUserID  = 10
	fixedNames = 2

	maxNameLen     = 16
	shortPassword  = 16
	maxPasswordLen = 20
)

// Bits of a user's access to the channel (IPMI v2.0 §22.26).
const (
	accessCallbackOnly = 0x40
	accessLinkAuth     = 0x20
	accessMessaging    = 0x10
	accessLimit        = 0x0f
	noAccess           = 0x0f
	// unsetAccess is what a user has that was never set up: a privilege is all that is
	// missing, because clients that set one leave the other bits as they are.
	unsetAccess = accessMessaging | noAccess
)

// accounts are the users from 3 on, by ID, as they are kept in the memory. Users 1 and
// 2 are not in it: the first is fixed, the second declared.
type accounts struct {
	Users map[byte]account `json:"users,omitempty"`
}

// account is a user. Its zero value is one that was never set up.
type account struct {
	// Name and Password are without trailing zeros.
	Name     []byte `json:"name,omitempty"`
	Password []byte `json:"password,omitempty"`
	// Long says that the password was set as one of 20 bytes, not of 16.
	Long     bool `json:"long,omitempty"`
	Enabled  bool `json:"enabled,omitempty"`
	Disabled bool `json:"disabled,omitempty"`
	// Access has the bits of Get User Access. It is 0 until it was set.
	Access byte `json:"access,omitempty"`
}

// user returns a user, whatever its ID. The caller holds mu.
func (e *engine) user(a *accounts, id byte) account {
	switch id {
	case nullUserID:
		return account{Disabled: true, Access: noAccess}
	case accountID:
		password := bytes.TrimRight(e.key[:], "\x00")
		return account{Name: []byte(e.username), Password: password, Long: len(password) > shortPassword, Enabled: true,
			Access: accessMessaging | byte(userLimit)}
	}
	u := a.Users[id]
	if u.Access == 0 {
		u.Access = unsetAccess
	}
	return u
}

// set stores a user; one that says nothing is not stored.
func (a *accounts) set(id byte, u account) {
	users := maps.Clone(a.Users)
	if users == nil {
		users = map[byte]account{}
	}
	users[id] = u
	if len(u.Name)+len(u.Password) == 0 && !u.Enabled && !u.Disabled && u.Access == unsetAccess {
		delete(users, id)
	}
	a.Users = users
}

// limit is the highest privilege that a user may have, 0 if it may not log in.
func (u account) limit() types.PrivilegeLevel {
	limit := types.PrivilegeLevel(u.Access & accessLimit)
	if !u.Enabled || len(u.Name) == 0 || len(u.Password) == 0 || u.Access&accessMessaging == 0 || limit > userLimit {
		return 0
	}
	return limit
}

// identity is who logs in.
type identity struct {
	// id is 0 for who does not exist.
	id    byte
	limit types.PrivilegeLevel
	// key is K_uid: the password, padded with zeros.
	key []byte
}

// recalled is what the memory holds of users, for use under mu.
type recalled struct{ accounts, settings []byte }

func (e *engine) recallUsers() recalled {
	return recalled{e.chassis.Recall(accountsKey), e.chassis.Recall(settingsKey)}
}

// identify finds the user with a name that may log in, or else nobody. The caller holds mu.
func (e *engine) identify(of recalled, name string) identity {
	// Made for everybody, so that the time it takes tells nothing.
	nobody := e.nobody(name)
	// The declared account comes first, and no limit of the channel holds for it: nothing
	// that a client sets locks Ironic out.
	if name == e.username {
		return identity{accountID, userLimit, e.key[:]}
	}
	a, limit := e.accounts.of(of.accounts), e.settings.of(of.settings).access().limit()
	for _, id := range slices.Sorted(maps.Keys(a.Users)) {
		if u := e.user(a, id); string(u.Name) == name && u.limit() != 0 {
			return identity{id, min(u.limit(), limit), crypto.PadPassword20(u.Password)}
		}
	}
	return nobody
}

// nobody stands for a user that does not exist: its key is one that nobody knows, the
// same each time, so that its login fails as one with a wrong password does.
func (e *engine) nobody(name string) identity {
	decoy, err := crypto.HMAC("sha1", []byte(name), e.decoy[:])
	if err != nil {
		decoy = e.decoy[:]
	}
	return identity{limit: userLimit, key: decoy}
}

// enabled counts the users that are enabled.
func (e *engine) enabled(a *accounts) byte {
	n := byte(1) // the declared account
	for _, u := range a.Users {
		if u.Enabled {
			n++
		}
	}
	return n
}

// trim takes off the zeros at the end of a name or password.
func trim(b []byte) []byte { return clone(bytes.TrimRight(b, "\x00")) }
