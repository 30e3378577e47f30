package ipmi

import (
	"slices"
	"strings"
	"testing"

	"github.com/bougou/go-ipmi/pkg/rmcpplus"
	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

func TestALoginWithTwoKeysNeedsBoth(t *testing.T) {
	for _, tc := range []struct {
		name             string
		declared, bmcKey string
		password         string
		ok               bool
	}{
		{"one key", "", "", "secret", true},
		{"a key that is not asked for", "", "key", "secret", false},
		{"two keys", "key", "key", "secret", true},
		{"two keys of full length", strings.Repeat("k", bmcKeyLen), strings.Repeat("k", bmcKeyLen), "secret", true},
		{"the password alone", "key", "", "secret", false},
		{"another key", "key", "yek", "secret", false},
		{"the key alone", "key", "key", "", false},
	} {
		for _, suite := range []types.CipherSuiteID{3, 17} {
			l := newLabOf(t, func(cfg *Config) { cfg.BMCKey = state.NewSecret(tc.declared) })
			c := newConsole(l.ask)
			c.suite, c.bmcKey, c.password = suite, tc.bmcKey, tc.password
			err := c.login()
			if err == nil {
				_, _, err = c.command(6, 1)
			}
			if (err == nil) != tc.ok {
				t.Errorf("%s, suite %d: %v; want success %v", tc.name, suite, err, tc.ok)
			}
		}
	}
}

func TestCapabilitiesSayWhetherTwoKeysAreNeeded(t *testing.T) {
	for key, want := range map[string]byte{"": 0, "key": twoKeyLogin} {
		l := newLabOf(t, func(cfg *Config) { cfg.BMCKey = state.NewSecret(key) })
		answer := l.ask(frame15(message(1, 6, 0x38, 0x8e, 4)))
		code, data, err := parseResponse(answer[header15Len:])
		if err != nil || code != 0 || data[2]&twoKeyLogin != want {
			t.Errorf("key %q: code %02x, data %x, %v; want bit %02x in the third byte", key, byte(code), data, err, want)
		}
	}
}

func TestTooLongABMCKeyIsRefused(t *testing.T) {
	cfg := testConfig(bmctest.NewChassis())
	cfg.BMCKey = state.NewSecret(strings.Repeat("k", bmcKeyLen+1))
	if _, err := Listen(t.Context(), "127.0.0.1:0", cfg); err == nil || !strings.Contains(err.Error(), "20 bytes") || strings.Contains(err.Error(), "kkk") {
		t.Errorf("got %v, want an error that names the limit and not the key", err)
	}
}

func TestOpenSessionChoosesASuiteOrSaysThatThereIsNone(t *testing.T) {
	const wild, none = 0, 8 // length of a record
	type record struct{ length, alg byte }
	sha1, sha256, aes := record{none, 1}, record{none, 3}, record{none, 1}
	for _, tc := range []struct {
		name                   string
		auth, integrity, crypt record
		status                 types.RmcpStatusCode
		want                   [3]byte
	}{
		{"suite 3", sha1, record{none, 1}, aes, 0, [3]byte{1, 1, 1}},
		{"suite 17", sha256, record{none, 4}, aes, 0, [3]byte{3, 4, 1}},
		{"anything", record{wild, 0}, record{wild, 0}, record{wild, 0}, 0, [3]byte{3, 4, 1}},
		{"anything with SHA1", sha1, record{wild, 0}, record{wild, 0}, 0, [3]byte{1, 1, 1}},
		{"any authentication with SHA1-96", record{wild, 0}, record{none, 1}, record{wild, 0}, 0, [3]byte{1, 1, 1}},
		{"a wildcard's algorithm does not count", record{wild, 0x3f}, record{wild, 0x3f}, record{wild, 0x3f}, 0, [3]byte{3, 4, 1}},
		{"suite 0", record{none, 0}, record{none, 0}, record{none, 0}, 0x11, [3]byte{}},
		{"suite 1", sha1, record{none, 0}, record{none, 0}, 0x11, [3]byte{}},
		{"suite 2", sha1, record{none, 1}, record{none, 0}, 0x11, [3]byte{}},
		{"suite 8, MD5", record{none, 2}, record{none, 2}, aes, 0x11, [3]byte{}},
		{"SHA1 with SHA256's integrity", sha1, record{none, 4}, aes, 0x11, [3]byte{}},
		{"RC4", sha1, record{none, 1}, record{none, 2}, 0x11, [3]byte{}},
		{"no such algorithm", record{none, 0x3f}, record{wild, 0}, record{wild, 0}, 0x11, [3]byte{}},
	} {
		l := newLab(t)
		c := newConsole(l.ask)
		q := c.openRequest()
		for i, r := range []record{tc.auth, tc.integrity, tc.crypt} {
			q[8+8*i+3], q[8+8*i+4] = r.length, r.alg
		}
		body, err := c.setup(types.PayloadTypeRmcpOpenSessionRequest, q)
		var a rmcpplus.OpenSessionResponse
		if err == nil {
			err = a.Unpack(body)
		}
		got := [3]byte{a.AuthAlg, a.IntegrityAlg, a.CryptAlg}
		if err != nil || a.RmcpStatusCode != tc.status || tc.status == 0 && got != tc.want {
			t.Errorf("%s: status %02x, algorithms %v, %v; want %02x, %v", tc.name, byte(a.RmcpStatusCode), got, err, byte(tc.status), tc.want)
		}
	}
}

// setUpUser makes a user in an administrator's session.
func setUpUser(t testing.TB, c *console, id byte, name, password string, access byte) {
	t.Helper()
	for _, q := range [][]byte{
		append([]byte{0x45, id}, pad(name, maxNameLen)...),
		append([]byte{0x47, id, passwordSet}, pad(password, shortPassword)...),
		{0x47, id, passwordEnable},
		{0x43, changeAccess | accessMessaging | lanChannel, id, access},
	} {
		if code, _, err := c.command(6, q[0], q[1:]...); code != 0 || err != nil {
			t.Fatalf("set up user %d: command % x: code %02x, %v", id, q, byte(code), err)
		}
	}
}

func pad(s string, n int) []byte { return append([]byte(s), make([]byte, n-len(s))...) }

func TestUsersOutliveTheBMC(t *testing.T) {
	l := newLab(t)
	setUpUser(t, l.loggedIn(4), 3, "op", "pass", 3)
	next := newLabOf(t, func(cfg *Config) { cfg.Chassis = l.chassis })
	c := newConsole(next.ask)
	c.name, c.password, c.role = "op", "pass", 0x13
	if err := c.login(); err != nil {
		t.Errorf("login after the BMC was opened anew: %v", err)
	}
}

func TestADeclaredAccountWinsOverAUserOfItsName(t *testing.T) {
	l := newLab(t)
	setUpUser(t, l.loggedIn(4), 3, "root", "pass", 2)
	// The declaration is changed: the account has the user's name from now on.
	next := newLabOf(t, func(cfg *Config) {
		cfg.Chassis, cfg.Account = l.chassis, state.Account{Username: "root", Password: state.NewSecret("other")}
	})
	for password, ok := range map[string]bool{"other": true, "pass": false} {
		c := newConsole(next.ask)
		c.name, c.password = "root", password
		if err := c.login(); (err == nil) != ok {
			t.Errorf("password %q: %v; want success %v", password, err, ok)
		}
	}
}

func TestMemoryThatCannotBeReadLocksNobodyOut(t *testing.T) {
	for _, key := range []string{accountsKey, settingsKey} {
		l := newLab(t)
		if err := l.chassis.Keep(t.Context(), key, []byte(`{"users": 7`)); err != nil {
			t.Fatal(err)
		}
		c := l.loggedIn(4)
		setUpUser(t, c, 3, "op", "pass", 3)
	}
}

func TestAUserThatCannotBeKeptIsNotThere(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	l.chassis.FailNext(state.ErrBusy)
	if code, _, err := c.command(6, 0x45, append([]byte{3}, pad("op", maxNameLen)...)...); code != 0xc0 || err != nil {
		t.Errorf("set user name: code %02x, %v; want c0", byte(code), err)
	}
	if _, data, err := c.command(6, 0x46, 3); err != nil || !slices.Equal(data, make([]byte, maxNameLen)) {
		t.Errorf("user name afterwards: %q, %v; want none", data, err)
	}
}

func TestTheObserverSeesCommandsAndLogins(t *testing.T) {
	var seen []Call
	l := newLabOf(t, func(cfg *Config) { cfg.Observe = func(c Call) { seen = append(seen, c) } })
	l.ask(frame15(message(1, 6, 0x38, 0x8e, 4)))
	bad := newConsole(l.ask)
	bad.password = "wrong"
	_ = bad.login() // refused
	c := l.loggedIn(4)
	for _, q := range [][]byte{{0, 2, 3}, {0, 2, 1}, {0x2c, 0}} {
		_, _, _ = c.command(q[0], q[1], q[2:]...) // the observer says how it went
	}
	l.ask(c.request(0, 2, 1))
	from := l.from
	want := []Call{
		{NetFn: 6, Cmd: 0x38, Name: "Get Channel Authentication Capabilities", Source: from},
		{NetFn: 6, Cmd: 0x3a, Name: LoginName, Code: 0x0f, Source: from, User: "admin"},
		{NetFn: 6, Cmd: 0x3a, Name: LoginName, Source: from, User: "admin"},
		{NetFn: 6, Cmd: 0x3b, Name: "Set Session Privilege Level", Source: from, User: "admin"},
		{NetFn: 0, Cmd: 2, Name: "Chassis Control", Code: 0xd5, Source: from, User: "admin"},
		{NetFn: 0, Cmd: 2, Name: "Chassis Control", Source: from, User: "admin"},
		{NetFn: 0x2c, Cmd: 0, Code: 0xc1, Source: from, User: "admin"},
		{NetFn: 0, Cmd: 2, Name: "Chassis Control", Source: from, User: "admin"},
	}
	if !slices.Equal(seen, want) {
		t.Errorf("got  %+v\nwant %+v", seen, want)
	}
}
