package pdu

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"tenks/raftfsm/state"
)

const (
	rackCommand   = ".1.3.6.1.4.1.318.1.1.12.3.3.1.1.4."
	rackState     = ".1.3.6.1.4.1.318.1.1.12.3.5.1.1.4."
	masterCommand = ".1.3.6.1.4.1.318.1.1.4.4.2.1.3."
	plusCommand   = ".1.3.6.1.4.1.318.1.1.6.5.1.1.5."
	allCommand    = ".1.3.6.1.4.1.318.1.1.12.3.1.1.0"
	sysObjectID   = ".1.3.6.1.2.1.1.2.0"
	sysName       = ".1.3.6.1.2.1.1.5.0"
)

// client is gosnmp's, connected to a server.
func client(t *testing.T, s *Server, change ...func(*gosnmp.GoSNMP)) *gosnmp.GoSNMP {
	t.Helper()
	c := &gosnmp.GoSNMP{Target: "127.0.0.1", Port: s.Address().Port(), Version: gosnmp.Version2c, Community: "one",
		Timeout: 5 * time.Second, MaxOids: 60, Context: t.Context()}
	for _, f := range change {
		f(c)
	}
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Conn.Close() })
	return c
}

func v1(c *gosnmp.GoSNMP) { c.Version = gosnmp.Version1 }

// usm logs in by SNMPv3.
func usm(flags gosnmp.SnmpV3MsgFlags, auth gosnmp.SnmpV3AuthProtocol, user, password string) func(*gosnmp.GoSNMP) {
	return func(c *gosnmp.GoSNMP) {
		c.Version, c.SecurityModel, c.MsgFlags = gosnmp.Version3, gosnmp.UserSecurityModel, flags|gosnmp.Reportable
		p := &gosnmp.UsmSecurityParameters{UserName: user, AuthenticationProtocol: auth, AuthenticationPassphrase: password,
			PrivacyProtocol: gosnmp.NoPriv}
		if flags == gosnmp.AuthPriv {
			p.PrivacyProtocol, p.PrivacyPassphrase = gosnmp.AES, password
		}
		c.SecurityParameters = p
	}
}

// said is an answer in few words.
func said(p *gosnmp.SnmpPacket, err error) string {
	if err != nil {
		return err.Error()
	}
	var out []string
	if p.Error != gosnmp.NoError {
		out = append(out, fmt.Sprintf("%s@%d", p.Error, p.ErrorIndex))
	}
	for _, v := range p.Variables {
		if b, ok := v.Value.([]byte); ok {
			v.Value = string(b)
		}
		switch v.Type {
		case gosnmp.NoSuchObject, gosnmp.NoSuchInstance, gosnmp.EndOfMibView:
			v.Value = v.Type
		default:
		}
		out = append(out, fmt.Sprint(v.Value))
	}
	return strings.Join(out, " ")
}

func TestEveryVersionReadsAndSwitches(t *testing.T) {
	for _, c := range []struct {
		name string
		as   func(*gosnmp.GoSNMP)
	}{
		{"SNMPv1", v1},
		{"SNMPv2c", func(*gosnmp.GoSNMP) {}},
		{"SHA-1", usm(gosnmp.AuthNoPriv, gosnmp.SHA, testUser, testPassword)},
		{"SHA-1 and AES", usm(gosnmp.AuthPriv, gosnmp.SHA, testUser, testPassword)},
		{"SHA-256", usm(gosnmp.AuthNoPriv, gosnmp.SHA256, testUser, testPassword)},
		{"SHA-256 and AES", usm(gosnmp.AuthPriv, gosnmp.SHA256, testUser, testPassword)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, s := newServer(t)
			g := client(t, s, c.as)
			if got, want := said(g.Get([]string{sysObjectID, sysName, rackCommand + "1", rackState + "2", masterCommand + "4", plusCommand + "2", rackCommand + "300"})),
				".1.3.6.1.4.1.318.1.3.4.5 rack1 1 2 1 3 8"; got != want {
				t.Errorf("get: %s, want %s", got, want)
			}
			for _, w := range []struct {
				name  string
				value int
				want  string
			}{
				{rackCommand + "1", 2, "[off u1]"}, {rackCommand + "1", 1, "[on u1]"}, {rackCommand + "1", 3, "[reboot u1]"},
				{masterCommand + "2", 1, "[on u2]"}, {masterCommand + "2", 2, "[off u2]"},
				{plusCommand + "2", 1, "[on u2]"}, {plusCommand + "2", 3, "[off u2]"}, {rackCommand + "1", 7, "[]"},
			} {
				got := said(g.Set([]gosnmp.SnmpPDU{{Name: w.name, Type: gosnmp.Integer, Value: w.value}}))
				if told := r.commands(); got != fmt.Sprint(w.value) || told != w.want {
					t.Errorf("set %s to %d: %s, and outlets were told %s, want %s", w.name, w.value, got, told, w.want)
				}
			}
			if got := said(g.Get([]string{rackCommand + "1", rackCommand + "2"})); got != "1 2" {
				t.Errorf("afterwards: %s", got)
			}
			walk := g.BulkWalkAll
			if g.Version == gosnmp.Version1 {
				walk = g.WalkAll
			}
			all, err := walk(".1.3.6.1")
			if err != nil || len(all) != 21+23*4 {
				t.Errorf("a walk has %d variables, %v", len(all), err)
			}
		})
	}
}

