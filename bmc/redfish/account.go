package redfish

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	bmcguard "tenks/bmc/guard"
)

// Privilege is a privilege of DSP0266 §13.2.10.
type Privilege string

// The privileges.
const (
	Login               Privilege = "Login"
	ConfigureManager    Privilege = "ConfigureManager"
	ConfigureUsers      Privilege = "ConfigureUsers"
	ConfigureComponents Privilege = "ConfigureComponents"
	ConfigureSelf       Privilege = "ConfigureSelf"
)

const (
	roleAdministrator = "Administrator"
	roleOperator      = "Operator"
	roleReadOnly      = "ReadOnly"
)

// roles are the predefined ones; there are no others.
var roles = []string{roleAdministrator, roleOperator, roleReadOnly}

var rolePrivileges = map[string][]Privilege{
	roleAdministrator: {Login, ConfigureManager, ConfigureUsers, ConfigureSelf, ConfigureComponents},
	roleOperator:      {Login, ConfigureSelf, ConfigureComponents},
	roleReadOnly:      {Login, ConfigureSelf},
}

const (
	accountsPath = rootPath + "/AccountService/Accounts"
	rolesPath    = rootPath + "/AccountService/Roles"
	// accountsKey is where the added accounts of a system are kept.
	accountsKey = "redfish/accounts"
	// maxAdded bounds the accounts that are added to a system.
	maxAdded = 32
	// minPassword is the least length of a password that a client sets.
	minPassword = 8
)

// addedAccount is an account that a client made. It is kept with each of its systems.
type addedAccount struct {
	User, Role string
	Salt, Hash []byte
	Disabled   bool `json:",omitempty"`
	MustChange bool `json:",omitempty"`
}

// accountsOf returns the accounts that the caller sees: its own and, for who manages
// users, those added to its systems.
func accountsOf(r *Request) []*account {
	a := r.Service.access
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh()
	var out []*account
	seen := map[string]bool{}
	if own := a.byID[r.Caller.id]; own != nil {
		out, seen[own.user] = append(out, own), true
	}
	if r.Caller.may(ConfigureUsers) {
		for _, list := range a.byUser {
			for _, acct := range list {
				if !seen[acct.user] && r.Caller.covers(acct.systems) {
					out, seen[acct.user] = append(out, acct), true
				}
			}
		}
	}
	slices.SortFunc(out, func(x, y *account) int { return strings.Compare(x.user, y.user) })
	return out
}

// findAccount returns the account that the path names, or nil.
func findAccount(r *Request) *account {
	for _, acct := range accountsOf(r) {
		if acct.user == r.Var("account") {
			return acct
		}
	}
	return nil
}

func isOwnAccount(r *Request) bool {
	acct := findAccount(r)
	return acct != nil && acct.id == r.Caller.id
}

func accountTable() []Resource {
	password := Rule{Kind: String, Required: true, Max: maxPassword, Secret: true, Check: func(v any) bool { s, _ := v.(string); return len(s) >= minPassword }}
	// No account is ever locked, so that there is nothing but to say so.
	unlocked := Rule{Kind: Bool, Check: func(v any) bool { return v == false }}
	written := Rules{"Password": password, "RoleId": {Kind: String, Values: roles}, "Enabled": {Kind: Bool},
		"UserName": {Kind: String, Max: 64, Check: isUserName}, "PasswordChangeRequired": {Kind: Bool}, "Locked": unlocked}
	for name, rule := range written {
		rule.Required = false
		written[name] = rule
	}
	return []Resource{
		{Path: rootPath + "/AccountService", Type: "#AccountService.v1_15_0.AccountService", Link: "AccountService", Change: ConfigureUsers,
			Get: func(*Request) (Object, error) {
				return Object{{"Id", "AccountService"}, {"Name", "Account Service"}, {"Status", healthy()}, {"ServiceEnabled", true},
					{"MinPasswordLength", minPassword}, {"MaxPasswordLength", maxPassword},
					{"AuthFailureLoggingThreshold", bmcguard.MaxFailures}, {"HTTPBasicAuth", "Enabled"}, {"SupportedAccountTypes", []string{"Redfish"}}}, nil
			}},
		{Path: accountsPath, Type: "#ManagerAccountCollection.ManagerAccountCollection", Link: "Accounts", Name: "Accounts", Change: ConfigureUsers,
			Members: func(r *Request) ([]string, error) {
				ids := []string{}
				for _, acct := range accountsOf(r) {
					ids = append(ids, acct.user)
				}
				return ids, nil
			},
			Creatable: Rules{"UserName": {Kind: String, Required: true, Max: 64, Check: isUserName}, "Password": password,
				"RoleId": {Kind: String, Required: true, Values: roles}, "Enabled": {Kind: Bool}, "PasswordChangeRequired": {Kind: Bool},
				"AccountTypes": {Kind: List, Elements: &Rule{Kind: String, Values: []string{"Redfish"}}},
				"Name":         {Kind: String}, "Description": {Kind: String}, "Locked": unlocked},
			Post: createAccount},
		{Path: accountsPath + "/{account}", Type: "#ManagerAccount.v1_12_0.ManagerAccount", Get: getAccount, Change: ConfigureUsers, WithSystems: true,
			Present: func(r *Request) bool { return findAccount(r) != nil }, Self: isOwnAccount,
			Writable: written, Patch: patchAccount, Delete: deleteAccount},
		{Path: rolesPath, Type: "#RoleCollection.RoleCollection", Link: "Roles", Name: "Roles",
			Members: func(*Request) ([]string, error) { return roles, nil }},
		{Path: rolesPath + "/{role}", Type: "#Role.v1_3_2.Role", Get: getRole,
			Present: func(r *Request) bool { return slices.Contains(roles, r.Var("role")) }},
	}
}

