package pdu

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"tenks/bmc/guard"
)

var (
	begin  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	source = netip.MustParseAddrPort("192.0.2.7:40000")
)

// newTestEngine is an engine at begin, and the rack behind it.
func newTestEngine(t testing.TB) (*rack, *engine) {
	t.Helper()
	r := newRack()
	cfg := r.config()
	e := newEngine(&cfg, begin, 7)
	e.update(units())
	for _, a := range authentications { // they are slow to make, and the same for each test
		k := keyOf{testUser, testPassword, a.size}
		key, ok := testKeys.Load(k)
		if !ok {
			key = a.key(testPassword, e.id)
			testKeys.Store(k, key)
		}
		e.keys[k] = key.([]byte)
	}
	return r, e
}

var testKeys sync.Map

// exchange has an engine answer a datagram.
func (e *engine) exchange(t testing.TB, now time.Time, datagram []byte) []byte {
	t.Helper()
	answer, j := e.receive(now, source, slices.Clone(datagram))
	if j == nil {
		return answer
	}
	answer = j.run(t.Context(), func() time.Time { return now })
	e.done(j)
	return answer
}

func get(id int, names ...oid) operation {
	op := operation{tag: tagGet, id: id}
	for _, name := range names {
		op.binds = append(op.binds, bind{name, value{tag: tagNull}})
	}
	return op
}

// sealed is a message of a client that knows the password.
func (e *engine) sealed(op operation, change ...func(*secured)) []byte {
	m := secured{id: 5, maxSize: maxMessage, flags: flagAuth | flagReportable, engine: e.id, boots: e.boots, user: testUser}
	m.scoped = scopedPDU{engine: e.id, op: op}.bytes()
	for _, f := range change {
		f(&m)
	}
	key := e.key(e.byUser[testUser], authentications[1])
	if m.flags&flagPriv != 0 {
		m.salt = []byte("saltsalt")
		crypt(key, m.boots, m.time, m.salt, m.scoped, false)
	}
	if m.flags&flagAuth != 0 && m.auth == nil {
		m.auth = make([]byte, 24)
		b, at := m.bytes()
		authentications[1].sign(key, b, at)
		return b
	}
	b, _ := m.bytes()
	return b
}

// reported is the object of a report, or what else an answer is.
func reported(t *testing.T, answer []byte) string {
	t.Helper()
	if answer == nil {
		return "silence"
	}
	_, rest, err := messageVersion(answer)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseSecured(answer, rest)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseScoped(m.scoped)
	if err != nil {
		t.Fatal(err)
	}
	if s.op.tag == tagReport {
		return fmt.Sprint(s.op.binds[0].name[6:], m.flags)
	}
	return "response"
}

