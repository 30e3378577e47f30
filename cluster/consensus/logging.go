package consensus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// leveled gives Raft a logger that writes to ours.
func leveled(out *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: io.Discard})
	l.RegisterSink(&sink{out: out.With("part", "raft"), said: map[string]time.Time{}})
	return l
}

// sayAgain is how often the same complaint about the same peer is worth a line: Raft
// makes some twice a second for as long as a host is down.
const sayAgain = 30 * time.Second

// sink implements hclog.SinkAdapter.
type sink struct {
	out *slog.Logger

	mu   sync.Mutex // guards said
	said map[string]time.Time
}

// repeated reports whether a complaint was made a moment ago.
func (s *sink) repeated(msg string, args []any) bool {
	key := msg
	for i := 0; i+1 < len(args); i += 2 {
		if name, ok := args[i].(string); ok && (name == "peer" || name == "target") {
			key += fmt.Sprint(" ", args[i+1])
		}
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.said[key]) < sayAgain {
		return true
	}
	if len(s.said) > 1000 { // peers come and go
		clear(s.said)
	}
	s.said[key] = now
	return false
}

// Accept implements hclog.SinkAdapter.
func (s *sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	// What Raft calls information is the course of an election: detail here.
	to := slog.LevelDebug
	switch {
	case level < hclog.Info:
		return // the interceptor hands on everything
	case level >= hclog.Error:
		to = slog.LevelError
	// Each start of a mesh of one begins with it.
	case level == hclog.Warn && msg != "heartbeat timeout reached, starting election":
		to = slog.LevelWarn
	}
	if to > slog.LevelDebug && s.repeated(msg, args) {
		to = slog.LevelDebug
	}
	s.out.Log(context.Background(), to, msg, args...) //nolint:forbidigo,sloglint // hclog carries no context, and the message is Raft's
}
