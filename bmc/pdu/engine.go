package pdu

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"tenks/bmc/guard"
)

// Bounds of what an engine remembers and answers.
const (
	maxSuspects = 1024
	// maxReports bounds how many datagrams of strangers are answered in a second, and
	// maxFactor by how much such an answer is larger: sources of UDP may be forged.
	maxReports = 50
	maxFactor  = 2
)

// engine is the agent without sockets, goroutines and a clock. It is for one goroutine at a
// time, but for what the jobs that receive returns do.
type engine struct {
	cfg   *Config
	id    string
	boots int
	began time.Time

	byCommunity map[[sha256.Size]byte]*Unit
	byUser      map[string]*Unit
	keys        map[keyOf][]byte
	guard       guard.Guard
	repeats     repeats
	// salt is that of the last message that was encrypted.
	salt atomic.Uint64
	// second is when reports began to be counted.
	second  time.Time
	reports int
	stats   map[uint32]int64
}

// keyOf is what a localized key was made of, but for the engine.
type keyOf struct {
	user, password string
	size           int
}

// job is a request of somebody who was recognised. It may wait for other hosts.
type job struct {
	unit *Unit
	op   operation
	run  func(ctx context.Context, now func() time.Time) []byte
	// again is set for a request that changes something.
	again *repeat
}

// epoch is when boots begin to be counted, in seconds: 31 bits last until 2093.
var epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// newEngine returns an engine that booted now. How often it did before is in no file: the
// number is made of the time, so that it grows as long as the clock does.
func newEngine(cfg *Config, now time.Time, salt uint64) *engine {
	sum := sha256.Sum256([]byte("tenks snmp engine\x00" + cfg.Engine))
	// RFC 3411 §5: APC's enterprise number with the first bit set, then octets of our choice.
	id := binary.BigEndian.AppendUint32(nil, 1<<31|318)
	id = append(append(id, 5), sum[:12]...)
	e := &engine{cfg: cfg, id: string(id), boots: max(int(now.Sub(epoch)/time.Second), 1), began: now,
		keys: map[keyOf][]byte{}, guard: guard.Guard{Most: maxSuspects}, stats: map[uint32]int64{}}
	e.salt.Store(salt)
	return e
}

// update takes over the units. They are not changed afterwards.
func (e *engine) update(units []Unit) {
	e.byCommunity, e.byUser = map[[sha256.Size]byte]*Unit{}, map[string]*Unit{}
	for i := range units {
		u := &units[i]
		if !u.Community.IsZero() {
			e.byCommunity[sha256.Sum256([]byte(u.Community.Reveal()))] = u
		}
		if u.User != "" && !u.Password.IsZero() {
			e.byUser[u.User] = u
		}
	}
	for k := range e.keys {
		if u, ok := e.byUser[k.user]; !ok || u.Password.Reveal() != k.password {
			delete(e.keys, k)
		}
	}
}

// receive takes a datagram. It returns what is answered at once, or a job, or neither.
func (e *engine) receive(now time.Time, from netip.AddrPort, datagram []byte) ([]byte, *job) {
	if len(datagram) > maxMessage {
		return nil, nil
	}
	version, rest, err := messageVersion(datagram)
	if err != nil {
		return nil, nil
	}
	switch version {
	case version1, version2c:
		return nil, e.receiveCommunity(now, from, version, rest)
	case version3:
		return e.receiveSecured(now, from, datagram, rest)
	}
	return nil, nil
}

// receiveCommunity takes a message of SNMPv1 or SNMPv2c. Who does not know a community is
// not answered (RFC 1157 §4.1.1).
func (e *engine) receiveCommunity(now time.Time, from netip.AddrPort, version int, in *input) *job {
	m, err := parseCommunity(version, in)
	if err != nil || !requests(m.op, version) {
		return nil
	}
	// Guesses differ, so that they are not told apart by what was guessed.
	suspect := guard.Suspect{Source: from.Addr()}
	if e.guard.Blocked(suspect, now) {
		return nil
	}
	unit, ok := e.byCommunity[sha256.Sum256([]byte(m.name))]
	if !ok {
		if e.guard.Fail(suspect, now) {
			e.cfg.Log.Warn("pdu: a source guesses communities: it is blocked for a while", "source", from.Addr())
		}
		return nil
	}
	e.guard.Succeed(suspect)
	return e.job(now, from, unit, m.op, func(answer operation, _ time.Time) []byte {
		if version == version1 {
			answer = downgrade(answer, m.op)
		}
		return fit(answer, m.op, maxMessage, func(op operation) []byte { return community{version, m.name, op}.bytes() })
	})
}

// requests reports whether an operation is one that agents answer.
func requests(op operation, version int) bool {
	switch op.tag {
	case tagGet, tagGetNext, tagSet:
		return true
	}
	return op.tag == tagGetBulk && version != version1
}

// job returns what carries out a request. A repeat of one that changed something is
// answered as that was, and not carried out again.
func (e *engine) job(now time.Time, from netip.AddrPort, unit *Unit, op operation, seal func(operation, time.Time) []byte) *job {
	j := &job{unit: unit, op: op}
	if op.tag == tagSet {
		first, known := e.repeats.see(now, from, unit.Name, op)
		if known {
			answer := first.answer
			if answer == nil {
				return nil // it is under way: the client asks again
			}
			j.run = func(_ context.Context, now func() time.Time) []byte { return seal(*answer, now()) }
			return j
		}
		j.again = first
	}
	v := e.view(now, unit)
	j.run = func(ctx context.Context, now func() time.Time) []byte {
		answer := e.cfg.serve(ctx, v, op)
		if j.again != nil {
			j.again.result = &answer
		}
		return seal(answer, now())
	}
	return j
}

// done is to be called after a job has run, or when it will not: then its repeat is a new
// request.
func (e *engine) done(j *job) {
	switch {
	case j.again == nil:
	case j.again.result == nil:
		e.repeats.forget(j.again)
	default:
		j.again.answer = j.again.result
	}
}

func (e *engine) view(now time.Time, unit *Unit) *view {
	return &view{unit: unit, version: e.cfg.Version, engine: e.id, boots: e.boots, seconds: e.seconds(now),
		ticks: int64(now.Sub(e.began)/(10*time.Millisecond)) & 0xffffffff}
}

func (e *engine) seconds(now time.Time) int { return int(now.Sub(e.began) / time.Second) }

// mayReport bounds what strangers are answered.
func (e *engine) mayReport(now time.Time) bool {
	if now.Sub(e.second) >= time.Second {
		e.second, e.reports = now, 0
	}
	e.reports++
	return e.reports <= maxReports
}
