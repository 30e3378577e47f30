package redfish

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	defaultSessionTimeout = 30 * time.Minute
	// maxUserSessions bounds the sessions of an account: the one idle longest goes, because
	// some clients never close theirs. maxSessions bounds all: the account that has most
	// loses one, so that whoever has many accounts keeps nobody out.
	maxUserSessions = 64
	maxSessions     = 16384
)

// maxLogin bounds the body of a login: nobody knows yet whose it is.
const maxLogin = 16 << 10

const sessionsPath = rootPath + "/SessionService/Sessions"

// session is a login. Only the hash of its token is known.
type session struct {
	id      string
	account digest
	user    string
	role    string
	created time.Time
	used    time.Time
	context string
	source  string
}

// sessions are the logins at this peer.
type sessions struct {
	cfg Config

	mu      sync.Mutex // guards the rest
	byToken map[[sha256.Size]byte]*session
	timeout time.Duration
}

func newSessions(cfg Config) *sessions {
	return &sessions{cfg: cfg, byToken: map[[sha256.Size]byte]*session{}, timeout: cfg.SessionTimeout}
}

// caller returns who a token belongs to, or nil; it keeps the session alive.
func (s *sessions) caller(ctx context.Context, token string, a *access) *Caller {
	key := sha256.Sum256([]byte(token))
	one, ok := s.touch(key)
	if !ok {
		return nil
	}
	acct := a.find(one.account)
	if acct == nil || !acct.usable() {
		s.drop(func(other *session) bool { return other.id == one.id })
		return nil
	}
	if acct = narrow(ctx, acct); acct == nil {
		return nil
	}
	c := acct.caller()
	c.session = one.id
	return c
}

func (s *sessions) touch(key [sha256.Size]byte) (session, bool) {
	now := s.cfg.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byToken[key]
	if one == nil {
		return session{}, false
	}
	if now.Sub(one.used) >= s.timeout {
		delete(s.byToken, key)
		return session{}, false
	}
	one.used = now
	return *one, true
}

// open makes a session.
func (s *sessions) open(one session) (token string, made session) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	token = base64.RawURLEncoding.EncodeToString(raw)
	id := make([]byte, 8)
	_, _ = rand.Read(id)
	one.id = hex.EncodeToString(id)
	one.created = s.cfg.Clock()
	one.used = one.created
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom(one)
	s.byToken[sha256.Sum256([]byte(token))] = &one
	return token, one
}

// makeRoom drops what is over, and the session idle longest of an account that has too
// many. s.mu is held.
func (s *sessions) makeRoom(next session) {
	count := map[digest]int{}
	for key, one := range s.byToken {
		if next.used.Sub(one.used) >= s.timeout {
			delete(s.byToken, key)
			continue
		}
		count[one.account]++
	}
	from := next.account
	if count[from] < maxUserSessions {
		if len(s.byToken) < maxSessions {
			return
		}
		for account, n := range count {
			if n > count[from] {
				from = account
			}
		}
	}
	var gone [sha256.Size]byte
	var oldest *session
	for key, one := range s.byToken {
		if one.account == from && (oldest == nil || one.used.Before(oldest.used)) {
			gone, oldest = key, one
		}
	}
	delete(s.byToken, gone)
}

// drop ends the sessions that match.
func (s *sessions) drop(match func(*session) bool) (dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, one := range s.byToken {
		if match(one) {
			delete(s.byToken, key)
			dropped++
		}
	}
	return dropped
}

