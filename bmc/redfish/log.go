package redfish

import (
	"context"
	"errors"
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

// logs writes entries behind the back of who adds them: an event of a chassis must not
// wait for a disk.
type logs struct {
	service *Service
	kick    chan struct{} // holds a token while there is something to write

	mu      sync.Mutex // guards pending
	pending map[string][]logEntry
}

func newLogs(s *Service) *logs {
	l := &logs{service: s, kick: make(chan struct{}, 1), pending: map[string][]logEntry{}}
	s.spawn(l.run) // after Close nothing is written
	return l
}

// add notes an entry; it does not wait.
func (l *logs) add(system string, e logEntry) {
	l.mu.Lock()
	if list := l.pending[system]; len(list) < maxPending {
		l.pending[system] = append(list, e)
	}
	l.mu.Unlock()
	l.poke()
}

func (l *logs) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// forget drops what was not written of a system that is not here any more.
func (l *logs) forget(system string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, system)
}

func (l *logs) waiting(system string) []logEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pending[system])
}

func (l *logs) systems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, 0, len(l.pending))
	for id := range l.pending {
		out = append(out, id)
	}
	slices.Sort(out)
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
		for _, id := range l.systems() {
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

// write keeps what is pending of a system. Until that is done it stays readable.
func (l *logs) write(ctx context.Context, system string) error {
	unlock, err := l.service.locks.lock(ctx, logKey+system)
	if err != nil {
		return err
	}
	defer unlock()
	more := l.waiting(system)
	sys, found := l.service.cfg.Systems.Lookup(system)
	if found && sys.Chassis != nil && len(more) > 0 {
		wait, cancel := context.WithTimeout(ctx, logRetry)
		defer cancel()
		if err := keep(wait, sys, logKey, recall[keptLog](sys, logKey).with(more)); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending[system] = l.pending[system][len(more):]; len(l.pending[system]) == 0 {
		delete(l.pending, system)
	}
	return nil
}

// read returns the log of a system.
func (l *logs) read(ctx context.Context, sys System) (keptLog, error) {
	// Under the lock, because between two steps of write an entry would be there twice.
	unlock, err := l.service.locks.lock(ctx, logKey+sys.ID)
	if err != nil {
		return keptLog{}, unavailable(busyRetry)
	}
	defer unlock()
	return recall[keptLog](sys, logKey).with(l.waiting(sys.ID)), nil
}

// clear empties the log; numbers go on.
func (l *logs) clear(ctx context.Context, sys System) error {
	unlock, err := l.service.locks.lock(ctx, logKey+sys.ID)
	if err != nil {
		return unavailable(busyRetry)
	}
	defer unlock()
	have := recall[keptLog](sys, logKey).with(l.waiting(sys.ID))
	l.forget(sys.ID)
	return keep(ctx, sys, logKey, keptLog{First: have.First + len(have.Entries)})
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
	l, err := r.Service.logs.read(r.Context(), r.System)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(l.Entries))
	for i := range ids {
		ids[i] = strconv.Itoa(l.First + i + 1)
	}
	return ids, nil
}

// logObjects are the entries of logMembers.
func logObjects(r *Request, ids []string) ([]Object, error) {
	l, err := r.Service.logs.read(r.Context(), r.System)
	if err != nil {
		return nil, err
	}
	out := make([]Object, len(ids))
	for i, id := range ids {
		if out[i], err = l.object(id); err != nil {
			return nil, unavailable(busyRetry) // the log was cleared meanwhile
		}
	}
	return out, nil
}

func getLogEntry(r *Request) (Object, error) {
	l, err := r.Service.logs.read(r.Context(), r.System)
	if err != nil {
		return nil, err
	}
	o, err := l.object(r.Var("entry"))
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
