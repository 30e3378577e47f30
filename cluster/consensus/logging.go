package consensus

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// leveled gives Raft a logger that writes to ours.
func leveled(out *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: io.Discard})
	l.RegisterSink(sink{out.With("part", "raft")})
	return l
}

// sink implements hclog.SinkAdapter.
type sink struct{ out *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
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
	s.out.Log(context.Background(), to, msg, args...) //nolint:forbidigo,sloglint // hclog carries no context, and the message is Raft's
}