// list returns the sessions that match, oldest first.
func (s *sessions) list(match func(*session) bool) []session {
	now := s.cfg.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []session
	for _, one := range s.byToken {
		if now.Sub(one.used) < s.timeout && match(one) {
			out = append(out, *one)
		}
	}
	slices.SortFunc(out, func(a, b session) int {
		if c := a.created.Compare(b.created); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	return out
}

// visible says whether a caller sees a session: its own account's, and for who manages
// users those of accounts whose systems it has.
func (r *Request) visible(one *session) bool {
	if one.account == r.Caller.id {
		return true
	}
	acct := r.Service.access.find(one.account)
	return acct != nil && r.Caller.may(ConfigureUsers) && r.Caller.covers(acct.systems)
}

func sessionTable() []Resource {
	return []Resource{
		{
			Path: rootPath + "/SessionService", Type: "#SessionService.v1_1_9.SessionService", Link: "SessionService", Change: ConfigureManager,
			Get: func(r *Request) (Object, error) {
				return Object{{"Id", "SessionService"}, {"Name", "Session Service"}, {"Status", healthy()}, {"ServiceEnabled", true},
					{"SessionTimeout", int(r.Service.sessions.idle() / time.Second)}}, nil
			},
		},
		{
			Path: sessionsPath, Type: "#SessionCollection.SessionCollection", Link: "Sessions", Name: "Sessions",
			Members: func(r *Request) ([]string, error) {
				ids := []string{}
				for _, one := range r.Service.sessionsOf(r) {
					ids = append(ids, one.id)
				}
				return ids, nil
			},
			OpenPost: true, Change: Login, BodyLimit: maxLogin,
			Creatable: Rules{
				"UserName": {Kind: String, Required: true, Max: maxPassword}, "Password": {Kind: String, Required: true, Max: maxPassword, Secret: true},
				"Context": {Kind: String}, "Token": {Kind: String, Null: true, Secret: true}, "SessionType": {Kind: String, Values: []string{"Redfish"}},
				"Name": {Kind: String}, "Id": {Kind: String},
			},
			Post: openSession,
		},
		{
			Path: sessionsPath + "/{session}", Type: "#Session.v1_7_0.Session", Get: getSession, Delete: closeSession,
			Present: func(r *Request) bool { _, ok := findSession(r); return ok },
			Change:  ConfigureUsers,
			Self:    func(r *Request) bool { one, ok := findSession(r); return ok && one.account == r.Caller.id },
		},
	}
}

func (s *sessions) idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timeout
}

// sessionsOf returns the sessions that the caller sees. The accounts are looked up without
// holding the sessions' lock.
func (s *Service) sessionsOf(r *Request) []session {
	all := s.sessions.list(func(*session) bool { return true })
	return slices.DeleteFunc(all, func(one session) bool { return !r.visible(&one) })
}

func findSession(r *Request) (session, bool) {
	found := r.Service.sessions.list(func(one *session) bool { return one.id == r.Var("session") })
	if len(found) == 0 || !r.visible(&found[0]) {
		return session{}, false
	}
	return found[0], true
}

func getSession(r *Request) (Object, error) {
	one, found := findSession(r)
	if !found {
		return nil, notFound(r.Path)
	}
	return one.object(), nil
}

func (one session) object() Object {
	return Object{{"Id", one.id}, {"Name", "Session of " + one.user}, {"UserName", one.user}, {"Password", nil}, {"Token", nil}, {"SessionType", "Redfish"},
		{"CreatedTime", one.created.UTC().Format(time.RFC3339)}, {"Context", optional(one.context)}, {"ClientOriginIPAddress", optional(one.source)},
		{"Roles", []string{one.role}}}
}

// EndSessions ends the sessions at this peer of all who have the system, as its BMC's
// reset does, and says how many there were.
func (s *Service) EndSessions(system string) int {
	ending := map[string]bool{}
	for _, one := range s.sessions.list(func(*session) bool { return true }) {
		if acct := s.access.find(one.account); acct != nil && slices.Contains(acct.systems, system) {
			ending[one.id] = true
		}
	}
	return s.sessions.drop(func(one *session) bool { return ending[one.id] })
}

func closeSession(r *Request) error {
	r.Service.sessions.drop(func(one *session) bool { return one.id == r.Var("session") })
	return nil
}

// openSession is the login. Its answer is the only one that has the token.
func openSession(r *Request, v Values) (*Result, error) {
	user, _ := v.String("UserName")
	password, _ := v.String("Password")
	label, _ := v.String("Context")
	acct, err := r.Service.login(r.HTTP, user, password)
	if err != nil {
		return nil, err
	}
	source := suspectOf(r.HTTP.RemoteAddr, "").Source
	one := session{account: acct.id, user: acct.user, role: acct.role, context: label}
	if source.IsValid() {
		one.source = source.String()
	}
	token, one := r.Service.sessions.open(one)
	path := sessionsPath + "/" + one.id
	rt, _ := r.Service.match(path)
	doc, err := assemble(path, rt, one.object())
	if err != nil {
		return nil, err
	}
	if acct.added != nil && acct.added.MustChange {
		// DSP0266 §13.2.6: the login works, and says what is to be done first.
		doc.object = append(doc.object, Property{"@Message.ExtendedInfo", infos([]Message{msg("PasswordChangeRequired", accountsPath+"/"+acct.user)})})
	}
	return &Result{Location: path, Body: doc.object, Header: http.Header{"X-Auth-Token": {token}}}, nil
}