func TestErrorsOfRequests(t *testing.T) {
	_, s := newServer(t)
	one, two := client(t, s, v1), client(t, s)
	for _, c := range []struct {
		name, value string
		v1, v2      string
	}{
		{rackCommand + "3", "", "NoSuchName@1 <nil>", "NoSuchInstance"},
		{strings.TrimSuffix(rackCommand, "."), "", "NoSuchName@1 <nil>", "NoSuchInstance"},
		{rackCommand + "1.1", "", "NoSuchName@1 <nil>", "NoSuchInstance"},
		{".1.3.6.1.2.1.1.5.1", "", "NoSuchName@1 <nil>", "NoSuchInstance"},
		{".1.3.6.1.9", "", "NoSuchName@1 <nil>", "NoSuchObject"},
		{rackCommand + "3", "i1", "NoSuchName@1 1", "NoCreation@1 1"},
		{".1.3.6.1.9", "i1", "NoSuchName@1 1", "NotWritable@1 1"},
		{sysName, "sx", "NoSuchName@1 x", "NotWritable@1 x"},
		{rackState + "1", "i1", "NoSuchName@1 1", "NotWritable@1 1"},
		{rackCommand + "1", "s1", "BadValue@1 1", "WrongType@1 1"},
		{rackCommand + "1", "i9", "BadValue@1 9", "WrongValue@1 9"},
		{rackCommand + "1", "i-1", "BadValue@1 -1", "WrongValue@1 -1"},
		{plusCommand + "1", "i2", "BadValue@1 2", "WrongValue@1 2"},
	} {
		for _, g := range []*gosnmp.GoSNMP{one, two} {
			var got string
			switch {
			case c.value == "":
				got = said(g.Get([]string{c.name}))
			case c.value[0] == 'i':
				var n int
				_, _ = fmt.Sscan(c.value[1:], &n)
				got = said(g.Set([]gosnmp.SnmpPDU{{Name: c.name, Type: gosnmp.Integer, Value: n}}))
			default:
				got = said(g.Set([]gosnmp.SnmpPDU{{Name: c.name, Type: gosnmp.OctetString, Value: c.value[1:]}}))
			}
			want := c.v2
			if g == one {
				want = c.v1
			}
			if got != want {
				t.Errorf("%s %s by v%s: %s, want %s", c.name, c.value, g.Version, got, want)
			}
		}
	}
}

func TestASetIsCheckedBeforeItChangesAnything(t *testing.T) {
	r, s := newServer(t)
	g := client(t, s)
	off := func(name string) gosnmp.SnmpPDU {
		return gosnmp.SnmpPDU{Name: name, Type: gosnmp.Integer, Value: 2}
	}
	set := func(names ...string) string {
		var all []gosnmp.SnmpPDU
		for _, name := range names {
			all = append(all, off(name))
		}
		return said(g.Set(all))
	}
	if got, told := set(rackCommand+"1", rackCommand+"3"), r.commands(); got != "NoCreation@2 2 2" || told != "[]" {
		t.Errorf("with one that is not there: %s, %s", got, told)
	}
	if got, told := set(rackCommand+"1", masterCommand+"2"), r.commands(); got != "2 2" || told != "[off u1 off u2]" {
		t.Errorf("two: %s, %s", got, told)
	}
	r.fail(state.ErrBusy)
	if got := set(rackCommand + "1"); got != "ResourceUnavailable@1 2" {
		t.Errorf("busy: %s", got)
	}
	r.fail(errors.New("broken"))
	if got := set(rackCommand + "1"); got != "CommitFailed@1 2" {
		t.Errorf("broken: %s", got)
	}
	r.fail(nil)
	got := said(g.Set([]gosnmp.SnmpPDU{{Name: allCommand, Type: gosnmp.Integer, Value: 3}}))
	if told := r.commands(); got != "3" || strings.Count(told, "off") != 4 {
		t.Errorf("all: %s, %s", got, told)
	}
}

func TestWhoIsNotKnownIsNotServed(t *testing.T) {
	r, s := newServer(t)
	short := func(c *gosnmp.GoSNMP) { c.Timeout = 100 * time.Millisecond }
	for _, c := range []struct {
		name string
		as   func(*gosnmp.GoSNMP)
		want string
	}{
		{"another community", func(c *gosnmp.GoSNMP) { c.Community = "three" }, "timeout"},
		{"no authentication", usm(gosnmp.NoAuthNoPriv, gosnmp.NoAuth, testUser, ""), "unknown security level"},
		{"another user", usm(gosnmp.AuthPriv, gosnmp.SHA256, "admin", testPassword), "not authentic"},
		{"another password", usm(gosnmp.AuthPriv, gosnmp.SHA256, testUser, "another password"), "not authentic"},
		{"MD5", usm(gosnmp.AuthNoPriv, gosnmp.MD5, testUser, testPassword), "not authentic"},
		{"SHA-512", usm(gosnmp.AuthNoPriv, gosnmp.SHA512, testUser, testPassword), "not authentic"},
		{"DES", func(c *gosnmp.GoSNMP) {
			usm(gosnmp.AuthPriv, gosnmp.SHA, testUser, testPassword)(c)
			c.SecurityParameters.(*gosnmp.UsmSecurityParameters).PrivacyProtocol = gosnmp.DES
		}, "decryption error"},
	} {
		g := client(t, s, c.as, short)
		_, err := g.Set([]gosnmp.SnmpPDU{{Name: rackCommand + "1", Type: gosnmp.Integer, Value: 2}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
	if told := r.commands(); told != "[]" {
		t.Errorf("outlets were told %s", told)
	}
	if got := said(client(t, s, func(c *gosnmp.GoSNMP) { c.Community = "two" }).Get([]string{sysName, rackCommand + "1"})); got != "rack2 NoSuchInstance" {
		t.Errorf("the other unit: %s", got)
	}
}
