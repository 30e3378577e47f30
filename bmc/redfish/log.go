package redfish

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// logKey is where the log of a system is kept.
	logKey = "redfish/log"
	// maxLog bounds its entries; the oldest go first.
	maxLog = 128
	// maxPending bounds those that are not on disk yet.
	maxPending = 64
	// logRetry is how long after a failure they are written again.
	logRetry = 5 * time.Second
)

// logEntry is something that happened to a system.
type logEntry struct {
	At      time.Time
	Message string
	Args    []string `json:",omitempty"`
	Origin  string   `json:",omitempty"`
}

// keptLog is the log of a system. The first entry has the number First.
type keptLog struct {
	First   int
	Entries []logEntry
}

// with returns the log with more entries, and without the oldest where it is full.
func (l keptLog) with(more []logEntry) keptLog {
	l.Entries = slices.Concat(l.Entries, more)
	if over := len(l.Entries) - maxLog; over > 0 {
		l.First += over
		l.Entries = l.Entries[over:]
	}
	return l
}

// logs keeps the logs in memory, and writes them behind the back of who adds entries: an
// event of a chassis must not wait for a disk, and neither must who reads.
type logs struct {
	service *Service
	kick    chan struct{} // holds a token while there is something to write

	mu sync.Mutex // guards the rest
	// pending are entries of systems whose log was not loaded yet: that cannot be done in the
	// middle of an event.
	pending map[string][]logEntry
	loaded  map[string]keptLog
	dirty   map[string]bool
}

func newLogs(s *Service) *logs {
	l := &logs{service: s, kick: make(chan struct{}, 1), pending: map[string][]logEntry{}, loaded: map[string]keptLog{}, dirty: map[string]bool{}}
	s.spawn(l.run) // after Close nothing is written
	return l
}

// add notes an entry; it does not wait.
func (l *logs) add(system string, e logEntry) {
	l.mu.Lock()
	if list := l.pending[system]; len(list) < maxPending {
		l.pending[system] = append(list, e)
	}
	l.dirty[system] = true
	l.mu.Unlock()
	l.poke()
}

func (l *logs) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// forget drops what is known of a system that is not here any more.
func (l *logs) forget(system string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, system)
	delete(l.loaded, system)
	delete(l.dirty, system)
}

// unwritten takes the systems with something to write.
func (l *logs) unwritten() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Sorted(maps.Keys(l.dirty))
	clear(l.dirty)
	return out
}

func (l *logs) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
		}
		failed := false
		for _, id := range l.unwritten() {
			if err := l.write(ctx, id); err != nil {
				failed = true
				l.service.cfg.Log.DebugContext(ctx, "redfish: log not written; will retry", "node", id, "err", err)
			}
		}
		if failed {
			select {
			case <-ctx.Done():
				return
			case <-time.After(logRetry):
				l.poke()
			}
		}
	}
}

// write keeps the log of a system, if it is here.
func (l *logs) write(ctx context.Context, system string) error {
	sys, found := l.service.cfg.Systems.Lookup(system)
	if !found || sys.Chassis == nil {
		return nil
	}
	unlock, err := l.service.locks.lock(ctx, logKey+system)
	if err != nil {
		return err
	}
	defer unlock()
	wait, cancel := context.WithTimeout(ctx, logRetry)
	defer cancel()
	if err := keep(wait, sys, logKey, l.read(sys)); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dirty[system] = true
		return err
	}
	return nil
}

// read returns the log of a system.
func (l *logs) read(sys System) keptLog {
	return l.change(sys, func(have keptLog) keptLog { return have })
}

// load returns the log of a system from memory, or from what was kept.
func (l *logs) load(sys System) keptLog {
	l.mu.Lock()
	have, known := l.loaded[sys.ID]
	l.mu.Unlock()
	if known {
		return have
	}
	return recall[keptLog](sys, logKey) // not under the lock, which events of the chassis take
}

// change changes the log of a system in memory, and returns it.
func (l *logs) change(sys System, how func(keptLog) keptLog) keptLog {
	loaded := l.load(sys)
	l.mu.Lock()
	defer l.mu.Unlock()
	have, known := l.loaded[sys.ID]
	if !known {
		have = loaded
	}
	out := how(have.with(l.pending[sys.ID]))
	delete(l.pending, sys.ID)
	l.loaded[sys.ID] = out
	return out
}

