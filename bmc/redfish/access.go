package redfish

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"net/http"
	"slices"
	"sync"

	"tenks/raftfsm/state"
)

// digest is a keyed hash of a user name and a password. It is what credentials are found
// by: the key is made anew with each service, so neither the time that a look-up takes nor
// the digest says anything of a password.
type digest [sha256.Size]byte

// account is a user of some systems: the administrator's account of nodes, or one that
// a client added. It is not changed once it is in the index.
type account struct {
	user, role string
	// id finds it again: the digest of a node's credentials, or of an added account's name
	// and hash.
	id      digest
	systems []string // sorted
	// added is nil for the account of nodes.
	added *addedAccount
}

// access knows the accounts. The index follows the systems.
type access struct {
	cfg Config
	key [sha256.Size]byte
	guard

	// hashing bounds how many slow hashes are computed at a time, guesses those that wait.
	hashing, guesses chan struct{}
	// decoy is what a password of no account is compared with.
	decoy addedAccount

	mu      sync.Mutex // guards the rest
	changed <-chan struct{}
	indexed []System
	stale   bool // added accounts have changed
	digests map[state.Account]digest
	byID    map[digest]*account
	byUser  map[string][]*account // added ones
	// verified has digests of right credentials of added accounts.
	verified map[digest]digest
	// trying counts the comparisons of credentials that are under way.
	trying map[digest]int
}

func newAccess(cfg Config) *access {
	a := &access{cfg: cfg, hashing: make(chan struct{}, 2), guesses: make(chan struct{}, maxGuesses), stale: true}
	_, _ = rand.Read(a.key[:]) // never fails
	a.decoy.Salt, a.decoy.Hash = make([]byte, saltLength), make([]byte, sha256.Size)
	return a
}

func (a *access) digest(user, password string) digest {
	h := hmac.New(sha256.New, a.key[:])
	h.Write([]byte(user))
	h.Write([]byte{0})
	h.Write([]byte(password))
	var out digest
	h.Sum(out[:0])
	return out
}

// refresh makes the index anew if systems or added accounts have changed. a.mu is held.
func (a *access) refresh() {
	systems, changed := a.cfg.Systems.All()
	if changed == a.changed && !a.stale {
		return
	}
	// Most changes of a mesh are not about accounts: to see that is much cheaper.
	if !a.stale && slices.EqualFunc(a.indexed, systems, sameAccess) {
		a.changed, a.indexed = changed, systems
		return
	}
	digests := make(map[state.Account]digest, len(a.digests))
	byID := make(map[digest]*account, len(a.byID))
	for _, sys := range systems {
		if sys.Account.Username != "" && !sys.Account.Password.IsZero() {
			d, known := digests[sys.Account]
			if !known {
				if d, known = a.digests[sys.Account]; !known {
					d = a.digest(sys.Account.Username, sys.Account.Password.Reveal())
				}
				digests[sys.Account] = d
			}
			put(byID, d, sys.ID, account{user: sys.Account.Username, role: roleAdministrator})
		}
		if sys.Chassis == nil {
			continue
		}
		for _, added := range recall[[]addedAccount](sys, accountsKey) {
			put(byID, a.digest(added.User, string(added.Salt)+string(added.Hash)), sys.ID, account{user: added.User, role: added.Role, added: &added})
		}
	}
	byUser := map[string][]*account{}
	for acct := range maps.Values(byID) {
		slices.Sort(acct.systems)
		if acct.added != nil {
			byUser[acct.user] = append(byUser[acct.user], acct)
		}
	}
	maps.DeleteFunc(a.verified, func(_, id digest) bool { return byID[id] == nil })
	a.changed, a.indexed, a.stale, a.digests, a.byID, a.byUser = changed, systems, false, digests, byID, byUser
}

// sameAccess says that a system has the same accounts as before.
func sameAccess(a, b System) bool {
	return a.ID == b.ID && a.Account == b.Account && (a.Chassis == nil) == (b.Chassis == nil)
}

func put(byID map[digest]*account, id digest, system string, acct account) {
	if byID[id] == nil {
		acct.id = id
		byID[id] = &acct
	}
	byID[id].systems = append(byID[id].systems, system)
}

// find returns the account with the id, as it is now.
func (a *access) find(id digest) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh()
	return a.byID[id]
}

// forget makes the next look-up read added accounts anew.
func (a *access) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stale = true
}

// compare returns the one of the candidates that has the password, or nil. A wrong password
// takes as long as an unknown user. The error says that too many are being tried.
func (a *access) compare(d digest, candidates []*account, password string) (*account, error) {
	if len(password) > maxPassword {
		return nil, nil //nolint:nilnil // no account, and no fault
	}
	select {
	case a.guesses <- struct{}{}:
		defer func() { <-a.guesses }()
	default:
		return nil, unavailable(busyRetry)
	}
	a.hashing <- struct{}{}
	defer func() { <-a.hashing }()
	for _, c := range candidates {
		if c.added.fits(password) {
			a.remember(d, c.id)
			return c, nil
		}
	}
	if len(candidates) == 0 {
		a.decoy.fits(password)
	}
	return nil, nil //nolint:nilnil // no account, and no fault
}

