// Package record notes what BMCs are asked: numbers for every request, and, for nodes
// that are audited, a line in a file. A Recorder starts nothing; Run writes the file until
// its context ends. What is noted is made of words that this package or a protocol server
// chose: nothing that a client wrote gets into it, so that no secret does.
package record

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Call is a request to a BMC that was answered.
type Call struct {
	// At is when it was answered, Took how long that took.
	At   time.Time
	Took time.Duration
	// Node is the node's name, UUID its UUID.
	Node, UUID string
	// Protocol is "ipmi", "redfish" or "snmp".
	Protocol string
	// Method says what was asked, Result what was answered, both of few words.
	Method, Result string
	// Client is the zero value where it is not known.
	Client netip.AddrPort
	// User is who was logged in; see Unknown.
	User string
	// Audit says that it belongs into the file.
	Audit bool
}

// Unknown is the User of a request by a name that is nobody's. People type their
// passwords in place of their names.
const Unknown = "(unknown)"

// OK is the Result of a request that succeeded.
const OK = "ok"

// Buckets are the upper bounds of the histogram's buckets.
var Buckets = []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond,
	500 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second}

// maxSeries bounds how many combinations are told apart; further ones are counted as
// others of their protocol. All that there are of both protocols are fewer.
const maxSeries = 4096

const other = "other"

// Key is what requests are counted by.
type Key struct{ Protocol, Method, Result string }

// Series counts the requests of one Key.
type Series struct {
	Key
	Count uint64
	Sum   time.Duration
	// Within has, for each of Buckets, how many took at most that long.
	Within []uint64
}

// Config says where lines go.
type Config struct {
	// Path is the audit file.
	Path string
	// MaxBytes is the size beyond which the file is put aside as Path.1 and so on; Keep is
	// how many of those are kept. 0: 16 MiB, and 4.
	MaxBytes int64
	Keep     int
	Log      *slog.Logger
}

const (
	usualMaxBytes = 16 << 20
	usualKeep     = 4
	// maxQueue is how many lines wait for the disk; more are lost, and counted.
	maxQueue = 4096
)

// Recorder is safe for concurrent use.
type Recorder struct {
	cfg   Config
	queue chan Call
	lost  atomic.Uint64

	// mu guards series.
	mu     sync.Mutex
	series map[Key]*Series
}

// New returns a Recorder.
func New(cfg Config) *Recorder {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = usualMaxBytes
	}
	if cfg.Keep == 0 {
		cfg.Keep = usualKeep
	}
	return &Recorder{cfg: cfg, queue: make(chan Call, maxQueue), series: map[Key]*Series{}}
}

// Observe notes a request. It does not wait.
func (r *Recorder) Observe(c Call) {
	r.count(c)
	if !c.Audit {
		return
	}
	select {
	case r.queue <- c:
	default:
		r.lost.Add(1)
	}
}

func (r *Recorder) count(c Call) {
	key := Key{c.Protocol, c.Method, c.Result}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.series[key]
	if !ok && len(r.series) >= maxSeries {
		key = Key{c.Protocol, other, other}
		s, ok = r.series[key]
	}
	if !ok {
		s = &Series{Key: key, Within: make([]uint64, len(Buckets))}
		r.series[key] = s
	}
	s.Count++
	s.Sum += c.Took
	for i, b := range Buckets {
		if c.Took <= b {
			s.Within[i]++
		}
	}
}

// Series returns what was counted, in the order of keys.
func (r *Recorder) Series() []Series {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Series, 0, len(r.series))
	for s := range maps.Values(r.series) {
		c := *s
		c.Within = slices.Clone(s.Within)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Series) int {
		return strings.Compare(a.Protocol+"\x00"+a.Method+"\x00"+a.Result, b.Protocol+"\x00"+b.Method+"\x00"+b.Result)
	})
	return out
}

// Lost is how many lines of the audit were lost because the disk was too slow, or refused
// them.
func (r *Recorder) Lost() uint64 { return r.lost.Load() }