// clear empties the log; numbers go on.
func (l *logs) clear(ctx context.Context, sys System) error {
	l.change(sys, func(have keptLog) keptLog { return keptLog{First: have.First + len(have.Entries)} })
	return l.write(ctx, sys.ID)
}

// logTable has the event log of a system, below the system and below its manager.
func logTable() []Resource {
	var out []Resource
	for _, owner := range []string{systemsPath, managersPath} {
		base := owner + "/{system}/LogServices"
		out = append(out,
			Resource{Path: base, Type: "#LogServiceCollection.LogServiceCollection", Link: "LogServices", Name: "Log Services",
				Members: func(*Request) ([]string, error) { return []string{"EventLog"}, nil }},
			Resource{Path: base + "/EventLog", Type: "#LogService.v1_6_0.LogService", Change: ConfigureManager, Volatile: []string{"DateTime"},
				Get: func(r *Request) (Object, error) {
					return Object{{"Id", "EventLog"}, {"Name", "Event Log"}, {"ServiceEnabled", true}, {"Status", healthy()}, {"LogEntryType", "Event"},
						{"MaxNumberOfRecords", maxLog}, {"OverWritePolicy", "WrapsWhenFull"}, {"DateTime", r.Service.now()}, {"DateTimeLocalOffset", "+00:00"}}, nil
				},
				Actions: []Action{{Name: "LogService.ClearLog", Do: func(r *Request, _ Values) (*Result, error) {
					return nil, r.Service.logs.clear(r.Context(), r.System)
				}, Parameters: Rules{"LogEntriesETag": {Kind: String}}}}},
			Resource{Path: base + "/EventLog/Entries", Type: "#LogEntryCollection.LogEntryCollection", Link: "Entries", Name: "Log Entries", Members: logMembers, Inline: logObjects},
			Resource{Path: base + "/EventLog/Entries/{entry}", Type: "#LogEntry.v1_16_0.LogEntry", Get: getLogEntry,
				Present: func(r *Request) bool { _, err := getLogEntry(r); return err == nil }})
	}
	return out
}

func logMembers(r *Request) ([]string, error) {
	ids, _, err := logObjects(r)
	return ids, err
}

func logObjects(r *Request) (ids []string, members []Object, err error) {
	l := r.Service.logs.read(r.System)
	ids, members = make([]string, len(l.Entries)), make([]Object, len(l.Entries))
	for i := range ids {
		ids[i] = strconv.Itoa(l.First + i + 1)
		if members[i], err = l.object(ids[i]); err != nil {
			return nil, nil, err
		}
	}
	return ids, members, nil
}

func getLogEntry(r *Request) (Object, error) {
	o, err := r.Service.logs.read(r.System).object(r.Var("entry"))
	if err != nil {
		return nil, notFound(r.Path)
	}
	return o, nil
}

// errNoEntry says that there is no entry of that number.
var errNoEntry = errors.New("no such log entry")

// object is the LogEntry with the ID.
func (l keptLog) object(id string) (Object, error) {
	n, err := strconv.Atoi(id)
	i := n - 1 - l.First
	if err != nil || i < 0 || i >= len(l.Entries) || strconv.Itoa(n) != id {
		return nil, errNoEntry
	}
	e := l.Entries[i]
	entry := eventMessages[shortID(e.Message)]
	out := Object{{"Id", id}, {"Name", "Log Entry " + id}, {"EntryType", "Event"}, {"Created", e.At.UTC().Format(time.RFC3339)},
		{"Severity", entry.severity}, {"Message", filled(entry.text, e.Args)}, {"MessageId", e.Message}, {"MessageArgs", e.Args}}
	if e.Origin != "" {
		out = append(out, Property{"Links", Object{{"OriginOfCondition", link(e.Origin)}}})
	}
	return out, nil
}

// filled puts arguments into a message's text.
func filled(text string, args []string) string {
	for i, arg := range args {
		text = strings.ReplaceAll(text, "%"+strconv.Itoa(i+1), arg)
	}
	return text
}

// shortID is a MessageId without its version: "TaskEvent.TaskStarted".
func shortID(id string) string {
	registry, _, _ := strings.Cut(id, ".")
	return registry + "." + id[strings.LastIndexByte(id, '.')+1:]
}
