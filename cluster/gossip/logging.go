package gossip

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A warning that comes again is not logged again for repeatAfter; so many different
// ones are remembered, and logged in that time: who has no key can make some up.
const (
	repeatAfter = time.Minute
	maxLines    = 256
)

// Parts of what memberlist logs, by which it is counted: it says so in no other way.
const (
	onlyTCP   = "over TCP but UDP probes failed"
	decrypt   = "Decrypt packet failed"
	noKeyFits = "no installed keys could decrypt"
	plain     = "is not encrypted"
	otherMesh = "unacceptable label"
)

// lineForm takes apart what memberlist's logger writes: the time, the level, the text.
var lineForm = regexp.MustCompile(`^(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?(?:\[(\w+)\] )?(?:memberlist: )?(.*)$`)

// sender is the part that differs each time: who sent it, from which port.
var sender = regexp.MustCompile(` ?from=\S+$`)

// lines is the io.Writer that memberlist logs to, a line each time.
type lines struct {
	out *slog.Logger
	// udpBlocked and undecrypted count lines.
	udpBlocked, undecrypted atomic.Uint64
	// closed: what ends complains, and nobody needs to know.
	closed atomic.Bool

	mu   sync.Mutex // guards what follows, by text
	seen map[string]*repeated
	// lost is how many were not logged because seen was full.
	lost int
}

type repeated struct {
	logged time.Time
	// more is how often it came since.
	more int
}

func newLines(out *slog.Logger) *lines { return &lines{out: out, seen: map[string]*repeated{}} }

func (l *lines) close() { l.closed.Store(true) }

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	if l.closed.Load() {
		return len(b), nil
	}
	l.line(strings.TrimSpace(string(b)), time.Now())
	return len(b), nil
}

func (l *lines) line(s string, now time.Time) {
	parts := lineForm.FindStringSubmatch(strings.ReplaceAll(s, "\n", " "))
	if parts == nil {
		return // it matches anything
	}
	level, text := parts[1], parts[2]
	// What is the same but for who sent it is logged once.
	key := sender.ReplaceAllString(text, "")
	if strings.Contains(text, onlyTCP) {
		l.udpBlocked.Add(1)
	}
	for _, kind := range []string{decrypt, noKeyFits, plain, otherMesh} {
		if strings.Contains(text, kind) {
			l.undecrypted.Add(1)
			key = kind // the rest of it is up to who has no key
			break
		}
	}
	if level == "DEBUG" || level == "INFO" {
		l.out.Debug("memberlist says", "text", text)
		return
	}
	if more, ok := l.fresh(key, now); ok {
		attrs := []slog.Attr{slog.String("text", text)}
		if more > 0 {
			attrs = append(attrs, slog.Int("more", more))
		}
		l.out.LogAttrs(context.Background(), slog.LevelWarn, "memberlist says", attrs...) //nolint:forbidigo // it carries no context
	}
}

// fresh says whether a text was not logged lately, and how often it came since then.
func (l *lines) fresh(text string, now time.Time) (more int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.seen[text]
	if r != nil && now.Sub(r.logged) < repeatAfter {
		r.more++
		return 0, false
	}
	if r != nil {
		more = r.more
		*r = repeated{logged: now}
		return more, true
	}
	if len(l.seen) >= maxLines {
		l.expire(now)
	}
	if len(l.seen) >= maxLines {
		l.lost++
		return 0, false
	}
	l.seen[text] = &repeated{logged: now}
	more, l.lost = l.lost, 0
	return more, true
}

// expire forgets what would be logged again anyway. l.mu is held.
func (l *lines) expire(now time.Time) {
	for text, r := range l.seen {
		if now.Sub(r.logged) >= repeatAfter {
			l.lost += r.more
			delete(l.seen, text)
		}
	}
}