// begin notes that credentials are being compared, until end; it reports whether they are
// not already.
func (a *access) begin(d digest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.trying == nil {
		a.trying = map[digest]int{}
	}
	a.trying[d]++
	return a.trying[d] == 1
}

func (a *access) end(d digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.trying[d]--; a.trying[d] == 0 {
		delete(a.trying, d)
	}
}

// remember that credentials are right.
func (a *access) remember(d, id digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.verified == nil || len(a.verified) >= maxVerified {
		a.verified = map[digest]digest{}
	}
	a.verified[d] = id
}

// maxVerified bounds the verified credentials that are remembered.
const maxVerified = 4096

// quick finds credentials that are known to be right, or the added accounts to try.
func (a *access) quick(d digest, user string) (*account, []*account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh()
	if acct := a.byID[d]; acct != nil && acct.added == nil {
		return acct, nil
	}
	if id, fine := a.verified[d]; fine && a.byID[id] != nil && a.byID[id].usable() {
		return a.byID[id], nil
	}
	var out []*account
	for _, acct := range a.byUser[user] {
		if acct.usable() {
			out = append(out, acct)
		}
	}
	return nil, out
}

func (acct *account) usable() bool { return acct.added == nil || !acct.added.Disabled }

// caller is what requests see of an account.
func (acct *account) caller() *Caller {
	return &Caller{UserName: acct.user, Role: acct.role, systems: acct.systems, id: acct.id,
		mustChange: acct.added != nil && acct.added.MustChange, added: acct.added != nil}
}

const (
	saltLength = 16
	// iterations of PBKDF2: clients send the password with each request, and what was right
	// is remembered; a wrong one costs a few milliseconds.
	iterations  = 20_000
	maxPassword = 256
)

// newPassword hashes a password.
func newPassword(password string) (salt, hash []byte) {
	salt = make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails
	return salt, hashPassword(password, salt)
}

func hashPassword(password string, salt []byte) []byte {
	hash, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return nil // only for key lengths that are not ours
	}
	return hash
}

// fits compares a password in constant time.
func (a *addedAccount) fits(password string) bool {
	hash := hashPassword(password, a.Salt)
	return len(hash) > 0 && hmac.Equal(hash, a.Hash)
}

// A Caller is who makes a request.
type Caller struct {
	// UserName is the account's; Role is Administrator, Operator or ReadOnly.
	UserName, Role    string
	systems           []string // sorted
	id                digest
	session           string
	mustChange, added bool
}

// has says whether the caller has a system.
func (c *Caller) has(system string) bool {
	if c == nil {
		return false
	}
	_, ok := slices.BinarySearch(c.systems, system)
	return ok
}

// covers says whether the caller has all of the systems.
func (c *Caller) covers(systems []string) bool {
	return c != nil && !slices.ContainsFunc(systems, func(id string) bool { return !c.has(id) })
}

// Systems returns the UUIDs of the caller's systems in order; the list is not changed.
func (c *Caller) Systems() []string { return c.systems }

// may says whether the caller's role has a privilege.
func (c *Caller) may(p Privilege) bool { return slices.Contains(rolePrivileges[c.Role], p) }

// authenticate says who makes a request, or refuses it.
func (s *Service) authenticate(r *http.Request) (*Caller, error) {
	if c, ok := r.Context().Value(callerKey).(*Caller); ok {
		return c, nil
	}
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		if c := s.sessions.caller(r.Context(), token, s.access); c != nil {
			return c, nil
		}
		return nil, unauthorized()
	}
	user, password, given := r.BasicAuth()
	if !given {
		return nil, unauthorized()
	}
	acct, err := s.login(r, user, password)
	if err != nil {
		return nil, err
	}
	return acct.caller(), nil
}

// login checks credentials, and slows down who guesses.
func (s *Service) login(r *http.Request, user, password string) (*account, error) {
	who := suspectOf(r.RemoteAddr, user)
	now := s.cfg.Clock()
	d := s.access.digest(user, password)
	given := credentials{Suspect: who, Hash: d}
	if s.access.blocked(given, now) {
		return nil, unavailable("30")
	}
	acct, candidates := s.access.quick(d, user)
	if acct = narrow(r.Context(), acct); acct != nil {
		s.access.trust(given)
		return acct, nil
	}
	// A guess counts before the slow comparison, or many at a time would all be tried; the
	// same one many times at a time is one.
	first := s.access.begin(d)
	defer s.access.end(d)
	s.access.distrust(given)
	led := false
	if first {
		var blocked bool
		if led, blocked = s.access.fail(who, now); blocked {
			return nil, unavailable("30")
		}
	}
	acct, err := s.access.compare(d, candidates, password)
	if acct = narrow(r.Context(), acct); acct != nil || err != nil {
		if first {
			s.access.forgive(who)
		}
		if acct != nil {
			s.access.trust(given)
		}
		return acct, err
	}
	if led {
		s.cfg.Log.WarnContext(r.Context(), "redfish: too many bad logins; blocked for a while", "user", brief(user), "source", who.Source.String())
	}
	return nil, unauthorized()
}

// unauthorized is the same whatever was wrong.
func unauthorized() error {
	return &Error{Status: http.StatusUnauthorized, Messages: []Message{msg("NoValidSession")},
		Header: http.Header{"Www-Authenticate": {`Basic realm="Redfish", charset="UTF-8"`}}}
}