// isUserName keeps names to what needs no quoting in a URI.
func isUserName(v any) bool {
	s, _ := v.(string)
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && strings.Trim(s, ".") != ""
}

func getRole(r *Request) (Object, error) {
	id := r.Var("role")
	var privileges []string
	for _, p := range rolePrivileges[id] {
		privileges = append(privileges, string(p))
	}
	return Object{{"Id", id}, {"Name", id + " Role"}, {"RoleId", id}, {"IsPredefined", true}, {"AssignedPrivileges", privileges}, {"OemPrivileges", []string{}}}, nil
}

func getAccount(r *Request) (Object, error) {
	acct := findAccount(r)
	if acct == nil {
		return nil, notFound(r.Path)
	}
	mustChange := acct.added != nil && acct.added.MustChange
	return Object{{"Id", acct.user}, {"Name", "User Account"}, {"UserName", acct.user}, {"Password", nil}, {"RoleId", acct.role}, {"Enabled", acct.usable()},
		{"Locked", false}, {"PasswordChangeRequired", mustChange}, {"AccountTypes", []string{"Redfish"}},
		{"Links", Object{{"Role", link(rolesPath + "/" + acct.role)}}}}, nil
}

// createAccount adds an account to all of the caller's systems that are at this peer.
func createAccount(r *Request, v Values) (*Result, error) {
	user, _ := v.String("UserName")
	password, _ := v.String("Password")
	role, _ := v.String("RoleId")
	if user == r.Caller.UserName || slices.ContainsFunc(accountsOf(r), func(a *account) bool { return a.user == user }) {
		return nil, fail(http.StatusConflict, msg("ResourceAlreadyExists", "ManagerAccount", "UserName", user).about("UserName"))
	}
	if elsewhere, ok := r.allElsewhere(); ok && !isForwarded(r.Context()) {
		return &Result{Peer: &elsewhere}, nil
	}
	added := addedAccount{User: user, Role: role}
	added.Salt, added.Hash = newPassword(password)
	if enabled, given := v.Bool("Enabled"); given {
		added.Disabled = !enabled
	}
	added.MustChange, _ = v.Bool("PasswordChangeRequired")
	err := r.Service.eachAccounts(r.Context(), r.Caller.systems, func(list []addedAccount) ([]addedAccount, error) {
		if len(list) >= maxAdded {
			return nil, fail(http.StatusBadRequest, msg("CreateLimitReachedForResource"))
		}
		return append(list, added), nil
	})
	if err != nil {
		return nil, err
	}
	return &Result{Location: accountsPath + "/" + user}, nil
}

// allElsewhere says that no system of the caller is at this peer, and returns the first.
func (r *Request) allElsewhere() (first System, ok bool) {
	for _, id := range r.Caller.systems {
		sys, found := r.Service.cfg.Systems.Lookup(id)
		switch {
		case found && sys.Chassis != nil:
			return System{}, false
		case found && !ok:
			first, ok = sys, true
		}
	}
	return first, ok
}

// keptElsewhere returns a system whose peer may have what the path names, which is not
// known here.
func (r *Request) keptElsewhere(rt *route) (System, bool) {
	if !rt.WithSystems || isForwarded(r.Context()) || !r.Caller.may(rt.privilege(r.HTTP.Method)) {
		return System{}, false
	}
	return r.allElsewhere()
}