func TestReports(t *testing.T) {
	name := get(9, oid{1, 3, 6, 1, 2, 1, 1, 5, 0})
	for _, c := range []struct {
		name   string
		change func(*secured)
		after  time.Duration
		want   string
	}{
		{"all is well", func(*secured) {}, 0, "response"},
		{"privacy without authentication", func(m *secured) { m.flags = flagPriv | flagReportable }, 0, "silence"},
		{"discovery", func(m *secured) {
			m.engine, m.user, m.flags, m.scoped = "", "", flagReportable, scopedPDU{op: get(1)}.bytes()
		}, 0, "[15 1 1 4 0] 0"},
		{"an engine of long ago", func(m *secured) { m.engine = "another" }, 0, "[15 1 1 4 0] 0"},
		{"nobody", func(m *secured) { m.user = "admin" }, 0, "[15 1 1 3 0] 0"},
		{"no authentication", func(m *secured) { m.flags = flagReportable }, 0, "[15 1 1 1 0] 0"},
		{"a wrong digest", func(m *secured) { m.auth = make([]byte, 24) }, 0, "[15 1 1 5 0] 0"},
		{"a digest of no known length", func(m *secured) { m.auth = make([]byte, 48) }, 0, "[15 1 1 5 0] 0"},
		{"no digest", func(m *secured) { m.auth = []byte{} }, 0, "[15 1 1 5 0] 0"},
		{"a repeat after the window", func(*secured) {}, 151 * time.Second, "[15 1 1 2 0] 1"},
		{"a message from the future", func(m *secured) { m.time = 151 }, 0, "[15 1 1 2 0] 1"},
		{"within the window", func(m *secured) { m.time = 150 }, 0, "response"},
		{"before a restart", func(m *secured) { m.boots-- }, 0, "[15 1 1 2 0] 1"},
		{"another cipher", func(m *secured) { m.flags |= flagPriv; m.scoped = []byte("not a scoped PDU") }, 0, "[15 1 1 6 0] 1"},
		{"another context engine", func(m *secured) { m.scoped = scopedPDU{engine: "x", op: name}.bytes() }, 0, "[11 2 1 3 0] 1"},
		{"another context", func(m *secured) { m.scoped = scopedPDU{engine: m.engine, context: "x", op: name}.bytes() }, 0, "[12 1 5 0] 1"},
		{"who does not want to know", func(m *secured) { m.user, m.flags = "admin", flagAuth }, 0, "silence"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, e := newTestEngine(t)
			if got := reported(t, e.exchange(t, begin.Add(c.after), e.sealed(name, c.change))); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestStrangersAreAnsweredLittle(t *testing.T) {
	_, e := newTestEngine(t)
	discovery := e.sealed(get(1), func(m *secured) {
		m.engine, m.user, m.flags, m.boots, m.scoped = "", "", flagReportable, 0, scopedPDU{op: get(1)}.bytes()
	})
	answer := e.exchange(t, begin, discovery)
	t.Logf("discovery: %d bytes are answered by %d", len(discovery), len(answer))
	if answer == nil || len(answer) > maxFactor*len(discovery) {
		t.Errorf("%d bytes are answered by %d", len(discovery), len(answer))
	}
	answered := 0
	for range 1000 {
		if e.exchange(t, begin.Add(2*time.Second), discovery) != nil {
			answered++
		}
	}
	if answered != maxReports {
		t.Errorf("%d of 1000 in a second are answered, want %d", answered, maxReports)
	}
	for _, datagram := range [][]byte{nil, {0x30}, {0x30, 0}, community{version2c, "three", get(1, rackPDU)}.bytes(), make([]byte, 2000)} {
		if answer := e.exchange(t, begin.Add(4*time.Second), datagram); answer != nil {
			t.Errorf("%x is answered by %x", datagram, answer)
		}
	}
}

func TestWhoGuessesIsBlocked(t *testing.T) {
	_, e := newTestEngine(t)
	right, wrong := community{version2c, "one", get(1, rackPDU)}.bytes(), community{version2c, "three", get(1, rackPDU)}.bytes()
	secure, forged := e.sealed(get(1, rackPDU)), e.sealed(get(1, rackPDU), func(m *secured) { m.auth = make([]byte, 24) })
	for i := range guard.MaxFailures {
		if e.exchange(t, begin, right) == nil || e.exchange(t, begin, secure) == nil {
			t.Fatalf("blocked after %d guesses", i)
		}
		for range guard.MaxFailures - 1 { // a success before has taken these back
			e.exchange(t, begin, wrong)
			e.exchange(t, begin, forged)
		}
	}
	e.exchange(t, begin, wrong)
	e.exchange(t, begin, forged)
	if e.exchange(t, begin, right) != nil || e.exchange(t, begin, secure) != nil {
		t.Error("not blocked")
	}
	if e.exchange(t, begin.Add(guard.BlockFor), right) == nil || e.exchange(t, begin.Add(guard.BlockFor), secure) == nil {
		t.Error("blocked for too long")
	}
}

func TestARepeatIsNotCarriedOutAgain(t *testing.T) {
	r, e := newTestEngine(t)
	reboot := func(id int) []byte {
		op := get(id, slices.Concat(apc, oid{12, 3, 3, 1, 1, 4, 1}))
		op.tag, op.binds[0].value = tagSet, integer(3)
		return community{version2c, "one", op}.bytes()
	}
	first := e.exchange(t, begin, reboot(1))
	again := e.exchange(t, begin.Add(repeatTime-1), reboot(1))
	if told := r.commands(); told != "[reboot u1]" || first == nil || !bytes.Equal(first, again) {
		t.Errorf("outlets were told %s, answers %x and %x", told, first, again)
	}
	e.exchange(t, begin, reboot(2))
	e.exchange(t, begin.Add(repeatTime), reboot(1))
	if told := r.commands(); told != "[reboot u1 reboot u1]" {
		t.Errorf("others: %s", told)
	}
	_, under := e.receive(begin.Add(time.Hour), source, reboot(3))
	if _, repeat := e.receive(begin.Add(time.Hour), source, reboot(3)); under == nil || repeat != nil {
		t.Error("a repeat of what is under way is carried out")
	}
	e.done(under) // dropped before it ran
	if _, repeat := e.receive(begin.Add(time.Hour), source, reboot(3)); repeat == nil {
		t.Error("what was dropped cannot be repeated")
	}
}

func TestAnswersAreAsSmallAsTheClientWants(t *testing.T) {
	_, e := newTestEngine(t)
	bulk := operation{tag: tagGetBulk, id: 1, index: 1 << 30, binds: get(1, apc).binds}
	for _, size := range []int{minMaxSize, 1000, 1 << 30} {
		answer := e.exchange(t, begin, e.sealed(bulk, func(m *secured) { m.maxSize = size }))
		if len(answer) < 300 || len(answer) > min(size, maxMessage) {
			t.Errorf("%d bytes to a client that takes %d", len(answer), size)
		}
	}
	var names []oid
	for range maxBinds {
		names = append(names, oid{1, 3, 6, 1, 2, 1, 1, 1, 0})
	}
	answer := e.exchange(t, begin, community{version2c, "one", get(1, names...)}.bytes())
	_, rest, _ := messageVersion(answer)
	m, err := parseCommunity(version2c, rest)
	if err != nil || m.op.status != int(tooBig) || len(m.op.binds) > 0 {
		t.Errorf("%+v, %v, want tooBig", m.op, err)
	}
}

func TestBootsGrow(t *testing.T) {
	cfg := newRack().config()
	if a, b := newEngine(&cfg, begin, 0), newEngine(&cfg, begin.Add(time.Second), 0); b.boots <= a.boots || a.id != b.id || len(a.id) != 17 {
		t.Errorf("boots %d and %d, engine IDs %x and %x", a.boots, b.boots, a.id, b.id)
	}
}
