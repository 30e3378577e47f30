package redfish

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	bmcguard "tenks/bmc/guard"
	"tenks/raftfsm/state"
)

const login = `{"UserName":"admin","Password":"correct horse"}`

func TestLoginsOfOneAccountTakeNothingFromOthers(t *testing.T) {
	f := newFixture(t)
	f.user, f.password = "", ""
	theirs := f.want(http.StatusCreated, post, sessionsPath, `{"UserName":"admin","Password":"another one"}`).Header().Get("X-Auth-Token")
	for range 10 * maxUserSessions {
		f.advance(time.Millisecond)
		f.want(http.StatusCreated, post, sessionsPath, login)
	}
	if n := len(f.sessions.byToken); n != maxUserSessions+1 {
		t.Errorf("%d sessions, want %d and the other account's", n, maxUserSessions)
	}
	f.token = theirs
	f.want(http.StatusOK, get, systemsPath+"/"+other, nil)
}

func TestAFullTableOfSessionsLetsOthersIn(t *testing.T) {
	f := newFixture(t)
	// Somebody with hundreds of accounts fills it.
	for i := range maxSessions {
		one := session{account: digest{1, byte(i / maxUserSessions), byte(i / maxUserSessions >> 8)}, used: f.now(), created: f.now()}
		f.sessions.byToken[[32]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}] = &one
	}
	for range maxUserSessions / 2 {
		f.advance(time.Millisecond)
		f.token = f.want(http.StatusCreated, post, sessionsPath, login).Header().Get("X-Auth-Token")
		f.want(http.StatusOK, get, sys1, nil)
		f.token = ""
	}
	if n := len(f.sessions.byToken); n != maxSessions {
		t.Errorf("%d sessions, want %d", n, maxSessions)
	}
	mine := f.sessions.list(func(one *session) bool { return one.user == "admin" })
	if len(mine) != maxUserSessions/2 {
		t.Errorf("%d of %d sessions of who came last are there", len(mine), maxUserSessions/2)
	}
}

// guessesAnHour is how many passwords of a name one source may try in an hour, as
// docs/bmc.md says.
const guessesAnHour = 1200

// TestGuessesAnHour measures six minutes, because each guess is compared slowly.
func TestGuessesAnHour(t *testing.T) {
	const every, long = 250 * time.Millisecond, 6 * time.Minute
	for _, c := range []struct {
		name string
		// between is done between two guesses.
		between func(f *fixture, i int)
	}{
		{"one name", func(*fixture, int) {}},
		{"with a good password of the same name between", func(f *fixture, _ int) {
			f.password = "another one"
			f.want(http.StatusOK, get, systemsPath+"/"+other, nil)
		}},
		{"with names that nobody has between", func(f *fixture, i int) {
			f.user = fmt.Sprint("n", i)
			f.do(get, systemsPath, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			looked, from := 0, f.now()
			for i := 0; f.now().Sub(from) < long; i++ {
				f.advance(every)
				f.user, f.password = "admin", fmt.Sprint("guess", i)
				switch a := f.do(get, systemsPath, nil); a.Code {
				case http.StatusUnauthorized:
					looked++
				case http.StatusServiceUnavailable:
				default:
					t.Fatalf("status %d", a.Code)
				}
				c.between(f, i)
			}
			an := looked * int(time.Hour/long)
			t.Logf("%d guesses in an hour", an)
			if an > guessesAnHour || an == 0 {
				t.Errorf("%d guesses in an hour, want at most %d", an, guessesAnHour)
			}
		})
	}
}

func TestGuessesAtTheSameTimeAreNotMore(t *testing.T) {
	f := newFixture(t)
	const many = 4 * bmcguard.MaxFailures
	statuses := make(chan int, many)
	for i := range many {
		go func() {
			g := fixture{Service: f.Service, t: t, user: "admin", password: fmt.Sprint("guess", i), source: f.source}
			statuses <- g.do(get, systemsPath, nil).Code
		}()
	}
	looked := 0
	for range many {
		if <-statuses == http.StatusUnauthorized {
			looked++
		}
	}
	if looked != bmcguard.MaxFailures {
		t.Errorf("%d of %d passwords were looked at, want %d", looked, many, bmcguard.MaxFailures)
	}
}

func TestWhoHasLoggedInBeforeIsNotLockedOutByGuesses(t *testing.T) {
	f := newFixture(t)
	f.want(http.StatusOK, get, sys1, nil)
	f.password = "guess"
	for range bmcguard.MaxFailures {
		f.want(http.StatusUnauthorized, get, sys1, nil)
	}
	f.want(http.StatusServiceUnavailable, get, sys1, nil)
	f.password = "correct horse"
	f.want(http.StatusOK, get, sys1, nil)
	// Once the password is another one, the old one is a guess like any.
	systems, _ := f.fleet.All()
	changed := []System{systems[0], systems[1], systems[2]}
	for i := range changed {
		changed[i].Account.Password = state.NewSecret("changed")
	}
	f.fleet.set(changed)
	f.want(http.StatusServiceUnavailable, get, sys1, nil)
	f.advance(bmcguard.BlockFor)
	f.want(http.StatusUnauthorized, get, sys1, nil)
}