// eachAccounts changes the added accounts of systems at this peer.
func (s *Service) eachAccounts(ctx context.Context, systems []string, change func([]addedAccount) ([]addedAccount, error)) error {
	unlock, err := s.locks.lock(ctx, accountsKey)
	if err != nil {
		return unavailable(busyRetry)
	}
	defer unlock()
	defer s.access.forget()
	var errs []error
	for _, id := range systems {
		sys, found := s.cfg.Systems.Lookup(id)
		if !found || sys.Chassis == nil {
			continue
		}
		list, err := change(recall[[]addedAccount](sys, accountsKey))
		if err == nil {
			err = keep(ctx, sys, accountsKey, list)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func patchAccount(r *Request, v Values) error {
	acct := findAccount(r)
	if acct == nil {
		return notFound(r.Path)
	}
	if acct.added == nil {
		// The nodes' own account is part of their declaration.
		return fail(http.StatusBadRequest, notWritable(v)...)
	}
	if !r.Caller.may(ConfigureUsers) {
		// Of an account of one's own, only the password (DSP0266 §13.2.10).
		if _, given := v.String("Password"); !given || len(v) > 1 {
			return fail(http.StatusForbidden, msg("InsufficientPrivilege"))
		}
	}
	changed := *acct.added
	if name, given := v.String("UserName"); given && name != changed.User {
		if slices.ContainsFunc(accountsOf(r), func(a *account) bool { return a.user == name }) {
			return fail(http.StatusConflict, msg("ResourceAlreadyExists", "ManagerAccount", "UserName", name).about("UserName"))
		}
		// The name is the ID, which does not change.
		return fail(http.StatusBadRequest, msg("PropertyNotWritable", "UserName").about("UserName"))
	}
	if role, given := v.String("RoleId"); given {
		changed.Role = role
	}
	if enabled, given := v.Bool("Enabled"); given {
		changed.Disabled = !enabled
	}
	if password, given := v.String("Password"); given {
		changed.Salt, changed.Hash = newPassword(password)
		changed.MustChange = false
	}
	if must, given := v.Bool("PasswordChangeRequired"); given {
		changed.MustChange = must
	}
	if err := r.Service.replaceAccount(r.Context(), acct, &changed); err != nil {
		return err
	}
	return r.followAccount(acct, changed)
}

// followAccount lets the answer be made for a caller who has changed its own account.
func (r *Request) followAccount(was *account, now addedAccount) error {
	a := r.Service.access
	id := a.digest(now.User, string(now.Salt)+string(now.Hash))
	// Sessions of the old password end, except for the one that changed it.
	if was.id != id {
		own := r.Caller.session
		r.Service.sessions.mu.Lock()
		for key, one := range r.Service.sessions.byToken {
			switch {
			case one.account != was.id:
			case one.id == own:
				one.account = id
			default:
				delete(r.Service.sessions.byToken, key)
			}
		}
		r.Service.sessions.mu.Unlock()
	}
	if r.Caller.id == was.id {
		acct := narrow(r.Context(), a.find(id))
		if acct == nil {
			return notFound(r.Path)
		}
		session := r.Caller.session
		r.Caller = acct.caller()
		r.Caller.session = session
	}
	return nil
}

func notWritable(v Values) []Message {
	var out []Message
	for name := range v {
		out = append(out, msg("PropertyNotWritable", name).about(name))
	}
	return out
}

// replaceAccount changes an added account with each of its systems; nil deletes it.
func (s *Service) replaceAccount(ctx context.Context, acct *account, with *addedAccount) error {
	return s.eachAccounts(ctx, acct.systems, func(list []addedAccount) ([]addedAccount, error) {
		var out []addedAccount
		for _, one := range list {
			switch {
			case one.User != acct.user || !slices.Equal(one.Hash, acct.added.Hash):
				out = append(out, one)
			case with != nil:
				out = append(out, *with)
			}
		}
		return out, nil
	})
}

func deleteAccount(r *Request) error {
	acct := findAccount(r)
	if acct == nil {
		return notFound(r.Path)
	}
	if acct.added == nil || !r.Caller.may(ConfigureUsers) {
		return fail(http.StatusForbidden, msg("ResourceCannotBeDeleted"))
	}
	if err := r.Service.replaceAccount(r.Context(), acct, nil); err != nil {
		return err
	}
	r.Service.sessions.drop(func(one *session) bool { return one.account == acct.id })
	return nil
}
